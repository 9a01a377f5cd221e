# Sourced by main.sh: the service and its manager, as functions that say by their status whether what they
# ask for holds.

unit=masq.service
config=/etc/masq/masq.toml
# Seconds that systemd waits for a sign of life here; in the unit it is a minute.
watchdog=6

property() { systemctl show --value -p "$1" "${2:-$unit}"; }
has() { same "$(property "$1" "${3:-}")" "$2"; }  # has PROPERTY VALUE [UNIT]
pid() { property MainPID "$@"; }
status_says() { property StatusText | grep -e "$1" || { property StatusText; return 1; }; }
sessions() { masq sessions --json | grep -o '"inside":' | wc -l; }
another_pid_than() {
  local now
  now=$(pid)
  [ "$now" != 0 ] && [ "$now" != "$1" ] && [ "$(property ActiveState)" = active ]
}

failed_units() { systemctl list-units --failed --plain --no-legend | cut -d' ' -f1; }

# From here on the journal is new.
mark() {
  journalctl --sync
  cursor=$(journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p')
}
journal() {
  journalctl --sync
  journalctl --no-pager --quiet -o cat --after-cursor "$cursor" -u "${1:-$unit}" "${@:2}"
}
journal_says() { journal | grep -e "$1" || { journal; return 1; }; }
# What masq itself has said in the unit $2 that is as grave as that, by number. Not by journalctl -p: after a
# cursor it leaves out the first line that it finds, which here may be the only one.
journal_has() { journal "${2:-$unit}" -o json | grep '"SYSLOG_IDENTIFIER":"masq"' | grep "\"PRIORITY\":\"[0-$1]\""; }

write_config() {  # write_config [LINE...]
  printf '%s\n' 'lan = ["lan0"]' 'wan = ["wan0"]' 'metrics = "127.0.0.1:9469"' "$@" >$config
}

# What is to be there when nothing of masq is. The folder is kept for other instances.
nothing_is_left() {
  network_state >"$work/after"
  diff "$work/before" "$work/after" || return 1
  [ ! -e /sys/fs/bpf/masq ] || { find /sys/fs/bpf/masq; return 1; }
  [ -z "$(ls -A /run/masq 2>/dev/null)" ] || { ls -lA /run/masq; return 1; }
  fails online
}

# A capability by its name, as the bit of its number (linux/capability.h).
declare -A number=([CAP_NET_ADMIN]=12 [CAP_NET_RAW]=13 [CAP_PERFMON]=38 [CAP_BPF]=39)
mask() {
  local name sum=0
  for name in "$@"; do sum=$((sum | 1 << ${number[$name]})); done
  printf '%016x' $sum
}
process_has() { grep -P "^$1:\t$2\$" "/proc/$(pid)/status" || { grep -P "^$1:" "/proc/$(pid)/status"; return 1; }; }

# The package under another, newer number, made of $1.
newer_package() {
  dpkg-deb --raw-extract "$1" "$work/newer"
  sed -i 's/^Version: .*/&+newer/' "$work/newer/DEBIAN/control"
  dpkg-deb --root-owner-group -Znone --build "$work/newer" "$work/newer.deb"
}

# Files that bear the name, but for those that dpkg and apt keep about every package and its past.
named_after_masq() {
  find /etc /usr /var /lib/systemd /run /sys/fs/bpf -xdev -iname '*masq*' \
    -not -path '/var/log/*' -not -path '/var/lib/apt/*' -not -path '/run/machine/*' | sort
}
