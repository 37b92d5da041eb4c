#!/bin/sh
# The calls by which kata's runtime and kubevirt's node agent find vfio-ap devices on a host, in their
# order. Prints what they would conclude; ends with 1 where they would give up.
set -eu
group=$1

# kubevirt: which types can be made, and where.
for parent in /sys/class/mdev_bus/*; do
    for type in "$parent"/mdev_supported_types/*; do
        echo "kubevirt type: $(basename "$parent") $(basename "$type") '$(cat "$type/name")'" \
            "$(cat "$type/available_instances") create=$(test -w "$type/create" && echo yes)"
    done
done

# kubevirt: which devices there are; the parent is the second to last part of the link.
for device in /sys/bus/mdev/devices/*; do
    target=$(readlink "$device")
    parent=$(basename "$(dirname "$target")")
    name=$(cat "$device/mdev_type/name" 2>/dev/null || basename "$(readlink "$device/mdev_type")")
    number=$(basename "$(readlink "$device/iommu_group")")
    test -e "/dev/vfio/$number"
    echo "kubevirt device: $(basename "$target") parent=$parent type='$name' group=$number"
done

# kata: from /dev/vfio/N to the devices of the group; a canonical path tells AP from PCI.
test -e /dev/vfio/vfio
test -e "/dev/vfio/$group"
for entry in "/sys/kernel/iommu_groups/$group/devices"/*; do
    device=$(readlink -f "$entry")
    case $device in
    /sys/devices/vfio_ap/*) ;;
    *) echo "not an AP device: $device" >&2; exit 1 ;;
    esac
    echo "kata device: $device"
    sed 's/^/kata queue: /' "$device/matrix"
done
