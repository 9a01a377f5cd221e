//! `masq trace`: what it shows of real packets, and that switching it on and off costs none.

use masq_tests::{
    daemon::{self, Masq, masq},
    lab::{HOST_A, Lab, ROUTER_WAN, SERVER_1},
    sockets::eventually,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    events::with_masq,
    flow::{Connection, Datagrams},
    in_both_modes,
    scene::Setup,
    state::{State, programs},
};

in_both_modes!(packets_are_shown_and_none_is_lost, drops_are_shown_with_their_reason);

/// Starts `masq trace`, and waits until it traces.
pub fn trace(lab: &Lab, arguments: &[&str]) -> Masq {
    let trace = Masq::spawn(masq(&lab.router, ["trace"].iter().chain(arguments)));
    trace.wait_for("tracing");
    trace
}

/// The packets of a trace in JSON.
fn packets(log: &str) -> Vec<Value> {
    let records = log.lines().filter(|line| line.starts_with('{'));
    let records = records.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    records.filter(|record| record["event"] == "packet").collect()
}

fn end(address: std::net::Ipv4Addr, port: u16) -> Value {
    json!({ "address": address.to_string(), "port": port })
}

fn packets_are_shown_and_none_is_lost(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let before = programs(lab, &State::of(&lab.router));
        let datagrams = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let all = trace(lab, &["--json", "192.168.1.10"]);
        assert!(
            programs(lab, &State::of(&lab.router)).is_disjoint(&before),
            "no hook has been left out"
        );
        let second = daemon::run(&lab.router, ["trace", "--duration", "1s"]);
        assert_eq!(second.status.code(), Some(1), "one at a time");
        assert!(String::from_utf8_lossy(&second.stderr).contains("one at a time"));
        // First packets of a flow, and later ones.
        let connection = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server1);
        all.wait_for(r#""tcp_flags":"SYN,ACK""#);
        datagrams.go_on(50);
        all.signal(Signal::SIGINT);
        let (status, log) = all.outcome();
        assert!(status.success(), "{status}");
        eventually("the programs of before", || {
            (programs(lab, &State::of(&lab.router)) == before).then_some(())
        });
        datagrams.go_on(20);
        connection.assert_whole();
        datagrams.assert_all_answered();

        let packets = packets(&log);
        let summary = format!("{} packets shown", packets.len());
        assert!(log.lines().any(|line| line.starts_with(&summary)), "{summary:?} is not told");
        let find = |what: &dyn Fn(&Value) -> bool| {
            let found = packets.iter().find(|packet| what(packet));
            found.unwrap_or_else(|| panic!("not in {} packets", packets.len())).clone()
        };
        let first = find(&|packet: &Value| {
            packet["hook"] == "wan_out" && packet["before"]["tcp_flags"] == "SYN"
        });
        assert_eq!(first["reason"], "outbound_slow");
        assert_eq!((&first["interface"], &first["came_in_by"]), (&json!("wan0"), &json!("lan0")));
        assert_eq!(first["before"]["source"], end(HOST_A, 41_000));
        assert_eq!(first["before"]["destination"], end(SERVER_1, 80));
        let external = first["after"]["source"]["port"].as_u64().expect("a port") as u16;
        assert_eq!(first["after"]["source"], end(ROUTER_WAN, external));
        let out = find(&|packet: &Value| packet["reason"] == "outbound_fast");
        assert_eq!(out["verdict"], "redirect");
        // In the driver it is the port that it comes by.
        let mut at = scene.lab.lan_ports().iter().chain(&["lan0"]);
        assert!(at.any(|name| out["interface"] == *name), "{out}");
        let hop_limit = out["before"]["ttl"].as_u64().expect("a number");
        assert_eq!(out["after"]["ttl"], hop_limit - 1);
        let back = find(&|packet: &Value| {
            packet["reason"] == "inbound_fast" && packet["before"]["protocol"] == "udp"
        });
        assert_eq!(back["before"]["source"], end(SERVER_1, 53));
        assert_eq!(back["after"]["destination"], end(HOST_A, 40_000));
    });
}

fn drops_are_shown_with_their_reason(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let drops = trace(lab, &["--json", "--drops", "--count", "1"]);
        // A segment of no connection.
        let stray = masq_tests::packet::Packet::tcp(
            (HOST_A, 42_000),
            (SERVER_1, 80),
            masq_common::tcp::ACK,
            b"stray",
        );
        lab.a.send_packet(&stray.bytes());
        let (status, log) = drops.outcome();
        assert!(status.success(), "{log}");
        let packets = packets(&log);
        assert_eq!(packets[0]["reason"], "no_tcp_session", "{log}");
        assert_eq!((&packets[0]["verdict"], &packets[0]["after"]), (&json!("drop"), &Value::Null));
        assert_eq!(packets[0]["before"]["source"], end(HOST_A, 42_000));
    });
}

#[test]
fn filters_of_clsact_are_exchanged_too() {
    with_masq(&["--tc-attach", "clsact"], |lab, masq| {
        let before = programs(lab, &State::of(&lab.router));
        let datagrams = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let file = std::env::temp_dir().join(format!("masq-{}.pcapng", std::process::id()));
        let name = file.to_str().expect("a name");
        let written = daemon::run(&lab.router, ["trace", ":53", "--count", "20", "--write", name]);
        assert!(written.status.success(), "{written:?}");
        eventually("the programs of before", || {
            (programs(lab, &State::of(&lab.router)) == before).then_some(())
        });
        datagrams.assert_all_answered();
        // Somebody else's reader.
        let read = std::process::Command::new("tcpdump").args(["-nr", name]).output();
        let read = read.expect("start tcpdump");
        let _ = std::fs::remove_file(file);
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        assert!(read.status.success(), "{read:?}");
        assert!(text.contains("192.168.1.10.40000 > "), "before: {text}");
        assert!(text.contains(&format!("{ROUTER_WAN}.40000 > ")), "after: {text}");
        masq.stop();
    });
}
