//! Which external port a flow gets, also when the router wants the same one.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
};

use masq_tests::{
    daemon::Masq,
    lab::{HOST_A, HOST_B, Lab, Layout, ROUTER_WAN, SERVER_1, SERVER_2},
    sockets::v4,
    traffic::echo,
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    a_free_port_is_preserved,
    two_hosts_use_the_same_port,
    the_same_port_towards_all_servers,
    the_routers_own_udp_uses_a_port_of_a_host,
    a_host_uses_a_port_of_the_routers_own_udp,
    the_routers_own_tcp_uses_a_port_of_a_host,
    a_host_uses_a_port_that_the_router_listens_on,
    reserved_ports_stay_the_routers,
);

const PORT: u16 = 40_000;

fn reserved_ports_stay_the_routers(setup: Setup) {
    let setup = setup.arguments(&["--reserve-ports", "40000,41000-41001"]);
    setup.run(|scene| {
        let _servers = Servers::start(scene);
        for port in [PORT, 41_000, 41_001] {
            let seen = ask(&scene.lab.a.udp_bind(port), SERVER_1);
            assert!(![40_000, 41_000, 41_001].contains(&seen.port()), "{seen}");
            assert_eq!(*seen.ip(), ROUTER_WAN);
        }
        let socket = scene.lab.a.udp_bind(41_002);
        assert_eq!(ask(&socket, SERVER_1), SocketAddrV4::new(ROUTER_WAN, 41_002));
    });
}

#[test]
fn ports_that_the_kernel_keeps_stay_the_routers() {
    let lab = Lab::new(Layout::default());
    lab.router.set_sysctl("net.ipv4.ip_local_reserved_ports", "40000,50000-50010");
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let _server = echo::Server::start(&lab.server1, 53);
    for port in [PORT, 50_005] {
        let seen = ask(&lab.a.udp_bind(port), SERVER_1);
        assert_ne!(seen.port(), port);
    }
    masq.stop();
}

fn a_free_port_is_preserved(setup: Setup) {
    setup.run(|scene| {
        let _servers = Servers::start(scene);
        for port in [PORT, 1024, 65_535] {
            let socket = scene.lab.a.udp_bind(port);
            assert_eq!(ask(&socket, SERVER_1), SocketAddrV4::new(ROUTER_WAN, port));
        }
        // A privileged port gets a privileged one (RFC 4787 REQ-3a).
        let seen = ask(&scene.lab.a.udp_bind(700), SERVER_1);
        assert!(seen.port() < 1024, "{seen}");
    });
}

fn two_hosts_use_the_same_port(setup: Setup) {
    setup.run(|scene| {
        let _servers = Servers::start(scene);
        let [a, b] = [&scene.lab.a, &scene.lab.b].map(|host| host.udp_bind(PORT));
        let (seen_a, seen_b) = (ask(&a, SERVER_1), ask(&b, SERVER_1));
        assert_ne!(seen_a, seen_b);
        for _ in 0..3 {
            assert_eq!((ask(&a, SERVER_1), ask(&b, SERVER_1)), (seen_a, seen_b));
        }
    });
}

fn the_same_port_towards_all_servers(setup: Setup) {
    // netfilter maps each flow by itself: when port preservation fails it uses different ones.
    setup.masq_only().run(|scene| {
        let _servers = Servers::start(scene);
        let [a, b] = [&scene.lab.a, &scene.lab.b].map(|host| host.udp_bind(PORT));
        for socket in [&a, &b] {
            let seen = ask(socket, SERVER_1);
            assert_eq!(ask(socket, SERVER_2), seen);
        }
        assert_ne!(ask(&a, SERVER_2), ask(&b, SERVER_2));
    });
}

fn the_routers_own_udp_uses_a_port_of_a_host(setup: Setup) {
    setup.run(|scene| {
        let _servers = Servers::start(scene);
        let host = scene.lab.a.udp_bind(PORT);
        assert_eq!(ask(&host, SERVER_1).port(), PORT);
        let own = scene.lab.router.udp_bind(PORT);
        let seen = ask(&own, SERVER_1);
        assert_ne!(seen, ask(&host, SERVER_1), "two flows cannot look the same to the server");
        for _ in 0..3 {
            assert_eq!(ask(&own, SERVER_1), seen);
            assert_eq!(ask(&host, SERVER_1).port(), PORT);
            ask(&own, SERVER_2);
            ask(&host, SERVER_2);
        }
    });
}

fn a_host_uses_a_port_of_the_routers_own_udp(setup: Setup) {
    setup.run(|scene| {
        let _servers = Servers::start(scene);
        let own = scene.lab.router.udp_bind(PORT);
        assert_eq!(ask(&own, SERVER_1), SocketAddrV4::new(ROUTER_WAN, PORT));
        let host = scene.lab.a.udp_bind(PORT);
        let seen = ask(&host, SERVER_1);
        for _ in 0..3 {
            assert_ne!(ask(&own, SERVER_1), ask(&host, SERVER_1));
        }
        assert_eq!(ask(&host, SERVER_1), seen);
    });
}

fn the_routers_own_tcp_uses_a_port_of_a_host(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let listener = lab.server1.tcp_listen(80);
        let connect = |who: &masq_tests::netns::Namespace, address| {
            let client = who.tcp_connect_from((address, PORT), (SERVER_1, 80)).expect("connect");
            let (server, peer) = listener.accept().expect("accept");
            ([client, server], v4(peer))
        };
        let (mut host, seen_host) = connect(&lab.a, HOST_A);
        let (mut own, seen_own) = connect(&lab.router, ROUTER_WAN);
        let (mut other, seen_other) = connect(&lab.b, HOST_B);
        assert!(seen_host != seen_own && seen_own != seen_other && seen_other != seen_host);
        for (ends, text) in [(&mut host, b"host a"), (&mut own, b"router"), (&mut other, b"host b")]
        {
            for (from, to) in [(0, 1), (1, 0)] {
                ends[from].write_all(text).expect("send");
                let mut received = [0; 6];
                ends[to].read_exact(&mut received).expect("receive");
                assert_eq!(&received, text);
            }
        }
    });
}

fn a_host_uses_a_port_that_the_router_listens_on(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let _servers = Servers::start(scene);
        let _service = echo::Server::start(&lab.router, PORT);
        let (host, from_2) = (lab.a.udp_bind(PORT), lab.server2.udp_bind(0));
        for _ in 0..3 {
            ask(&host, SERVER_1);
            // The service is still there for everybody else.
            let service = SocketAddrV4::new(ROUTER_WAN, PORT);
            let seen = echo::ask(&from_2, service, b"service?").expect("an answer of the router");
            assert_eq!(*seen.ip(), SERVER_2);
        }
    });
}

/// A UDP server on port 53 of each server.
struct Servers {
    _servers: [echo::Server; 2],
}

impl Servers {
    fn start(scene: &Scene) -> Self {
        let servers = [&scene.lab.server1, &scene.lab.server2];
        Self { _servers: servers.map(|server| echo::Server::start(server, 53)) }
    }
}

/// Where a question to the server of this address comes from, as seen by the server.
#[track_caller]
fn ask(socket: &UdpSocket, server: Ipv4Addr) -> SocketAddrV4 {
    echo::ask(socket, SocketAddrV4::new(server, 53), b"who am I?").expect("an answer")
}
