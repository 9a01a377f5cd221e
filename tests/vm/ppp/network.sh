# Sourced by main.sh: three namespaces, a PPPoE session between two of them, servers, and counters.
#
#   lan                      router                        isp
#   192.168.1.2/16  eth0 --- lan0 192.168.1.1/16
#   192.168.77.2/16          wan0 ---------- PPPoE ------- acc0
#                            ppp0 203.0.113.x  <-------->  ppp1xx 203.0.113.1
#                            MTU 1492                      198.51.100.1 (server)
#                                                          far0 192.0.2.0/24, MTU 1400
#
# It does not translate: gateway.sh does.
#
# VM_TOPOLOGY says what is below the two interfaces of the router: `plain`, as above; `xdp`, the same,
# made fit for XDP in the drivers of lan0 and wan0; `below`, also fit for it, with a bridge as lan0, whose
# ports are port0 (to the host) and port1 (to nobody), and the session over VLAN 7 of wan0.

server=198.51.100.1
topology=${VM_TOPOLOGY:-plain}
# The devices of the session, at both ends, and those of the router that frames really come in by.
near=wan0 far=acc0 lan_port=lan0
if [ "$topology" = below ]; then
  near=wan0.7 far=acc0.7 lan_port=port0
fi

lan() { ip netns exec lan "$@"; }
router() { ip netns exec router "$@"; }
isp() { ip netns exec isp "$@"; }

wan_address() { ip -n router -4 -o address show dev ppp0 2>/dev/null | sed -n 's/.*inet \([0-9.]*\).*/\1/p'; }
wan_index() { ip -n router -o link show dev ppp0 | cut -d: -f1; }
# Whether ppp0 has an address that is not $1.
has_address_other_than() {
  local now
  now=$(wan_address)
  [ -n "$now" ] && [ "$now" != "$1" ]
}

build_network() {
  local module namespace
  for module in ppp_generic pppoe ppp_async veth dummy 8021q bridge sch_ingress cls_bpf nf_tables nf_nat; do
    modprobe $module || echo "no module $module" >&2
  done
  for namespace in lan router isp; do
    ip netns add $namespace
    ip -n $namespace link set lo up
    # ICMP errors come as often as the checks ask for them. The second is global before 6.13.
    ip netns exec $namespace sysctl -qw net.ipv4.icmp_ratelimit=0
    ip netns exec $namespace sysctl -qw net.ipv4.icmp_msgs_per_sec=10000 2>/dev/null
  done
  # Nor do those for want of a route, of which one flow alone would use up a host's share.
  sysctl -qw net.ipv4.route.error_cost=0
  ip link add eth0 netns lan type veth peer name $lan_port netns router
  ip link add wan0 netns router type veth peer name acc0 netns isp
  if [ "$topology" = below ]; then stand_on_more; fi
  ip -n lan address add 192.168.1.2/16 dev eth0
  ip -n lan address add 192.168.77.2/16 dev eth0
  ip -n lan link set eth0 up
  ip -n lan route add default via 192.168.1.1
  ip -n router address add 192.168.1.1/16 dev lan0
  ip -n router link set lan0 up
  ip -n router link set wan0 up
  ip -n isp link set acc0 up
  ip -n isp address add $server/32 dev lo
  ip -n isp link add far0 mtu 1400 type dummy
  ip -n isp link set far0 up
  ip -n isp route add 192.0.2.0/24 dev far0
  isp sysctl -qw net.ipv4.ip_forward=1
  # The server announces a segment size for 1500 bytes, as one farther away would.
  isp sysctl -qw net.ipv4.route.min_adv_mss=1460
  if [ "$topology" != plain ]; then fit_for_xdp; fi
  watch_both_ends
  serve
}

# A bridge and a VLAN, which carries its priority for the kernel's 6 (interactive).
stand_on_more() {
  # In a namespace of its own: the LAN host would answer there for its addresses.
  ip netns add nowhere
  ip link add port1 netns router type veth peer name nobody netns nowhere
  ip -n nowhere link set nobody up
  ip -n router link add lan0 type bridge
  for port in port0 port1; do ip -n router link set $port master lan0 up; done
  ip -n router link add link wan0 name $near type vlan id 7 egress-qos-map 6:5
  ip -n isp link add link acc0 name $far type vlan id 7
  ip -n router link set wan0 up
  ip -n router link set $near up
  ip -n isp link set acc0 up
  ip -n isp link set $far up
}

# XDP on a veth sees neither what a sender has left to its device, checksums, segments and tags, nor
# does it reach a peer that does not poll. What polls joins segments, in Linux 7.3 also those of a PPPoE
# session, and the ISP's, which is in user space, takes frames as they are on a line and loses others.
fit_for_xdp() {
  ip -n isp link set acc0 gro_max_size 1514
  lan ethtool -K eth0 tx off gro on
  router ethtool -K $lan_port tx off
  isp ethtool -K acc0 tx off gro on txvlan off
} >/dev/null

# Frames that XDP has redirected at a device of the router.
by_xdp() {
  router ethtool -S "$1" | awk '/_xdp_redirect:/ { sum += $2 } END { print sum + 0 }'
}
# Whether echoes go both ways by XDP now.
echoes_by_xdp() {
  local out in
  out=$(by_xdp $lan_port) in=$(by_xdp wan0)
  lan ping -n -c 3 -i 0.2 -W $slowly $server
  [ "$(by_xdp $lan_port)" -gt "$out" ] && [ "$(by_xdp wan0)" -gt "$in" ]
}
tags_off() { router ethtool -k wan0 | sed -n 's/^rx-vlan-offload: //p'; }

# What must never be seen, and what must be if that is to mean anything.
watch_both_ends() {
  isp nft -f - <<'NFT'
table ip watch {
  counter private { }
  counter stale { }
  counter syn { }
  counter wide_syn { }
  set old { type ipv4_addr; }
  chain pre {
    type filter hook prerouting priority -300
    iifname "ppp*" ip saddr != 203.0.113.0/24 counter name private
    iifname "ppp*" ip saddr @old counter name stale
    iifname "ppp*" tcp flags & (syn | ack) == syn counter name syn
    iifname "ppp*" tcp flags & (syn | ack) == syn tcp option maxseg size > 1452 counter name wide_syn
  }
}
NFT
  lan nft -f - <<'NFT'
table ip watch {
  counter stranger { }
  counter straight { }
  counter wide_answer { }
  chain deaf { }
  chain in {
    type filter hook input priority -300
    udp sport 7999 counter name stranger
    ip saddr 203.0.113.1 icmp type echo-request counter name straight
    tcp flags & (syn | ack) == (syn | ack) tcp option maxseg size > 1452 counter name wide_answer
    jump deaf
  }
}
NFT
}

counted() { ip netns exec "$1" nft list counter ip watch "$2" | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
# Whether the LAN host gets no ICMP error that says that a packet is too big.
deaf_to_mtu() {
  lan nft flush chain ip watch deaf
  if [ "$1" = yes ]; then
    lan nft add rule ip watch deaf icmp type destination-unreachable icmp code frag-needed drop
  fi
}

# Who I am (TCP, UDP); the checksum of what was sent; a file; echo (UDP, TCP).
serve() {
  head -c 1000000 /dev/urandom >"$work/blob"
  sum=$(sha256sum <"$work/blob")
  # shellcheck disable=SC2016  # socat's shell puts the variables in
  {
    listen TCP-LISTEN:7001 'SYSTEM:echo $SOCAT_PEERADDR $SOCAT_PEERPORT'
    listen UDP-RECVFROM:7002 'SYSTEM:echo $SOCAT_PEERADDR $SOCAT_PEERPORT'
    # For the flow that stays. socat takes datagrams one at a time and may lose one of two.
    listen UDP-RECVFROM:7007 'SYSTEM:echo $SOCAT_PEERADDR $SOCAT_PEERPORT'
  }
  listen TCP-LISTEN:7003 EXEC:sha256sum
  listen TCP-LISTEN:7004 "EXEC:cat $work/blob"
  listen UDP-LISTEN:7005 PIPE
  listen TCP-LISTEN:7006 PIPE
}
# For as long as the other side may need to answer once the client has said all.
listen() { isp socat -t 60 -b 65536 "$1,bind=$server,fork,reuseaddr" "$2" 2>>"$VM_OUT/servers.log" & }

# The access concentrator: an address of its own for each session. It offers no compression: merely to
# try whether the kernel can, pppd would hold the modules for it, and they are those of the router here,
# whose own pppd turns compression off for PPPoE.
start_isp() {
  printf '%s\n' noauth nodefaultroute noproxyarp noccp 'lcp-restart 1' >/etc/ppp/vm-server
  isp pppoe-server -I $far -C vm -L 203.0.113.1 -R 203.0.113.10 -N 32 -o 100 -u \
    -O /etc/ppp/vm-server >"$VM_OUT/pppoe-server.log" 2>&1
  isp tcpdump -Z root -U -ni acc0 -w "$VM_OUT/acc0.pcap" 2>/dev/null &
}

# pppd with the kernel's PPPoE, which dials again by itself.
dial() {  # dial [OPTION...]
  ip netns exec router pppd plugin pppoe.so $near unit 0 noauth user vm password vm \
    noipdefault defaultroute mtu 1492 mru 1492 persist maxfail 0 holdoff 1 \
    lcp-restart 1 nodetach debug logfile "$VM_OUT/pppd.log" "$@" >/dev/null 2>&1 &
  dialler=$!
}
# The id of the session, in four hexadecimal digits.
session_id() { router awk 'NR == 2 { print tolower(substr($1, 7, 2) substr($1, 5, 2)) }' /proc/net/pppoe; }
has_session_other_than() {
  local now
  now=$(session_id)
  [ -n "$now" ] && [ "$now" != "$1" ]
}
hang_up() {
  kill "$dialler"
  wait "$dialler"
}

# The ISP ends the session.
cut_session() {
  local pid
  for pid in $(ip netns pids isp); do
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = pppd ]; then kill "$pid"; fi
  done
}
# Whatever comes from $1 from now on is wrong.
retire_address() { isp nft add element ip watch old "{ $1 }"; }
