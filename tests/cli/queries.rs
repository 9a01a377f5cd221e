//! `masq sessions` and `masq stats`, for people and for programs.

use std::{io::Write, net::SocketAddrV4};

use masq_tests::{
    daemon::{Masq, counter, output, sessions, stats},
    lab::{HOST_A, HOST_B, Lab, Layout, ROUTER_WAN, SERVER_1, SERVER_2},
    sockets::{eventually, v4},
    traffic::{echo, http, probe},
};
use serde_json::{Value, json};

/// A lab with masq and one session of each protocol: UDP of A, TCP of B, ICMP of A.
fn lab_with_sessions(test: impl FnOnce(&Lab)) {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let _server = echo::Server::start(&lab.server1, 53);
    let socket = lab.a.udp_bind(40_000);
    echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), b"0123456789").expect("an answer");
    let listener = lab.server2.tcp_listen(80);
    let local = (HOST_B, 50_000);
    let mut client = lab.b.tcp_connect_from(local, (SERVER_2, 80)).expect("connect");
    let (_server_end, _) = listener.accept().expect("accept");
    client.write_all(b"hello").expect("send");
    probe::ping(&lab.a, SERVER_2, 77).expect("a reply");
    test(&lab);
    masq.stop();
}

#[test]
fn sessions_are_listed_with_everything_that_is_known() {
    lab_with_sessions(|lab| {
        let all = sessions(&lab.router, &[]);
        assert_eq!(all.len(), 3, "{all:?}");
        let find = |protocol: &str| {
            let found = all.iter().find(|session| session["protocol"] == protocol);
            found.unwrap_or_else(|| panic!("no {protocol} in {all:?}"))
        };
        let endpoint = |address: std::net::Ipv4Addr, port: u16| json!({ "address": address.to_string(), "port": port });
        let udp = find("udp");
        assert_eq!(udp["inside"], endpoint(HOST_A, 40_000));
        assert_eq!(udp["external"], endpoint(ROUTER_WAN, 40_000));
        assert_eq!(udp["remote"], endpoint(SERVER_1, 53));
        assert_eq!(udp["wan"], "wan0");
        assert_eq!(udp["phase"], Value::Null);
        assert_eq!((&udp["packets_out"], &udp["bytes_out"]), (&json!(1), &json!(38)));
        // The answer ends with the endpoint that the server has seen.
        let answer = 38 + "203.0.113.5:40000".len();
        assert_eq!((&udp["packets_in"], &udp["bytes_in"]), (&json!(1), &json!(answer)));
        let idle = udp["idle_ms"].as_u64().expect("a number");
        let remaining = udp["remaining_ms"].as_u64().expect("a number");
        assert!((299_000..302_000).contains(&(idle + remaining)), "{idle} + {remaining}");
        assert!(udp["age_ms"].as_u64() >= Some(idle));
        let tcp = find("tcp");
        assert_eq!(tcp["inside"], endpoint(HOST_B, 50_000));
        assert_eq!(tcp["phase"], "established");
        let icmp = find("icmp");
        assert_eq!(icmp["inside"], endpoint(HOST_A, 77));
        assert_eq!(icmp["remote"], endpoint(SERVER_2, 0));
    });
}

#[test]
fn filters_choose_sessions() {
    lab_with_sessions(|lab| {
        let cases: [(&[&str], &[&str]); 10] = [
            (&["--protocol", "tcp"], &["tcp"]),
            (&["--protocol", "icmp"], &["icmp"]),
            (&["--inside", "192.168.1.10"], &["icmp", "udp"]),
            (&["--inside", "192.168.1.10:40000"], &["udp"]),
            (&["--inside", "192.168.1.0/24"], &["icmp", "tcp", "udp"]),
            (&["--remote", "198.51.100.2"], &["icmp", "tcp"]),
            (&["--remote", ":80"], &["tcp"]),
            (&["--external", "203.0.113.5:40000"], &["udp"]),
            (&["--phase", "established"], &["tcp"]),
            (&["--phase", "closing"], &[]),
        ];
        for (filters, expected) in cases {
            let found = sessions(&lab.router, filters);
            let mut protocols: Vec<_> =
                found.iter().map(|session| session["protocol"].as_str().expect("a name")).collect();
            protocols.sort_unstable();
            assert_eq!(protocols, expected, "{filters:?}");
        }
        assert_eq!(sessions(&lab.router, &["--limit", "2"]).len(), 2);
        assert_eq!(output(&lab.router, ["sessions", "--count"]).trim(), "3");
    });
}

#[test]
fn sessions_are_sorted_and_the_first_ones_shown() {
    lab_with_sessions(|lab| {
        let protocols = |arguments: &[&str]| {
            let found = sessions(&lab.router, arguments);
            let name = |session: &Value| session["protocol"].as_str().expect("a name").to_owned();
            found.iter().map(name).collect::<Vec<_>>()
        };
        let bytes =
            |session: &Value| session["bytes_out"].as_u64().zip(session["bytes_in"].as_u64());
        let all = sessions(&lab.router, &["--sort", "bytes"]);
        let sums: Vec<_> = all.iter().map(|s| bytes(s).map(|(out, back)| out + back)).collect();
        assert!(sums.is_sorted_by(|a, b| a >= b) && sums.len() == 3, "{all:?}");
        // By the daemon, and by the command where it is too many for the daemon.
        let order = protocols(&["--sort", "bytes"]);
        assert_eq!(protocols(&["--sort", "bytes", "--limit", "2"]), order[..2]);
        assert_eq!(protocols(&["--sort", "bytes", "--limit", "20000"]), order);
        assert_eq!(protocols(&["--sort", "bytes", "--reverse", "--limit", "1"]), order[2..]);
        assert_eq!(protocols(&["--sort", "remaining", "--limit", "1"]), ["tcp"]);
        assert_eq!(protocols(&["--sort", "remaining", "--reverse", "--limit", "1"]), ["icmp"]);
        let ages: Vec<_> = sessions(&lab.router, &["--sort", "age", "--reverse"])
            .iter()
            .map(|session| session["age_ms"].as_u64())
            .collect();
        assert!(ages.is_sorted(), "youngest first: {ages:?}");
    });
}

#[test]
fn tables_are_for_people() {
    lab_with_sessions(|lab| {
        let table = output(&lab.router, ["sessions"]);
        for word in ["192.168.1.10:40000", "198.51.100.2:80", "203.0.113.5:40000", "established"] {
            assert!(table.contains(word), "no {word} in:\n{table}");
        }
        let table = output(&lab.router, ["stats"]);
        for word in ["lan0", "wan0", "203.0.113.5", "outbound_slow", "session_opened"] {
            assert!(table.contains(word), "no {word} in:\n{table}");
        }
        assert!(!table.contains("malformed"), "counters that are zero are left out:\n{table}");
        assert!(output(&lab.router, ["stats", "--all"]).contains("malformed"));
    });
}

#[test]
fn statistics_count_what_has_happened() {
    lab_with_sessions(|lab| {
        let stats = stats(&lab.router);
        assert_eq!(counter(&stats, "session_opened"), 3);
        assert_eq!(counter(&stats, "mapping_opened"), 3);
        assert!(counter(&stats, "outbound_slow") >= 3);
        let used = |name: &str| stats["tables"][name]["used"].as_u64();
        assert_eq!((used("sessions"), used("mappings")), (Some(3), Some(3)));
        assert_eq!(stats["tables"]["sessions"]["max"], 262_144);
        let ports = stats["tables"]["ports"].as_array().expect("the ports");
        assert!(ports.iter().all(|port| port["wan"] == "wan0" && port["used"] == 1), "{ports:?}");
        let interfaces = stats["interfaces"].as_array().expect("the interfaces");
        let wan = interfaces.iter().find(|i| i["name"] == "wan0").expect("wan0");
        assert_eq!((&wan["role"], &wan["mode"]), (&json!("wan"), &json!("tc")));
        assert_eq!(wan["address"], "203.0.113.5");
        for counter in stats["counters"].as_array().expect("the counters") {
            assert!(counter["text"].as_str().is_some_and(|text| text.ends_with('.')));
        }
    });
}

#[test]
fn a_closed_connection_is_seen_closing() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc", "-v"]);
    let server = http::Server::start(&lab.server1, 80);
    http::download(&lab.a, (SERVER_1, server.port()), 100_000).expect("a whole download");
    eventually("phase closing", || {
        let found = sessions(&lab.router, &["--phase", "closing"]);
        (found.len() == 1).then_some(())
    });
    let session = &sessions(&lab.router, &["--protocol", "tcp"])[0];
    assert!(session["bytes_in"].as_u64() >= Some(100_000), "{session}");
    assert!(session["remaining_ms"].as_u64() <= Some(241_000), "{session}");
    // With -v the opening of the session is in the log: a NAT log.
    let line = masq.wait_for("198.51.100.1:80");
    assert!(line.contains("192.168.1.10:") && line.contains("203.0.113.5:"), "{line}");
    masq.stop();
}

#[test]
fn queries_do_not_disturb_traffic() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let listener = lab.server1.tcp_listen(80);
    let connections: Vec<_> = (0..100)
        .map(|_| {
            let client = lab.a.tcp_connect((SERVER_1, 80)).expect("connect");
            let (server, peer) = listener.accept().expect("accept");
            assert_eq!(*v4(peer).ip(), ROUTER_WAN);
            (client, server)
        })
        .collect();
    std::thread::scope(|scope| {
        let list = || {
            for _ in 0..10 {
                assert_eq!(sessions(&lab.router, &["--protocol", "tcp"]).len(), 100);
            }
        };
        for lister in [scope.spawn(list), scope.spawn(list)] {
            lister.join().expect("lists of 100 sessions");
        }
        for (mut client, _) in connections {
            client.write_all(b"still here").expect("send");
        }
    });
    masq.stop();
}
