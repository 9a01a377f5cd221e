//! Several CPUs at once: ports are given to one flow each, a flow gets one session, and whatever
//! is opened can be taken down again until nothing is left.

use std::{collections::BTreeSet, net::Ipv4Addr};

use masq_common::{
    event::CloseCause,
    flow::{TCP, UDP},
    ports::Pool,
    settings::Settings,
    tcp::{ACK, SYN},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1, SERVER_2},
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
    assert_eq!((bench.ports_held(UDP), bench.ports_held(TCP)), (0, 0));
    bench.assert_mappings_are_counted();
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

/// First packets of flows from one inside endpoint, in a list for each thread.
fn flows_of(inside: Endpoint, threads: usize) -> Vec<Vec<Vec<u8>>> {
    let list = |thread: u16| {
        let remotes = (0..8).map(|i| (SERVER_2, 1 + thread * 8 + i));
        remotes.map(|remote| Packet::tcp(inside, remote, SYN, b"").bytes()).collect()
    };
    (0..threads as u16).map(list).collect()
}

/// Demands that the flows of one inside endpoint that got through have one port, which is returned, and that
/// there is no other mapping.
#[track_caller]
fn share_a_port(bench: &Bench, outputs: &[Vec<(Verdict, Vec<u8>)>], round: u16) -> u16 {
    let given: Vec<_> = outputs.concat().iter().filter_map(external).collect();
    let distinct: BTreeSet<_> = given.iter().copied().collect();
    assert_eq!(distinct.len(), 1, "round {round}: {distinct:?}");
    assert_eq!(bench.holders(TCP, given[0]) as usize, given.len());
    assert_eq!(bench.mappings().len(), 1);
    given[0]
}

#[test]
fn flows_of_one_endpoint_share_its_mapping() {
    // With the inside port, and where that is not to be had.
    for ports in [Settings::DEFAULT.ports, Pool { low: 2000, high: 2999 }] {
        let mut bench = Bench::new(&OBJECT);
        bench.set_settings(&Settings { ports, ..Settings::DEFAULT });
        for round in 0..50 {
            let lists = flows_of((HOST_A, 10_000 + round), THREADS);
            let outputs = bench.race(Hook::WanOut, &lists);
            share_a_port(&bench, &outputs, round);
            take_down(&mut bench);
        }
    }
}

/// The inside port is a neighbour's, whose session has expired and is removed at the same moment.
#[test]
fn flows_of_one_endpoint_share_its_mapping_while_its_port_gets_free() {
    let mut bench = Bench::new(&OBJECT);
    let after =
        |hours: u64| Settings { clock_offset: hours * 3_600_000_000_000, ..Settings::DEFAULT };
    let mut preserved = 0;
    for round in 0..200 {
        let (inside, neighbour) = ((HOST_A, 10_000 + round), (HOST_B, 10_000 + round));
        let hours = u64::from(round) * 24;
        bench.set_settings(&after(hours));
        bench.run(Hook::WanOut, &Packet::tcp(neighbour, REMOTE, SYN, b"").bytes());
        bench.set_settings(&after(hours + 12));
        // What is not translated, for some time, and then what ends the old session and opens none.
        let ack = |to| Packet::tcp(neighbour, to, ACK, b"").bytes();
        let mut lists = flows_of(inside, THREADS - 1);
        lists.push(vec![ack((SERVER_2, 1)); usize::from(round % 16)]);
        lists[THREADS - 1].push(ack(REMOTE));
        let outputs = bench.race(Hook::WanOut, &lists);
        preserved += u32::from(share_a_port(&bench, &outputs, round) == inside.1);
        take_down(&mut bench);
    }
    println!("it had the inside port in {preserved} of 200 rounds");
}
