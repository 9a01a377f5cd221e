//! CPUs: which there are, and how much of one a thread or a process has had.

use std::{fs, sync::LazyLock, time::Duration};

use nix::{
    libc,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// Time that this thread has run, softirqs on top of it included.
pub fn time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock of a thread").into()
}

/// As the kernel told the thread that asked first, which nobody had moved yet.
static ALL: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the CPUs of this thread");
    (0..CpuSet::count()).rev().filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect()
});

/// The CPUs that this process may use, the last one first: interrupts and other programs prefer the
/// first ones.
///
/// # Panics
/// If the kernel does not tell.
pub fn all() -> &'static [usize] {
    &ALL
}

/// Moves this thread to a CPU, ahead of whatever else wants to run there.
///
/// # Panics
/// If the kernel refuses to.
pub fn have(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu).expect("a CPU number from the set of CPUs");
    sched_setaffinity(Pid::from_raw(0), &only).expect("pin a thread to a CPU");
    // SAFETY: takes three numbers; 0 is the calling thread. A refusal only costs precision.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

/// Lets this thread run whenever it can, as the interrupts of a network card do: whoever measures a gap
/// between packets wants to know what kept them, and not when the scheduler let their sender run.
///
/// # Panics
/// If the kernel refuses to.
pub fn be_an_interrupt() {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters outlive the call; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    assert_eq!(result, 0, "no real-time priority: {}", std::io::Error::last_os_error());
}

/// CPU time of a process, all its threads and system calls.
///
/// # Panics
/// If there is no such process.
pub fn time_of(process: u32) -> Duration {
    let path = format!("/proc/{process}/schedstat");
    // Of the main thread, in nanoseconds; `stat` counts in ticks of 10 ms. masq has one thread.
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_else(|| panic!("{path}: {text}")))
}
