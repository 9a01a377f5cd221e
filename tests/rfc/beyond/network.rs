//! What the kernel and masq do together.

use std::{io::Write, net::SocketAddrV4};

use masq_tests::{
    daemon::Mode,
    lab::{HOST_A, ISP, ROUTER_WAN, SERVER_1, WAN_IF},
    packet::Packet,
    sockets::{eventually, v4},
    traffic::{echo, http, probe},
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

/// Demands that nothing from host A has left before this ping of it.
#[track_caller]
fn nothing_has_left(scene: &Scene) {
    probe::ping(&scene.lab.a, SERVER_1, 0x7777).expect("a reply");
    let mut packets = scene.capture.packets();
    packets.retain(|p| p.received && !p.destination().is_multicast());
    packets.retain(|p| !p.bytes.windows(4).any(|bytes| bytes == b"echo"));
    assert_eq!(packets, []);
}

mod b_19 {
    use super::*;

    in_both_modes!(source_routes_do_not_leave);

    fn source_routes_do_not_leave(setup: Setup) {
        setup.run(|scene| {
            // Loose and strict, with one more address to go to.
            for kind in [131, 137] {
                let route = [kind, 7, 4, 198, 51, 100, 2, 0];
                let packet = Packet::udp((HOST_A, 5000), (SERVER_1, 53), b"by that way");
                scene.lab.a.send_packet(&packet.options(&route).bytes());
            }
            nothing_has_left(scene);
        });
    }
}

mod b_22 {
    use super::*;

    in_both_modes!(martians_do_not_leave);

    fn martians_do_not_leave(setup: Setup) {
        setup.run(|scene| {
            for source in [[127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
                let packet = Packet::udp((source.into(), 5000), (SERVER_1, 53), b"of nobody");
                scene.lab.a.send_packet(&packet.bytes());
            }
            nothing_has_left(scene);
        });
    }
}

mod b_23 {
    use super::*;

    in_both_modes!(a_service_at_the_external_address_sees_the_host_itself);

    fn a_service_at_the_external_address_sees_the_host_itself(setup: Setup) {
        setup.run(|scene| {
            let lab = scene.lab;
            let listener = lab.router.tcp_listen(2222);
            let mut client = lab.a.tcp_connect((ROUTER_WAN, 2222)).expect("connect");
            let (_, peer) = listener.accept().expect("accept");
            assert_eq!(*v4(peer).ip(), HOST_A);
            client.write_all(b"hello").expect("send");
            let error = lab.a.tcp_connect((ROUTER_WAN, 2223)).expect_err("nobody listens");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        });
    }
}

mod b_27 {
    use super::*;

    in_both_modes!(sessions_live_on_when_the_link_comes_back);

    fn sessions_live_on_when_the_link_comes_back(setup: Setup) {
        setup.masq_only().run(|scene| {
            let lab = scene.lab;
            let _server = echo::Server::start(&lab.server1, 53);
            let server = SocketAddrV4::new(SERVER_1, 53);
            // B's external port is not its own; a new session of B's might have another one.
            let [a, b] = [&lab.a, &lab.b].map(|host| host.udp_bind(40_000));
            let seen = [&a, &b].map(|socket| echo::ask(socket, server, b"who").expect("an answer"));
            lab.router.ip(&format!("link set {WAN_IF} down\nlink set {WAN_IF} up"));
            lab.router.ip(&format!("route replace default via {ISP} dev {WAN_IF}"));
            eventually("an answer to the router", || probe::ping(&lab.router, ISP, 9).ok());
            for (socket, seen) in [(&b, seen[1]), (&a, seen[0])] {
                assert_eq!(echo::ask(socket, server, b"who").expect("an answer"), seen);
            }
        });
    }
}

mod b_40 {
    use super::*;

    #[test]
    fn jumbo_frames_cross() {
        Setup::new(Mode::Tc).run(|scene| {
            let lab = scene.lab;
            for namespace in lab.namespaces() {
                let links = namespace.output("ip", &["-brief", "link", "show"]);
                let names = links.lines().filter_map(|line| line.split([' ', '@']).next());
                for name in names.filter(|name| *name != "lo") {
                    namespace.ip(&format!("link set {name} mtu 9000"));
                }
            }
            let _server = echo::Server::start(&lab.server1, 53);
            let socket = lab.a.udp_bind(0);
            for length in [1, 8000, 8900] {
                let server = SocketAddrV4::new(SERVER_1, 53);
                echo::ask(&socket, server, &vec![7; length]).expect("an answer");
            }
            let whole = scene.capture.packets().into_iter().any(|p| p.received && p.length > 8900);
            assert!(whole, "a datagram of 8900 bytes has left in one piece");
            let _server = http::Server::start(&lab.server1, 80);
            http::upload(&lab.a, (SERVER_1, 80), 2_000_000).expect("a whole upload");
            http::download(&lab.a, (SERVER_1, 80), 2_000_000).expect("a whole download");
        });
    }
}
