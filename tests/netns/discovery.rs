//! What the gateway looks like to a client that asks what kind of NAT it is behind (RFC 5780).
//!
//! A module for each observation, by the number of its row in the conformance matrix. How long a
//! mapping lives is not measured here: that is proved with a clock that can be moved.

use std::net::SocketAddrV4;

use masq_tests::{
    lab::{ROUTER_WAN, SERVER_1, SERVER_2},
    traffic::stun::{Behaviour, Client, PORTS, Server},
};

use crate::scene::{Scene, Setup};

/// Where clients ask.
const PRIMARY: SocketAddrV4 = SocketAddrV4::new(SERVER_1, PORTS[0]);
/// The options for each kind of filtering. The last is the default.
const FILTERING: [(Behaviour, &[&str]); 3] = [
    (Behaviour::EndpointIndependent, &["--filtering", "endpoint-independent"]),
    (Behaviour::AddressDependent, &["--filtering", "address-dependent"]),
    (Behaviour::AddressAndPortDependent, &[]),
];
/// Enough to make two fragments of every request and every answer.
const PADDING: usize = 2000;

/// Runs a test with a server.
fn with_server(setup: Setup, test: impl Fn(&Scene)) {
    setup.run(|scene| {
        let _server = Server::start([&scene.lab.server1, &scene.lab.server2]);
        test(scene);
    });
}

/// Runs a test with a server for each kind of filtering.
fn with_each_filtering(setup: &Setup, test: impl Fn(&Scene, Behaviour)) {
    for (configured, arguments) in FILTERING {
        let setup = setup.clone();
        // Without options, the kernel's masquerade does the same.
        let setup = if arguments.is_empty() { setup } else { setup.arguments(arguments) };
        with_server(setup, |scene| test(scene, configured));
    }
}

/// There is a NAT: the server sees the external address.
mod rfc5780_t1 {
    use super::*;
    use crate::in_both_modes;

    in_both_modes!(the_mapped_address_is_the_external_one);

    fn the_mapped_address_is_the_external_one(setup: Setup) {
        with_server(setup, |scene| {
            let client = Client::new(&scene.lab.a, 0, PRIMARY);
            let answer = client.ask_server().expect("an answer");
            assert_eq!(*answer.mapped.ip(), ROUTER_WAN);
            assert_ne!(answer.mapped, client.local());
        });
    }
}

/// Mapping is endpoint-independent.
mod rfc5780_t2 {
    use super::*;
    use crate::in_both_modes;

    in_both_modes!(mapping_is_endpoint_independent_for_many_sockets);

    /// How many sockets of each host.
    const SOCKETS: usize = 200;

    fn mapping_is_endpoint_independent_for_many_sockets(setup: Setup) {
        // netfilter maps each flow by itself: it looks so only until ports collide.
        with_server(setup.masq_only(), |scene| {
            let clients: Vec<_> = (0..SOCKETS)
                .flat_map(|_| {
                    let a = Client::new(&scene.lab.a, 0, PRIMARY);
                    let b = Client::new(&scene.lab.b, a.local().port(), PRIMARY);
                    [a, b]
                })
                .collect();
            for client in &clients {
                let mapping = client.mapping().expect("three answers");
                assert_eq!(mapping, Behaviour::EndpointIndependent, "{}", client.local());
            }
        });
    }
}

/// Filtering is what was configured.
mod rfc5780_t4 {
    use super::*;
    use crate::in_both_modes;

    in_both_modes!(filtering_is_reported_as_configured);

    fn filtering_is_reported_as_configured(setup: Setup) {
        with_each_filtering(&setup, |scene, configured| {
            for host in [&scene.lab.a, &scene.lab.b, &scene.lab.a] {
                let filtering = Client::new(host, 0, PRIMARY).filtering().expect("answers");
                assert_eq!(filtering, configured);
            }
        });
    }
}

/// A mapping is reached through another socket's request while it lives.
mod rfc5780_t5 {
    use super::*;
    use crate::in_both_modes;

    in_both_modes!(an_answer_for_another_port_comes_through_the_mapping);

    fn an_answer_for_another_port_comes_through_the_mapping(setup: Setup) {
        with_server(setup, |scene| {
            let [first, second] = [(); 2].map(|()| Client::new(&scene.lab.a, 0, PRIMARY));
            let mapped = first.ask_server().expect("an answer").mapped;
            let other = second.ask_server().expect("an answer").mapped;
            for _ in 0..3 {
                let answer = second.ask_for(mapped.port(), &first).expect("an answer");
                assert_eq!(answer.mapped, other, "it tells where the request came from");
            }
        });
    }
}

/// Hairpinning: the own external endpoint can be reached from a second port.
mod rfc5780_t6 {
    use super::*;
    use crate::in_both_modes;

    in_both_modes!(the_own_external_endpoint_is_reached, a_filter_holds_for_hairpinning);

    fn the_own_external_endpoint_is_reached(setup: Setup) {
        let open = FILTERING[0].1;
        with_server(setup.arguments(open), |scene| {
            for sender in [&scene.lab.a, &scene.lab.b] {
                let [first, second] =
                    [&scene.lab.a, sender].map(|host| Client::new(host, 0, PRIMARY));
                let external = second.ask_server().expect("an answer").mapped;
                let seen = second.hairpin(&first).expect("an answer of the server");
                assert_eq!(seen, Some(external), "the source is the external endpoint too");
            }
        });
    }

    fn a_filter_holds_for_hairpinning(setup: Setup) {
        for (_, arguments) in &FILTERING[1..] {
            with_server(setup.clone().arguments(arguments), |scene| {
                let [first, second] = [(); 2].map(|()| Client::new(&scene.lab.a, 0, PRIMARY));
                assert_eq!(second.hairpin(&first).expect("an answer of the server"), None);
                // What the first one asks for gets in, as from anywhere else.
                first.hairpin(&second).expect("an answer of the server");
                let external = second.ask_server().expect("an answer").mapped;
                let seen = second.hairpin(&first).expect("an answer of the server");
                assert_eq!(seen, Some(external));
            });
        }
    }
}

/// Fragments: with padding, all is as without.
mod rfc5780_t7 {
    use super::*;
    use crate::in_both_modes;

    in_both_modes!(
        mapping_is_the_same_with_fragments,
        filtering_is_the_same_with_fragments,
        hairpinning_is_the_same_with_fragments,
    );

    fn mapping_is_the_same_with_fragments(setup: Setup) {
        with_server(setup.masq_only(), |scene| {
            for _ in 0..20 {
                let a = Client::new(&scene.lab.a, 0, PRIMARY).padded(PADDING);
                let b = Client::new(&scene.lab.b, a.local().port(), PRIMARY).padded(PADDING);
                for client in [&a, &b] {
                    let answer = client.ask_server().expect("an answer");
                    assert_eq!((*answer.mapped.ip(), answer.padding), (ROUTER_WAN, PADDING));
                    let mapping = client.mapping().expect("three answers");
                    assert_eq!(mapping, Behaviour::EndpointIndependent);
                }
            }
            let fragments = scene.capture.packets().into_iter().filter(|packet| {
                packet.protocol() == 17 && packet.bytes[6..8] != [0, 0] && packet.ports().is_none()
            });
            assert!(fragments.count() >= 2 * 20 * 2 * 4, "requests and answers are in fragments");
        });
    }

    fn filtering_is_the_same_with_fragments(setup: Setup) {
        with_each_filtering(&setup, |scene, configured| {
            let client = Client::new(&scene.lab.a, 0, PRIMARY).padded(PADDING);
            assert_eq!(client.filtering().expect("answers"), configured);
        });
    }

    fn hairpinning_is_the_same_with_fragments(setup: Setup) {
        with_server(setup.arguments(FILTERING[0].1), |scene| {
            let [first, second] = [&scene.lab.a, &scene.lab.b]
                .map(|host| Client::new(host, 0, PRIMARY).padded(PADDING));
            let external = second.ask_server().expect("an answer").mapped;
            for _ in 0..3 {
                let seen = second.hairpin(&first).expect("an answer of the server");
                assert_eq!(seen, Some(external));
            }
        });
    }
}

/// No application-level gateway looks into the datagrams.
mod rfc5780_t8 {
    use super::*;
    use crate::in_both_modes;

    in_both_modes!(addresses_in_the_answer_are_left_alone);

    fn addresses_in_the_answer_are_left_alone(setup: Setup) {
        with_server(setup, |scene| {
            let client = Client::new(&scene.lab.a, 0, PRIMARY);
            for _ in 0..3 {
                let answer = client.ask_server().expect("an answer");
                assert_eq!(answer.plain, answer.mapped);
                assert_eq!(*answer.plain.ip(), ROUTER_WAN);
            }
        });
    }
}

/// Earlier traffic of the same socket spoils a test: a client uses a new one for each.
mod rfc5780_t9 {
    use super::*;
    use crate::in_both_modes;

    in_both_modes!(what_a_socket_has_sent_before_opens_its_filter_only);

    fn what_a_socket_has_sent_before_opens_its_filter_only(setup: Setup) {
        with_server(setup, |scene| {
            let [used, new] = [(); 2].map(|()| Client::new(&scene.lab.a, 0, PRIMARY));
            let other = used.ask_server().expect("an answer").other;
            used.ask(other).expect("an answer");
            assert!(used.is_answered_from(true, true).expect("an answer"));
            new.ask_server().expect("an answer");
            assert!(!new.is_answered_from(true, true).expect("an answer"));
        });
    }
}

/// The server does what the tests ask of it.
mod rfc5780_t10 {
    use masq_tests::daemon::Mode;

    use super::*;

    #[test]
    fn the_server_answers_from_all_four_endpoints() {
        with_server(Setup::new(Mode::Tc), |scene| {
            let client = Client::new(&scene.lab.a, 0, PRIMARY);
            for (address, other_address) in [(SERVER_1, SERVER_2), (SERVER_2, SERVER_1)] {
                for (port, other_port) in [(PORTS[0], PORTS[1]), (PORTS[1], PORTS[0])] {
                    let asked = SocketAddrV4::new(address, port);
                    let answer = client.ask(asked).expect("an answer");
                    assert_eq!((answer.from, answer.origin), (asked, asked));
                    assert_eq!(answer.other, SocketAddrV4::new(other_address, other_port));
                }
            }
            // All four may answer now, from wherever they are asked to.
            for (address, port) in [(false, true), (true, false), (true, true)] {
                assert!(client.is_answered_from(address, port).expect("an answer"));
            }
        });
    }
}
