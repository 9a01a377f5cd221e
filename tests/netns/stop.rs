//! Stopping leaves nothing: no program, link, qdisc, filter, changed sysctl or file.

use masq_tests::{
    daemon::{Masq, Mode},
    lab::{Lab, Layout, SERVER_1},
    traffic::{http, probe},
};
use nix::sys::signal::Signal;

use crate::state::{State, assert_all_gone, maps_of, programs};

/// Runs masq with traffic, ends it in one way, and compares.
fn leaves_nothing(arguments: &[&str], end: Signal) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let masq = Masq::start(&lab, arguments);
    let _server = http::Server::start(&lab.server1, 80);
    http::download(&lab.a, (SERVER_1, 80), 1_000_000).expect("a whole download");
    probe::ping(&lab.b, SERVER_1, 1).expect("a reply");
    let running = State::of(&lab.router);
    assert_ne!(running.sysctls, before.sysctls, "forwarding is on");
    assert_ne!(running.run_files, before.run_files);
    let programs = programs(&lab, &running);
    assert!(programs.len() >= 3, "programs {programs:?} on {running:?}");
    let maps = maps_of(&programs);
    masq.signal(end);
    let (status, log) = masq.outcome();
    assert!(status.success(), "{status}: {log}");
    before.assert_restored(&lab.router);
    assert_all_gone(&programs, &maps);
}

#[test]
fn tc_leaves_nothing() {
    leaves_nothing(&["--mode", "tc"], Signal::SIGTERM);
}

#[test]
fn xdp_leaves_nothing() {
    leaves_nothing(&["--mode", "xdp"], Signal::SIGTERM);
}

#[test]
fn clsact_leaves_nothing() {
    leaves_nothing(&["--mode", "tc", "--tc-attach", "clsact"], Signal::SIGTERM);
}

#[test]
fn an_interrupt_leaves_nothing() {
    leaves_nothing(&["--mode", "xdp"], Signal::SIGINT);
}

#[test]
fn a_clsact_qdisc_of_somebody_else_stays() {
    let lab = Lab::new(Layout::default());
    lab.router.output("tc", &["qdisc", "add", "dev", "lan0", "clsact"]);
    let before = State::of(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc", "--tc-attach", "clsact"]);
    masq.stop();
    before.assert_restored(&lab.router);
}

#[test]
fn forwarding_that_was_on_stays_on() {
    let lab = Lab::new(Layout::default());
    lab.router.set_sysctl("net.ipv4.ip_forward", "1");
    let before = State::of(&lab.router);
    Masq::start(&lab, ["--mode", "tc"]).stop();
    before.assert_restored(&lab.router);
}

#[test]
fn after_a_kill_the_next_one_starts_and_cleans_up() {
    let lab = Lab::new(Layout::default());
    lab.router.set_sysctl("net.ipv4.ip_forward", "1");
    let before = State::of(&lab.router);
    for mode in [Mode::Tc, Mode::Xdp] {
        lab.prepare_for_xdp();
        let masq = Masq::start(&lab, ["--mode", mode.as_str()]);
        masq.signal(Signal::SIGKILL);
        masq.outcome();
        let masq = Masq::start(&lab, ["--mode", mode.as_str()]);
        probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
        masq.stop();
        before.assert_restored(&lab.router);
    }
}
