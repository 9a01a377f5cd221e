//! Ping, traceroute, and the ICMP errors that hosts wait for.

use std::io::ErrorKind;

use masq_tests::{
    lab::{HOST_A, ISP, ROUTER_LAN, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::Packet,
    patience::patience,
    traffic::probe::{self, Hop, Icmp},
};

use crate::{in_both_modes, scene::Setup};

in_both_modes!(
    ping_is_answered,
    two_hosts_ping_with_the_same_identifier,
    timestamp_is_answered,
    the_router_answers_a_ping_from_outside,
    traceroute_shows_every_hop,
    a_closed_udp_port_refuses_at_once,
);

fn ping_is_answered(setup: Setup) {
    setup.run(|scene| {
        for identifier in [1, 0x1234, 0xffff] {
            let reply = probe::ping(&scene.lab.a, SERVER_1, identifier).expect("a reply");
            assert_eq!(reply.ttl, 62, "the ISP and the router take one each");
        }
        scene.capture.wait_for("request from the external address", |p| {
            p.received && p.source() == ROUTER_WAN && p.protocol() == 1 && p.ttl() == 63
        });
    });
}

fn two_hosts_ping_with_the_same_identifier(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let sockets = [&lab.a, &lab.b].map(|host| Icmp::open(host));
        let data = [b"from a".as_slice(), b"from b"];
        for (socket, data) in sockets.iter().zip(data) {
            let request = Packet::echo((HOST_A, 77), SERVER_1, data);
            socket.send(&request, SERVER_1).expect("send a request");
        }
        for (socket, data) in sockets.iter().zip(data) {
            let reply = socket.receive(patience(), |m| m.kind == 0).expect("a reply");
            assert_eq!((reply.rest, reply.data.as_slice()), (77 << 16 | 1, data));
        }
    });
}

fn timestamp_is_answered(setup: Setup) {
    setup.run(|scene| {
        let icmp = Icmp::open(&scene.lab.a);
        let request = Packet::icmp(HOST_A, SERVER_1, (13, 0), 77 << 16 | 1, &[0; 12]);
        icmp.send(&request, SERVER_1).expect("send a request");
        let reply = icmp.receive(patience(), |m| m.kind == 14 && m.from == SERVER_1);
        assert_eq!(reply.expect("a timestamp reply").rest, 77 << 16 | 1);
    });
}

fn the_router_answers_a_ping_from_outside(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        // With a session of the same identifier between a LAN host and the same server.
        probe::ping(&lab.a, SERVER_1, 5).expect("a reply to the LAN host");
        probe::ping(&lab.server2, ROUTER_WAN, 5).expect("a reply to the other server");
        probe::ping(&lab.server1, ROUTER_WAN, 6).expect("a reply to the same server");
        probe::ping(&lab.router, SERVER_2, 5).expect("a reply to the router itself");
    });
}

fn traceroute_shows_every_hop(setup: Setup) {
    setup.run(|scene| {
        let hops = probe::traceroute(&scene.lab.a, SERVER_1).expect("an answer of every hop");
        let hop = |from, last| Hop { from, last };
        assert_eq!(hops, [hop(ROUTER_LAN, false), hop(ISP, false), hop(SERVER_1, true)]);
        // Once more on a flow that is established, as mtr does it: probes with the same ports.
        let hops = probe::traceroute(&scene.lab.b, SERVER_1).expect("an answer of every hop");
        assert_eq!(hops.len(), 3);
    });
}

fn a_closed_udp_port_refuses_at_once(setup: Setup) {
    setup.run(|scene| {
        let socket = scene.lab.a.udp_bind(0);
        socket.connect((SERVER_1, 9)).expect("connect");
        for _ in 0..2 {
            socket.send(b"anybody there?").expect("send");
            let error = socket.recv(&mut [0; 10]).expect_err("nobody there");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    });
}
