# Sourced by main.sh: what happens to the service from its installation to the purge, one function each,
# in this order. $config is in force and the service runs unless a function says otherwise.

is_installed() {
  check 'install: dpkg takes the package' dpkg --install "$package"
  check 'install: nothing is started' has ActiveState inactive
  check 'install: nothing is enabled' has UnitFileState disabled
  check 'verify: systemd finds no fault with the units' verified
  check 'security: exposed little' exposure_below 30
}
# It is to say nothing at all.
verified() {
  local said
  said=$(systemd-analyze verify --man=no masq.service masq@second.service 2>&1) && [ -z "$said" ] || { echo "$said"; return 1; }
}
# In tenths: 0 is best, 100 is worst, a service without any sandbox has some 96.
exposure_below() { systemd-analyze security --no-pager --threshold="$1" $unit | tail -n 1; [ "${PIPESTATUS[0]}" = 0 ]; }

# The service does not run, before and after.
starts_with_a_wrong_file() {
  mark
  check 'sample: names no interface, so it does not start' fails systemctl start masq
  check 'sample: the journal says why' journal_says 'lan'
  write_config 'udp-timeout = "soon"'
  mark
  check 'wrong file: it does not start' fails systemctl start masq
  check 'wrong file: the journal says where' journal_says "$config:4"
  check 'wrong file: it is an error there' journal_has 3
  check 'wrong file: systemd does not try again' has ActiveState failed
  check 'wrong file: nor has it' has NRestarts 0
  check 'wrong file: nothing is left' nothing_is_left
}

waits_for_its_line() {
  write_config
  # A sign of life is asked for more often than in the unit, so as not to wait for a minute.
  check 'watchdog: a minute in the unit' has WatchdogUSec 1min
  mkdir -p /run/systemd/system/$unit.d
  printf '[Service]\nWatchdogSec=%s\n' $watchdog >/run/systemd/system/$unit.d/watchdog.conf
  systemctl daemon-reload
  systemctl start --no-block masq
  check 'start: it is not active before it is ready' within $patience loading
  check 'start: it becomes active without an address' within $patience has ActiveState active
  check 'start: the status says what is missing' within $patience status_says 'waiting for an address on wan0'
  line_comes_up router
  check 'start: the status says that it is ready' within $patience status_says '^ready: lan lan0.*203.0.113.5'
  check 'start: the journal says ready' within $patience journal_says '\bready\b'
  check 'stop: without a session' systemctl stop masq
  line_goes_down router
  check 'stop: nothing is left' nothing_is_left
  line_comes_up router
  network_state >"$work/before"
  mark
  must 'start: with everything there' systemctl start masq
  check 'start: it answers at once' masq stats
  check 'start: it translates at once' online
  check 'start: TCP comes from the address of wan0' same "$(peer_tcp | cut -d' ' -f1)" $address
  check 'start: the journal notes time and level itself' journal_says '^metrics are at '
  check 'start: no warning in the journal' fails journal_has 4
}
loading() { [ "$(property ActiveState)" = activating ] && status_says loading; }

# With the capabilities that the documents name, and no others.
is_what_it_says() {
  local four
  four=$(mask CAP_BPF CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON)
  for set in CapPrm CapEff CapBnd; do check "rights: $set is what is documented" process_has $set "$four"; done
  check 'rights: none to hand on' process_has CapAmb 0000000000000000
  check 'rights: no new ones' process_has NoNewPrivs 1
  check 'rights: system calls are filtered' process_has Seccomp 2
  check 'rights: the file system is read-only' fails inside_service touch /etc/masq/x /usr/x /var/x
  check 'rights: no devices' fails inside_service test -e /dev/kmsg
  check 'rights: the maps are in the bpffs of the machine' test -d /sys/fs/bpf/masq/masq/maps
}
inside_service() { nsenter --target "$(pid)" --mount "$@"; }

commands_work() {
  check 'masq check: nothing fatal' masq check
  check 'masq check: no warning' masq check --strict
  check 'masq sessions: both flows are told' [ "$(sessions)" -ge 2 ]
  check 'masq stats' masq stats
  check 'masq hosts' bash -c 'masq hosts | grep 192.168.1.2'
  check 'masq instances' bash -c 'masq instances | grep masq'
  check 'metrics' bash -c 'exec 3<>/dev/tcp/127.0.0.1/9469; printf "GET /metrics HTTP/1.0\r\n\r\n" >&3; grep ^masq_ <&3'
  # Each ends by itself, with what they have been started for.
  (masq events --json --count 1 --inside 192.168.1.2 --protocol tcp >"$work/events") 2>&1 &
  local events=$!
  within $patience grep -q listening "$work/events"
  peer_tcp >/dev/null
  check 'masq events: a connection is told' wait $events
  check 'masq events: it is the one' grep -q '"opened"' "$work/events"
  check 'masq trace: packets of the flow' timeout $patience masq trace 192.168.1.2:41000 --count 4
  check 'masq trace: the flow goes on' alive_as "$address 41000"
}

flows_go_on() {  # flows_go_on WHEN
  check "$1the UDP flow keeps its endpoint" alive_as "$address 41000"
  check "$1the TCP connection goes on" line_goes_on
  check "$1the sessions are told" same "$(masq sessions --json --inside 192.168.1.2:41000 | grep -c '"inside":')" 1
}

reloads() {
  local before
  before=$(pid)
  write_config 'udp-timeout = "7m"'
  mark
  check 'reload: succeeds' systemctl reload masq
  check 'reload: the journal says what has changed' journal_says 'udp-timeout'
  check 'reload: it is no warning' fails journal_has 4
  check 'reload: it is in force' expires_within 420
  write_config 'udp-timeout = "soon"'
  mark
  check 'reload: a wrong file fails' fails systemctl reload masq
  check 'reload: the journal says where' journal_says "$config:4"
  check 'reload: the service is active' has ActiveState active
  check 'reload: what was in force is' expires_within 420
  check 'reload: the process is the same' same "$(pid)" "$before"
  write_config 'udp-timeout = "7m"'
  flows_go_on 'reload: '
}
# The UDP session has more to live than by the default, but not more than this.
expires_within() {
  local left
  left=$(masq sessions --json --inside 192.168.1.2:41000 | grep -o '"remaining_ms": *[0-9]*' | grep -o '[0-9]*$')
  # A packet that comes between the look at the clock and that at the session lengthens it.
  [ "${left:-0}" -gt $((($1 - 100) * 1000)) ] && [ "$left" -le $(($1 * 1000 + 5000)) ] || { echo "in ${left:-no} ms"; return 1; }
}

restarts() {
  local before
  before=$(pid)
  start_pings
  mark
  check 'restart: succeeds' systemctl restart masq
  end_pings
  check 'restart: another process' different "$(pid)" "$before"
  check 'restart: no ping was lost' none_lost
  check 'restart: the sessions were taken over' journal_says 'taken over from an earlier masq, with [1-9]'
  flows_go_on 'restart: '

  mark
  check 'SIGUSR2: is sent' systemctl kill --kill-whom=main -s USR2 masq
  check 'SIGUSR2: the service ends, and it is no failure' within $patience has ActiveState inactive
  check 'SIGUSR2: translated on' online
  check 'SIGUSR2: a start' systemctl start masq
  check 'SIGUSR2: the sessions were taken over' journal_says 'taken over from an earlier masq, with [1-9]'
  flows_go_on 'SIGUSR2: '
}

is_killed() {
  local before
  before=$(pid)
  start_pings
  mark
  check 'SIGKILL: is sent' systemctl kill --kill-whom=main -s KILL masq
  check 'SIGKILL: systemd starts the next' within $patience another_pid_than "$before"
  end_pings
  check 'SIGKILL: no ping was lost' none_lost
  check 'SIGKILL: the sessions were taken over' journal_says 'taken over from an earlier masq, with [1-9]'
  flows_go_on 'SIGKILL: '
}

hangs() {
  local before
  before=$(pid)
  must 'SIGSTOP: there is a process to stop' test "$before" -gt 1
  start_pings
  mark
  kill -STOP "$before"
  check 'SIGSTOP: the watchdog has another started' within $((watchdog + patience)) another_pid_than "$before"
  end_pings
  check 'SIGSTOP: it was the watchdog' journal_says 'Watchdog timeout'
  check 'SIGSTOP: no ping was lost' none_lost
  check 'SIGSTOP: the sessions were taken over' journal_says 'taken over from an earlier masq, with [1-9]'
  flows_go_on 'SIGSTOP: '
  # It is not the watchdog of a daemon that is well.
  before=$(pid)
  sleep $((watchdog + 1))
  check 'watchdog: leaves alone what is well' same "$(pid)" "$before"
}

is_upgraded() {
  local before
  before=$(pid)
  newer_package "$package" >/dev/null
  start_pings
  mark
  check 'upgrade: dpkg takes the newer package' dpkg --install "$work/newer.deb"
  end_pings
  check 'upgrade: no ping was lost' none_lost
  check 'upgrade: another process' different "$(pid)" "$before"
  check 'upgrade: it runs what was installed' same "$(readlink "/proc/$(pid)/exe")" /usr/bin/masq
  check 'upgrade: the sessions were taken over' journal_says 'taken over from an earlier masq, with [1-9]'
  check 'upgrade: the configuration is kept' grep -q 7m $config
  flows_go_on 'upgrade: '
}

# The service does not run afterwards.
stops() {
  mark
  check 'stop: succeeds' systemctl stop masq
  check 'stop: it is no failure' has ActiveState inactive
  check 'stop: nothing is left' nothing_is_left
  systemctl start masq
  check 'masq stop: is a stop' masq stop --instance masq
  check 'masq stop: stays so' within $patience has ActiveState inactive
  check 'masq stop: nothing is left' nothing_is_left
}

# As at boot.
starts_by_itself() {
  check 'enable: succeeds' systemctl enable masq
  systemctl start multi-user.target
  check 'enable: the target starts it' within $patience has ActiveState active
  check 'enable: it translates' within $patience online
}

# Another instance in another network namespace, with its own file, by the other unit.
stands_beside_another() {
  local other=masq@second.service
  ip netns add customer
  build_network customer 2
  line_comes_up customer
  # In the drivers, too. XDP on a veth sees nothing of what a sender has left to its device, and reaches
  # no peer that does not poll.
  for end in lan2 isp2; do ip netns exec $end ethtool -K eth0 tx off gro on >/dev/null; done
  printf '%s\n' 'lan = ["lan0"]' 'wan = ["wan0"]' 'mode = "xdp"' >/etc/masq/second.toml
  mkdir -p /etc/systemd/system/$other.d
  printf '[Service]\nNetworkNamespacePath=/run/netns/customer\n' >/etc/systemd/system/$other.d/override.conf
  systemctl daemon-reload
  mark
  check 'another: starts' systemctl enable --now $other
  check 'another: translates' within $patience ip netns exec lan2 ping -n -c 1 -W 2 $server
  check 'another: in the drivers' bash -c 'masq stats --instance second | grep "lan0.*in the driver\|lan0.*xdp"'
  check 'another: reloads' systemctl reload $other
  local before
  before=$(pid $other)
  check 'another: restarts' systemctl restart $other
  check 'another: another process' different "$(pid $other)" "$before"
  journal $other >"$work/other"
  journal_has 4 $other >"$work/warnings" || true
  check 'another: the journal knows it for a warning' grep -q ' is a veth: ' "$work/warnings"
  check 'another: no complaint in the journal but of the veths' fails complaints
  check 'another: the sessions were taken over' grep -q 'taken over from an earlier masq, with [1-9]' "$work/other"
  check 'another: both are told' bash -c 'masq instances | grep -w masq && masq instances | grep -w second'
  check 'another: the first goes on' online
  # Without a daemon, as when it has failed: its removal is the package's task.
  check 'another: fails' bash -c "echo nonsense >/etc/masq/second.toml; ! systemctl restart $other"
  check 'another: is translated on' ip netns exec lan2 ping -n -c 1 -W 2 $server
}

complaints() { grep -v ' is a veth: ' "$work/warnings"; }

goes_for_good() {
  check 'purge: apt succeeds' apt-get purge --yes masq
  check 'purge: nothing of the network is left' nothing_is_left
  check 'purge: forwarding is off in the namespace of the other' same \
    "$(ip netns exec customer sysctl -n net.ipv4.ip_forward)" 0
  check 'purge: nor does the other translate' fails ip netns exec lan2 ping -n -c 1 -W 2 $server
  check 'purge: nor a process' fails grep -sx masq /proc/[0-9]*/comm
  check 'purge: nor a unit' same "$(systemctl list-units --all --no-legend --plain 'masq*' | awk '$2 != "not-found"')" ''
  rm -r /etc/systemd/system/masq@second.service.d /run/systemd/system/$unit.d
  named_after_masq >"$work/named-after"
  check 'purge: nor a file' diff "$work/named" "$work/named-after"
  check 'purge: no other unit has failed than before' same "$(failed_units)" "$failed_before"
}
