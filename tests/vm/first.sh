# Process 1 of an emulated machine (machine.sh) once its root is there: runs the command, writes down
# its status, and switches the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C.UTF-8 TERM=dumb VM_OUT=/run/vm
cd /

# Its device file is there only once the module is; elsewhere udev sees to that.
modprobe tun

# The command writes to a pipe and not to the port itself, which only one process may open: `echo
# >/dev/stderr` would fail.
for port in /sys/class/virtio-ports/*; do port=/dev/${port##*/}; done
/run/busybox mkfifo /run/pipe
/run/busybox cat /run/pipe >"$port" &
relay=$!

read -r seconds <"$VM_OUT/seconds"
timeout -k 5 "$seconds" bash "$VM_OUT/command" </dev/null >/run/pipe 2>&1
status=$?

# Whatever it left running holds the pipe open. A kernel thread has an empty command line.
for process in /proc/[0-9]*; do
  pid=${process#/proc/}
  if [ "$pid" != 1 ] && [ "$pid" != "$relay" ] && read -r -n 1 <"$process/cmdline"; then
    kill -KILL "$pid"
  fi
done 2>/dev/null
wait "$relay"
/run/busybox dmesg >"$VM_OUT/dmesg.txt"
echo $status >"$VM_OUT/status"
/run/busybox poweroff -f
