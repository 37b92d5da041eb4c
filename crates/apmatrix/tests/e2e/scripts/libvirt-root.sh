#!/bin/sh
# Under `apmatrix run`, as root: a throw-away copy of the unpacked packages ($1) at the mount point $2,
# with the tree and the devices that `run` shows, and the rest of the words as the command in it.
set -eu
packages=$1 root=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs "$root"
cp -a "$packages/." "$root/"
for dir in sys proc dev tmp; do
    mkdir -p "$root/$dir"
    mount --rbind "/$dir" "$root/$dir"
done
# The emulator, its plugin and its image, wherever this host has them.
for dir in "$@"; do
    shift
    test "$dir" != -- || break
    mkdir -p "$root$dir"
    mount --rbind "$dir" "$root$dir"
done
mkdir -p "$root/run" "$root/etc/mdevctl.d" "$root/root"
for dir in cache lib/libvirt log; do mkdir -p "$root/var/$dir"; done
ln -sfn /run "$root/var/run"
mount --bind /etc/mdevctl.d "$root/etc/mdevctl.d"
# No package was configured, so nobody added users.
cat > "$root/etc/passwd" <<X
root:x:0:0::/root:/bin/sh
nobody:x:65534:65534::/:/bin/false
libvirt-qemu:x:64055:64055::/:/bin/false
X
cat > "$root/etc/group" <<X
root:x:0:
kvm:x:104:
libvirt:x:105:
libvirt-qemu:x:64055:
nogroup:x:65534:
X
# What a container lacks: other users' files, cgroups, security modules, virtlogd.
cat > "$root/etc/libvirt/qemu.conf" <<X
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
X
# libvirtd inherits the host's limit and may not be allowed to raise it.
ulimit -H -l > "$root/etc/libvirt/memlock"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
exec chroot "$root" "$@"
