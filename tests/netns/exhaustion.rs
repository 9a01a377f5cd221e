//! Tables and ports that are used up: counted, answered by a drop, and harmless to what exists.

use std::{
    io::ErrorKind,
    net::{SocketAddrV4, UdpSocket},
    time::{Duration, Instant},
};

use masq_tests::{
    daemon,
    lab::{HOST_A, HOST_B, ROUTER_LAN, SERVER_1, SERVER_2},
    patience::patience,
    sockets::eventually,
    traffic::{echo, probe},
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    ports_are_shared_when_they_run_out,
    ports_are_not_shared_if_not_wanted,
    a_full_session_table_hurts_nobody,
    a_host_is_told_that_no_port_is_free,
    a_host_is_told_in_other_words,
    a_packet_waits_for_a_port_that_is_about_to_be_free,
);

const SERVERS: [SocketAddrV4; 2] =
    [SocketAddrV4::new(SERVER_1, 53), SocketAddrV4::new(SERVER_2, 53)];

fn ports_are_shared_when_they_run_out(setup: Setup) {
    setup.arguments(&["--ports", "2000-2009"]).run(|scene| {
        let _servers = servers(scene);
        let first = sockets(scene, 10);
        let mut ports = ask_all(&first, SERVERS[0]);
        ports.sort();
        assert_eq!(ports, (2000..2010).collect::<Vec<_>>());
        // Ten more towards the other server; none towards the same.
        let second = sockets(scene, 10);
        let ports = ask_all(&second, SERVERS[1]);
        assert!(ports.iter().all(|port| (2000..2010).contains(port)), "{ports:?}");
        assert_refused(&second[0], SERVERS[0]);
        let stats = daemon::stats(&scene.lab.router);
        assert_eq!(daemon::counter(&stats, "port_shared"), 10);
        assert!(daemon::counter(&stats, "ports_exhausted") >= 1);
        ask_all(&first, SERVERS[0]);
        ask_all(&second, SERVERS[1]);
    });
}

fn ports_are_not_shared_if_not_wanted(setup: Setup) {
    setup.arguments(&["--ports", "2000-2009", "--port-overlap", "never"]).run(|scene| {
        let _servers = servers(scene);
        let first = sockets(scene, 10);
        let ports = ask_all(&first, SERVERS[0]);
        let more = scene.lab.b.udp_bind(0);
        assert_refused(&more, SERVERS[1]);
        let stats = daemon::stats(&scene.lab.router);
        assert_eq!(daemon::counter(&stats, "port_shared"), 0);
        assert_eq!(ask_all(&first, SERVERS[1]), ports, "the mappings are for everybody");
    });
}

fn a_full_session_table_hurts_nobody(setup: Setup) {
    setup.arguments(&["--max-sessions", "20"]).run(|scene| {
        let _servers = servers(scene);
        let first = sockets(scene, 20);
        let ports = ask_all(&first, SERVERS[0]);
        let more = scene.lab.b.udp_bind(0);
        assert_refused(&more, SERVERS[0]);
        assert_eq!(ask_all(&first, SERVERS[0]), ports);
        let stats = daemon::stats(&scene.lab.router);
        assert!(daemon::counter(&stats, "session_table_full") > 0);
        assert_eq!(stats["tables"]["sessions"]["used"], 20);
        assert_eq!(stats["tables"]["sessions"]["max"], 20);
    });
}

const TEN_PORTS: [&str; 4] = ["--ports", "2000-2009", "--port-overlap", "never"];

fn a_host_is_told_that_no_port_is_free(setup: Setup) {
    setup.arguments(&TEN_PORTS).run(|scene| {
        let lab = scene.lab;
        let _servers = servers(scene);
        let first = sockets(scene, 10);
        ask_all(&first, SERVERS[0]);
        let icmp = probe::Icmp::open(&lab.b);
        let more = lab.b.udp_bind_to((HOST_B, 40_000));
        more.connect(SERVERS[0]).expect("connect");
        let begin = Instant::now();
        more.send(b"anybody there?").expect("send");
        let error = more.recv(&mut [0; 10]).expect_err("no port is free");
        assert_eq!(error.kind(), ErrorKind::HostUnreachable);
        let message = icmp.receive(patience(), |m| m.kind == 3).expect("an ICMP error");
        assert_eq!((message.from, message.code), (ROUTER_LAN, 13));
        assert!(probe::quotes(&message.data, (HOST_B, 40_000), (SERVER_1, 53)), "{message:?}");
        // A host that does not listen is told once a second.
        for _ in 0..100 {
            // The error about an earlier one may come in between.
            let _ = more.send(b"anybody there?");
        }
        let slow_path = |name| daemon::stats(&lab.router)["slow_path"][name].as_u64();
        eventually("errors that are held back", || {
            (slow_path("icmp_suppressed") > Some(0) && slow_path("held") == Some(0)).then_some(())
        });
        let sent = slow_path("icmp_sent").expect("a counter");
        let limit = begin.elapsed().as_secs() + 1;
        assert!((1..=limit).contains(&sent), "{sent} within {limit} seconds");
        ask_all(&first, SERVERS[1]);
    });
}

fn a_host_is_told_in_other_words(setup: Setup) {
    let code = ["--exhaustion-icmp", "1"];
    setup.arguments(&[&TEN_PORTS[..], &code].concat()).run(|scene| {
        let lab = scene.lab;
        let _servers = servers(scene);
        ask_all(&sockets(scene, 10), SERVERS[0]);
        let icmp = probe::Icmp::open(&lab.b);
        lab.b.udp_bind(0).send_to(b"anybody there?", SERVERS[0]).expect("send");
        let message = icmp.receive(patience(), |m| m.kind == 3).expect("an ICMP error");
        assert_eq!((message.from, message.code), (ROUTER_LAN, 1));
    });
}

fn a_packet_waits_for_a_port_that_is_about_to_be_free(setup: Setup) {
    let short = ["--udp-timeout", "1s", "--allow-short-timeouts"];
    setup.arguments(&[&TEN_PORTS[..], &short].concat()).run(|scene| {
        let lab = scene.lab;
        let server = lab.server1.udp_bind(53);
        server.set_nonblocking(true).expect("set O_NONBLOCK");
        let mut sent = 0;
        let mut arrived = 0;
        // One datagram from each of ever new sockets. Those that come between the end of the
        // sessions and the sweeper are held, and sent when it is done.
        let mut look = |go_on: bool| {
            if go_on {
                lab.a.udp_bind(0).send_to(b"hello", SERVERS[0]).expect("send");
                sent += 1;
            }
            while server.recv(&mut [0; 10]).is_ok() {
                arrived += 1;
            }
            let stats = daemon::stats(&lab.router);
            assert_eq!(daemon::counter(&stats, "slow_path_full"), 0);
            assert_eq!(stats["slow_path"]["failed"], 0);
            let slow_path = |name| stats["slow_path"][name].as_u64().expect("a counter");
            let refused = slow_path("icmp_sent") + slow_path("icmp_suppressed");
            (slow_path("retried"), slow_path("held") == 0 && arrived + refused == sent)
        };
        eventually("a packet that was sent again", || (look(true).0 > 0).then_some(()));
        eventually("the end of every packet", || look(false).1.then_some(()));
    });
}

fn servers(scene: &Scene) -> [echo::Server; 2] {
    [&scene.lab.server1, &scene.lab.server2].map(|server| echo::Server::start(server, 53))
}

fn sockets(scene: &Scene, count: usize) -> Vec<UdpSocket> {
    (0..count).map(|_| scene.lab.a.udp_bind_to((HOST_A, 0))).collect()
}

/// The external ports of all these sockets.
#[track_caller]
fn ask_all(sockets: &[UdpSocket], server: SocketAddrV4) -> Vec<u16> {
    let ask = |socket| echo::ask(socket, server, b"who am I?").expect("an answer").port();
    sockets.iter().map(ask).collect()
}

/// Demands that there is no answer. What was sent is dropped before any answer could come, so a
/// short wait is enough to see one that should not be there.
#[track_caller]
fn assert_refused(socket: &UdpSocket, server: SocketAddrV4) {
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set a timeout");
    let answer = echo::ask(socket, server, b"who am I?");
    assert!(answer.is_err(), "the server has seen {answer:?}");
}
