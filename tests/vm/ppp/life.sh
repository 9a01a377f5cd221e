# Sourced by main.sh: what happens to an uplink and to masq in the course of time, one function each.
# All of them leave both as they found them, but for the address; $address is what ppp0 has.

# Whom nobody has asked.
strangers() {
  local line
  line=$(ip -n isp -o route get "$address" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
  isp bash -c "echo x | socat - UDP4-DATAGRAM:$address:41000,bind=$server:7999"
  ip -n isp route add 192.168.1.2 dev "$line"
  check 'stranger: a host inside cannot be pinged by its own address' \
    fails isp ping -n -c 2 -W 2 -I 203.0.113.1 192.168.1.2
  ip -n isp route delete 192.168.1.2
  check 'stranger: nor has the ping arrived' same "$(counted lan straight)" 0
  check 'stranger: a port of somebody else towards a mapping does not get through' \
    same "$(counted lan stranger)" 0
}

# Without the clamp it is the error that tells hosts the size, so both ways are seen to work.
reloads() {
  write_config off
  check 'reload: another option' masq reload
  check 'reload: the UDP flow keeps its endpoint' alive_as "$address 41000"
  check 'reload: the TCP connection goes on' line_goes_on
  forget_mtu
  check 'reload: TCP upload that has to learn the MTU arrives whole' same "$(upload)" "$sum"
  check 'reload: it has learnt 1492' learnt 1492
  check 'reload: connections begin with their own segment size' different "$(counted isp wide_syn)" 0
  echo 'mss-clamp = "rather"' >>"$config"
  check 'reload: a faulty file is refused' fails masq reload
  check 'reload: and changes nothing' alive_as "$address 41000"
  write_config auto
  check 'reload: back' masq reload
}

# The fast path is in the drivers below, or nothing here would show that it works there. Nobody sees
# what it sends but the other end.
in_the_drivers() {  # in_the_drivers WHEN
  local out in
  [ "$topology" != plain ] && [ $gateway = masq ] || return 0
  check "$1XDP: echoes go both ways in the drivers" within $patience echoes_by_xdp
  out=$(by_xdp $lan_port) in=$(by_xdp wan0)
  check "$1XDP: upload" same "$(upload)" "$sum"
  check "$1XDP: download" same "$(download)" "$sum"
  # A file of a megabyte is some 700 packets one way and half as many answers the other.
  check "$1XDP: packets of the LAN were redirected" [ "$(by_xdp $lan_port)" -gt $((out + 400)) ]
  check "$1XDP: packets of the ISP too" [ "$(by_xdp wan0)" -gt $((in + 400)) ]
}

resolved() { masq stats | grep -e "$1" || { masq stats | sed -n '/Interfaces/,/Tables/p'; return 1; }; }
tells_session() { resolved "ppp0 .*xdp: PPPoE session 0x$(session_id) .* on $near, in the driver of wan0"; }
# What masq says of it, and what it has had to change for it.
tells_what_is_below() {
  [ "$topology" != plain ] && [ $gateway = masq ] || return 0
  check 'below: the session is told' tells_session
  if [ "$topology" = below ]; then
    check 'below: the ports of the bridge are told' resolved 'lan0, xdp: bridge, in the driver of port0, port1'
    check 'below: tags stay in the frames' same "$(tags_off)" off
    check 'below: the priority is that of the VLAN' has_priority
  fi
}
# Echoes with a type of service that the VLAN has a priority for, as the ISP gets them: the first by the
# kernel, the others in the driver. It is the router that has taken one off their TTL.
has_priority() {
  lan ping -n -c 8 -i 0.2 -W $slowly -Q 0x10 $server >/dev/null
  within $patience all_have_priority || { tagged | tail -n 8; return 1; }
}
tagged() { tcpdump -nevr "$VM_OUT/acc0.pcap" 2>/dev/null | grep 'tos 0x10, ttl 63'; }
all_have_priority() {
  tagged >"$work/tags"
  [ "$(wc -l <"$work/tags")" -ge 8 ] && lacks 'vlan 7, p [0-46-7]' "$work/tags"
}

# The ISP ends the session; pppd dials again.
redials() {
  local old=$address index
  index=$(wan_index)
  retire_after_cut "$old"
  check 'redial: ppp0 comes back with another address' within $patience has_address_other_than "$old"
  address=$(wan_address)
  note "ppp0 was $old, index $index; is $address, index $(wan_index)"
  check 'redial: and with another index' different "$(wan_index)" "$index"
  check 'redial: the LAN is online again' within $patience online
  check 'redial: the UDP flow has the new address' alive_as "$address "
  both_ways 'redial: '
  in_the_drivers 'redial: '
  nothing_leaked 'redial: '
}

has_session() { ip -n isp -o address show | grep "peer $1/"; }
# Once the session is gone at the ISP, nothing of its address may come.
retire_after_cut() {
  cut_session
  within $patience fails has_session "$1"
  retire_address "$1"
}

# No ppp0 at all for a while.
goes_away() {
  local old=$address
  hang_up
  retire_address "$old"
  check 'gone: ppp0 is not there any more' fails ip -n router link show dev ppp0
  check 'gone: the LAN is told' ping_says 'Net Unreachable' -c 1 192.0.2.9
  if [ $gateway = masq ]; then
    check 'gone: masq goes on' kill -0 "$masq_pid"
    check 'gone: masq answers' masq stats
  fi
  dial
  check 'gone: ppp0 comes back' within $patience has_address_other_than "$old"
  address=$(wan_address)
  check 'gone: the LAN is online again' within $patience online
  check 'gone: the UDP flow has the new address' alive_as "$address "
  both_ways 'gone: '
  nothing_leaked 'gone: '
}

# The same ppp0 over another session, of which no message tells: with `demand` pppd keeps it. (What pppd
# has kept for the next session has the address of the last one, so nothing is said of that here.)
redials_in_place() {
  local index id
  [ "$topology" != plain ] && [ $gateway = masq ] || return 0
  hang_up
  dial demand noipv6 203.0.113.250:203.0.113.1 ipcp-accept-local ipcp-accept-remote
  must 'in place: a session comes with the traffic' within $patience has_session_other_than ''
  must 'in place: the LAN is online' within $patience online
  address=$(wan_address) index=$(wan_index)
  check 'in place: the UDP flow has the address' alive_as "$address "
  in_the_drivers 'in place: '
  for _ in 1 2; do
    id=$(session_id)
    cut_session
    check 'in place, again: another session' within $patience has_session_other_than "$id"
    check 'in place, again: the LAN is online again' within $patience online
    note "session 0x$id was replaced by 0x$(session_id), ppp0 is $(wan_address)"
    check 'in place, again: with the same index' same "$(wan_index)" "$index"
    address=$(wan_address)
    check 'in place, again: the UDP flow goes on' alive_as "$address "
    in_the_drivers 'in place, again: '
    check 'in place, again: the session is told' within $patience tells_session
  done
  hang_up
  dial
  check 'in place: back' within $patience has_address_other_than "$address"
  address=$(wan_address)
  check 'in place, back: the LAN is online again' within $patience online
}

# SIGKILL under traffic, and started again.
is_killed() {
  local endpoint
  start_line
  check 'killed: a TCP connection before' line_goes_on
  endpoint=$(tail -n 1 "$work/alive")
  start_pings
  kill_masq
  check 'killed: the UDP flow goes on without a daemon' alive_as "$endpoint"
  check 'killed: the TCP connection too' line_goes_on
  end_pings
  check 'killed: no ping was lost' none_lost
  # Not with the pings: a veth with XDP has room for 256 frames, and this machine is slow.
  both_ways 'killed: '
  start_pings
  run_masq
  check 'killed: masq is ready again' becomes_ready
  check 'killed: it has taken over' grep -q 'taken over from an earlier masq' "$masq_log"
  check 'killed: the UDP flow has its endpoint' alive_as "$endpoint"
  check 'killed: the TCP connection goes on' line_goes_on
  end_pings
  check 'killed: no ping was lost as the next one took over' none_lost
  both_ways 'killed, again: '
  in_the_drivers 'killed, again: '
  nothing_leaked 'killed: '
}

# Another address and another index while nobody looks: nothing may leave untranslated.
redials_without_masq() {
  local old=$address
  kill_masq
  retire_after_cut "$old"
  check 'redial without masq: ppp0 comes back' within $patience has_address_other_than "$old"
  address=$(wan_address)
  check 'redial without masq: the LAN waits' fails online
  nothing_leaked 'redial without masq: '
  run_masq
  check 'redial without masq: masq is ready again' becomes_ready
  check 'redial without masq: the LAN is online again' within $patience online
  check 'redial without masq: the UDP flow has the new address' alive_as "$address "
  both_ways 'redial without masq: '
  nothing_leaked 'redial without masq, afterwards: '
}

# The next one starts while there is no ppp0: the program stays in the driver of the port, where it is wanted
# again at the next redial. (What is pinned anew is another file.)
fast_link() { find /sys/fs/bpf/masq -name "fast-$(router cat /sys/class/net/wan0/ifindex)" -printf '%i\n' | grep .; }
has_taken_over() { grep -q 'taken over from an earlier masq' "$masq_log"; }
is_taken_over_while_away() {
  local old=$address link
  [ "$topology" != plain ] || return 0
  link=$(fast_link)
  check 'away: the program is in the driver before' [ -n "$link" ]
  hang_up
  retire_address "$old"
  check 'away: and stays there' same "$(fast_link)" "$link"
  kill_masq
  echo 'wait-interfaces = true' >>"$config"
  run_masq
  check 'away: the next one takes over' within $start_patience has_taken_over
  check 'away: and leaves the program in the driver' same "$(fast_link)" "$link"
  dial
  check 'away: ppp0 comes back' within $patience has_address_other_than "$old"
  address=$(wan_address)
  check 'away: the LAN is online again' within $patience online
  check 'away: by the same program in the driver' same "$(fast_link)" "$link"
  check 'away: the UDP flow has the new address' alive_as "$address "
  in_the_drivers 'away: '
  nothing_leaked 'away: '
}

pinned() { find /sys/fs/bpf/masq -type f | grep .; }
ends() {
  local status
  stop_masq
  status=$?
  check 'stop: with exit code 0' same $status 0
  check 'stop: nothing is forwarded any more' same "$(router cat /proc/sys/net/ipv4/ip_forward)" 0
  check 'stop: no filter is left on ppp0' lacks bpf <(tc -n router filter show dev ppp0 egress 2>/dev/null)
  check 'stop: nothing is pinned' fails pinned
  if [ "$topology" = below ]; then
    check 'stop: the device may take tags off again' same "$(tags_off)" on
  fi
  nothing_leaked 'stop: '
}
