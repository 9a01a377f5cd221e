//! Programs that leave nothing behind, however they end.
//!
//! The program starts itself a second time: the worker builds networks and starts daemons, the
//! supervisor only waits, and removes what is left when the worker has ended. So Ctrl-C, a crash
//! of the worker and `kill -9` of it all come to the same. (If the supervisor itself is killed that
//! way, the worker dies with it, and the next program removes its namespaces.)

use std::{
    env, fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitCode, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{SigSet, Signal},
    },
    unistd::setsid,
};

use crate::{daemon, netns};

/// Set for the worker.
const WORKER: &str = "MASQ_TESTS_WORKER";
/// How long a daemon of the worker may take to clean up before it is killed.
const PATIENCE: Duration = Duration::from_secs(15);
/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Runs `work` in a process of its own and returns its exit code. To be called first in `main`.
pub fn run(work: fn() -> ExitCode) -> ExitCode {
    if env::var_os(WORKER).is_some() {
        return work();
    }
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD];
    let signals: SigSet = signals.into_iter().collect();
    // Blocked, they wait until they are asked for below.
    signals.thread_block().expect("block signals");
    let mut worker = match start() {
        Ok(worker) => worker,
        Err(e) => {
            eprintln!("cannot start this program again as a worker: {e}");
            return ExitCode::FAILURE;
        }
    };
    let code = loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => match worker.try_wait() {
                Ok(Some(status)) => break exit_code(status),
                _ => continue,
            },
            _ => {
                eprintln!("\ninterrupted: removing everything");
                let _ = worker.kill();
                let _ = worker.wait();
                break ExitCode::from(INTERRUPTED);
            }
        }
    };
    remove_namespaces(worker.id());
    code
}

/// Puts the worker, a session of its own, ahead of all other programs, for measurements. Where the
/// kernel does not schedule by sessions, or refuses, they are disturbed more.
pub fn go_first() {
    let _ = fs::write("/proc/self/autogroup", "-20");
}

fn start() -> std::io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(WORKER, "1");
    let in_worker = || {
        set_pdeathsig(Signal::SIGKILL)?;
        // A session of its own: Ctrl-C in a terminal is for the supervisor alone.
        setsid()?;
        // Programs inherit the mask, and daemons that SIGTERM does not reach do not stop.
        Ok(SigSet::empty().thread_set_mask()?)
    };
    // SAFETY: the closure makes three system calls and allocates nothing.
    unsafe { command.pre_exec(in_worker) };
    command.spawn()
}

fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code() {
        Some(code) => ExitCode::from(code as u8),
        None => {
            let signal = status.signal().unwrap_or_default();
            eprintln!("the worker was ended by signal {signal}");
            ExitCode::FAILURE
        }
    }
}

/// Waits until the daemons of the worker have cleaned up (they get SIGTERM when it dies), then
/// deletes its namespaces.
fn remove_namespaces(worker: u32) {
    let names = netns::names_of(worker);
    let end = Instant::now() + PATIENCE;
    while names.iter().any(|name| !processes(name).is_empty()) {
        if Instant::now() > end {
            names.iter().flat_map(|name| processes(name)).for_each(|process| {
                let _ = Command::new("kill").args(["-KILL", &process]).output();
            });
            // What a daemon has pinned outlives it.
            names.iter().for_each(|name| {
                let mut stop = Command::new("ip");
                stop.args(["netns", "exec", name]).arg(daemon::program()).arg("stop");
                let _ = stop.output();
            });
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    names.iter().for_each(|name| netns::delete(name));
}

/// The processes that live in a namespace.
fn processes(namespace: &str) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "pids", namespace]).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).split_whitespace().map(str::to_owned).collect()
}
