//! Chosen sessions are removed: they are gone, what they held is free, and all others stay.

use std::{
    io::{Read, Write},
    net::SocketAddrV4,
};

use masq_tests::{
    daemon,
    lab::{HOST_A, HOST_B, SERVER_1, SERVER_2},
    packet::Packet,
    patience::patience,
    traffic::echo,
};
use serde_json::{Value, json};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    chosen_sessions_are_gone_and_others_stay,
    connections_are_cut_and_new_ones_are_not,
    what_a_session_counts_for_is_given_back_once,
);

/// What `masq flush` says.
fn flush(scene: &Scene, arguments: &[&str]) -> Value {
    daemon::json(&scene.lab.router, ["flush", "--json"].iter().chain(arguments))
}

/// Ports of UDP that are held.
fn held(scene: &Scene) -> u64 {
    let stats = daemon::stats(&scene.lab.router);
    let ports = stats["tables"]["ports"].as_array().expect("the ports");
    let udp = ports.iter().find(|port| port["protocol"] == "udp").expect("those of UDP");
    udp["used"].as_u64().expect("a number")
}

fn chosen_sessions_are_gone_and_others_stay(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let _servers = [&lab.server1, &lab.server2].map(|server| echo::Server::start(server, 53));
        let [first, second] = [SERVER_1, SERVER_2].map(|server| SocketAddrV4::new(server, 53));
        let (a, b) = (lab.a.udp_bind_to((HOST_A, 40_000)), lab.b.udp_bind_to((HOST_B, 40_000)));
        let external = echo::ask(&a, first, b"question").expect("an answer");
        assert_eq!(echo::ask(&a, second, b"question").expect("an answer"), external);
        let of_b = echo::ask(&b, first, b"question").expect("an answer");
        assert_eq!(held(scene), 2);

        let nobody = flush(scene, &["--inside", "192.168.1.99"]);
        assert_eq!(nobody, json!({ "matched": 0, "removed": 0, "dry_run": false }));
        let dry = flush(scene, &["--inside", "192.168.1.10", "--dry-run"]);
        assert_eq!(dry, json!({ "matched": 2, "removed": 0, "dry_run": true }));
        assert_eq!(daemon::sessions(&lab.router, &[]).len(), 3);

        // One of two sessions of a port: the port stays.
        let one = flush(scene, &["--inside", "192.168.1.10", "--remote", "198.51.100.2"]);
        assert_eq!(one, json!({ "matched": 1, "removed": 1, "dry_run": false }));
        assert_eq!(held(scene), 2);
        assert_eq!(echo::ask(&a, first, b"question").expect("an answer"), external);

        let said = daemon::output(&lab.router, ["flush", "--inside", "192.168.1.10"]);
        assert_eq!(said.trim(), "removed 1 session");
        let left = daemon::sessions(&lab.router, &[]);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0]["inside"]["address"], HOST_B.to_string());
        assert_eq!(held(scene), 1, "the port is free");
        let stats = daemon::stats(&lab.router);
        assert_eq!(stats["tables"]["mappings"]["used"], 1);
        assert_eq!(daemon::counter(&stats, "session_closed"), 2);
        // Nothing comes in any more, although the fast path knew the flow.
        lab.server1.send_packet(
            &Packet::udp((SERVER_1, 53), (*external.ip(), external.port()), b"late").bytes(),
        );
        a.set_nonblocking(true).expect("set O_NONBLOCK");
        assert_eq!(echo::ask(&b, first, b"question").expect("an answer"), of_b, "B goes on");
        a.recv(&mut [0; 10]).expect_err("the session has gone");
        a.set_nonblocking(false).expect("clear O_NONBLOCK");
        // The next packet opens another one.
        echo::ask(&a, first, b"question").expect("an answer");
        assert_eq!(daemon::counter(&daemon::stats(&lab.router), "session_opened"), 4);
        assert_eq!(flush(scene, &["--all"])["removed"], 2);
        assert_eq!((daemon::sessions(&lab.router, &[]).len(), held(scene)), (0, 0));
    });
}

fn connections_are_cut_and_new_ones_are_not(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let listener = lab.server1.tcp_listen(80);
        let mut client = lab.a.tcp_connect((SERVER_1, 80)).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        client.write_all(b"hello").expect("send");
        server.read_exact(&mut [0; 5]).expect("receive");
        let chosen = ["--protocol", "tcp", "--phase", "established"];
        assert_eq!(flush(scene, &["--phase", "closing"])["matched"], 0);
        assert_eq!(flush(scene, &chosen)["removed"], 1);
        // The kernel sends it again and again, in vain.
        client.write_all(b"lost").expect("the kernel takes it");
        let mut other = lab.a.tcp_connect((SERVER_1, 80)).expect("connect");
        let (mut server_of_other, _) = listener.accept().expect("accept");
        other.write_all(b"hello").expect("send");
        server_of_other.set_read_timeout(Some(patience())).expect("set a timeout");
        server_of_other.read_exact(&mut [0; 5]).expect("receive");
        server.set_nonblocking(true).expect("set O_NONBLOCK");
        server.read(&mut [0; 5]).expect_err("the connection was cut");
        assert_eq!(daemon::sessions(&lab.router, &["--protocol", "tcp"]).len(), 1);
    });
}

fn what_a_session_counts_for_is_given_back_once(setup: Setup) {
    let limits = ["--host-sessions", "1", "--filtering", "address-dependent"];
    setup.arguments(&limits).run(|scene| {
        let lab = scene.lab;
        let _servers = [&lab.server1, &lab.server2].map(|server| echo::Server::start(server, 53));
        let [first, second] = [SERVER_1, SERVER_2].map(|server| SocketAddrV4::new(server, 53));
        let socket = lab.a.udp_bind(40_000);
        for round in 0..3 {
            echo::ask(&socket, first, b"question").expect("an answer");
            let refused = |stats: &Value| daemon::counter(stats, "host_sessions");
            let before = refused(&daemon::stats(&lab.router));
            // The limit is met, neither earlier nor later than in the first round.
            let more = lab.a.udp_bind(0);
            let _ = more.send_to(b"one too many", second);
            masq_tests::sockets::eventually("a refusal", || {
                (refused(&daemon::stats(&lab.router)) > before).then_some(())
            });
            let flushed = flush(scene, &["--inside", "192.168.1.10"]);
            assert_eq!(flushed["removed"], 1, "round {round}: {flushed}");
            // With its permit gone, the server may not send any more.
            lab.server1.send_packet(
                &Packet::udp((SERVER_1, 9), ([203, 0, 113, 5].into(), 40_000), b"x").bytes(),
            );
        }
        assert_eq!(daemon::sessions(&lab.router, &[]).len(), 0);
    });
}
