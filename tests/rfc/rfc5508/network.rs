//! Errors that the router's own kernel sends about packets from outside: the flow is established,
//! and its last hop is the one that cannot be passed.

use std::net::{SocketAddrV4, UdpSocket};

use masq_tests::{
    capture::Captured,
    lab::{HOST_A, ROUTER_WAN, SERVER_1},
    packet::Packet,
    sockets::eventually,
    traffic::echo,
};

use crate::{
    in_both_modes,
    nat::{destination, source},
    scene::{Scene, Setup},
};

/// A flow from host A to server 1, with its external endpoint.
fn flow(scene: &Scene) -> (UdpSocket, SocketAddrV4) {
    let _server = echo::Server::start(&scene.lab.server1, 53);
    let socket = scene.lab.a.udp_bind_to((HOST_A, 0));
    let seen = echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), b"question");
    (socket, seen.expect("an answer"))
}

/// The first error of this type and code from the external address, once it has come.
fn error_from_router(scene: &Scene, kind: [u8; 2]) -> Captured {
    eventually("the router's error", || {
        let of_kind = |p: &Captured| p.received && p.protocol() == 1 && p.payload()[..2] == kind;
        scene.capture.packets().into_iter().find(of_kind)
    })
}

/// Demands that an error goes to server 1 and quotes a packet of its own to the external endpoint.
#[track_caller]
fn assert_external(error: &Captured, external: SocketAddrV4) {
    assert_eq!((error.source(), error.destination()), (ROUTER_WAN, SERVER_1));
    assert_eq!(error.bad, None);
    let quote = error.quoted().expect("a quote");
    assert_eq!(
        (source(quote), destination(quote)),
        ((SERVER_1, 53), (*external.ip(), external.port()))
    );
}

mod s7_1_1_a {
    use super::*;

    in_both_modes!(a_narrow_lan_is_told_to_the_server_in_its_terms);

    fn a_narrow_lan_is_told_to_the_server_in_its_terms(setup: Setup) {
        setup.run(|scene| {
            let (_socket, external) = flow(scene);
            scene.lab.router.ip("link set lan0 mtu 1400");
            let to = (*external.ip(), external.port());
            let packet = Packet::udp((SERVER_1, 53), to, &[1; 1472]).bytes();
            scene.lab.server1.send_packet(&packet);
            let error = error_from_router(scene, [3, 4]);
            assert_external(&error, external);
            assert_eq!(error.payload()[6..8], 1400_u16.to_be_bytes(), "the MTU of the next hop");
        });
    }
}

mod req_10a2_s7_2 {
    use super::*;

    in_both_modes!(a_ttl_that_ends_is_told_to_the_server_in_its_terms);

    fn a_ttl_that_ends_is_told_to_the_server_in_its_terms(setup: Setup) {
        setup.run(|scene| {
            let (_socket, external) = flow(scene);
            // The ISP takes one, the router cannot.
            let to = (*external.ip(), external.port());
            let packet = Packet::udp((SERVER_1, 53), to, b"too far").ttl(2).bytes();
            scene.lab.server1.send_packet(&packet);
            assert_external(&error_from_router(scene, [11, 0]), external);
        });
    }
}
