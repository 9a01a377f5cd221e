#!/usr/bin/env bash
# Runs one command as root in an emulated machine with another kernel.
#
#   machine.sh KERNEL SECONDS OUT COMMAND [ARGUMENT...]
#
# KERNEL is a folder made by kernel.sh. The machine sees the file system of this one, read-only and
# with a memory disk laid over it: every tool and every program that was just built is there under its
# usual path, and nothing that the command does reaches the host. It has no network device, so traffic
# stays inside. It is not for measuring speed: the processor is emulated (no KVM is needed).
#
# What the command prints comes out as it is printed, and its exit status is that of this script; 124
# if it was not done after SECONDS, 125 if the machine did not get as far as a status. In the command,
# $VM_OUT is the folder OUT; console.log and dmesg.txt are left there too. The machine ends with this
# script, however that ends.
#
# It does not know what it runs. init and first.sh are what happens inside before the command.
set -euo pipefail
export LC_ALL=C.UTF-8

die() {
  echo "machine.sh: $*" >&2
  exit 125
}
[ $# -ge 4 ] || die 'see the head of this file for its arguments'
kernel=$1 seconds=$2 out=$3
shift 3
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# From power-on to the command, and from its end to power-off, on a very busy host.
margin=120

busybox=$(type -p busybox) || die 'busybox is missing (package busybox-static)'
if ldd "$busybox" >/dev/null 2>&1; then
  die 'busybox has to be the static one: apt-get install busybox-static'
fi
kernel=$(realpath "$kernel")
modules=("$kernel"/lib/modules/*)
[ -d "${modules[0]}" ] || die "$kernel is no folder made by kernel.sh"
release=$(basename "${modules[0]}")
mkdir -p "$out"
out=$(realpath "$out")
rm -f "$out"/{status,console.log,dmesg.txt}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The first file system: just enough to mount the host's.
mkdir -p "$work"/root/{bin,modules,proc,sys,dev,lower,rw,new}
cp -L "$busybox" "$work/root/bin/busybox"
for module in virtio_pci 9pnet_virtio 9p overlay virtio_console; do
  modprobe -d "$kernel" -S "$release" --show-depends "$module" ||
    die "the kernel $release has no module $module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/modules"
while read -r path; do
  name=$(basename "$path")
  name=${name%%.ko*}.ko
  case $path in
    *.xz) xz -dc "$path" >"$work/root/modules/$name" ;;
    *.zst) zstd -dqc "$path" >"$work/root/modules/$name" ;;
    *) cp "$path" "$work/root/modules/$name" ;;
  esac
  echo "$name" >>"$work/root/modules/order"
done <"$work/modules"
cp "$here/init" "$work/root/init"
chmod +x "$work/root/init"
cp "$here/first.sh" "$work/root/first.sh"
(cd "$work/root" && find . | cpio -o -H newc --quiet) >"$work/initramfs"

{
  printf 'cd %q\nexec' "$PWD"
  printf ' %q' "$@"
  echo
} >"$out/command"
echo "$seconds" >"$out/seconds"

share() {  # share PATH TAG OPTION: a folder of the host
  arguments+=(
    -fsdev "local,id=$2,path=${1//,/,,},security_model=none,multidevs=remap$3"
    -device "virtio-9p-pci,fsdev=$2,mount_tag=$2"
  )
}
# A busy host holds an emulated processor up for seconds. The kernel must not take that for a broken
# timer, at which it panics, or for a processor that hangs.
quirks='no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1'
# thread=single: with a thread for each emulated processor the kernel's patching of its own code goes
# wrong now and then ("Oops: int3"), and this costs only a few per cent.
arguments=(
  -machine pc -accel tcg,thread=single -cpu max -smp 2 -m 1536
  -nodefaults -no-user-config -display none -no-reboot
  -kernel "$kernel/vmlinux" -initrd "$work/initramfs"
  -append "console=ttyS0 quiet panic=-1 mitigations=off audit=0 rcupdate.rcu_expedited=1 $quirks"
  -serial "file:$out/console.log"
  -device virtio-serial-pci -chardev "file,id=port,path=$work/port"
  -device virtserialport,chardev=port,name=out
)
share / host ,readonly=on
share "${modules[0]}" modules ,readonly=on
share "$out" out ''

# Through a pipe of our own: qemu closes a port on its standard output when its input ends.
mkfifo "$work/port"
cat "$work/port" &
relay=$!
# setpriv ends timeout when this script is killed, and qemu when timeout is.
setpriv --pdeathsig TERM timeout --foreground -k 5 $((seconds + margin)) \
  setpriv --pdeathsig KILL qemu-system-x86_64 "${arguments[@]}" </dev/null 2>"$work/qemu.err" &
machine=$!
trap 'kill $machine $relay 2>/dev/null || true; wait $machine || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
ended=0
wait $machine || ended=$?
trap 'rm -rf "$work"' EXIT
# If qemu has not even opened the port, nobody else ends the reader.
if [ $ended != 0 ]; then kill $relay 2>/dev/null || true; fi
wait $relay || true

if [ ! -s "$out/status" ]; then
  cat "$work/qemu.err" >&2
  tail -n 20 "$out/console.log" >&2 || true
  die "the machine with $release ended without a status (qemu: $ended)"
fi
exit "$(cat "$out/status")"
