//! The event stream: what it says of real packets, what it says when it cannot keep up, how it ends.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddrV4,
    os::unix::net::UnixStream,
    time::{SystemTime, UNIX_EPOCH},
};

use aya::maps::{Array, MapData, loaded_maps};
use masq_common::{
    abi::maps,
    settings::{Settings, switches},
};
use masq_tests::{
    daemon::{self, Masq, StopAtEnd, masq},
    lab::{HOST_A, HOST_B, Lab, Layout, ROUTER_WAN, SERVER_1, SERVER_2},
    patience::patience,
    sockets::eventually,
    traffic::{echo, probe},
};
use masq_user::control::{
    proto::{Ask, Request, VERSION},
    record::Watch,
    socket_path,
};
use serde_json::{Value, json};

use crate::{
    in_both_modes,
    scene::Setup,
    state::{State, maps_of, programs},
};

in_both_modes!(
    sessions_are_recorded_with_their_translation,
    dropped_first_packets_are_recorded_if_wanted,
);

/// Starts `masq events`, and waits until it listens.
fn follow(lab: &Lab, arguments: &[&str]) -> Masq {
    let events = Masq::spawn(masq(&lab.router, ["events"].iter().chain(arguments)));
    events.wait_for("listening");
    events
}

/// Whether the kernel programs report sessions.
fn reported(lab: &Lab) -> bool {
    let ours = maps_of(&programs(lab, &State::of(&lab.router)));
    let id = loaded_maps()
        .filter_map(Result::ok)
        .find(|map| ours.contains(&map.id()) && map.name_as_str() == Some(maps::SETTINGS));
    let id = id.expect("the programs have settings").id();
    let map = aya::maps::Map::Array(MapData::from_id(id).expect("open the settings"));
    let settings: Array<_, Settings> = map.try_into().expect("an array");
    settings.get(&0, 0).expect("read the settings").switches & switches::EVENTS != 0
}

/// The records of a stream in JSON.
fn records(log: &str) -> Vec<Value> {
    let parse = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}"))
    };
    log.lines().filter(|line| !line.starts_with("masq: ")).map(parse).collect()
}

/// A tick of the kernel, and what is lost by rounding, in seconds: how exact times are.
const TICK: f64 = 0.011;

/// Seconds since 1970, from the time of a record in UTC.
fn since_1970(record: &Value) -> f64 {
    let time = record["time"].as_str().expect("a time");
    assert!(time.ends_with('Z'), "{time} is in UTC");
    let time: jiff::Timestamp = time.parse().expect("a time of RFC 3339");
    time.as_microsecond() as f64 / 1e6
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

fn sessions_are_recorded_with_their_translation(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let server = SocketAddrV4::new(SERVER_1, 53);
        assert!(!reported(lab), "nobody listens yet");
        let all = follow(lab, &["--json"]);
        let chosen = follow(lab, &["--json", "--external", ":40000", "--count", "2"]);
        assert!(reported(lab));
        let before = now();
        // B is first, so that A gets another port than its own.
        let other = lab.b.udp_bind_to((HOST_B, 40_000));
        let socket = lab.a.udp_bind_to((HOST_A, 40_000));
        echo::ask(&other, server, b"0123456789").expect("an answer");
        let seen = echo::ask(&socket, server, b"0123456789").expect("an answer");
        assert_ne!(seen.port(), 40_000);
        probe::ping(&lab.a, SERVER_1, 77).expect("a reply");
        all.wait_for(r#""protocol":"icmp""#);
        let opened = now();
        daemon::output(&lab.router, ["flush", "--protocol", "udp"]);
        let (status, log) = chosen.outcome();
        assert!(status.success(), "{status}: {log}");
        let ends = records(&log);
        let ends = ends.iter().map(|r| (&r["event"], &r["inside"]["address"])).collect::<Vec<_>>();
        let b = &json!(HOST_B.to_string());
        let expected = [
            (&json!("listening"), &Value::Null),
            (&json!("opened"), b),
            (&json!("closed"), b),
        ];
        assert_eq!(ends, expected, "only the session with this port");

        eventually("both ends", || {
            (all.log().matches(r#""event":"closed""#).count() == 2).then_some(())
        });
        all.signal(nix::sys::signal::Signal::SIGTERM);
        let (_, log) = all.outcome();
        let records = records(&log);
        let find = |event: &str, port: u16| {
            let is = |r: &&Value| r["event"] == event && r["external"]["port"] == port;
            records.iter().find(is).unwrap_or_else(|| panic!("no {event} of {port} in {log}"))
        };
        let endpoint = |address: std::net::Ipv4Addr, port: u16| {
            json!({ "address": address.to_string(), "port": port })
        };
        for event in ["opened", "closed"] {
            let record = find(event, seen.port());
            assert_eq!(record["inside"], endpoint(HOST_A, 40_000));
            assert_eq!(record["external"], endpoint(ROUTER_WAN, seen.port()));
            assert_eq!(record["remote"], endpoint(SERVER_1, 53));
            assert_eq!((&record["protocol"], &record["wan"]), (&json!("udp"), &json!("wan0")));
        }
        let times = ["opened", "closed"].map(|event| since_1970(find(event, seen.port())));
        assert!(before - TICK <= times[0] && times[0] <= opened, "{before} {times:?} {opened}");
        assert!(opened - TICK <= times[1] && times[1] <= now(), "{opened} {times:?}");
        let closed = find("closed", seen.port());
        assert_eq!(closed["cause"], "flushed");
        assert_eq!((&closed["packets_out"], &closed["bytes_out"]), (&json!(1), &json!(38)));
        assert_eq!(closed["packets_in"], 1);
        let lived = (times[1] - times[0]) * 1e3;
        let duration = closed["duration_ms"].as_f64().expect("a number");
        assert!((lived - duration).abs() <= 2.0 * 135.0, "{lived} ms, and not {duration}");
        // When nobody listens any more, nothing is reported, and the daemon's own log has nothing.
        eventually("the end of reporting", || (!reported(lab)).then_some(()));
        assert!(!scene.gateway.daemon().log().contains("session opened"));
    });
}

fn dropped_first_packets_are_recorded_if_wanted(setup: Setup) {
    setup.arguments(&["--ports", "2000-2000", "--port-overlap", "never"]).run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let server = SocketAddrV4::new(SERVER_1, 53);
        let without = follow(lab, &["--json", "--count", "1"]);
        let with = follow(lab, &["--json", "--drops", "--inside", "192.168.1.11"]);
        let more = lab.b.udp_bind_to((HOST_B, 41_000));
        echo::ask(&lab.a.udp_bind(40_000), server, b"question").expect("an answer");
        for _ in 0..5 {
            // An error about an earlier one may come in between.
            let _ = more.send_to(b"nobody has a port for this", server);
        }
        let line = with.wait_for("dropped");
        let record: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(record["inside"]["address"], HOST_B.to_string());
        assert_eq!(record["remote"], json!({ "address": SERVER_1.to_string(), "port": 53 }));
        assert_eq!(record["reason"], "ports_exhausted");
        assert!(record["count"].as_u64() >= Some(1), "{record}");
        assert_eq!(record["external"], Value::Null, "there was no translation");
        let (status, log) = without.outcome();
        assert!(status.success() && !log.contains("dropped"), "{log}");
    });
}

/// A network with masq, for a test that needs no capture.
pub fn with_masq(arguments: &[&str], test: impl FnOnce(&Lab, Masq)) {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc"].iter().chain(arguments));
    test(&lab, masq);
}

#[test]
fn a_reader_that_does_not_read_loses_records_and_is_told_how_many() {
    with_masq(&[], |lab, masq| {
        let stats = daemon::stats(&lab.router);
        let name = stats["instance"].as_str().expect("a name");
        let mut stream = UnixStream::connect(socket_path(name)).expect("connect");
        stream.set_read_timeout(Some(patience())).expect("set a timeout");
        let request = Request { version: VERSION, ask: Ask::Events(Watch::default()) };
        let request = serde_json::to_string(&request).expect("JSON");
        stream.write_all(format!("{request}\n").as_bytes()).expect("send");
        let mut lines = BufReader::new(stream).lines();
        let mut next = || -> Value {
            let line = lines.next().expect("a record").expect("read");
            serde_json::from_str::<Value>(&line).expect("JSON")["record"].clone()
        };
        assert_eq!(next()["event"], "listening");

        // One that reads has nothing to do with one that does not.
        let diligent = follow(lab, &["--json", "--protocol", "icmp", "--count", "1"]);
        let socket = lab.a.udp_bind(0);
        for round in 0..3 {
            for port in 1_024..=u16::MAX {
                let remote = if round == 0 { SERVER_1 } else { SERVER_2 };
                // A port that is closed may have been answered by an error.
                let _ = socket.send_to(b"x", SocketAddrV4::new(remote, port));
            }
        }
        let opened = daemon::counter(&daemon::stats(&lab.router), "session_opened");
        assert!(opened > 100_000, "the sessions of both servers, and not {opened}");
        probe::ping(&lab.a, SERVER_1, 77).expect("a reply");
        let (status, log) = diligent.outcome();
        assert!(status.success() && log.contains(r#""event":"opened""#), "{log}");

        // Every session is either there or counted as lost.
        let opened = daemon::counter(&daemon::stats(&lab.router), "session_opened");
        let (mut read, mut lost) = (0, 0);
        while read + lost < opened {
            let record = next();
            match record["event"].as_str() {
                Some("opened") => read += 1,
                Some("lost") => lost += record["count"].as_u64().expect("a number"),
                _ => panic!("{record}"),
            }
        }
        assert_eq!(read + lost, opened);
        assert!(lost > 0, "{read} records were read late, and none was lost");
        assert!(read > 10_000, "{read} is less than waits");
        // And from here on there is no gap.
        probe::ping(&lab.a, SERVER_2, 78).expect("a reply");
        assert_eq!((&next()["event"]), "opened");
        masq.stop();
    });
}

#[test]
fn a_reader_that_goes_on_talking_is_hung_up_on() {
    with_masq(&[], |lab, masq| {
        let stats = daemon::stats(&lab.router);
        let instance = stats["instance"].as_str().expect("a name");
        let mut stream = UnixStream::connect(socket_path(instance)).expect("connect");
        stream.set_read_timeout(Some(patience())).expect("set a timeout");
        let ask = Ask::Events(Watch::default());
        let request = serde_json::to_string(&Request { version: VERSION, ask }).expect("JSON");
        stream.write_all(format!("{request}\n").as_bytes()).expect("ask");
        let mut lines = BufReader::new(stream.try_clone().expect("another handle")).lines();
        lines.next().expect("a first record").expect("read");
        // The other end may be closed after the first bytes already.
        let _ = stream.write_all(&[b'y'; 1 << 16]);
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        assert_eq!(rest, Vec::<String>::new());
        daemon::stats(&lab.router);
        eventually("the end of reporting", || (!reported(lab)).then_some(()));
        masq.stop();
    });
}

#[test]
fn the_end_of_the_daemon_is_told() {
    with_masq(&[], |lab, masq| {
        let events = follow(lab, &["--json"]);
        let stopped = daemon::run(&lab.router, ["stop", "--keep-data-plane"]);
        assert!(stopped.status.success(), "{stopped:?}");
        let (status, log) = events.outcome();
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains(r#""data_plane":"kept""#) && log.contains("masq: "), "{log}");
        masq.outcome();
        assert!(!reported(lab), "nobody will read what the programs report");

        let masq = Masq::start(lab, ["--mode", "tc"]);
        let events = follow(lab, &["--utc"]);
        masq.stop();
        let (status, log) = events.outcome();
        assert_eq!(status.code(), Some(3), "{log}");
        let end = log.lines().find(|line| line.contains(" ended  ")).expect("a last record");
        assert!(end.ends_with("data_plane=removed") && end.contains("+00:00"), "{log}");
    });
}

#[test]
fn a_time_and_readers_that_go_end_it() {
    with_masq(&[], |lab, masq| {
        let events = follow(lab, &["--duration", "1s"]);
        let (status, log) = events.outcome();
        assert!(status.success(), "{status}: {log}");
        eventually("the end of reporting", || (!reported(lab)).then_some(()));
        // Eight may listen; a ninth is told so, and other commands are answered.
        let readers: Vec<_> = (0..8).map(|_| follow(lab, &[])).collect();
        let ninth = daemon::run(&lab.router, ["events"]);
        assert_eq!(ninth.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ninth.stderr).contains("listening already"));
        daemon::stats(&lab.router);
        drop(readers);
        eventually("the end of reporting", || (!reported(lab)).then_some(()));
        masq.stop();
    });
}
