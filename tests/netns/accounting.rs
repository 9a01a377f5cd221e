//! What each inside host is said to have sent and received, compared with what it has.

use std::net::SocketAddrV4;

use masq_tests::{
    daemon,
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1, SERVER_2},
    netns::Namespace,
    packet::Packet,
    sockets::eventually,
    traffic::{echo, probe},
};
use serde_json::Value;

use crate::{in_both_modes, scene::Setup};

in_both_modes!(each_host_has_what_it_had, hosts_are_listed_in_order);

/// Packets on the wire, and their bytes, of a datagram with so much in it, on links with an MTU of 1500.
fn on_the_wire(length: u64) -> [u64; 2] {
    let (ip, udp) = (20, 8);
    let fragments = (udp + length).div_ceil(1500 - ip);
    [fragments, udp + length + fragments * ip]
}

fn hosts(router: &Namespace, options: &[&str]) -> Vec<Value> {
    let arguments = [&["hosts", "--json"], options].concat();
    match daemon::json(router, arguments) {
        Value::Array(hosts) => hosts,
        other => panic!("{other}"),
    }
}

fn host(router: &Namespace, address: std::net::Ipv4Addr) -> Value {
    let all = hosts(router, &[]);
    let address = Value::from(address.to_string());
    all.into_iter().find(|host| host["address"] == address).expect("the host is listed")
}

/// Packets and bytes, out and in.
fn traffic(host: &Value) -> [u64; 4] {
    ["packets_out", "bytes_out", "packets_in", "bytes_in"].map(|name| host[name].as_u64().unwrap())
}

fn each_host_has_what_it_had(setup: Setup) {
    let short = ["--udp-timeout", "2s", "--icmp-timeout", "2s", "--allow-short-timeouts"];
    setup.arguments(&short).run(|scene| {
        let lab = scene.lab;
        let _servers = [&lab.server1, &lab.server2].map(|server| echo::Server::start(server, 53));
        let mut expected = [0; 4];
        for round in 1..=2 {
            for server in [SERVER_1, SERVER_2] {
                let socket = lab.a.udp_bind(0);
                let server = SocketAddrV4::new(server, 53);
                for length in [1, 10, 100, 1000, 4000_u64] {
                    let seen = echo::ask(&socket, server, &vec![7; length as usize]);
                    // The answer tells where the question came from, in words.
                    let words = seen.expect("an answer").to_string();
                    let answer = length + words.len() as u64;
                    let more = [on_the_wire(length), on_the_wire(answer)];
                    let more = more.as_flattened();
                    expected.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                }
            }
            probe::ping(&lab.b, SERVER_1, round).expect("a reply");
            let a = host(&lab.router, HOST_A);
            assert_eq!(traffic(&a), expected, "while the sessions live: {a}");
            eventually("end of the sessions", || {
                let stats = daemon::stats(&lab.router);
                (stats["tables"]["sessions"]["used"] == 0).then_some(())
            });
            let a = host(&lab.router, HOST_A);
            assert_eq!(traffic(&a), expected, "when they have ended: {a}");
            assert_eq!((&a["sessions"], &a["sessions_ended"]), (&0.into(), &(2 * round).into()));
        }
        let b = host(&lab.router, HOST_B);
        assert_eq!((traffic(&b)[0], traffic(&b)[2]), (2, 2), "{b}");
    });
}

fn hosts_are_listed_in_order(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        assert_eq!(hosts(&lab.router, &[]), Vec::<Value>::new());
        let _server = echo::Server::start(&lab.server1, 53);
        let server = SocketAddrV4::new(SERVER_1, 53);
        let many = lab.a.udp_bind(0);
        for _ in 0..5 {
            echo::ask(&many, server, b"").expect("an answer");
        }
        for port in [40_001, 40_002] {
            echo::ask(&lab.b.udp_bind(port), server, &[1; 1000]).expect("an answer");
        }
        let order = |options: &[&str]| {
            let all = hosts(&lab.router, options);
            all.iter().map(|host| host["address"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let (a, b) = (HOST_A.to_string(), HOST_B.to_string());
        assert_eq!(order(&[]), [b.clone(), a.clone()]);
        assert_eq!(order(&["--sort", "packets"]), [a.clone(), b.clone()]);
        assert_eq!(order(&["--sort", "sessions", "--limit", "1"]), std::slice::from_ref(&b));
        assert_eq!(order(&["--sort", "address"]), [a, b]);
        // The router's own tunnel has a session, and is no inside host: neither while it lives nor later.
        lab.router.send_packet(&Packet::new(ROUTER_WAN, SERVER_1, 47, &[0; 64]).bytes());
        let own = || daemon::sessions(&lab.router, &["--protocol", "gre"]).len();
        eventually("its session", || (own() == 1).then_some(()));
        assert_eq!(order(&["--sort", "address"]).len(), 2);
        daemon::output(&lab.router, ["flush", "--all"]);
        assert_eq!((own(), order(&["--sort", "address"]).len()), (0, 2));
        let table = daemon::output(&lab.router, ["hosts"]);
        assert_eq!(table.lines().count(), 3, "{table}");
    });
}
