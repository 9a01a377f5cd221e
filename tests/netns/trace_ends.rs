//! `masq trace` ends in every way there is, under traffic: the programs of before are back, no packet
//! is lost, and nothing is left in the kernel or the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use aya::programs::loaded_programs;
use masq_tests::{
    daemon::{self, Masq, StopAtEnd},
    lab::{HOST_B, Lab, LanKind, Layout},
    packet::Packet,
    sockets::eventually,
    tun::TunLine,
};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    flow::{Connection, Datagrams},
    reload::{File, reload},
    restart::kill,
    state::{State, assert_all_gone, maps_of, programs},
    trace::trace,
};

/// What is attached: how many programs of each name and size. A program that traces is larger.
fn kinds(lab: &Lab) -> BTreeMap<(String, u32), usize> {
    let attached = programs(lab, &State::of(&lab.router));
    let mut kinds = BTreeMap::new();
    for program in loaded_programs().filter_map(Result::ok) {
        if attached.contains(&program.id()) {
            let name = program.name_as_str().unwrap_or_default().to_owned();
            *kinds.entry((name, program.size_translated().expect("a size"))).or_default() += 1;
        }
    }
    assert!(kinds.len() >= 3, "{kinds:?}");
    kinds
}

/// Waits until exactly these programs are attached.
fn wait_for_programs(lab: &Lab, wanted: &BTreeSet<u32>) {
    eventually("the programs of before", || {
        (programs(lab, &State::of(&lab.router)) == *wanted).then_some(())
    });
}

/// How many descriptors a process has.
fn descriptors(masq: &Masq) -> usize {
    fs::read_dir(format!("/proc/{}/fd", masq.id())).expect("read /proc").count()
}

fn tracers_come_and_go(arguments: &[&str]) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, arguments);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
    let before = programs(&lab, &State::of(&lab.router));
    let (maps, all) = (maps_of(&before), kinds(&lab));
    let mut open = BTreeSet::new();
    for end in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGKILL] {
        let tracer = trace(&lab, &[]);
        tracer.wait_for(" reason=");
        let traced = programs(&lab, &State::of(&lab.router));
        assert!(traced.is_disjoint(&before), "every hook traces");
        assert!(kinds(&lab).keys().all(|kind| !all.contains_key(kind)), "which takes code");
        let traced_maps: BTreeSet<_> = maps_of(&traced).difference(&maps).copied().collect();
        udp.go_on(20);
        tracer.signal(end);
        let (status, log) = tracer.outcome();
        assert_eq!(status.success(), end == Signal::SIGINT, "{log}");
        wait_for_programs(&lab, &before);
        assert_all_gone(&traced, &traced_maps);
        open.insert(descriptors(&masq));
    }
    assert_eq!(open.len(), 1, "each leaves as many descriptors: {open:?}");
    udp.go_on(20);
    tcp.assert_whole();
    udp.assert_all_answered();
    masq.stop();
}

#[test]
fn tracers_come_and_go_in_tc() {
    tracers_come_and_go(&["--mode", "tc"]);
}

#[test]
fn tracers_come_and_go_in_xdp() {
    tracers_come_and_go(&["--mode", "xdp"]);
}

#[test]
fn tracers_come_and_go_with_clsact() {
    tracers_come_and_go(&["--mode", "tc", "--tc-attach", "clsact"]);
}

/// The daemon ends while somebody traces, and another one takes over.
fn the_next_daemon_does_not_trace(arguments: &[&str], end: impl FnOnce(&Lab, Masq, Masq)) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, arguments);
    let untraced = kinds(&lab);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tracer = trace(&lab, &[]);
    tracer.wait_for(" reason=");
    end(&lab, masq, tracer);
    udp.go_on(50);
    let masq = Masq::start(&lab, arguments);
    masq.wait_for("taken over from an earlier masq");
    assert_eq!(kinds(&lab), untraced);
    // And what the earlier one has left of its records bothers nobody.
    let more = daemon::run(&lab.router, ["trace", "--count", "20", ":53"]);
    assert!(more.status.success(), "{more:?}");
    udp.go_on(50);
    udp.assert_all_answered();
    masq.stop();
}

/// Kills it, which leaves programs that trace for nobody.
fn killed(lab: &Lab, masq: Masq, tracer: Masq) {
    let traced = kinds(lab);
    kill(masq);
    let (status, log) = tracer.outcome();
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(kinds(lab), traced);
}

/// Hands over to whoever comes.
fn handed_over(lab: &Lab, masq: Masq, tracer: Masq) {
    daemon::output(&lab.router, ["stop", "--keep-data-plane"]);
    let (status, log) = tracer.outcome();
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(log.contains("data_plane=kept"), "{log}");
    masq.outcome();
}

#[test]
fn after_a_kill_the_next_daemon_does_not_trace_in_tc() {
    the_next_daemon_does_not_trace(&["--mode", "tc"], killed);
}

#[test]
fn after_a_kill_the_next_daemon_does_not_trace_in_xdp() {
    the_next_daemon_does_not_trace(&["--mode", "xdp"], killed);
}

#[test]
fn after_a_kill_the_next_daemon_does_not_trace_with_clsact() {
    the_next_daemon_does_not_trace(&["--mode", "tc", "--tc-attach", "clsact"], killed);
}

#[test]
fn a_daemon_that_hands_over_puts_the_programs_of_before_back() {
    the_next_daemon_does_not_trace(&["--mode", "xdp"], |lab, masq, tracer| {
        let traced = kinds(lab);
        handed_over(lab, masq, tracer);
        let left = kinds(lab);
        assert!(left.keys().all(|kind| !traced.contains_key(kind)), "{left:?}");
    });
}

/// Masq is stopped while a tracer does what `halt` says.
fn stopping_leaves_nothing(arguments: &[&str], halt: bool) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let masq = Masq::start(&lab, arguments);
    let untraced = programs(&lab, &State::of(&lab.router));
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tracer = trace(&lab, &[]);
    tracer.wait_for(" reason=");
    if halt {
        // Its socket fills up, and the daemon waits for it.
        tracer.signal(Signal::SIGSTOP);
        udp.go_on(500);
    }
    let all = &programs(&lab, &State::of(&lab.router)) | &untraced;
    let maps = maps_of(&all);
    daemon::output(&lab.router, ["stop"]);
    tracer.signal(Signal::SIGCONT);
    let (status, log) = tracer.outcome();
    if !halt {
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains("data_plane=removed"), "{log}");
    }
    let (status, log) = masq.outcome();
    assert!(status.success(), "{log}");
    udp.finish();
    before.assert_restored(&lab.router);
    assert_all_gone(&all, &maps);
}

#[test]
fn stopping_while_somebody_traces_leaves_nothing_in_tc() {
    stopping_leaves_nothing(&["--mode", "tc"], false);
}

#[test]
fn stopping_while_somebody_traces_leaves_nothing_in_xdp() {
    stopping_leaves_nothing(&["--mode", "xdp"], false);
}

#[test]
fn stopping_does_not_wait_for_a_tracer_that_is_halted() {
    stopping_leaves_nothing(&["--mode", "tc", "--tc-attach", "clsact"], true);
}

#[test]
fn a_reload_while_somebody_traces_takes_effect_and_the_tracer_sees_new_interfaces() {
    let lab = Lab::new(Layout::default().lan(LanKind::InterfacePerHost));
    let _clean = StopAtEnd(&lab.router);
    let rest = "wan = \"wan0\"\nmode = \"tc\"\n";
    let file = File::new(&lab, &format!("lan = \"lan0\"\n{rest}"));
    let masq = file.start(&lab);
    let before = programs(&lab, &State::of(&lab.router));
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tracer = trace(&lab, &["--json"]);
    let traced = programs(&lab, &State::of(&lab.router));
    file.write(&format!("lan = [\"lan0\", \"lan1\"]\n{rest}"));
    reload(&lab.router, json!([{ "option": "lan", "old": ["lan0"], "new": ["lan0", "lan1"] }]));
    assert_eq!(programs(&lab, &State::of(&lab.router)), traced, "they trace on");
    let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
    tracer.wait_for(r#""interface":"lan1""#);
    tracer.signal(Signal::SIGINT);
    let (status, log) = tracer.outcome();
    assert!(status.success(), "{}", log.lines().last().unwrap_or_default());
    wait_for_programs(&lab, &before);
    tcp.assert_whole();
    udp.assert_all_answered();
    masq.stop();
}

#[test]
fn a_reload_while_somebody_traces_may_need_programs_that_were_not_loaded() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let _line = TunLine::new(&lab.router, "tun7", &lab.b, "tun7");
    for (node, address) in [(&lab.router, "192.168.7.1"), (&*lab.b, "192.168.7.10")] {
        node.ip(&format!("address add {address}/24 dev tun7"));
        node.ip("link set tun7 up");
    }
    let rest = "wan = \"wan0\"\nmode = \"tc\"\n";
    let file = File::new(&lab, &format!("lan = \"lan0\"\n{rest}"));
    let masq = file.start(&lab);
    let before = programs(&lab, &State::of(&lab.router));
    let tracer = trace(&lab, &["--json"]);
    file.write(&format!("lan = [\"lan0\", \"tun7\"]\n{rest}"));
    reload(&lab.router, json!([{ "option": "lan", "old": ["lan0"], "new": ["lan0", "tun7"] }]));
    let packet = Packet::udp(([192, 168, 7, 10].into(), 9), ([192, 168, 7, 1].into(), 9), b"raw");
    lab.b.send_packet(&packet.bytes());
    tracer.wait_for(r#""interface":"tun7""#);
    tracer.signal(Signal::SIGINT);
    let (status, log) = tracer.outcome();
    assert!(status.success(), "{}", log.lines().last().unwrap_or_default());
    wait_for_programs(&lab, &before);
    masq.stop();
}

/// Starts `masq trace` and waits until programs are being loaded for it, which needs a thread.
fn begin_to_trace(lab: &Lab, masq: &Masq) -> Masq {
    let threads = || fs::read_dir(format!("/proc/{}/task", masq.id())).expect("/proc").count();
    let idle = threads();
    let tracer = Masq::spawn(daemon::masq(&lab.router, ["trace"]));
    eventually("a thread that loads programs", || (threads() > idle).then_some(()));
    tracer
}

#[test]
fn a_trace_may_follow_another_at_once_however_that_has_ended() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let before = programs(&lab, &State::of(&lab.router));
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let given_up = begin_to_trace(&lab, &masq);
    given_up.signal(Signal::SIGKILL);
    given_up.outcome();
    for _ in 0..3 {
        let next = daemon::run(&lab.router, ["trace", "--count", "5", ":53"]);
        assert!(next.status.success(), "{next:?}");
    }
    wait_for_programs(&lab, &before);
    udp.assert_all_answered();
    masq.stop();
}

#[test]
fn stopping_while_programs_are_being_loaded_leaves_nothing() {
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let programs = programs(&lab, &State::of(&lab.router));
    let maps = maps_of(&programs);
    let tracer = begin_to_trace(&lab, &masq);
    daemon::output(&lab.router, ["stop"]);
    let (status, log) = tracer.outcome();
    assert!(!status.success(), "{log}");
    let (status, log) = masq.outcome();
    assert!(status.success(), "{log}");
    before.assert_restored(&lab.router);
    assert_all_gone(&programs, &maps);
}

#[test]
fn a_filter_that_is_gone_when_programs_are_exchanged_is_put_back() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc", "--tc-attach", "clsact"]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let all = kinds(&lab);
    let tracer = trace(&lab, &[]);
    tracer.wait_for(" reason=");
    lab.router.command("tc").args(["filter", "del", "dev", "wan0", "ingress"]).status().unwrap();
    tracer.signal(Signal::SIGINT);
    let (_, log) = tracer.outcome();
    assert!(log.contains("packets shown"), "{log}");
    eventually("the programs of before", || (kinds(&lab) == all).then_some(()));
    udp.go_on(20);
    masq.stop();
}
