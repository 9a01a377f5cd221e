# Sourced by main.sh: a router, which is the machine itself, between a LAN host and a server, and counters.
#
#   lan                          router                               isp
#   192.168.1.2/24  eth0 ------- lan0 192.168.1.1/24
#                                wan0 203.0.113.5/24 ---------- eth0  203.0.113.1/24
#                                                                     198.51.100.1 (server)
#
# The same is built once more around a namespace `customer`: names of namespaces then end in 2. The
# server has no way back to private addresses: whatever is answered was translated.

server=198.51.100.1
address=203.0.113.5

lan() { ip netns exec lan "$@"; }
isp() { ip netns exec isp "$@"; }

build_network() {  # build_network ROUTER SUFFIX
  local router=$1 lan=lan$2 isp=isp$2 namespace
  for namespace in "$lan" "$isp"; do
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
  done
  ip link add lan0 netns "$router" type veth peer name eth0 netns "$lan"
  ip link add wan0 netns "$router" type veth peer name eth0 netns "$isp"
  ip -n "$lan" address add 192.168.1.2/24 dev eth0
  ip -n "$isp" address add 203.0.113.1/24 dev eth0
  ip -n "$isp" address add $server/32 dev lo
  ip -n "$router" address add 192.168.1.1/24 dev lan0
  ip -n "$lan" link set eth0 up
  ip -n "$isp" link set eth0 up
  for namespace in lan0 wan0; do ip -n "$router" link set $namespace up; done
  ip -n "$lan" route add default via 192.168.1.1
  for namespace in lan0 wan0; do within 10 has_line "$router" $namespace; done
}
# The kernel says so a moment after both ends are up.
has_line() { ip -n "$1" link show "$2" | grep 'state UP'; }

line_comes_up() {  # line_comes_up ROUTER: the WAN gets its address
  ip -n "$1" address add $address/24 dev wan0
  ip -n "$1" route add default via 203.0.113.1
}
line_goes_down() { ip -n "$1" address flush dev wan0; }

# Who I am (TCP, UDP), and an echo.
serve() {
  # shellcheck disable=SC2016  # socat's shell puts the variables in
  {
    listen TCP-LISTEN:7001 'SYSTEM:echo $SOCAT_PEERADDR $SOCAT_PEERPORT'
    listen UDP-RECVFROM:7007 'SYSTEM:echo $SOCAT_PEERADDR $SOCAT_PEERPORT'
  }
  listen TCP-LISTEN:7006 PIPE
}
listen() { isp socat -t 20 "$1,bind=$server,fork,reuseaddr" "$2" 2>>"$MACHINE_OUT/servers.log" & }

# What a gateway could leave behind in the network of the machine: settings, devices and their programs,
# queueing disciplines, features of the cards.
network_state() {
  sysctl -a -r '^net\.ipv4\.(conf|ip_|neigh\..*gc)' 2>/dev/null
  ip -d -o link show
  tc qdisc show
  for device in lan0 wan0; do
    tc filter show dev $device ingress
    tc filter show dev $device egress
    ethtool -k $device
  done 2>/dev/null
}
