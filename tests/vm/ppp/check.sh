# Sourced by main.sh: how a check is said, counted and waited for.
#
# Nothing waits for a time: `within` tries until something holds, with a limit that only a machine
# that hangs reaches.

passed=0 failed=0
# Seconds. The processor is emulated, and the host may be busy. The second is for loading the programs:
# some two seconds of a real processor, nearly all of it in the verifier.
patience=120 start_patience=900

note() { echo "     $*"; }

check() {  # check NAME COMMAND...: COMMAND says by its status whether it holds
  local name=$1 said
  shift
  if said=$("$@" 2>&1); then
    echo "PASS $name"
    passed=$((passed + 1))
  else
    echo "FAIL $name"
    sed 's/^/     /' <<<"${said:-without a word: $*}"
    failed=$((failed + 1))
  fi
}

same() { [ "$1" = "$2" ] || { echo "expected '$2', got '$1'"; return 1; }; }
different() { [ "$1" != "$2" ] || { echo "is '$1' as before"; return 1; }; }
fails() { if "$@"; then return 1; fi; }
lacks() { if grep -E "$1" "$2"; then return 1; fi; }

within() {  # within SECONDS COMMAND...: tries until it holds
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "gave up waiting for: $*"; return 1; }
    sleep 0.1
  done
}

must() {  # must NAME COMMAND...: as check, but what follows needs it
  local before=$failed
  check "$@"
  if [ $failed -gt "$before" ]; then
    for log in "$VM_OUT"/{masq,pppd}.log; do
      if [ -e "$log" ]; then echo "$log:"; tail -n 25 "$log"; fi
    done
    verdict
    exit 1
  fi
}

verdict() { echo "ppp: $passed passed; $failed failed"; }
