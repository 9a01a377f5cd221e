//! The program under test: starts `masq`, waits until it is ready, reads its log, stops it.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use std::os::unix::process::CommandExt;

use crate::{lab::Lab, netns::Namespace, patience::stretched};

/// How long `masq` may take to load its programs on a busy machine, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which hooks translate established flows: the option `--mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Traffic control.
    Tc,
    /// Native XDP, besides traffic control.
    Xdp,
    /// None: the kernel routes every packet.
    Kernel,
}

impl Mode {
    /// As the command line has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
            Self::Kernel => "kernel",
        }
    }
}

/// The program file: the variable `MASQ_BIN`, or `release/masq` in the directory that this
/// program was built into.
///
/// # Panics
/// If it is not there, with a message that says how to build it.
pub fn program() -> PathBuf {
    if let Some(path) = env::var_os("MASQ_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "MASQ_BIN names {}, which is no file", path.display());
        return path;
    }
    let me = env::current_exe().expect("the path of this program");
    let found = me.ancestors().map(|dir| dir.join("release/masq")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "release/masq is in no directory above {}: build it with \
             `cargo build --release -p masq-user`, or name it in the variable MASQ_BIN",
            me.display()
        )
    })
}

/// A `masq` command, in a network namespace: `masq(&lab.router, ["sessions", "--json"])`.
pub fn masq<A: AsRef<OsStr>>(
    namespace: &Namespace,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = namespace.command(program());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A running `masq run`. Stopped when dropped; [`Masq::stop`] also checks that it stops well.
#[derive(Debug)]
pub struct Masq {
    child: Child,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

impl Masq {
    /// Starts `masq run` in the router of `lab`, with the LAN and WAN interfaces of the lab and
    /// `arguments`, and waits until it is ready.
    ///
    /// It ends with the thread that calls this.
    ///
    /// # Panics
    /// If it does not become ready; the message contains its log.
    pub fn start<A: AsRef<OsStr>>(lab: &Lab, arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = masq(&lab.router, ["run"]);
        for lan in lab.lan_interfaces() {
            command.args(["--lan", lan]);
        }
        command.args(["--wan", crate::lab::WAN_IF]).args(arguments);
        let masq = Self::spawn(command);
        masq.wait_for("ready");
        masq
    }

    /// Starts any command of `masq`, without waiting for anything.
    pub fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let with_parent = || Ok(set_pdeathsig(Signal::SIGTERM)?);
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(with_parent) };
        let mut child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        let log = Arc::new(Log::default());
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("a pipe was asked for")),
            Box::new(child.stderr.take().expect("a pipe was asked for")),
        ];
        log.open(streams.len());
        let reader = |stream| {
            let log = Arc::clone(&log);
            thread::spawn(move || log.fill_from(stream))
        };
        let readers = streams.map(reader).into();
        Self { child, log, readers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of the log contains `text`, and returns the line.
    ///
    /// # Panics
    /// If the process ends, or a minute passes, before that.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        match self.log.find(text, stretched(PATIENCE)) {
            Some(line) => line,
            None => panic!("masq did not say {text:?}; what it said:\n{}", self.log.text()),
        }
    }

    /// What it has printed so far, both streams together.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Stops it with SIGTERM, and returns all that it has printed.
    ///
    /// # Panics
    /// If it does not end with exit code 0 within a minute.
    #[track_caller]
    pub fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.wait(stretched(PATIENCE));
        let log = self.log.text();
        match status {
            Some(status) if status.success() => log,
            Some(status) => panic!("masq stopped with {status}; what it said:\n{log}"),
            None => panic!("masq did not stop after SIGTERM; what it said:\n{log}"),
        }
    }

    /// Waits until it ends by itself, and returns its exit status and what it has printed.
    ///
    /// # Panics
    /// If it does not end within a minute.
    #[track_caller]
    pub fn outcome(mut self) -> (ExitStatus, String) {
        let status = self.wait(stretched(PATIENCE));
        let log = self.log.text();
        (status.unwrap_or_else(|| panic!("masq did not end; what it said:\n{log}")), log)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended already: whoever waits for it will see.
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// Waits until the process has ended and its log is complete.
    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        // Both streams are closed when the process has ended.
        if !self.log.wait_closed(end) {
            return None;
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        self.child.wait().ok()
    }
}

impl Drop for Masq {
    fn drop(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        self.signal(Signal::SIGTERM);
        if self.wait(stretched(PATIENCE) / 3).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("masq said:\n{}", self.log.text());
        }
    }
}

/// Removes what a killed `masq` has left in a namespace, when dropped: to be made before the first
/// one is started.
#[derive(Debug)]
pub struct StopAtEnd<'a>(pub &'a Namespace);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        // Mostly there is nothing left, which is an error.
        let _ = masq(self.0, ["stop"]).output();
    }
}

/// Runs a command of `masq` that ends by itself, and returns its output.
#[track_caller]
pub fn run<A: AsRef<OsStr>>(
    namespace: &Namespace,
    arguments: impl IntoIterator<Item = A>,
) -> Output {
    let mut command = masq(namespace, arguments);
    command.output().unwrap_or_else(|e| panic!("start {command:?}: {e}"))
}

/// Runs a command of `masq` that has to succeed, and returns its standard output.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn output<A: AsRef<OsStr>>(
    namespace: &Namespace,
    arguments: impl IntoIterator<Item = A>,
) -> String {
    let output = run(namespace, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "masq failed with {}: {error}", output.status);
    String::from_utf8(output.stdout).expect("masq prints UTF-8")
}

/// The sessions of the instance in this namespace: `masq sessions --json`.
///
/// # Panics
/// If that fails, or prints something else than one JSON array.
#[track_caller]
pub fn sessions(namespace: &Namespace, filters: &[&str]) -> Vec<serde_json::Value> {
    match json(namespace, ["sessions", "--json"].iter().chain(filters)) {
        serde_json::Value::Array(sessions) => sessions,
        other => panic!("masq sessions --json prints an array, not {other}"),
    }
}

/// Runs a command of `masq` that prints JSON, and returns it.
///
/// # Panics
/// If it fails, or prints something else.
#[track_caller]
pub fn json<A: AsRef<OsStr>>(
    namespace: &Namespace,
    arguments: impl IntoIterator<Item = A>,
) -> serde_json::Value {
    let text = output(namespace, arguments);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("this is no JSON ({e}):\n{text}"))
}

/// Counters and tables of the instance in this namespace: `masq stats --json`.
///
/// # Panics
/// If that fails, or prints something else than one JSON object.
#[track_caller]
pub fn stats(namespace: &Namespace) -> serde_json::Value {
    json(namespace, ["stats", "--json"])
}

/// The counter of a reason in what [`stats`] has returned.
///
/// # Panics
/// If there is no such counter.
#[track_caller]
pub fn counter(stats: &serde_json::Value, reason: &str) -> u64 {
    let counters = stats["counters"].as_array().expect("the field counters");
    let counter = counters.iter().find(|counter| counter["reason"] == reason);
    counter.and_then(|c| c["count"].as_u64()).unwrap_or_else(|| panic!("no counter {reason}"))
}

/// Lines of both streams, in the order in which they were read.
#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<String>,
    open_streams: usize,
}

impl Log {
    fn open(&self, streams: usize) {
        self.state.lock().expect("the log").open_streams = streams;
    }

    fn fill_from(&self, stream: impl Read) {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            self.state.lock().expect("the log").lines.push(text);
            self.changed.notify_all();
        }
        self.state.lock().expect("the log").open_streams -= 1;
        self.changed.notify_all();
    }

    fn text(&self) -> String {
        self.state.lock().expect("the log").lines.join("\n")
    }

    fn find(&self, text: &str, limit: Duration) -> Option<String> {
        let found = |state: &LogState| state.lines.iter().find(|l| l.contains(text)).cloned();
        let state = self.state.lock().expect("the log");
        let waiting = |state: &mut LogState| found(state).is_none() && state.open_streams > 0;
        let (state, _) = self.changed.wait_timeout_while(state, limit, waiting).expect("the log");
        found(&state)
    }

    fn wait_closed(&self, end: Instant) -> bool {
        let limit = end.saturating_duration_since(Instant::now());
        let state = self.state.lock().expect("the log");
        let open = |state: &mut LogState| state.open_streams > 0;
        let (state, _) = self.changed.wait_timeout_while(state, limit, open).expect("the log");
        state.open_streams == 0
    }
}
