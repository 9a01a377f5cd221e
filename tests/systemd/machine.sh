#!/usr/bin/env bash
# Runs one command as root in a machine of namespaces whose process 1 is a real systemd.
#
#   machine.sh SECONDS OUT COMMAND [ARGUMENT...]
#
# The machine sees the file system of this one with a memory disk laid over it, so that every tool and
# every program that was just built is there under its usual path, and nothing that the command installs
# or changes reaches the host. What systemd starts there is what the distribution's packages have it
# start, and nothing of what this machine's administrator has enabled. It has no network device but lo.
# It runs on the kernel of the host: sysctls that are not those of its network are read-only.
#
# MACHINE_ROOT names another root than /, such as one made by mmdebstrap, for another systemd.
#
# Exit status: that of the command; 124 if it was not done after SECONDS, 125 if the machine did not
# start. In the command, $MACHINE_OUT is the folder OUT; the machine's journal is left there too. Of other
# file systems than the root's only the folder that this is called in is there, read-only. The machine
# ends with this script, however that ends.
#
# It does not know what it runs. first.sh is what happens inside before systemd.
set -euo pipefail
export LC_ALL=C.UTF-8

die() {
  echo "machine.sh: $*" >&2
  exit 125
}
[ $# -ge 3 ] || die 'see the head of this file for its arguments'
[ "$(id -u)" = 0 ] || die 'only root can make such a machine'
# In a mount namespace of its own, which takes all mounts along when this script ends.
if [ -z "${MACHINE_MOUNTS:-}" ]; then
  MACHINE_MOUNTS=own exec unshare --mount --propagation private "$0" "$@"
fi
seconds=$1 out=$2
shift 2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
root=$(realpath "${MACHINE_ROOT:-/}")
[ -x "$root/lib/systemd/systemd" ] || die "there is no systemd in $root (package systemd)"
mkdir -p "$out"
out=$(realpath "$out")

work=$(mktemp -d)
# Of all mounts this goes first and comes away last: whatever else is mounted, is so in it.
mount -t tmpfs -o mode=755 machine "$work"
mkdir "$work"/{cgroup,upper,work,root}
mount -t cgroup2 cgroup2 "$work/cgroup" || die 'this kernel has no cgroup2'
group=$work/cgroup/machine-$(basename "$work")
mkdir "$group"

init='' machine=''
clear_away() {
  # Whatever fails, the rest is cleared away too.
  set +e
  # With process 1 of a process namespace all others in it end.
  if [ -n "$init" ]; then kill -KILL "$init" 2>/dev/null || true; fi
  if [ -n "$machine" ]; then wait "$machine" 2>/dev/null || true; fi
  local tries
  for tries in {1..50}; do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$group" ] || break
    sleep 0.1
  done
  umount -l "$work"
  rmdir "$work"
}
trap clear_away EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# setpriv ends unshare when this script is killed, and unshare what it has started. The shell in
# between is what gets into the group, before that becomes the top of what systemd sees.
(
  echo $BASHPID >"$group/cgroup.procs"
  exec setpriv --pdeathsig KILL unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup \
    bash "$here/first.sh" "$root" "$work" "$out"
) </dev/null >"$out/first.log" 2>&1 &
machine=$!

inside() { nsenter --target "$init" --all "$@"; }
# Process 1 of the machine, as this one numbers it, once systemd has got to work there.
for _ in {1..600}; do
  [ -d /proc/$machine ] || break
  init=$(tr -d ' ' <"/proc/$machine/task/$machine/children" 2>/dev/null) || true
  state=$([ -z "$init" ] || inside systemctl is-system-running 2>/dev/null) || true
  case $state in running | degraded) break ;; esac
  sleep 0.1
done
case ${state:-} in
  running | degraded) ;;
  *)
    cat "$out/first.log" >&2
    die "systemd did not get up${state:+ (it is $state)}"
    ;;
esac

status=0
# The folder that this is called in is another one there.
# shellcheck disable=SC2016  # the shell inside puts the variables in
# In a session of its own, so that what it does to its group of processes is done to nobody else.
timeout -k 5 "$seconds" nsenter --target "$init" --all setsid --wait \
  env -i HOME=/root TERM=dumb LC_ALL=$LC_ALL PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  MACHINE_OUT=/run/machine bash -c 'cd "$0" && exec "$@"' "$PWD" "$@" </dev/null &
# Behind a wait, so that a signal does not have to wait.
wait $! || status=$?
inside journalctl --no-pager --output=short-precise >"$out/journal.log" 2>&1 || true
exit $status
