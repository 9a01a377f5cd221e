//! Who may send to a LAN host through its mapping (RFC 4787 section 5).

use std::{
    io::ErrorKind,
    net::{SocketAddrV4, UdpSocket},
    time::Duration,
};

use masq_tests::{
    lab::{SERVER_1, SERVER_2},
    sockets::v4,
    traffic::{echo, probe},
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    only_the_asked_endpoint_may_answer,
    only_the_asked_address_may_answer,
    anybody_may_answer,
);

fn only_the_asked_endpoint_may_answer(setup: Setup) {
    setup.run(|scene| {
        let (socket, _) = offer(scene, [false, false]);
        assert_eq!(socket.recv(&mut [0; 10]).expect_err("nothing").kind(), ErrorKind::WouldBlock);
    });
}

fn only_the_asked_address_may_answer(setup: Setup) {
    setup.arguments(&["--filtering", "address-dependent"]).run(|scene| {
        offer(scene, [true, false]);
    });
}

fn anybody_may_answer(setup: Setup) {
    setup.arguments(&["--filtering", "endpoint-independent"]).run(|scene| {
        let (socket, external) = offer(scene, [true, true]);
        // And the answer to the stranger comes from the same external endpoint.
        let stranger = scene.lab.server2.udp_bind(0);
        let port = stranger.local_addr().expect("a bound socket").port();
        socket.send_to(b"welcome", (SERVER_2, port)).expect("send");
        let (_, from) = stranger.recv_from(&mut [0; 10]).expect("the answer");
        assert_eq!(v4(from), external);
    });
}

/// Host A asks server 1; then another port of server 1, and server 2, send to the external
/// endpoint. Demands that exactly the expected ones arrive; returns the socket and that endpoint.
fn offer(scene: &Scene, expected: [bool; 2]) -> (UdpSocket, SocketAddrV4) {
    let lab = scene.lab;
    let _server = echo::Server::start(&lab.server1, 53);
    let socket = lab.a.udp_bind(0);
    let server = SocketAddrV4::new(SERVER_1, 53);
    let external = echo::ask(&socket, server, b"who am I?").expect("an answer");
    for (sender, text) in [(&lab.server1, b"port"), (&lab.server2, b"host")] {
        sender.udp_bind(0).send_to(text, external).expect("send");
        // What was sent before a ping's reply has arrived before it.
        probe::ping(&lab.a, sender.address, 1).expect("a reply");
    }
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("set a timeout");
    let mut buffer = [0; 100];
    let mut arrived = [false; 2];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        match &buffer[..length] {
            b"port" => arrived[0] = *v4(from).ip() == SERVER_1,
            b"host" => arrived[1] = *v4(from).ip() == SERVER_2,
            other => panic!("{from} sent {other:02x?}"),
        }
    }
    assert_eq!(arrived, expected, "from another port of the server, from another server");
    socket.set_read_timeout(Some(masq_tests::patience::patience())).expect("set a timeout");
    assert_eq!(echo::ask(&socket, server, b"and now?").expect("an answer"), external);
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("set a timeout");
    (socket, external)
}
