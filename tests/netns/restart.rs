//! The daemon is killed, crashes, is upgraded, while packets flow: not one of them is lost, nothing
//! leaves untranslated, and the next daemon has the same sessions.

use std::{collections::BTreeSet, net::SocketAddrV4, thread, time::Duration};

use masq_tests::{
    capture::Capture,
    daemon::{self, Masq, Mode, StopAtEnd},
    lab::{HOST_B, ISP_IF, Lab, Layout, SERVER_1},
    sockets::eventually,
    traffic::{echo, probe},
};
use nix::sys::signal::Signal;

use crate::{
    flow::{Connection, Datagrams},
    state::State,
};

/// Kills it as nothing else can.
pub fn kill(masq: Masq) {
    masq.signal(Signal::SIGKILL);
    masq.outcome();
}

/// What the sessions are, without what changes from packet to packet.
fn sessions(lab: &Lab) -> BTreeSet<String> {
    let ends = |session: &serde_json::Value| {
        let of = |name: &str| session[name].to_string();
        [of("protocol"), of("inside"), of("external"), of("remote"), of("wan")].join(" ")
    };
    daemon::sessions(&lab.router, &[]).iter().map(ends).collect()
}

/// Runs a daemon, ends it in some way while packets flow, lets another one follow, and demands that
/// nobody has noticed.
fn nobody_notices(arguments: &[&str], end: impl FnOnce(&Lab, Masq)) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let capture = Capture::start(&lab.isp, ISP_IF);
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, arguments);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
    let old = sessions(&lab);
    assert_eq!(old.len(), 2, "{old:?}");

    end(&lab, masq);
    udp.go_on(100);
    let masq = Masq::start(&lab, arguments);
    masq.wait_for("taken over from an earlier masq");
    udp.go_on(100);
    assert_eq!(sessions(&lab), old);
    let instance = &daemon::json(&lab.router, ["stats", "--json"]);
    assert_eq!(instance["survival"]["adopted"], true);

    udp.assert_all_answered();
    tcp.assert_whole();
    // The new one opens sessions, too.
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    masq.stop();
    before.assert_restored(&lab.router);
    capture.finish().assert_clean();
}

#[test]
fn a_kill_is_not_noticed_in_tc() {
    nobody_notices(&["--mode", "tc"], |_, masq| kill(masq));
}

#[test]
fn a_kill_is_not_noticed_in_xdp() {
    nobody_notices(&["--mode", "xdp"], |_, masq| kill(masq));
}

#[test]
fn a_kill_is_not_noticed_with_clsact() {
    nobody_notices(&["--mode", "tc", "--tc-attach", "clsact"], |_, masq| kill(masq));
}

#[test]
fn a_crash_is_not_noticed() {
    nobody_notices(&["--mode", "xdp"], |_, masq| {
        masq.signal(Signal::SIGABRT);
        masq.outcome();
    });
}

#[test]
fn a_hand_over_by_signal_is_not_noticed() {
    nobody_notices(&["--mode", "xdp"], |_, masq| {
        masq.signal(Signal::SIGUSR2);
        let (status, log) = masq.outcome();
        assert!(status.success(), "{status}: {log}");
    });
}

#[test]
fn a_hand_over_by_command_is_not_noticed() {
    let arguments = ["--mode", "tc", "--tc-attach", "clsact"];
    nobody_notices(&arguments, |lab, masq| {
        daemon::output(&lab.router, ["stop", "--keep-data-plane"]);
        let (status, log) = masq.outcome();
        assert!(status.success(), "{status}: {log}");
    });
}

#[test]
fn a_row_of_kills_is_not_noticed() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let mut masq = Masq::start(&lab, ["--mode", "tc"]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    for _ in 0..3 {
        kill(masq);
        masq = Masq::start(&lab, ["--mode", "tc"]);
    }
    udp.assert_all_answered();
    masq.stop();
}

#[test]
fn a_daemon_that_is_killed_as_it_takes_over_is_not_noticed() {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    kill(Masq::start(&lab, ["--mode", "xdp"]));
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    for delay in [5, 20, 80, 320, 640, 1280] {
        let arguments = ["run", "--lan", "lan0", "--wan", "wan0", "--mode", "xdp"];
        let masq = Masq::spawn(daemon::masq(&lab.router, arguments));
        thread::sleep(Duration::from_millis(delay));
        kill(masq);
    }
    let masq = Masq::start(&lab, ["--mode", "xdp"]);
    masq.wait_for("taken over from an earlier masq");
    udp.assert_all_answered();
    masq.stop();
    before.assert_restored(&lab.router);
}

#[test]
fn sessions_that_expire_without_a_daemon_are_removed_by_the_next() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let arguments = ["--mode", "tc", "--udp-timeout", "1s", "--allow-short-timeouts"];
    let masq = Masq::start(&lab, arguments);
    let _server = echo::Server::start(&lab.server1, 53);
    let socket = lab.a.udp_bind(40_000);
    echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), b"question").expect("an answer");
    kill(masq);
    thread::sleep(Duration::from_millis(1500));
    let masq = Masq::start(&lab, arguments);
    assert_eq!(sessions(&lab).len(), 0);
    eventually("end of the session", || {
        let stats = daemon::stats(&lab.router);
        (stats["tables"]["sessions"]["used"] == 0
            && stats["tables"]["mappings"]["used"] == 0
            && daemon::counter(&stats, "session_closed") == 1)
            .then_some(())
    });
    masq.stop();
}

#[test]
fn ring_buffers_that_nobody_reads_stop_nothing() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    // Every session is reported: more than the ring buffer holds.
    let arguments = ["--mode", "tc", "-v", "--max-sessions", "50000"];
    let masq = Masq::start(&lab, arguments);
    kill(masq);
    let sockets: Vec<_> = (0..8).map(|port| lab.a.udp_bind(42_000 + port)).collect();
    for socket in &sockets {
        for port in 2_000..4_000 {
            socket.send_to(b"nobody", (SERVER_1, port)).expect("send");
        }
    }
    probe::ping(&lab.b, SERVER_1, 1).expect("a reply of a session opened with a full ring buffer");
    let masq = Masq::start(&lab, ["--mode", "tc", "--max-sessions", "50000"]);
    let stats = daemon::stats(&lab.router);
    assert!(daemon::counter(&stats, "event_lost") > 0, "{stats}");
    assert!(daemon::counter(&stats, "session_opened") > 10_000, "{stats}");
    probe::ping(&lab.b, SERVER_1, 2).expect("a reply");
    masq.stop();
}

/// Both modes of the daemon that follows may be another's.
#[test]
fn the_mode_may_change() {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let mut masq = Masq::start(&lab, ["--mode", "tc"]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let old = sessions(&lab);
    for mode in [Mode::Xdp, Mode::Tc] {
        kill(masq);
        masq = Masq::start(&lab, ["--mode", mode.as_str()]);
        masq.wait_for("taken over from an earlier masq");
        let stats = daemon::stats(&lab.router);
        assert_eq!(stats["interfaces"][1]["mode"], mode.as_str());
        assert_eq!(sessions(&lab), old);
    }
    // A driver may lose packets while it is reset; the flow goes on.
    udp.go_on(20);
    let (_, answered, sources) = udp.finish();
    assert!(answered.len() > 100);
    assert_eq!(sources.len(), 1);
    masq.stop();
    before.assert_restored(&lab.router);
}
