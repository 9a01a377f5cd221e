#!/usr/bin/env bash
# Checks masq on a real PPPoE uplink: ppp0 with MTU 1492, that comes and goes and gets other addresses.
#
# Runs as root inside a machine of machine.sh, which it takes over (namespaces lan, router, isp, files
# in /etc/ppp). MASQ_BIN names the program; with MASQ_TEST_GATEWAY=nftables the kernel's masquerade
# takes its place, without the checks that only a daemon can pass. VM_TOPOLOGY says what the interfaces
# stand on (network.sh), and whether the fast path is to be in the drivers below.
#
# Prints a line with PASS or FAIL for each check and ends with `ppp: N passed; N failed`. The exit
# status is 0 if none has failed. Logs and what the ISP has captured go to $VM_OUT.
set -u
export LC_ALL=C

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
rm -f "$VM_OUT"/{masq,masq-before,pppd,pppoe-server,servers,flows}.log
for part in check network gateway traffic life; do
  # shellcheck source=/dev/null
  . "$here/$part.sh"
done

build_network
start_isp
dial
must 'ppp0 comes up' within $patience has_address_other_than ''
address=$(wan_address)
note "$(uname -r), ppp0 is $address, interface index $(wan_index)"
check 'ppp0 has MTU 1492' same "$(router cat /sys/class/net/ppp0/mtu)" 1492
check 'the session is in the kernel' router grep -q wan0 /proc/net/pppoe
check 'the default route is ppp0' grep -q '^default.* dev ppp0' <(ip -n router route)

began=$SECONDS
start_gateway
if [ $gateway = masq ]; then
  must 'masq is ready' becomes_ready
  note "after $((SECONDS - began)) s: $(grep -w ready "$masq_log" | head -n 1)"
fi
must 'the LAN is online' within $patience online

both_ways ''
tells_what_is_below
in_the_drivers ''
for size in 1 100 1464; do
  check "UDP echo of $size bytes" udp_echo $size
done
check 'UDP echo of 4000 bytes (fragments)' udp_echo 4000
check 'ping of 4000 bytes (fragments)' ping_says ' 0% packet loss' -c 2 -i 0.2 -M dont -s 4000 $server
check 'two hosts, same UDP port' two_hosts_udp
check 'two hosts, same TCP port' two_hosts_tcp

# A packet of 1500 bytes that must not be cut does not fit into ppp0.
forget_mtu
check 'MTU: 1492 bytes pass' ping_says ' 0% packet loss' -c 1 -M do -s 1464 $server
check 'MTU: 1500 bytes are answered by the router' ping_says 'mtu = 1492' -c 1 -M do -s 1472 $server
check 'MTU: the host has learnt 1492' learnt 1492
check 'MTU: fragmentation needed, from beyond the ISP' ping_says 'mtu = 1400' -c 1 -M do -s 1464 192.0.2.9
# No error arrives, so that only the clamp can help.
forget_mtu
deaf_to_mtu yes
check 'clamp: TCP upload without ICMP arrives whole' same "$(upload)" "$sum"
check 'clamp: TCP download without ICMP arrives whole' same "$(download)" "$sum"
deaf_to_mtu no
check 'clamp: the ISP has seen connections begin' different "$(counted isp syn)" 0
check 'clamp: none of them announced more than 1452' same "$(counted isp wide_syn)" 0
check 'clamp: no answer announced more than 1452' same "$(counted lan wide_answer)" 0

check 'error: port unreachable reaches the UDP socket' refused
check 'error: time exceeded, from the router' ping_says 'From 192.168.1.1 .*Time to live exceeded' -c 1 -t 1 192.0.2.9
check 'error: time exceeded, from the ISP' ping_says 'From 203.0.113.1 .*Time to live exceeded' -c 1 -t 2 192.0.2.9

check "the router's own ping" router ping -n -c 1 -W $slowly $server
check "the router's own TCP" same "$(router timeout $slowly nc.openbsd -w $slowly $server 7001 | cut -d' ' -f1)" "$address"

start_flows
check 'a UDP flow that stays' alive_as "$address 41000"
check 'a TCP connection that stays' line_goes_on
if [ $gateway = masq ]; then
  strangers
  reloads
fi
nothing_leaked ''
redials
goes_away
redials_in_place
if [ $gateway = masq ]; then
  is_killed
  redials_without_masq
  is_taken_over_while_away
  ends
fi
check 'the kernel has not complained' bash -c "! dmesg | grep -E 'BUG:|WARNING:|Oops|Call Trace'"
verdict
[ $failed = 0 ]
