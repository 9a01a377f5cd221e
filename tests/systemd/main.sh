#!/usr/bin/env bash
# Checks the Debian package and its units under a real systemd.
#
#   main.sh PACKAGE
#
# Runs as root inside a machine of machine.sh, which it takes over. Prints a line with PASS or FAIL for
# each check and ends with `systemd: N passed; N failed`. The exit status is 0 if none has failed.
set -u
export LC_ALL=C

package=$1
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
VM_OUT=$MACHINE_OUT
for part in ../vm/ppp/check ../vm/ppp/traffic network service life; do
  # shellcheck source=/dev/null
  . "$here/$part.sh"
done
# This processor is a real one. It may be busy.
patience=60 slowly=20
verdict() { echo "systemd: $passed passed; $failed failed"; }

ip netns attach router 1
build_network router ''
serve
network_state >"$work/before"
named_after_masq >"$work/named"
failed_before=$(failed_units)
note "$(systemctl --version | head -n 1), Linux $(uname -r)"

is_installed
starts_with_a_wrong_file
waits_for_its_line
is_what_it_says
start_flows
must 'a UDP flow that stays' alive_as "$address 41000"
must 'a TCP connection that stays' line_goes_on
commands_work
reloads
restarts
is_killed
hangs
is_upgraded
stops
starts_by_itself
stands_beside_another
goes_for_good
check 'the kernel has not complained' bash -c "! journalctl -k -b | grep -E 'BUG:|Oops|Call Trace'"
verdict
[ $failed = 0 ]
