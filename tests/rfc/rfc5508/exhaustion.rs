//! What a host is told whose first packet finds no port: the error comes from masq itself.

use std::{io::ErrorKind, net::SocketAddrV4};

use masq_tests::{
    capture::{Capture, Captured},
    lab::{HOST_B, HOST_IF, ROUTER_LAN, SERVER_1},
    packet::Packet,
    sockets::eventually,
    traffic::{echo, probe},
};

use crate::{
    in_both_modes,
    nat::{destination, source},
    scene::{Scene, Setup},
};

/// With one port, which host A has.
fn without_ports(setup: Setup, test: impl FnOnce(&Scene)) {
    let arguments = ["--ports", "2000-2000", "--port-overlap", "never"];
    setup.arguments(&arguments).run(|scene| {
        let _server = echo::Server::start(&scene.lab.server1, 53);
        let server = SocketAddrV4::new(SERVER_1, 53);
        let first = scene.lab.a.udp_bind(5000);
        echo::ask(&first, server, b"question").expect("an answer");
        test(scene);
        echo::ask(&first, server, b"still there?").expect("an answer");
    });
}

/// ICMP errors that a host has received.
fn errors(capture: &Capture) -> Vec<Captured> {
    let mut packets = capture.packets();
    packets.retain(|p| p.received && p.protocol() == 1 && p.payload()[0] == 3);
    packets
}

mod req_8 {
    use super::*;

    in_both_modes!(a_host_that_gets_no_port_is_told_so);

    fn a_host_that_gets_no_port_is_told_so(setup: Setup) {
        without_ports(setup, |scene| {
            let b = &scene.lab.b;
            let capture = Capture::start(b, HOST_IF);
            let socket = b.udp_bind_to((HOST_B, 6000));
            socket.connect((SERVER_1, 53)).expect("connect");
            socket.send(b"too late").expect("send");
            let error = socket.recv(&mut [0; 10]).expect_err("there is no port");
            assert_eq!(error.kind(), ErrorKind::HostUnreachable);
            let error = eventually("the error", || errors(&capture).pop());
            assert_eq!((error.source(), error.destination()), (ROUTER_LAN, HOST_B));
            assert_eq!(error.payload()[..2], [3, 13]);
            let quote = error.quoted().expect("a quote");
            let ends = (source(quote), destination(quote));
            assert_eq!(ends, ((HOST_B, 6000), (SERVER_1, 53)));
        });
    }
}

mod req_10d_s7_7 {
    use super::*;

    in_both_modes!(the_error_has_the_class_of_what_caused_it);

    fn the_error_has_the_class_of_what_caused_it(setup: Setup) {
        without_ports(setup, |scene| {
            let b = &scene.lab.b;
            let capture = Capture::start(b, HOST_IF);
            let packet = Packet::udp((HOST_B, 6000), (SERVER_1, 53), b"too late").tos(0xb8);
            b.send_packet(&packet.bytes());
            let error = eventually("the error", || errors(&capture).pop());
            assert_eq!(error.bytes[1] & 0xfc, 0xb8);
        });
    }
}

mod req_10e {
    use super::*;
    use std::net::Ipv4Addr;

    in_both_modes!(some_packets_cause_no_error);

    fn some_packets_cause_no_error(setup: Setup) {
        without_ports(setup, |scene| {
            let b = &scene.lab.b;
            let capture = Capture::start(b, HOST_IF);
            let quoted = Packet::udp((SERVER_1, 53), (HOST_B, 6000), b"answer").bytes();
            let nobody = (Ipv4Addr::new(0, 0, 0, 0), 6000);
            for packet in [
                Packet::icmp(HOST_B, SERVER_1, (3, 3), 0, &quoted),
                Packet::udp((HOST_B, 6000), (SERVER_1, 53), &[1; 64]).fragment(32, 72),
                Packet::udp(nobody, (SERVER_1, 53), b"from nobody"),
            ] {
                b.send_packet(&packet.bytes());
            }
            // What was sent before a ping's reply has arrived before it.
            probe::ping(b, SERVER_1, 1).expect("a reply");
            assert_eq!(errors(&capture), []);
        });
    }
}

mod req_10f {
    use super::*;

    in_both_modes!(errors_are_limited_in_rate);

    fn errors_are_limited_in_rate(setup: Setup) {
        without_ports(setup, |scene| {
            const PACKETS: u16 = 2000;
            let b = &scene.lab.b;
            let capture = Capture::start(b, HOST_IF);
            let started = std::time::Instant::now();
            for port in 0..PACKETS {
                let packet = Packet::udp((HOST_B, 10_000 + port), (SERVER_1, 53), b"too late");
                b.send_packet(&packet.bytes());
            }
            probe::ping(b, SERVER_1, 1).expect("a reply");
            let errors = errors(&capture).len();
            let seconds = 1 + started.elapsed().as_secs() as usize;
            // A burst, and 100 a second at most.
            assert!(errors <= 100 + 100 * seconds, "{errors} errors in {seconds} s");
        });
    }
}
