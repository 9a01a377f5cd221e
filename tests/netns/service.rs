//! masq as a service of systemd: what `packaging/masq.service` says is done here as systemd does it,
//! in a mount namespace of its own with a bpffs in its usual place, with the capabilities that the unit
//! leaves and a socket that hears what the service manager would.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use masq_tests::{
    daemon::{self, Masq, StopAtEnd},
    lab::{HOST_B, Lab, Layout, ROUTER_WAN, SERVER_1, WAN_IF},
    netns::random,
    patience::stretched,
    traffic::probe,
};
use nix::sys::signal::Signal;

use crate::{
    flow::{Connection, Datagrams},
    state::State,
};

const UNIT: &str = include_str!("../../packaging/masq.service");

/// Programs that the unit calls by their place.
const INSTALLED: &str = "/usr/bin/masq";

/// How long the service manager waits for a sign of life, here.
const WATCHDOG: Duration = Duration::from_millis(600);

const CONFIGURATION: &str = "lan = [\"lan0\"]\nwan = [\"wan0\"]\n";

const PATIENCE: Duration = Duration::from_secs(60);

/// What a directive of the unit says.
#[track_caller]
fn directive(name: &str) -> &'static str {
    let values = UNIT.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let values: Vec<_> = values.collect();
    assert_eq!(values.len(), 1, "one {name} in the unit");
    values[0]
}

/// The signal that the unit names.
fn signal(name: &str) -> Signal {
    directive(name).parse().expect("the name of a signal")
}

/// The service manager of one service.
struct Manager {
    directory: PathBuf,
    socket: UnixDatagram,
    instance: String,
    mounts: Mounts,
}

impl Manager {
    fn new() -> Self {
        let name = format!("service-{:x}", random());
        let directory = env::temp_dir().join(&name);
        fs::create_dir(&directory).expect("make a directory");
        fs::write(directory.join("masq.toml"), CONFIGURATION).expect("write a file");
        let socket = UnixDatagram::bind(directory.join("notify")).expect("listen");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
        Self { directory, socket, instance: name, mounts: Mounts::new() }
    }

    /// A program with no more capabilities than the unit leaves.
    fn confined(&self, lab: &Lab, program: impl AsRef<Path>) -> Command {
        let capabilities = directive("CapabilityBoundingSet").to_lowercase();
        let capabilities: Vec<_> =
            capabilities.split(' ').map(|name| name.replace("cap_", "+")).collect();
        let mut command = lab.router.command("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.mounts.0.id()))
            .arg("setpriv")
            .arg(format!("--bounding-set=-all,{}", capabilities.join(",")))
            .arg("--no-new-privs")
            .arg(program.as_ref());
        command
    }

    /// The file that the administrator would have edited.
    fn configuration(&self) -> PathBuf {
        self.directory.join("masq.toml")
    }

    /// Starts the service, without waiting for anything.
    fn start(&self, lab: &Lab) -> Masq {
        let mut command = self.command(lab, "ExecStart");
        assert_eq!(directive("Type"), "notify");
        command
            .env("NOTIFY_SOCKET", self.directory.join("notify"))
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Masq::spawn(command)
    }

    /// What a directive has executed, with names and places of this test.
    fn command(&self, lab: &Lab, name: &str) -> Command {
        let mut words = directive(name).split(' ');
        assert_eq!(words.next(), Some(INSTALLED));
        let mut command = self.confined(lab, daemon::program());
        for word in words {
            match word {
                "/etc/masq/masq.toml" => drop(command.arg(self.configuration())),
                "masq" => drop(command.arg(&self.instance)),
                _ => drop(command.arg(word)),
            }
        }
        command
    }

    /// Waits for a message that holds all of this, and returns it.
    #[track_caller]
    fn hears(&self, masq: &Masq, texts: &[&str]) -> String {
        let end = Instant::now() + stretched(PATIENCE);
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while Instant::now() < end {
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if texts.iter().all(|text| message.contains(text)) {
                return message;
            }
            heard.push(message);
        }
        panic!("masq did not tell {texts:?}, but {heard:?}; its log:\n{}", masq.log());
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The file systems as services see them, kept by a process that does nothing else.
struct Mounts(Child);

impl Mounts {
    fn new() -> Self {
        // Other tests may have mounted another bpffs, which would be preferred.
        let script = "
            while umount /run/masq/bpf 2>/dev/null; do :; done
            mount -t bpf bpf /sys/fs/bpf
            echo mounted
            read end";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-e", "-c", script]);
        // It ends with its standard input, and so with this program.
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start unshare");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe was asked for");
        BufReader::new(stdout).read_line(&mut line).expect("read from a pipe");
        assert_eq!(line, "mounted\n");
        Self(child)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_service_manager_hears_of_every_state() {
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let manager = Manager::new();
    lab.router.ip(&format!("addr del {ROUTER_WAN}/24 dev {WAN_IF}"));
    let masq = manager.start(&lab);
    manager.hears(&masq, &["STATUS=loading"]);
    // Whoever brings the WAN up may wait for this service.
    manager.hears(&masq, &["READY=1"]);
    manager.hears(&masq, &["STATUS=waiting for an address on wan0", "WATCHDOG=1"]);
    lab.set_wan_address(ROUTER_WAN);
    manager.hears(&masq, &["STATUS=ready: lan lan0", "203.0.113.5", "; 0 sessions\n"]);
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    manager.hears(&masq, &["STATUS=ready", "; 1 session\n", "WATCHDOG=1"]);
    // One sign of life after the other, each well within the time.
    for _ in 0..5 {
        let since = Instant::now();
        manager.hears(&masq, &["WATCHDOG=1"]);
        assert!(since.elapsed() < WATCHDOG, "{:?}", since.elapsed());
    }
    masq.signal(signal("KillSignal"));
    manager.hears(&masq, &["STOPPING=1", "removing everything"]);
    let (status, log) = masq.outcome();
    assert!(status.success(), "{status}: {log}");
    before.assert_restored(&lab.router);
}

/// Looking up what the kernel has by its number is for CAP_SYS_ADMIN, which the service has not.
#[test]
fn tracing_asks_for_no_more_rights() {
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let manager = Manager::new();
    // Nobody is told of it: a manager would have to listen all the time.
    let masq = Masq::spawn(manager.command(&lab, "ExecStart"));
    masq.wait_for("ready: ");
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let mut trace = manager.confined(&lab, daemon::program());
    trace.args(["trace", "--instance", &manager.instance, "--count", "4", "192.168.1.10:40000"]);
    let trace = Masq::spawn(trace);
    trace.wait_for("tracing");
    udp.go_on(50);
    let (status, log) = trace.outcome();
    assert!(status.success() && log.contains("203.0.113.5:40000"), "{status}: {log}");
    udp.go_on(50);
    udp.assert_all_answered();
    masq.stop();
    before.assert_restored(&lab.router);
}

#[test]
fn a_restart_of_the_service_is_not_noticed() {
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let manager = Manager::new();
    let masq = manager.start(&lab);
    manager.hears(&masq, &["STATUS=ready"]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
    let other = format!("{CONFIGURATION}udp-timeout = \"7m\"\n");
    fs::write(manager.configuration(), other).expect("write a file");
    let reload = manager.command(&lab, "ExecReload").output().expect("start masq");
    let said = String::from_utf8_lossy(&reload.stdout);
    assert!(reload.status.success() && said.contains("udp-timeout"), "{reload:?}");
    masq.signal(signal("RestartKillSignal"));
    manager.hears(&masq, &["STOPPING=1", "stays"]);
    let (status, log) = masq.outcome();
    assert!(status.success(), "{status}: {log}");
    udp.go_on(50);
    let masq = manager.start(&lab);
    masq.wait_for("taken over from an earlier masq, with 2 sessions");
    manager.hears(&masq, &["STATUS=ready", "; 2 sessions\n"]);
    udp.go_on(50);
    udp.assert_all_answered();
    tcp.assert_whole();
    masq.stop();
    before.assert_restored(&lab.router);
}
