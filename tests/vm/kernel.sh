#!/usr/bin/env bash
# Debian's kernels for machine.sh: what there is, and one of them unpacked.
#
#   kernel.sh update STORE          fetches the package lists, if they are older than some hours
#   kernel.sh list STORE            a line for each kernel: release, size of the download
#   kernel.sh get STORE KERNEL      prints the folder of KERNEL on the last line
#
# KERNEL is a release (6.1.0-56-amd64), or the start of one (6.12), which stands for the newest that
# begins so, or `newest`. STORE is a folder for package lists and kernels. Nothing is installed, and
# apt's own configuration and lists are left alone: those in STORE are of the archives below.
#
# It does not start anything, and it keeps what a network needs: no graphics, no sound, no disks.
set -euo pipefail
export LC_ALL=C.UTF-8

# Each archive adds kernels; those of stable releases alone would be 6.1 and 6.12.
suites=(bookworm bookworm-security trixie trixie-security trixie-backports sid)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# A release leaves the archives when the next one comes, so lists do not keep for long.
list_age_minutes=360

# What is not unpacked. Folders of drivers that neither a network nor the machine's devices have.
unwanted=(
  'usr/share' 'kernel/sound' 'kernel/drivers/gpu' 'kernel/drivers/media' 'kernel/drivers/staging'
  'kernel/drivers/infiniband' 'kernel/drivers/iio' 'kernel/drivers/scsi' 'kernel/drivers/usb'
  'kernel/drivers/net/ethernet' 'kernel/drivers/net/wireless' 'kernel/drivers/net/wan'
  'kernel/drivers/net/usb' 'kernel/drivers/net/can' 'kernel/drivers/net/dsa'
  'kernel/drivers/net/phy' 'kernel/drivers/hwmon' 'kernel/drivers/input' 'kernel/drivers/hid'
  'kernel/drivers/platform' 'kernel/drivers/mtd' 'kernel/drivers/md' 'kernel/drivers/ata'
  'kernel/drivers/i2c' 'kernel/drivers/accel' 'kernel/drivers/bluetooth' 'kernel/drivers/video'
  'kernel/drivers/crypto' 'kernel/drivers/edac' 'kernel/drivers/nvme' 'kernel/drivers/target'
  'kernel/fs/btrfs' 'kernel/fs/xfs' 'kernel/fs/ocfs2' 'kernel/fs/gfs2' 'kernel/fs/ceph'
  'kernel/fs/smb' 'kernel/fs/nfs' 'kernel/fs/nfsd' 'kernel/fs/f2fs' 'kernel/fs/bcachefs'
)

die() {
  echo "kernel.sh: $*" >&2
  exit 1
}

lists() {  # apt with a configuration of its own in $store
  mkdir -p "$store"/apt/lists/partial "$store"/apt/archives/partial
  local suite host=http://deb.debian.org about="signed-by=$keyring target=Packages"
  for suite in "${suites[@]}"; do
    case $suite in
      *-security) echo "deb [$about] $host/debian-security $suite main" ;;
      *) echo "deb [$about] $host/debian $suite main" ;;
    esac
  done >"$store/apt/sources.list.new"
  cat >"$store/apt/apt.conf" <<CONF
Dir::Etc::SourceList "$store/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$store/apt/lists";
Dir::Cache "$store/apt";
Acquire::Languages "none";
APT::Sandbox::User "root";
CONF
  export APT_CONFIG=$store/apt/apt.conf
  if cmp -s "$store/apt/sources.list.new" "$store/apt/sources.list" && [ -s "$store/apt/kernels" ] &&
    [ -n "$(find "$store/apt/updated" -mmin "-$list_age_minutes" 2>/dev/null)" ]; then
    return
  fi
  mv "$store/apt/sources.list.new" "$store/apt/sources.list"
  apt-get update >&2 || die 'the package lists cannot be fetched; is there a way to deb.debian.org?'
  index
  touch "$store/apt/updated"
}

# Writes release and size of each kernel that can be had whole to $store/apt/kernels, oldest first. Of
# older ones some archives still have the image package, and no longer what that depends on.
index() {
  local names
  mapfile -t names < <(apt-cache pkgnames linux- |
    grep -E '^linux-(image|base|binary|modules)-[0-9]+\.[0-9]+\.[0-9]+[^ ]*-amd64$' |
    grep -vE -- '-(cloud|rt)-')
  apt-cache show --no-all-versions "${names[@]}" | awk '
    function part(name) { sub(/^linux-(image|base|binary|modules)-/, "", name); return name }
    /^Package:/ { package = $2; have[package] = 1 }
    /^Package: linux-image-/ { images[part(package)] = 1 }
    /^Size:/ { size[part(package)] += $2 }
    /^Depends:/ && package ~ /^linux-image-/ {
      for (i = 2; i <= NF; i++)
        if ($i ~ /^linux-(base|binary|modules)-[0-9]/) needs[part(package)] = needs[part(package)] " " $i
    }
    END {
      for (release in images) {
        whole = 1
        count = split(needs[release], names, " ")
        for (i = 1; i <= count; i++) if (!(names[i] in have)) whole = 0
        if (whole) print release, size[release]
      }
    }' | sort -V >"$store/apt/kernels.new"
  [ -s "$store/apt/kernels.new" ] || die 'there is no kernel in the package lists'
  mv "$store/apt/kernels.new" "$store/apt/kernels"
}

releases() {  # the releases that begin with $1 (6.1 is not the start of 6.12), oldest first
  awk -v start="$1" '$1 == start || start == "newest" || index($1, start ".") == 1 { print $1 }' "$store/apt/kernels"
}

packages_of() {
  echo "linux-image-$1"
  # From 6.19 on that is empty, and what it depends on has the kernel; of later ones (7.3, and 7.2 of sid) a
  # third package has the list of what is built in.
  apt-cache show --no-all-versions "linux-image-$1" | sed -n 's/^Depends: //p' |
    grep -oE 'linux-(base|binary|modules)-[0-9][^ ,(]*' | sort -u || true
}

list() { awk '{ printf "%-32s %4.0f MB\n", $1, $2 / 1e6 }' "$store/apt/kernels"; }

get() {
  local release folder package
  release=$(releases "$1" | tail -n 1)
  [ -n "$release" ] || die "Debian has no kernel $1 now; cargo xtask vm --list prints those that it has"
  folder=$store/$release
  if ! is_whole "$folder" "$release"; then
    rm -rf "$store/new" "$folder"
    mkdir -p "$store/new/debs" "$store/new/root"
    trap 'rm -rf "$store/new"' EXIT
    for package in $(packages_of "$release"); do
      echo "downloading $package"
      (cd "$store/new/debs" && apt-get -qq download "$package") || die "no download of $package"
    done
    for package in "$store"/new/debs/*.deb; do
      echo "unpacking $(basename "$package")"
      dpkg-deb --fsys-tarfile "$package" |
        tar -x -C "$store/new/root" "${unwanted[@]/#/--exclude=*/}"
    done
    settle "$store/new/root" "$release"
    mv "$store/new/root" "$folder"
  fi
  echo "$folder"
}

# Without the list of what is built in, modprobe takes that for missing.
is_whole() { [ -s "$1/lib/modules/$2/modules.builtin" ]; }

settle() {  # gives the files in $1 of release $2 their usual places, and unpacks the image
  local root=$1 release=$2 image
  # Where packages have all of their files in /usr.
  if [ -d "$root/usr/lib/modules" ]; then
    mkdir -p "$root/lib"
    mv "$root/usr/lib/modules" "$root/lib/modules"
  fi
  [ -d "$root/lib/modules/$release/kernel" ] || die "the packages of $release have no modules"
  is_whole "$root" "$release" || die "the packages of $release have no modules.builtin"
  depmod -b "$root" "$release"
  for image in "$root/boot/vmlinuz-$release" "$root/lib/modules/$release/vmlinuz" ''; do
    if [ -e "$image" ]; then break; fi
  done
  [ -n "$image" ] || die "the packages of $release have no kernel image"
  # An emulated processor takes seconds to unpack it; here it is done once.
  unpack "$image" "$root/vmlinux" '\xFD7zXZ\0' xz -dc ||
    unpack "$image" "$root/vmlinux" '\x28\xB5\x2F\xFD' zstd -dqc ||
    cp "$image" "$root/vmlinux"
}

unpack() {  # unpack IMAGE RESULT MAGIC COMMAND...: fails if IMAGE has no such stream
  local image=$1 result=$2 magic=$3 offset
  shift 3
  for offset in $(LC_ALL=C grep -abo -P "$magic" "$image" | cut -d: -f1); do
    # The unpacker complains about what follows the stream; the result is right if it is an ELF file.
    tail -c "+$((offset + 1))" "$image" | "$@" >"$result" 2>/dev/null || true
    if [ "$(head -c 4 "$result" | tr -d '\0')" = $'\x7fELF' ]; then return 0; fi
  done
  rm -f "$result"
  return 1
}

[ $# -ge 2 ] || die 'see the head of this file for its arguments'
mkdir -p "$2"
store=$(realpath "$2")
lists
case $1 in
  update) ;;
  list) list ;;
  get) get "${3:?which kernel}" ;;
  *) die "no such task: $1" ;;
esac
