# Sourced by main.sh: what hosts of the LAN do, as functions that say by their status whether it went
# well, and the checks that are made more than once.

# Seconds for one exchange.
slowly=60

peer_tcp() { lan timeout $slowly nc.openbsd -w $slowly "$@" $server 7001; }
peer_udp() { lan timeout $slowly nc.openbsd -u -W 1 -w $slowly "$@" $server 7002 <<<x; }
upload() { lan timeout $slowly socat -t $slowly - TCP:$server:7003,connect-timeout=$slowly <"$work/blob"; }
download() { lan timeout $slowly nc.openbsd -d -w $slowly $server 7004 | sha256sum; }

udp_echo() {  # one datagram of $1 bytes there and back, unchanged
  head -c "$1" "$work/blob" >"$work/sent"
  lan timeout $slowly bash -c "exec 3<>/dev/udp/$server/7005
    dd bs=$1 count=1 status=none >&3
    dd bs=$1 count=1 status=none <&3" <"$work/sent" >"$work/got"
  cmp "$work/sent" "$work/got"
}

ping_says() {  # ping_says PATTERN ARGUMENT...
  local pattern=$1
  shift
  lan ping -n -W $slowly "$@" >"$work/ping" 2>&1
  grep -q -e "$pattern" "$work/ping" || { cat "$work/ping"; return 1; }
}
online() { lan ping -n -c 1 -W 2 $server; }

refused() {  # a UDP socket hears of the closed port
  lan timeout $slowly bash -c "exec 3<>/dev/udp/$server/7998; echo x >&3; read -r <&3" 2>&1 |
    grep -i refused
}

two_hosts_udp() {  # same source port, same destination: told apart by their external ports
  local a b
  a=$(peer_udp -s 192.168.1.2 -p 40000)
  b=$(peer_udp -s 192.168.77.2 -p 40000)
  [ -n "$a" ] && [ -n "$b" ] && different "$a" "$b"
}
two_hosts_tcp() {
  # Both connections are open at the same time: neither client ends before the other has its answer.
  local first
  until_both() { within $slowly test -s "$work/b"; }
  rm -f "$work/a" "$work/b"
  until_both | lan timeout $slowly nc.openbsd -s 192.168.1.2 -p 40001 $server 7001 >"$work/a" &
  first=$!
  until_both | lan timeout $slowly nc.openbsd -s 192.168.77.2 -p 40001 $server 7001 >"$work/b"
  wait $first
  [ -s "$work/a" ] && [ -s "$work/b" ] && different "$(cat "$work/a")" "$(cat "$work/b")"
}

learnt() { lan ip route get $server | grep "mtu $1"; }
forget_mtu() { lan ip route flush cache; }

# A UDP flow that sends twice a second for ever and writes down what it is seen as, and a TCP
# connection that sends lines and counts what comes back.
start_flows() {
  # Not connected: such a socket hears of no ICMP error, as a game or a tunnel would not care.
  while sleep 0.5; do echo x; done |
    lan socat - UDP4-DATAGRAM:$server:7007,bind=192.168.1.2:41000 >"$work/alive" 2>>"$VM_OUT/flows.log" &
  start_line
}
start_line() {
  : >"$work/line"
  while sleep 0.5; do echo x; done |
    lan socat - TCP:$server:7006,bind=192.168.1.2,connect-timeout=$slowly >"$work/line" 2>>"$VM_OUT/flows.log" &
}
# The UDP flow has an answer that is newer than now and names the endpoint $1 (an address, or also a
# port).
alive_as() {
  local before
  before=$(wc -l <"$work/alive")
  newer() { tail -n "+$((before + 1))" "$work/alive" | grep "^$1"; }
  within $patience newer "$1" || { tail -n 2 "$work/alive"; return 1; }
}
line_goes_on() {
  local before
  before=$(wc -l <"$work/line")
  more() { [ "$(wc -l <"$work/line")" -gt $((before + 1)) ]; }
  within $patience more
}

start_pings() {
  ip netns exec lan ping -n -i 0.2 $server >"$work/pings" 2>&1 &
  pings=$!
}
end_pings() {
  kill -INT "$pings"
  wait "$pings"
}
# All but the last, which may have been on its way when ping was told to end.
none_lost() {
  local sent received
  read -r sent received < <(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) .*/\1 \2/p' "$work/pings")
  [ -n "$sent" ] && [ "$received" -gt 5 ] && [ $((sent - received)) -le 1 ] ||
    { grep transmitted "$work/pings"; cp "$work/pings" "$VM_OUT/pings.log"; return 1; }
}

both_ways() {  # both_ways WHEN: what holds at all times
  check "$1ping" ping_says ' 0% packet loss' -c 3 -i 0.2 $server
  check "$1TCP comes from the address of ppp0" same "$(peer_tcp | cut -d' ' -f1)" "$address"
  check "$1UDP comes from the address of ppp0" same "$(peer_udp | cut -d' ' -f1)" "$address"
  check "$1TCP upload arrives whole" same "$(upload)" "$sum"
  check "$1TCP download arrives whole" same "$(download)" "$sum"
}

nothing_leaked() {  # nothing_leaked WHEN
  check "$1no private address at the ISP" same "$(counted isp private)" 0
  check "$1no packet from an address that ppp0 has lost" same "$(counted isp stale)" 0
}
