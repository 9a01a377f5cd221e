//! Fragments in every order (RFC 4787 REQ-14), and floods of fragments that belong to nothing
//! (REQ-14a).

use std::net::{SocketAddrV4, UdpSocket};

use masq_tests::{
    daemon,
    gateway::Gateway,
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1, SERVER_2},
    netns::Namespace,
    packet::{Endpoint, Packet},
    sockets::{eventually, v4},
    traffic::{echo, probe},
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    fragments_leave_in_any_order,
    fragments_arrive_in_any_order,
    fragments_between_lan_hosts_arrive_in_any_order,
    two_hosts_with_one_identification_do_not_mix,
    a_flood_of_fragments_hurts_nobody_else,
);

/// All orders of three fragments.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

const INSIDE: Endpoint = (HOST_A, 40_000);
const REMOTE: Endpoint = (SERVER_1, 7000);

fn fragments_leave_in_any_order(setup: Setup) {
    setup.run(|scene| {
        let server = scene.lab.server1.udp_bind(REMOTE.1);
        send_in_all_orders(&scene.lab.a, INSIDE, REMOTE, |data| {
            assert_eq!(receive(&server), (data.to_vec(), SocketAddrV4::new(ROUTER_WAN, INSIDE.1)));
        });
        assert_slow_path_was_taken(scene);
    });
}

fn fragments_arrive_in_any_order(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let host = lab.a.udp_bind(INSIDE.1);
        let server = lab.server1.udp_bind(REMOTE.1);
        host.send_to(b"hello", REMOTE).expect("send");
        let (_, external) = receive(&server);
        let to = (*external.ip(), external.port());
        send_in_all_orders(&lab.server1, REMOTE, to, |data| {
            assert_eq!(receive(&host), (data.to_vec(), SocketAddrV4::new(REMOTE.0, REMOTE.1)));
        });
        assert_slow_path_was_taken(scene);
    });
}

fn fragments_between_lan_hosts_arrive_in_any_order(setup: Setup) {
    setup.arguments(&["--filtering", "endpoint-independent"]).run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let external = |socket| echo::ask(socket, SocketAddrV4::new(SERVER_1, 53), b"who am I?");
        let a = lab.a.udp_bind_to(INSIDE);
        let b = lab.b.udp_bind_to((HOST_B, 50_000));
        let (external_a, external_b) = (external(&a).expect("A"), external(&b).expect("B"));
        send_in_all_orders(&lab.a, INSIDE, (*external_b.ip(), external_b.port()), |data| {
            assert_eq!(receive(&b), (data.to_vec(), external_a));
        });
        assert_slow_path_was_taken(scene);
    });
}

fn two_hosts_with_one_identification_do_not_mix(setup: Setup) {
    // The kernel's masquerade keeps identifications, and hopes.
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let server = lab.server1.udp_bind(REMOTE.1);
        for (round, order) in (0..).zip(ORDERS) {
            let (of_a, of_b) = (data(round), data(round + 100));
            let pieces_a = fragments(INSIDE, REMOTE, &of_a, 0x0f01 + round);
            let pieces_b = fragments((HOST_B, 50_000), REMOTE, &of_b, 0x0f01 + round);
            for i in order {
                lab.a.send_packet(&pieces_a[i]);
                lab.b.send_packet(&pieces_b[i]);
            }
            let mut received = [receive(&server).0, receive(&server).0];
            received.sort();
            let mut expected = [of_a, of_b];
            expected.sort();
            assert!(received == expected, "round {round}: mixed");
        }
    });
}

fn a_flood_of_fragments_hurts_nobody_else(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let _echo = echo::Server::start(&lab.server1, 53);
        let server = lab.server1.udp_bind(REMOTE.1);
        let socket = lab.a.udp_bind(0);
        let whole = data(1);
        for round in 0..20_u16 {
            for id in round * 100..round * 100 + 100 {
                let lost = |from, to| fragments(from, to, &whole, 1 + id)[1].clone();
                lab.b.send_packet(&lost((HOST_B, 50_000), REMOTE));
                lab.server2.send_packet(&lost((SERVER_2, 7000), (ROUTER_WAN, 40_000)));
            }
            // Fragments in order, and what is none.
            for question in [&whole, &b"short".to_vec()] {
                let seen = echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), question);
                assert_eq!(*seen.expect("an answer").ip(), ROUTER_WAN);
            }
        }
        // Another host's fragments find room even in the wrong order.
        let pieces = fragments(INSIDE, REMOTE, &whole, 0x7777);
        for i in [2, 1, 0] {
            lab.a.send_packet(&pieces[i]);
        }
        assert_eq!(receive(&server).0, whole);
        let stats = daemon::stats(&lab.router);
        assert!(
            daemon::counter(&stats, "slow_path_full") > 0,
            "the flood is cut off in the kernel"
        );
        assert!(stats["slow_path"]["parked_bytes"].as_u64() <= Some(256 * 1024));
        eventually("end of the flood's fragments", || {
            let stats = daemon::stats(&lab.router);
            let slow_path = |name: &str| stats["slow_path"][name].as_u64();
            (slow_path("parked") == Some(0) && slow_path("expired") > Some(0)).then_some(())
        });
        probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    });
}

/// Sends a datagram in three fragments, once in each order; `check` is given its data.
#[track_caller]
fn send_in_all_orders(sender: &Namespace, from: Endpoint, to: Endpoint, check: impl Fn(&[u8])) {
    for (round, order) in (0..).zip(ORDERS) {
        let data = data(round);
        let pieces = fragments(from, to, &data, 0x0f01 + round);
        for i in order {
            sender.send_packet(&pieces[i]);
        }
        check(&data);
    }
}

/// Data that fills three packets, different in each round and in each place.
fn data(round: u16) -> Vec<u8> {
    (0..1600_u16).flat_map(|i| (i ^ round << 11).to_be_bytes()).collect()
}

/// The three fragments of a datagram.
fn fragments(from: Endpoint, to: Endpoint, data: &[u8], id: u16) -> [Vec<u8>; 3] {
    let end = 8 + data.len();
    [(0, 1480), (1480, 2960), (2960, end)]
        .map(|(begin, end)| Packet::udp(from, to, data).id(id).fragment(begin, end).bytes())
}

#[track_caller]
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddrV4) {
    let mut buffer = vec![0; 1 << 16];
    let (length, from) = socket.recv_from(&mut buffer).expect("a whole datagram");
    buffer.truncate(length);
    (buffer, v4(from))
}

/// Demands that the daemon has sent fragments on. How many depends on how the machine has them
/// overtake each other besides.
#[track_caller]
fn assert_slow_path_was_taken(scene: &Scene) {
    if let Gateway::Masq(_) = scene.gateway {
        let stats = daemon::stats(&scene.lab.router);
        assert!(stats["slow_path"]["reinjected"].as_u64() > Some(0), "{}", stats["slow_path"]);
        assert_eq!(stats["slow_path"]["failed"], 0);
    }
}
