//! Exchanges over UDP.

use std::net::SocketAddrV4;

use masq_tests::{
    lab::{HOST_A, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::Packet,
    sockets::v4,
    traffic::echo,
};

use crate::{in_both_modes, scene::Setup};

in_both_modes!(
    questions_are_answered,
    a_datagram_may_be_empty,
    a_datagram_without_checksum_arrives,
    a_datagram_in_fragments_arrives,
    many_sockets_at_once,
);

fn questions_are_answered(setup: Setup) {
    setup.run(|scene| {
        let _server = echo::Server::start(&scene.lab.server1, 53);
        let socket = scene.lab.a.udp_bind(0);
        for length in [1, 2, 7, 100, 1001, 1440] {
            let data = vec![length as u8; length];
            let seen = echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), &data);
            assert_eq!(*seen.expect("an answer").ip(), ROUTER_WAN);
        }
        let mut sent = scene.capture.packets();
        sent.retain(|packet| packet.received && packet.protocol() == 17);
        assert_eq!(sent.len(), 6);
        assert!(sent.iter().all(|packet| packet.ttl() == 63), "one hop, by every path");
    });
}

fn a_datagram_may_be_empty(setup: Setup) {
    setup.run(|scene| {
        let _server = echo::Server::start(&scene.lab.server1, 53);
        let socket = scene.lab.a.udp_bind(0);
        for _ in 0..3 {
            let seen = echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), b"");
            assert_eq!(*seen.expect("an answer").ip(), ROUTER_WAN);
        }
    });
}

fn a_datagram_without_checksum_arrives(setup: Setup) {
    setup.run(|scene| {
        let _server = echo::Server::start(&scene.lab.server1, 53);
        let socket = scene.lab.a.udp_bind(40_000);
        let data = b"no checksum";
        let mut packet = Packet::udp((HOST_A, 40_000), (SERVER_1, 53), data).bytes();
        packet[26..28].fill(0);
        for _ in 0..3 {
            scene.lab.a.send_packet(&packet);
            let (_, from) = socket.recv_from(&mut [0; 100]).expect("an answer");
            assert_eq!(v4(from), SocketAddrV4::new(SERVER_1, 53));
        }
        scene.capture.wait_for("datagram that still has no checksum", |p| {
            p.received && p.protocol() == 17 && p.payload()[6..8] == [0, 0]
        });
    });
}

fn a_datagram_in_fragments_arrives(setup: Setup) {
    setup.run(|scene| {
        let _server = echo::Server::start(&scene.lab.server1, 53);
        let socket = scene.lab.a.udp_bind(0);
        for length in [1473, 3000, 20_000] {
            let data: Vec<_> = (0..length).map(|i| (i / 8) as u8).collect();
            let seen = echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), &data);
            assert_eq!(*seen.expect("an answer").ip(), ROUTER_WAN, "{length} bytes");
        }
        scene.capture.wait_for("later fragment", |packet| {
            packet.received && packet.bytes[6..8] != [0, 0] && packet.ports().is_none()
        });
    });
}

fn many_sockets_at_once(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let _servers = [&lab.server1, &lab.server2].map(|server| echo::Server::start(server, 53));
        let sockets: Vec<_> = (0..100).map(|_| [lab.a.udp_bind(0), lab.b.udp_bind(0)]).collect();
        for round in 0..3 {
            for (i, socket) in sockets.as_flattened().iter().enumerate() {
                let data = format!("socket {i}, round {round}");
                for server in [SERVER_1, SERVER_2] {
                    echo::ask(socket, SocketAddrV4::new(server, 53), data.as_bytes())
                        .unwrap_or_else(|e| panic!("{data} to {server}: {e}"));
                }
            }
        }
    });
}
