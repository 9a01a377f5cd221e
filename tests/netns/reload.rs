//! The configuration file is read again while packets flow: what has changed takes effect, all of it or
//! nothing, and nobody notices otherwise.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use masq_tests::{
    capture::Capture,
    daemon::{self, Masq, StopAtEnd},
    lab::{HOST_B, ISP_IF, Lab, LanKind, Layout, SERVER_1, SERVER_2},
    netns::Namespace,
    packet::Packet,
    patience::patience,
    sockets::eventually,
    traffic::{echo, probe},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    flow::{Connection, Datagrams},
    restart::kill,
    state::{State, has_tcx},
};

const SERVER: SocketAddrV4 = SocketAddrV4::new(SERVER_1, 53);

/// A configuration file, for as long as it is needed.
pub struct File(PathBuf);

impl File {
    pub fn new(lab: &Lab, text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("{}.toml", lab.router.name())));
        file.write(text);
        file
    }

    pub fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("write a configuration file");
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of UTF-8")
    }

    /// Starts masq with this file and nothing else.
    pub fn start(&self, lab: &Lab) -> Masq {
        let masq = Masq::spawn(daemon::masq(&lab.router, ["run", "--config", self.path()]));
        masq.wait_for("ready");
        masq
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Reloads, and demands that exactly this changes.
#[track_caller]
pub fn reload(router: &Namespace, expected: Value) {
    let told = daemon::json(router, ["reload", "--json"]);
    assert_eq!(told["changes"], expected, "{told}");
}

/// Demands that a reload is refused, with these words.
#[track_caller]
fn refused(router: &Namespace, words: &[&str]) {
    let output = daemon::run(router, ["reload"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty(), "nothing was changed");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

/// The longest that a session of this protocol has to live, in seconds. The clock of the sessions is
/// coarse: times are a little longer than they were asked for.
fn remaining(lab: &Lab, protocol: &str) -> u64 {
    let sessions = daemon::sessions(&lab.router, &["--protocol", protocol]);
    let remaining =
        sessions.iter().map(|session| session["remaining_ms"].as_u64().expect("a time"));
    remaining.max().expect("a session") / 1000
}

fn settings_change_under_traffic(mode: &str) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let capture = Capture::start(&lab.isp, ISP_IF);
    let _clean = StopAtEnd(&lab.router);
    let interfaces = format!("lan = \"lan0\"\nwan = \"wan0\"\nmode = \"{mode}\"\n");
    let file = File::new(&lab, &interfaces);
    let masq = file.start(&lab);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
    let socket = lab.a.udp_bind(40_100);
    let external = echo::ask(&socket, SERVER, b"who am I?").expect("an answer");
    let stranger = lab.server2.udp_bind(0);
    let strange = |text: &[u8]| {
        stranger.send_to(text, external).expect("send");
        // What was sent before a ping's reply has arrived before it.
        probe::ping(&lab.a, SERVER_2, 1).expect("a reply");
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("set a timeout");
        let result = socket.recv(&mut [0; 100]).map_err(|error| error.kind());
        socket.set_read_timeout(Some(patience())).expect("set a timeout");
        result
    };
    assert_eq!(strange(b"before"), Err(ErrorKind::WouldBlock), "filtered");
    assert!(remaining(&lab, "udp") < 310);
    assert!(!masq.log().contains("session opened"));

    file.write(&format!(
        "{interfaces}udp-timeout = \"20m\"\nfiltering = \"endpoint-independent\"\nverbose = 1\n\
         source = \"192.168.0.0/16\"\nports = \"2000-2009\"\n\
         mss-clamp = \"1000\"\n"
    ));
    reload(
        &lab.router,
        json!([
            { "option": "source", "old": [], "new": ["192.168.0.0/16"] },
            { "option": "filtering", "old": "address-and-port-dependent",
              "new": "endpoint-independent" },
            { "option": "ports", "old": null, "new": "2000-2009" },
            { "option": "mss-clamp", "old": "auto", "new": 1000 },
            { "option": "udp-timeout", "old": "5m", "new": "20m" },
            { "option": "verbose", "old": 0, "new": 1 },
        ]),
    );
    masq.wait_for("udp-timeout: 5m → 20m");
    assert_eq!(strange(b"after"), Ok(5), "not filtered any more");
    assert!(remaining(&lab, "udp") > 310);
    assert_eq!(echo::ask(&socket, SERVER, b"and now?").expect("an answer"), external);
    let new = echo::ask(&lab.a.udp_bind(40_200), SERVER, b"and I?").expect("an answer");
    assert!((2000..2010).contains(&new.port()), "{new}");
    masq.wait_for("session opened");
    masq.wait_for("TCP segments are limited to 1000 bytes");
    reload(&lab.router, json!([]));

    // Back to the defaults, and to a source that the hosts are not.
    file.write(&format!("{interfaces}source = \"10.0.0.0/8\"\n"));
    assert_eq!(
        daemon::json(&lab.router, ["reload", "--json"])["changes"][0]["new"][0],
        "10.0.0.0/8"
    );
    let other = lab.b.udp_bind(40_300);
    other.set_read_timeout(Some(Duration::from_millis(300))).expect("set a timeout");
    echo::ask(&other, SERVER, b"no source").expect_err("dropped at the WAN");
    assert!(daemon::counter(&daemon::stats(&lab.router), "source_excluded") > 0);

    udp.go_on(50);
    udp.assert_all_answered();
    tcp.assert_whole();
    masq.stop();
    before.assert_restored(&lab.router);
    capture.finish().assert_clean();
}

#[test]
fn settings_change_under_traffic_in_tc() {
    settings_change_under_traffic("tc");
}

#[test]
fn settings_change_under_traffic_in_xdp() {
    settings_change_under_traffic("xdp");
}

#[test]
fn what_is_wrong_or_impossible_changes_nothing() {
    let lab = Lab::new(Layout::default());
    let file = File::new(&lab, "udp-timeout = \"10m\"\n");
    let masq = Masq::start(&lab, ["--mode", "tc", "--config", file.path()]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let good = "udp-timeout = \"20m\"\n";
    for (bad, words) in [
        ("udp-timout = 5\n", &[":2:", "did you mean \"udp-timeout\"?"][..]),
        ("icmp-timeout = \"1s\"\n", &[":2:", "--allow-short-timeouts"]),
        ("icmp-timeout = [\n", &[":"]),
        ("max-sessions = 77\n", &["--max-sessions", "262144 → 77", "masq stop"]),
        ("log-format = \"json\"\n", &["--log-format", "without losing a session"]),
        ("host-mappings = 3\n", &["--host-mappings", "masq stop"]),
    ] {
        file.write(&format!("{good}{bad}"));
        refused(&lab.router, words);
        assert!((310..610).contains(&remaining(&lab, "udp")), "{bad}");
    }
    fs::remove_file(&file.0).expect("remove the file");
    refused(&lab.router, &["cannot read", file.path()]);
    // What stands on the command line is not the file's to change.
    file.write(&format!("{good}mode = \"xdp\"\nlan = \"nonsense0\"\n"));
    reload(&lab.router, json!([{ "option": "udp-timeout", "old": "10m", "new": "20m" }]));
    assert!(remaining(&lab, "udp") > 610);
    udp.assert_all_answered();
    masq.stop();
}

#[test]
fn sighup_reads_the_file_again_and_ends_nothing() {
    let lab = Lab::new(Layout::default());
    let file = File::new(&lab, "");
    let masq = Masq::start(&lab, ["--mode", "tc", "--config", file.path()]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    file.write("udp-timeout = \"9m\"\n");
    masq.signal(Signal::SIGHUP);
    masq.wait_for("udp-timeout: 5m → 9m");
    assert!(remaining(&lab, "udp") > 310);
    file.write("udp-timeout = \"1s\"\n");
    masq.signal(Signal::SIGHUP);
    let line = masq.wait_for("nothing is changed");
    assert!(line.contains(":1: --udp-timeout 1s is below"), "{line}");
    assert!(remaining(&lab, "udp") > 310);
    udp.assert_all_answered();
    masq.stop();
}

#[test]
fn without_a_file_there_is_nothing_to_read() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    masq.signal(Signal::SIGHUP);
    masq.wait_for("started without --config");
    refused(&lab.router, &["without --config"]);
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    masq.stop();
}

fn lans_come_and_stay(attach: &str) {
    let lab = Lab::new(Layout::default().lan(LanKind::InterfacePerHost));
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let rest = format!("wan = \"wan0\"\nmode = \"tc\"\ntc-attach = \"{attach}\"\n");
    let file = File::new(&lab, &format!("lan = \"lan0\"\n{rest}"));
    let masq = file.start(&lab);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);

    file.write(&format!("lan = [\"lan0\", \"lan9\"]\nudp-timeout = \"9m\"\n{rest}"));
    refused(&lab.router, &["no interface lan9", "lan1"]);
    assert!(remaining(&lab, "udp") < 310);

    file.write(&format!("lan = [\"lan0\", \"lan1\"]\n{rest}"));
    reload(&lab.router, json!([{ "option": "lan", "old": ["lan0"], "new": ["lan0", "lan1"] }]));
    let stats = daemon::stats(&lab.router);
    assert_eq!(stats["interfaces"][1]["name"], "lan1");
    assert_eq!(stats["interfaces"][1]["mode"], "tc");
    probe::ping(&lab.b, SERVER_2, 1).expect("a reply");
    let other = ["run", "--lan", "lan1", "--wan", "wan1", "--wait-interfaces"];
    let taken = daemon::run(&lab.router, other);
    assert!(String::from_utf8_lossy(&taken.stderr).contains("lan1 is taken"), "{taken:?}");

    // The next daemon finds what this one has made of it.
    kill(masq);
    let masq = file.start(&lab);
    masq.wait_for("taken over from an earlier masq");
    probe::ping(&lab.b, SERVER_2, 2).expect("a reply");

    // What the hosts of a LAN send would leave as it comes, if it were none any more.
    file.write(&format!("lan = \"lan0\"\n{rest}"));
    refused(&lab.router, &["--lan", "lan1", "--keep-data-plane"]);
    probe::ping(&lab.b, SERVER_2, 3).expect("a reply");
    udp.assert_all_answered();
    masq.stop();
    before.assert_restored(&lab.router);
}

#[test]
fn lans_come_and_stay_with_tcx() {
    if !has_tcx() {
        println!("left out: this kernel has no tcx");
        return;
    }
    lans_come_and_stay("tcx");
}

#[test]
fn lans_come_and_stay_with_clsact() {
    lans_come_and_stay("clsact");
}

#[test]
fn what_fails_on_the_way_is_put_back() {
    let lab = Lab::new(Layout::default());
    let file = File::new(&lab, "source = [\"192.168.0.0/16\"]\n");
    let masq = Masq::start(&lab, ["--mode", "tc", "--config", file.path()]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    // More than the table of prefixes holds.
    let sources = (0..4_100).map(|n| format!("\"10.{}.{}.0/24\"", n >> 8, n & 255));
    let sources = sources.collect::<Vec<_>>().join(", ");
    file.write(&format!("udp-timeout = \"20m\"\nsource = [{sources}]\n"));
    refused(&lab.router, &["prefix table", "--source"]);
    assert!(remaining(&lab, "udp") < 310);
    // The table is as it was: what was a source is one, and what was added on the way is none.
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    for third in 0..16 {
        let source = (Ipv4Addr::new(10, third, 0, 1), 40_000);
        lab.a.send_packet(&Packet::udp(source, (SERVER_1, 53), b"no source").bytes());
    }
    let excluded = || daemon::counter(&daemon::stats(&lab.router), "source_excluded");
    eventually("refusal of what is no source", || (excluded() == 16).then_some(()));
    file.write("source = [\"192.168.0.0/16\"]\nudp-timeout = \"20m\"\n");
    reload(&lab.router, json!([{ "option": "udp-timeout", "old": "5m", "new": "20m" }]));
    assert!(!masq.log().contains("trying again"), "{}", masq.log());
    udp.assert_all_answered();
    masq.stop();
}

#[test]
fn a_host_is_told_after_a_reload() {
    let lab = Lab::new(Layout::default());
    let file = File::new(&lab, "host-sessions = 1\nexhaustion-icmp = \"none\"\n");
    let masq = Masq::start(&lab, ["--mode", "tc", "--config", file.path()]);
    let _server = echo::Server::start(&lab.server1, 53);
    let first = lab.a.udp_bind(40_000);
    echo::ask(&first, SERVER, b"one").expect("an answer");
    // Connected, so that an ICMP error is an error of the socket.
    let second = lab.a.udp_bind(40_001);
    second.connect(SERVER).expect("connect");
    second.set_read_timeout(Some(Duration::from_millis(1500))).expect("set a timeout");
    second.send(b"two").expect("send");
    let silence = second.recv(&mut [0; 10]).expect_err("no room").kind();
    assert_eq!(silence, ErrorKind::WouldBlock);
    file.write("host-sessions = 1\nexhaustion-icmp = 13\n");
    reload(&lab.router, json!([{ "option": "exhaustion-icmp", "old": "none", "new": 13 }]));
    second.set_read_timeout(Some(patience())).expect("set a timeout");
    second.send(b"two").expect("send");
    let told = second.recv(&mut [0; 10]).expect_err("no room").kind();
    assert_eq!(told, ErrorKind::HostUnreachable);
    file.write("host-sessions = 2\nexhaustion-icmp = 13\n");
    reload(&lab.router, json!([{ "option": "host-sessions", "old": 1, "new": 2 }]));
    second.send(b"two").expect("send");
    assert!(second.recv(&mut [0; 100]).expect("an answer") > 3);
    masq.stop();
}
