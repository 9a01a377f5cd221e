//! LAN hosts that reach each other through the external address (RFC 4787 REQ-9).

use std::net::{SocketAddrV4, UdpSocket};

use masq_tests::{
    lab::{LanKind, Layout, ROUTER_WAN, SERVER_1},
    sockets::v4,
    traffic::{echo, probe},
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    hosts_meet_at_the_external_address,
    hosts_behind_different_interfaces_meet,
    hosts_behind_a_bridge_meet,
    filtering_holds_for_hosts_of_the_lan,
);

const OPEN: [&str; 2] = ["--filtering", "endpoint-independent"];

fn hosts_meet_at_the_external_address(setup: Setup) {
    setup.arguments(&OPEN).run(exchange);
}

fn hosts_behind_different_interfaces_meet(setup: Setup) {
    let layout = Layout::default().lan(LanKind::InterfacePerHost);
    setup.arguments(&OPEN).layout(layout).run(exchange);
}

fn hosts_behind_a_bridge_meet(setup: Setup) {
    setup.arguments(&OPEN).layout(Layout::default().lan(LanKind::Bridge)).run(exchange);
}

fn filtering_holds_for_hosts_of_the_lan(setup: Setup) {
    setup.masq_only().run(|scene| {
        let [(a, external_a), (b, external_b)] = meet_a_server(scene);
        a.send_to(b"unasked", external_b).expect("send");
        probe::ping(&scene.lab.a, ROUTER_WAN, 1).expect("a reply of the router");
        b.set_nonblocking(true).expect("set O_NONBLOCK");
        b.recv(&mut [0; 10]).expect_err("nobody has asked for it");
        // Once both have sent, both are let in: that is how hosts meet through a server.
        b.set_nonblocking(false).expect("clear O_NONBLOCK");
        b.send_to(b"from b", external_a).expect("send");
        a.send_to(b"from a", external_b).expect("send");
        assert_eq!(receive(&b), (b"from a".to_vec(), external_a));
        b.send_to(b"again b", external_a).expect("send");
        assert_eq!(receive(&a).1, external_b);
    });
}

/// A and B tell a server their endpoints, and send to each other's.
fn exchange(scene: &Scene) {
    let [(a, external_a), (b, external_b)] = meet_a_server(scene);
    for round in 0..3 {
        let text = format!("round {round}").into_bytes();
        a.send_to(&text, external_b).expect("send");
        assert_eq!(receive(&b), (text.clone(), external_a), "B sees A's external endpoint");
        b.send_to(&text, external_a).expect("send");
        assert_eq!(receive(&a), (text, external_b));
    }
}

/// A socket of each host, and its external endpoint.
fn meet_a_server(scene: &Scene) -> [(UdpSocket, SocketAddrV4); 2] {
    let _server = echo::Server::start(&scene.lab.server1, 53);
    [&scene.lab.a, &scene.lab.b].map(|host| {
        let socket = host.udp_bind_to((host.address, 0));
        let external = echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), b"who am I?");
        (socket, external.expect("an answer"))
    })
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddrV4) {
    let mut buffer = [0; 100];
    let (length, from) = socket.recv_from(&mut buffer).expect("receive");
    (buffer[..length].to_vec(), v4(from))
}
