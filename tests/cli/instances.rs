//! Several instances on one machine.

use std::time::{Duration, Instant};

use masq_tests::{
    daemon::{Masq, StopAtEnd, json, masq, output, run, sessions},
    lab::{Lab, LanKind, Layout, SERVER_1, veth},
    netns::{Namespace, random},
    traffic::probe,
};
use masq_user::claims::Claims;
use nix::sys::signal::Signal;

use crate::{failure, terminal::Terminal};

/// Two instances in one router: A behind `lan0` and `wan0`, B behind `lan1` and `wan1`.
#[test]
fn two_instances_on_one_router_are_addressable() {
    let lab = Lab::new(Layout::default().lan(LanKind::InterfacePerHost));
    veth(&lab.router, "wan1", &lab.isp, "isp1");
    lab.isp.ip("addr add 192.0.2.1/24 dev isp1\nlink set isp1 up");
    // B's packets take the second WAN.
    lab.router.ip("addr add 192.0.2.5/24 dev wan1\nlink set wan1 up\n\
         route add default via 192.0.2.1 dev wan1 table 7\n\
         rule add iif lan1 lookup 7");
    let names = ["a", "b"].map(|name| format!("test-{name}-{:x}", random()));
    let start = |lan, wan, name: &String| {
        let arguments = ["run", "--lan", lan, "--wan", wan, "--mode", "tc", "--instance", name];
        let instance = Masq::spawn(masq(&lab.router, arguments));
        instance.wait_for("ready");
        instance
    };
    let a = start("lan0", "wan0", &names[0]);
    let b = start("lan1", "wan1", &names[1]);
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply through the first");
    probe::ping(&lab.b, SERVER_1, 2).expect("a reply through the second");
    for (name, external) in names.iter().zip(["203.0.113.5", "192.0.2.5"]) {
        let found = sessions(&lab.router, &["--instance", name]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["external"]["address"], external);
    }
    // Which of the two has to be said.
    let error = failure(&run(&lab.router, ["sessions"]), 1);
    assert!(names.iter().all(|name| error.contains(name)), "{error}");
    let listed = json(&lab.router, ["instances", "--json"]);
    for (name, instance) in names.iter().zip([&a, &b]) {
        let instances = listed.as_array().expect("an array");
        let found = instances.iter().find(|i| i["instance"] == name.as_str());
        assert_eq!(found.expect("the instance")["pid"], instance.id());
        assert!(output(&lab.router, ["instances"]).contains(name));
    }
    // A name is taken once.
    let again = ["run", "--lan", "lan0", "--wan", "wan0", "--instance", &names[0]];
    assert!(failure(&run(&lab.router, again), 1).contains("taken"));
    a.stop();
    probe::ping(&lab.b, SERVER_1, 3).expect("the second goes on");
    // The one that is left needs no name in its own namespace.
    assert_eq!(sessions(&lab.router, &[]).len(), 2);
    b.stop();
}

#[test]
fn an_instance_is_found_from_another_namespace_by_its_name() {
    let lab = Lab::new(Layout::default());
    let name = format!("test-{:x}", random());
    let instance = Masq::start(&lab, ["--mode", "tc", "--instance", &name]);
    let elsewhere = Namespace::new("elsewhere");
    assert_eq!(sessions(&elsewhere, &["--instance", &name]).len(), 0);
    instance.stop();
    let error = failure(&run(&elsewhere, ["stats", "--instance", &name]), 1);
    assert!(error.contains(&name), "{error}");
}

#[test]
fn one_that_is_starting_is_not_taken_for_one_without_a_daemon() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let name = format!("test-{:x}", random());
    let instance = Masq::start(&lab, ["--mode", "tc", "--instance", &name]);
    output(&lab.router, ["stop", "--keep-data-plane", "--instance", &name]);
    instance.outcome();
    let found = || {
        let listed = json(&lab.router, ["instances", "--json"]);
        let instances = listed.as_array().expect("an array");
        let found = instances.iter().find(|i| i["instance"] == name.as_str());
        let text = output(&lab.router, ["instances"]);
        let line = text.lines().find(|line| line.starts_with(&name));
        (found.expect("the instance").clone(), line.expect("its line").to_owned())
    };
    let (alone, line) = found();
    assert!(alone["pid"].is_null() && alone["busy"].is_null(), "{alone}");
    assert!(line.contains("translates without a daemon"), "{line}");
    // A daemon has its name before anything else, and answers last.
    let claim = Claims::take_name(&name).unwrap_or_else(|error| panic!("a free name: {error}"));
    let (starting, line) = found();
    assert_eq!(starting["pid"], std::process::id());
    assert_eq!(starting["busy"], true);
    assert!(line.contains("is starting or stopping"), "{line}");
    drop(claim);
    assert!(found().1.contains("translates without a daemon"));
}

#[test]
fn who_waits_for_a_halted_daemon_is_told_on_a_terminal() {
    let lab = Lab::new(Layout::default());
    let name = format!("test-{:x}", random());
    let instance = Masq::start(&lab, ["--mode", "tc", "--instance", &name]);
    instance.signal(Signal::SIGSTOP);
    let on_terminal =
        |words: &[&str]| Terminal::start(masq(&lab.router, words.iter().copied()), 100, 30);
    let waits = format!("{name} has not answered yet");
    // Whoever does not name it asks all of them first, and gives up on this one.
    let found = on_terminal(&["instances"]);
    let named = on_terminal(&["stats", "--instance", &name]);
    named.wait_for_line(&[&waits]);
    found.wait_for_line(&[&waits]);
    found.wait_for_line(&[&name, "its daemon does not answer"]);
    assert!(found.outcome().success());
    let listed = json(&lab.router, ["instances", "--json"]);
    let instances = listed.as_array().expect("an array");
    let halted = instances.iter().find(|i| i["instance"] == name.as_str());
    let halted = halted.expect("the instance");
    assert_eq!((&halted["pid"], &halted["busy"]), (&instance.id().into(), &true.into()));
    // A script that reads both streams is not told.
    let script = run(&lab.router, ["instances"]);
    assert!(script.status.success() && script.stderr.is_empty(), "{script:?}");
    instance.signal(Signal::SIGCONT);
    named.wait_for_line(&["up "]);
    assert!(named.outcome().success());
    instance.stop();
}

#[test]
fn a_halted_daemon_of_another_network_namespace_holds_nobody_up() {
    let (lab, elsewhere) = (Lab::new(Layout::default()), Lab::new(Layout::default()));
    let [here, halted] = [&lab, &elsewhere].map(|lab| Masq::start(lab, ["--mode", "tc"]));
    halted.signal(Signal::SIGSTOP);
    let asked = Instant::now();
    let stats = json(&lab.router, ["stats", "--json"]);
    // No sooner would the other one be given up.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}: {stats}", asked.elapsed());
    halted.signal(Signal::SIGCONT);
    halted.stop();
    here.stop();
}
