//! Programs some of whose system calls the test answers instead of the kernel: refuses, or takes for the
//! moment to kill the program. What happens nowhere else at a chosen moment can be tried in this way.
//!
//! By a seccomp filter with user notification. It is one thread's, and inherited by what that starts; so a
//! thread of its own installs it, starts the program, and waits for the end of the test. Only those system
//! calls stop that are in [`Call`]; all others cost nothing.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    process::Command,
    sync::mpsc,
    thread,
};

use nix::{
    libc::{self, seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::daemon::Masq;

/// `BPF_LINK_UPDATE` and `BPF_LINK_DETACH`: the first argument of `bpf`.
const BPF_LINK_UPDATE: u32 = 29;
const BPF_LINK_DETACH: u32 = 34;
/// `ETHTOOL_SFEATURES`: the first word of what `SIOCETHTOOL` is given.
const SFEATURES: u32 = 0x3b;
const SIOCETHTOOL: u32 = 0x8946;

/// A system call that the program waits in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// A link of BPF gets another program.
    LinkUpdate,
    /// A link of BPF is detached.
    LinkDetach,
    /// Features of a device are changed.
    ChangeFeatures,
    /// Anything else is asked of a driver.
    AskDriver,
}

/// What is done with a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The kernel does it.
    Go,
    /// It fails with this error.
    Refuse(i32),
    /// The program is killed in it, before the kernel has begun.
    Kill,
}

/// Answers while it is there. To be dropped after the program has ended.
#[derive(Debug)]
pub struct Answerer {
    _end: mpsc::Sender<()>,
}

/// Starts a command of `masq` whose system calls `answer` decides.
///
/// # Panics
/// If the kernel has no user notification, or the program cannot be started.
pub fn spawn(
    command: Command,
    mut answer: impl FnMut(Call) -> Answer + Send + 'static,
) -> (Masq, Answerer) {
    let (to_us, masq) = mpsc::channel();
    let (to_listener, listener) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    // Before there is a filter, which what it starts would inherit.
    thread::spawn(move || {
        let listener: OwnedFd = listener.recv().expect("the listener");
        while let Some(notification) = next(&listener) {
            respond(&listener, &notification, &mut answer);
        }
    });
    thread::spawn(move || {
        to_listener.send(filter()).expect("somebody answers");
        to_us.send(Masq::spawn(command)).expect("somebody waits");
        // masq ends with the thread that has started it.
        let _ = ended.recv();
    });
    (masq.recv().expect("masq was started"), Answerer { _end: end })
}

/// Installs the filter for this thread; what the notifications come from.
fn filter() -> OwnedFd {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUALS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // Into `struct seccomp_data`: the number, the low words of the first and second argument (little
    // endian, as all machines are that masq runs on).
    const NUMBER: u32 = 0;
    const FIRST: u32 = 16;
    const SECOND: u32 = 24;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD, 0, 0, NUMBER),
        step(EQUALS, 2, 0, libc::SYS_bpf as u32),
        step(EQUALS, 5, 0, libc::SYS_ioctl as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(LOAD, 0, 0, FIRST),
        step(EQUALS, 5, 0, BPF_LINK_UPDATE),
        step(EQUALS, 4, 0, BPF_LINK_DETACH),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(LOAD, 0, 0, SECOND),
        step(EQUALS, 1, 0, SIOCETHTOOL),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    ];
    let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: `program` leads to `steps`, and both outlive the call; the kernel copies them.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    assert!(fd >= 0, "install a seccomp filter: {}", io::Error::last_os_error());
    // SAFETY: the kernel has just made it for us.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Waits for a system call; `None` when nobody has the filter any more.
fn next(listener: &OwnedFd) -> Option<seccomp_notif> {
    loop {
        let mut ready = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which outlives the call.
        let polled = unsafe { libc::poll(&raw mut ready, 1, -1) };
        if polled == 1 && ready.revents & libc::POLLIN == 0 {
            return None;
        }
        // SAFETY: integers, of which zeros are a value; the kernel demands them.
        let mut notification: seccomp_notif = unsafe { std::mem::zeroed() };
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        // SAFETY: the kernel fills in a whole notification.
        let done = unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut notification) };
        // Else it has been interrupted, or who waited has been killed meanwhile.
        if polled == 1 && done == 0 {
            return Some(notification);
        }
    }
}

fn respond(
    listener: &OwnedFd,
    notification: &seccomp_notif,
    answer: &mut impl FnMut(Call) -> Answer,
) {
    let mut response = seccomp_notif_resp { id: notification.id, val: 0, error: 0, flags: 0 };
    match answer(call(notification)) {
        Answer::Go => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        Answer::Refuse(error) => response.error = -error,
        Answer::Kill => {
            kill(Pid::from_raw(notification.pid as i32), Signal::SIGKILL).expect("kill masq");
            return;
        }
    }
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: a whole response, which outlives the call. Whom it is for may have been killed.
    unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut response) };
}

fn call(notification: &seccomp_notif) -> Call {
    let data = &notification.data;
    if i64::from(data.nr) == libc::SYS_bpf {
        return match data.args[0] as u32 {
            BPF_LINK_UPDATE => Call::LinkUpdate,
            _ => Call::LinkDetach,
        };
    }
    // struct ifreq: a name of 16 bytes, a pointer to the request.
    let word = |at: u64| {
        let mut bytes = [0; 8];
        let memory = File::open(format!("/proc/{}/mem", notification.pid)).ok()?;
        memory.read_exact_at(&mut bytes, at).ok()?;
        Some(u64::from_ne_bytes(bytes))
    };
    match word(data.args[2] + 16).and_then(word) {
        Some(command) if command as u32 == SFEATURES => Call::ChangeFeatures,
        _ => Call::AskDriver,
    }
}
