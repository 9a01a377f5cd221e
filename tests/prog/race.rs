//! Several CPUs at once: ports are given to one flow each, a flow gets one session, and whatever
//! is opened can be taken down again until nothing is left.

use std::{collections::BTreeSet, net::Ipv4Addr};

use masq_common::{event::CloseCause, flow::UDP, ports::Pool, settings::Settings};
use masq_tests::{
    lab::{HOST_A, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet},
    program::{Bench, Hook, Verdict},
};

use crate::OBJECT;

const REMOTE: Endpoint = (SERVER_1, 53);
/// More than one for each CPU that a test machine is likely to have.
const THREADS: usize = 4;

fn first_packet(inside: Endpoint, remote: Endpoint) -> Vec<u8> {
    Packet::udp(inside, remote, b"first").bytes()
}

/// A LAN host of its own for each number.
fn host(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, 20 + number as u8)
}

/// The external port of a packet that has been translated.
fn external((verdict, packet): &(Verdict, Vec<u8>)) -> Option<u16> {
    let translated = *verdict == Verdict::Pass && packet[12..16] == ROUTER_WAN.octets();
    translated.then(|| u16::from_be_bytes([packet[20], packet[21]]))
}

/// Ends all sessions and demands that nothing is left of them.
#[track_caller]
fn take_down(bench: &mut Bench) {
    let keys: Vec<_> = bench.sessions().iter().map(|half| half.key()).collect();
    let removed = bench.retire(CloseCause::Flushed, &keys);
    assert_eq!(removed as usize * 2, keys.len(), "both halves name the same session");
    assert_eq!((bench.sessions().len(), bench.mappings().len()), (0, 0));
    assert_eq!(bench.ports_held(UDP), 0);
}

#[test]
fn no_port_is_given_to_two_flows_at_once() {
    let mut bench = Bench::new(&OBJECT);
    // Exactly as many ports as flows, and all flows want the same one: every claim is a fight.
    let flows = THREADS * 32;
    let ports = Pool { low: 2000, high: 2000 + flows as u16 - 1 };
    bench.set_settings(&Settings { ports, ..Settings::DEFAULT });
    for round in 0..5 {
        let lists: Vec<Vec<_>> = (0..THREADS)
            .map(|thread| {
                let hosts = (0..32).map(|i| host(thread * 32 + i));
                hosts.map(|host| first_packet((host, 2000), REMOTE)).collect()
            })
            .collect();
        let outputs = bench.race(Hook::WanOut, &lists).concat();
        let given: Vec<_> = outputs.iter().filter_map(external).collect();
        let distinct: BTreeSet<_> = given.iter().copied().collect();
        assert_eq!(given.len(), flows, "round {round}: every flow finds a port");
        assert_eq!(distinct.len(), flows, "round {round}: no port twice");
        assert!(distinct.iter().all(|port| ports.contains(*port)));
        assert_eq!(bench.sessions().len(), 2 * flows);
        assert_eq!(bench.ports_held(UDP), flows as u64);
        take_down(&mut bench);
    }
}

#[test]
fn a_flow_gets_one_session_whoever_comes_first() {
    let mut bench = Bench::new(&OBJECT);
    for round in 0..200 {
        let packet = first_packet((HOST_A, 10_000 + round), REMOTE);
        let outputs = bench.race(Hook::WanOut, &vec![vec![packet; 2]; THREADS]).concat();
        let given: BTreeSet<_> = outputs.iter().filter_map(external).collect();
        assert_eq!(given.len(), 1, "round {round}: one external port for one flow");
        // Who loses the race may be told to try again, but never leaves untranslated.
        assert!(outputs.iter().all(|o| o.0 == Verdict::Drop || external(o).is_some()));
        assert_eq!(bench.sessions().len(), 2, "round {round}");
        assert_eq!(bench.holders(UDP, *given.first().expect("a port")), 1, "round {round}");
        take_down(&mut bench);
    }
}

#[test]
fn flows_of_one_endpoint_share_its_mapping() {
    let mut bench = Bench::new(&OBJECT);
    for round in 0..50 {
        let inside = (HOST_A, 10_000 + round);
        let lists: Vec<Vec<_>> = (0..THREADS as u16)
            .map(|thread| {
                let ports = (0..8).map(|i| 1 + thread * 8 + i);
                ports.map(|port| first_packet(inside, (SERVER_2, port))).collect()
            })
            .collect();
        let outputs = bench.race(Hook::WanOut, &lists).concat();
        let given: Vec<_> = outputs.iter().filter_map(external).collect();
        let distinct: BTreeSet<_> = given.iter().copied().collect();
        assert_eq!(distinct.len(), 1, "round {round}: {distinct:?}");
        assert_eq!(bench.mappings().len(), 1);
        assert_eq!(bench.holders(UDP, given[0]) as usize, given.len());
        take_down(&mut bench);
    }
}
