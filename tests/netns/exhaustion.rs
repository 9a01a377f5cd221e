//! Tables and ports that are used up: counted, answered by a drop, and harmless to what exists.

use std::{
    net::{SocketAddrV4, UdpSocket},
    time::Duration,
};

use masq_tests::{
    daemon,
    lab::{HOST_A, SERVER_1, SERVER_2},
    traffic::echo,
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    ports_are_shared_when_they_run_out,
    ports_are_not_shared_if_not_wanted,
    a_full_session_table_hurts_nobody,
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
        // Each of these sessions has a mapping of its own, so both tables are full.
        let full = ["session_table_full", "mapping_table_full"];
        assert!(full.iter().any(|reason| daemon::counter(&stats, reason) > 0));
        assert_eq!(stats["tables"]["sessions"]["used"], 20);
        assert_eq!(stats["tables"]["sessions"]["max"], 20);
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
