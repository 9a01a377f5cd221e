//! Network namespaces that go away by themselves, and ways to do things inside them.
//!
//! A [`Namespace`] has a name (so that `ip netns` shows it while one looks for a fault) of the
//! form `masq-<pid>-<random>-<role>`. It is deleted when the value is dropped, which a panic does
//! too; what a killed process has left behind is deleted by the next one ([`Namespace::new`]).
//!
//! Nothing here returns an error: a laboratory that cannot be set up ends the test, with a message
//! that says what was tried.

use std::{
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io::Write,
    os::{fd::AsRawFd, unix::process::CommandExt},
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Once,
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps the names of namespaces.
const NAMES: &str = "/run/netns";

/// A network namespace, deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// A new, empty namespace with `lo` up and IPv6 off. `role` ends its name: `router`, `isp`.
    ///
    /// # Panics
    /// If this process is not root, or the kernel refuses.
    pub fn new(role: &str) -> Self {
        require_root();
        static REAP: Once = Once::new();
        REAP.call_once(remove_leftovers);
        let name = format!("masq-{}-{:06x}-{role}", std::process::id(), random() & 0xff_ffff);
        must_succeed(Command::new("ip").args(["netns", "add", &name]));
        let path = Path::new(NAMES).join(&name);
        let file = File::open(&path).unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
        let namespace = Self { name, file };
        namespace.ip("link set lo up");
        // No router solicitations and no duplicate address detection among the packets.
        namespace.set_sysctl_if_present("net.ipv6.conf.all.disable_ipv6", "1");
        namespace.set_sysctl_if_present("net.ipv6.conf.default.disable_ipv6", "1");
        namespace
    }

    /// The name, as `ip -n` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `f` inside the namespace, on a thread of its own, and returns what it returns.
    ///
    /// A socket made in here stays in the namespace wherever it is used afterwards:
    /// `let listener = server.run(|| TcpListener::bind("0.0.0.0:80"));`
    ///
    /// # Panics
    /// If `f` does, with the same message.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let body = || {
                self.enter();
                f()
            };
            scope.spawn(body).join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Starts a thread inside the namespace. The namespace exists until the thread ends.
    pub fn spawn_thread<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = self.file.try_clone().expect("duplicate a file descriptor");
        thread::spawn(move || {
            enter(&file);
            f()
        })
    }

    /// A command that will run inside the network namespace. Its mount namespace stays the
    /// machine's, so that it sees `/sys/fs/bpf` and `/run` (unlike with `ip netns exec`).
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let file = self.file.try_clone().expect("duplicate a file descriptor");
        let in_child = move || Ok(setns(&file, CloneFlags::CLONE_NEWNET)?);
        // SAFETY: the closure makes one system call on a descriptor it owns and allocates nothing.
        unsafe { command.pre_exec(in_child) };
        command
    }

    /// Runs one or more `ip` commands, one a line, without the leading `ip`.
    ///
    /// # Panics
    /// If one of them fails.
    #[track_caller]
    pub fn ip(&self, commands: &str) {
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.name, "-batch", "-"]).stdin(Stdio::piped());
        let output = run_with_input(&mut ip, commands);
        assert!(
            output.status.success(),
            "ip in {} failed: {}\ncommands were:\n{commands}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }

    /// Runs a program inside the namespace and returns what it printed.
    ///
    /// # Panics
    /// If it cannot be started or fails.
    #[track_caller]
    pub fn output(&self, program: &str, arguments: &[&str]) -> String {
        must_succeed(self.command(program).args(arguments))
    }

    /// Runs a program inside the namespace with `input` as its standard input.
    ///
    /// # Panics
    /// If it cannot be started or fails.
    #[track_caller]
    pub fn feed(&self, program: &str, arguments: &[&str], input: &str) {
        let output = run_with_input(self.command(program).args(arguments), input);
        assert!(
            output.status.success(),
            "{program} in {} failed: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }

    /// The index of an interface.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn interface_index(&self, interface: &str) -> u32 {
        self.run(|| nix::net::if_::if_nametoindex(interface))
            .unwrap_or_else(|e| panic!("the interface {interface} in {}: {e}", self.name))
    }

    /// The value of a sysctl below `net`, for example `net.ipv4.ip_forward`; `None` if there is
    /// no such one.
    pub fn sysctl(&self, key: &str) -> Option<String> {
        let path = sysctl_path(key);
        self.run(|| fs::read_to_string(path).ok()).map(|value| value.trim().to_owned())
    }

    /// Sets a sysctl below `net`.
    ///
    /// # Panics
    /// If there is no such one.
    #[track_caller]
    pub fn set_sysctl(&self, key: &str, value: &str) {
        assert!(self.set_sysctl_if_present(key, value), "cannot set the sysctl {key} to {value}");
    }

    /// Sets a sysctl that not every kernel has; says whether that worked.
    pub fn set_sysctl_if_present(&self, key: &str, value: &str) -> bool {
        let path = sysctl_path(key);
        self.run(|| fs::write(path, value).is_ok())
    }

    /// Moves the calling thread into the namespace for the rest of its life.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn enter(&self) {
        enter(&self.file);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Ends the test with a clear message if this process is not root.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test needs root: it makes network namespaces and loads eBPF programs; run it with sudo"
    );
}

/// Runs a command to its end and returns what it printed.
///
/// # Panics
/// If it cannot be started or fails.
#[track_caller]
pub fn must_succeed(command: &mut Command) -> String {
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(e) => panic!("cannot start {command:?}: {e}"),
    };
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A random number, good enough for names.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[track_caller]
fn run_with_input(command: &mut Command, input: &str) -> std::process::Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => panic!("cannot start {command:?}: {e}"),
    };
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    // A program that ends early closes the pipe; its exit status says more than this error.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("wait for a child")
}

fn sysctl_path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key.replace('.', "/"))
}

fn enter(file: &File) {
    if let Err(e) = setns(file, CloneFlags::CLONE_NEWNET) {
        panic!("cannot enter a network namespace (descriptor {}): {e}", file.as_raw_fd());
    }
}

/// Names of the namespaces that the process `pid` has made and that still exist.
pub fn names_of(pid: u32) -> Vec<String> {
    names().into_iter().filter(|(maker, _)| *maker == pid).map(|(_, name)| name).collect()
}

/// Deletes a namespace by name.
pub fn delete(name: &str) {
    // Nothing useful can be done about a failure; the next process tries again.
    let _ = Command::new("ip").args(["netns", "del", name]).output();
}

/// Deletes the namespaces of processes that no longer exist. Another process may be doing the
/// same: who comes second fails, and that is fine.
fn remove_leftovers() {
    let exists = |pid| Path::new(&format!("/proc/{pid}")).exists();
    names().iter().filter(|(pid, _)| !exists(*pid)).for_each(|(_, name)| delete(name));
}

/// All namespaces of this kind, with the process that made each.
fn names() -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir(NAMES) else { return Vec::new() };
    let maker = |name: &str| name.strip_prefix("masq-")?.split('-').next()?.parse().ok();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| Some((maker(&name)?, name)))
        .collect()
}
