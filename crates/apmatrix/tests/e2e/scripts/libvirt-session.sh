#!/bin/sh
# Inside the root of libvirt-root.sh: a node device and a domain by virsh, each step named on a line
# of its own. $1 the emulator, $2 kernel, $3 initramfs, $4 a scratch directory, $5 the mdev's UUID.
set -eu
emulator=$1 kernel=$2 initrd=$3 scratch=$4 uuid=$5
device=mdev_$(echo "$uuid" | busybox tr - _)_matrix
export LIBVIRT_LOG_OUTPUTS=3:file:$scratch/libvirtd.log

step() {
    echo "== $1"
    shift
    virsh -q -c qemu:///system "$@"
}
stop_libvirtd() {
    if [ -e /run/libvirtd.pid ]; then busybox kill "$(busybox cat /run/libvirtd.pid)" || true; fi
    wait
}
start_libvirtd() {
    busybox rm -f /run/libvirt/libvirt-sock
    libvirtd --pid-file /run/libvirtd.pid &
    for _ in $(busybox seq 100); do
        if [ -e /run/libvirt/libvirt-sock ]; then return; fi
        busybox sleep 0.1
    done
    busybox cat "$scratch/libvirtd.log" >&2
    exit 1
}
finish() {
    virsh -q -c qemu:///system destroy guest > /dev/null 2>&1 || true
    stop_libvirtd
}
trap finish EXIT

start_libvirtd
step cards nodedev-list --cap ap_card
step queues nodedev-list --cap ap_queue
step matrix nodedev-list --cap ap_matrix
step types nodedev-dumpxml ap_matrix
echo -5 > /sys/bus/ap/apmask
step queue nodedev-dumpxml ap_05_0004

busybox cat > "$scratch/device.xml" <<X
<device><parent>ap_matrix</parent><capability type='mdev'>
  <type id='vfio_ap-passthrough'/><uuid>$uuid</uuid>
  <attr name='assign_adapter' value='0x05'/><attr name='assign_domain' value='0x04'/>
</capability></device>
X
step define nodedev-define "$scratch/device.xml"
step defined nodedev-list --cap mdev --inactive
step start nodedev-start "$device"
echo "== assigned"
busybox cat "/sys/bus/mdev/devices/$uuid/matrix"

# libvirtd learns of a started device by a uevent, and uevents come from kernels alone: start anew.
stop_libvirtd
start_libvirtd
step active nodedev-list --cap mdev
step device nodedev-dumpxml "$device"

busybox cat > "$scratch/domain.xml" <<X
<domain type='qemu'>
  <name>guest</name><vcpu>1</vcpu><memory unit='MiB'>512</memory>
  <memtune><hard_limit unit='KiB'>$(busybox cat /etc/libvirt/memlock | busybox sed s/unlimited/1048576/)</hard_limit></memtune>
  <os><type arch='s390x' machine='s390-ccw-virtio'>hvm</type>
    <kernel>$kernel</kernel><initrd>$initrd</initrd><cmdline>console=ttysclp0</cmdline></os>
  <cpu mode='custom' match='exact' check='none'><model>max</model></cpu>
  <devices>
    <emulator>$emulator</emulator>
    <console type='unix'><source mode='bind' path='$scratch/console'/><target type='sclp' port='0'/></console>
    <memballoon model='none'/>
    <hostdev mode='subsystem' type='mdev' model='vfio-ap'><source><address uuid='$uuid'/></source></hostdev>
  </devices>
</domain>
X
step domain define "$scratch/domain.xml"
step boot start guest
step state domstate guest
echo "== in use"
busybox cat /sys/devices/ap/card05/05.0004/status
# The test talks with the guest's console and says when it is done.
echo "== guest"
while [ ! -e "$scratch/done" ]; do busybox sleep 0.2; done
step destroy destroy guest
step forget undefine guest
step stop nodedev-destroy "$device"
step undefine nodedev-undefine "$device"
echo "== end"
