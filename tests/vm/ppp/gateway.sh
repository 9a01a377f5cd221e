# Sourced by main.sh: what translates: masq, or, with MASQ_TEST_GATEWAY=nftables, the kernel's
# masquerade, which shows that the checks ask for what a LAN host may expect.

gateway=${MASQ_TEST_GATEWAY:-masq}
config=$work/masq.toml
masq_pid=''

masq() { router "$MASQ_BIN" "$@"; }

start_gateway() {
  case $gateway in
    masq)
      # masq turns forwarding on, so nothing is forwarded before.
      write_config auto
      run_masq
      ;;
    nftables)
      router nft -f - <<'NFT'
table ip nat {
  chain post { type nat hook postrouting priority srcnat; ip saddr 192.168.0.0/16 oifname "ppp0" masquerade; }
  chain clamp { type filter hook forward priority mangle; tcp flags & syn == syn tcp option maxseg size > 1452 tcp option maxseg size set 1452; }
}
NFT
      router sysctl -qw net.ipv4.ip_forward=1
      ;;
    *)
      echo "there is no gateway $gateway"
      return 1
      ;;
  esac
}

write_config() {  # write_config CLAMP
  local mode=auto
  if [ "$topology" != plain ]; then mode=xdp; fi
  printf 'lan = ["lan0"]\nwan = ["ppp0"]\nmss-clamp = "%s"\nmode = "%s"\n' "$1" $mode >"$config"
}

run_masq() {
  # A log of its own for each start, so that `ready` is that of this one.
  masq_log=$VM_OUT/masq.log
  if [ -e "$masq_log" ]; then cat "$masq_log" >>"$VM_OUT/masq-before.log"; fi
  : >"$masq_log"
  # Not by the function, whose process would be a shell's.
  ip netns exec router "$MASQ_BIN" run --config "$config" >"$masq_log" 2>&1 &
  masq_pid=$!
}
is_ready() { grep -qw ready "$masq_log"; }
ready_or_gone() { is_ready || ! kill -0 $masq_pid; }
becomes_ready() {
  within $start_patience ready_or_gone
  is_ready || { cat "$masq_log"; return 1; }
}
kill_masq() {
  kill -KILL $masq_pid
  wait $masq_pid 2>/dev/null
}
stop_masq() {
  kill $masq_pid
  wait $masq_pid
}
