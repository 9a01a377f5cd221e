# Process 1 of a machine of machine.sh: puts its file system together and goes over to systemd.
#
#   first.sh ROOT WORK OUT
#
# It runs in new namespaces of all kinds but users: programs for the kernel can be loaded.
set -eu
root=$1 work=$2 out=$3 called_in=$PWD
cd "$work"
mount -t overlay -o "lowerdir=$root,upperdir=upper,workdir=work" machine root
cd root

if [ "$root" != / ] || [ "$(stat -c %d "$called_in")" != "$(stat -c %d /)" ]; then
  mkdir -p ".$called_in"
  mount --bind "$called_in" ".$called_in"
  mount -o remount,bind,ro ".$called_in"
fi
mkdir -p proc sys run dev
mount -t proc proc proc
# What is below net belongs to this network namespace; the rest would change the host.
mount --bind proc/sys/net "$work/cgroup"
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --move "$work/cgroup" proc/sys/net
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
# systemd does so itself, but not in what it takes for a container.
mount -t bpf -o mode=700,nosuid,nodev,noexec bpf sys/fs/bpf
# What is set below it is the host's. The mounts in it are not.
mount -o remount,bind,ro sys
mount -t tmpfs -o mode=755,nosuid,nodev run run
mkdir run/machine
mount --bind "$out" run/machine
mount -t tmpfs -o mode=755,nosuid dev dev
# New ones: owner and mode of those of the host are the host's.
for device in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
  # shellcheck disable=SC2086  # name, major and minor number
  set -- $device
  mknod -m 666 "dev/$1" c "$2" "$3"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
number=0
for name in stdin stdout stderr; do
  ln -s /proc/self/fd/$number dev/$name
  number=$((number + 1))
done

# No unit of this machine's administrator, no login, nothing that would empty /tmp, where a checkout may be.
rm -rf etc/systemd/system
mkdir -p etc/systemd/system etc/tmpfiles.d
for unit in console-getty.service getty.target tmp.mount systemd-udevd.service systemd-sysctl.service \
  systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
  systemd-modules-load.service; do
  ln -s /dev/null etc/systemd/system/$unit
done
# Nor its disks, and what old scripts start.
: >etc/fstab
rm -rf etc/crypttab etc/rc?.d
ln -sf /dev/null etc/tmpfiles.d/tmp.conf
# Without one it would be a first boot, on which everything is enabled.
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
echo machine >etc/hostname

mkdir -p old
pivot_root . old
umount -l old
rmdir old
exec env -i container=namespaces PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --log-target=journal --show-status=no
