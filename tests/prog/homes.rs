//! Where sessions lie in their table: what meets finds room, nothing is lost while others come and go, and
//! what finds no room hurts nobody. Whether the table contradicts itself is looked at whenever
//! [`sessions`](masq_tests::program::Tables::sessions) is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use masq_common::{
    be::Id,
    event::CloseCause,
    flow::{FlowKey, Tuple, UDP},
    reason::Reason::{
        IcmpErrorInbound, InboundFast, MappingRetiring, NoSession, OutboundFast, OutboundSlow,
        SessionTableFull,
    },
    table::{MOST, NEAR, distance},
};
use masq_tests::{
    lab::{HOST_A, ISP, ROUTER_WAN, SERVER_1},
    packet::{Endpoint, Packet},
    program::{Bench, Hook, TABLE_SIZE, Verdict, pair},
};

use crate::OBJECT;

const REMOTE: Endpoint = (SERVER_1, 53);

fn outbound(port: u16) -> FlowKey {
    Tuple {
        source: HOST_A.into(),
        destination: REMOTE.0.into(),
        source_id: Id::new(port),
        destination_id: Id::new(REMOTE.1),
    }
    .key(UDP)
}

fn packet(port: u16) -> Vec<u8> {
    Packet::udp((HOST_A, port), REMOTE, b"packet").bytes()
}

/// Ports of the inside whose outbound halves have the same home, `count` of them, and that home.
fn neighbours(bench: &Bench, count: usize) -> (usize, Vec<u16>) {
    let mut table = bench.table();
    let mut homes = BTreeMap::<_, Vec<_>>::new();
    for port in 1024..=u16::MAX {
        let home = table.home(&outbound(port));
        let ports = homes.entry(home).or_default();
        ports.push(port);
        if ports.len() == count {
            return (home, ports.clone());
        }
    }
    panic!("no {count} of 64,000 ports have one home");
}

/// Opens the session of a port by its first packet, and sees it translated in both directions.
#[track_caller]
fn open(bench: &mut Bench, port: u16) {
    assert_eq!(bench.run(Hook::WanOut, &packet(port)).reason(), OutboundSlow, "{port}");
    lives(bench, port);
}

#[track_caller]
fn lives(bench: &mut Bench, port: u16) {
    assert_eq!(bench.run(Hook::LanXdp, &packet(port)).reason(), OutboundFast, "{port}");
    let half = bench.session(&outbound(port)).expect("the half that has just translated");
    let answer = Packet::udp(REMOTE, (ROUTER_WAN, half.id.get()), b"answer").bytes();
    assert_eq!(bench.run(Hook::WanXdp, &answer).reason(), InboundFast, "{port}");
}

fn end(bench: &mut Bench, port: u16) {
    assert_eq!(bench.retire(CloseCause::Flushed, &[outbound(port)]), 1, "{port}");
}

#[test]
fn halves_of_one_home_lie_behind_it_and_are_found_there() {
    let mut bench = Bench::new(&OBJECT);
    let (home, ports) = neighbours(&bench, MOST as usize + 1);
    let (last, first) = ports.split_last().expect("ports");
    for port in first {
        open(&mut bench, *port);
    }
    let places: BTreeSet<_> =
        first.iter().filter_map(|port| bench.table().place(&outbound(*port))).collect();
    assert_eq!(places.len(), first.len());
    let near: BTreeSet<_> = (0..NEAR).map(|step| home + distance(step) as usize).collect();
    assert!(places.is_subset(&near), "{places:?}");
    // One more than a home knows of. It is refused alone: nothing of it is left, and the others live.
    let refused = bench.run(Hook::WanOut, &packet(*last));
    assert_eq!((refused.reason(), refused.verdict), (SessionTableFull, Verdict::Drop));
    assert_eq!(bench.sessions().len(), 2 * first.len());
    assert_eq!(bench.mappings().len(), first.len());
    // Whichever goes, of the first, of the middle and of the last ones: the rest is still found, and
    // there is room again.
    for gone in [0, MOST as usize / 2, MOST as usize - 1] {
        end(&mut bench, first[gone]);
        for port in first.iter().filter(|port| **port != first[gone]) {
            lives(&mut bench, *port);
        }
        open(&mut bench, *last);
        end(&mut bench, *last);
        open(&mut bench, first[gone]);
    }
}

#[test]
fn a_half_whose_neighbourhood_is_crowded_lies_apart() {
    let mut bench = Bench::new(&OBJECT);
    let adjacent = (0..NEAR).take_while(|&step| distance(step) == step).count();
    let (home, ports) = neighbours(&bench, 1);
    let port = ports[0];
    // Whatever lies right behind the home belongs to others; the home itself too.
    let mut table = bench.table();
    for place in home..home + adjacent {
        let mut others = (1..=u16::MAX).filter(|other| *other != port);
        let stranger = others.find(|&other| table.home(&outbound(other)) == place);
        let half =
            pair(UDP, (HOST_A, stranger.expect("a port with this home")), 1, REMOTE).outbound;
        table.insert(half);
        assert_eq!(table.place(&half.key()), Some(place));
    }
    open(&mut bench, port);
    let place = bench.table().place(&outbound(port)).expect("the half");
    assert_eq!(place, home + distance(adjacent as u32) as usize);
    lives(&mut bench, port);
    end(&mut bench, port);
    assert_eq!(bench.table().place(&outbound(port)), None);
}

#[test]
fn a_full_table_gives_back_what_it_has_given() {
    let mut bench = Bench::new(&OBJECT);
    let mut seed = 1_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut living = BTreeSet::new();
    for _ in 0..12 {
        // As many as there is room for, and then some.
        let mut refused = 0;
        while refused < 10 {
            let port = 1024 + (random() % 64_000) as u16;
            match bench.run(Hook::WanOut, &packet(port)).reason() {
                OutboundSlow => _ = living.insert(port),
                reason => {
                    assert_eq!(reason, SessionTableFull);
                    refused += 1;
                }
            }
        }
        assert!(living.len() >= TABLE_SIZE as usize / 2 - 1, "{} sessions", living.len());
        assert_eq!(bench.sessions().len(), 2 * living.len());
        for port in living.iter().step_by(16) {
            lives(&mut bench, *port);
        }
        // A part of them goes.
        let part = 1 + random() % 4;
        let gone: Vec<_> = living.iter().copied().filter(|_| random() % 4 < part).collect();
        let keys: Vec<_> = gone.iter().map(|port| outbound(*port)).collect();
        assert_eq!(bench.retire(CloseCause::Flushed, &keys), keys.len() as u32);
        for port in gone {
            living.remove(&port);
        }
        assert_eq!(bench.sessions().len(), 2 * living.len());
    }
}

#[test]
fn whoever_finds_a_home_locked_gives_up_and_leaves_nothing() {
    let mut bench = Bench::new(&OBJECT);
    let [locked, other] = [outbound(5000), outbound(5001)];
    open(&mut bench, 5001);
    bench.table().lock(&locked, true);
    let refused = bench.run(Hook::WanOut, &packet(5000));
    assert_eq!((refused.reason(), refused.verdict), (MappingRetiring, Verdict::Drop));
    bench.table().lock(&locked, false);
    assert_eq!(bench.sessions().len(), 2, "nothing is left of it");
    assert_eq!(bench.mappings().len(), 1);
    open(&mut bench, 5000);
    // Lookups take no lock, removal does: neither half goes, and the next look of the sweeper finds them.
    let inbound = bench.session(&other).expect("the half of a session that lives").partner();
    for key in [other, inbound] {
        bench.table().lock(&key, true);
        lives_while_locked(&mut bench);
        assert_eq!(bench.retire(CloseCause::Flushed, &[other]), 0);
        bench.table().lock(&key, false);
        lives(&mut bench, 5001);
        assert_eq!((bench.sessions().len(), bench.holders(UDP, 5001)), (4, 1));
    }
    end(&mut bench, 5001);
    assert_eq!((bench.sessions().len(), bench.holders(UDP, 5001)), (2, 0));
}

fn lives_while_locked(bench: &mut Bench) {
    assert_eq!(bench.run(Hook::LanXdp, &packet(5001)).reason(), OutboundFast);
}

/// A place that is free says protocol 0, and has the addresses of whoever lay there.
#[test]
fn a_packet_of_no_protocol_finds_no_place_that_is_free() {
    let mut bench = Bench::new(&OBJECT);
    let gre = Packet::new(HOST_A, REMOTE.0, 47, b"data");
    assert_eq!(bench.run(Hook::WanOut, &gre.bytes()).reason(), OutboundSlow);
    let key = bench.sessions().iter().find(|half| half.is_outbound()).expect("a half").key();
    assert_eq!(bench.retire(CloseCause::Flushed, &[key]), 1);
    let packets = [(HOST_A, REMOTE.0), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)];
    for (source, destination) in packets {
        let none = Packet::new(source, destination, 0, b"data").bytes();
        for hook in [Hook::LanXdp, Hook::LanIn, Hook::WanOut, Hook::WanXdp, Hook::WanIn] {
            let output = bench.run(hook, &none);
            let translated = ["outbound_fast", "outbound_slow", "inbound_fast", "inbound_slow"];
            let counted = translated.iter().any(|reason| output.counted.contains_key(reason));
            assert!(!counted, "{hook:?}: {:?}", output.counted);
        }
    }
    assert_eq!(bench.sessions().len(), 0);
}

/// The same of an error that quotes such a packet, which is looked for with the numbers of its reply.
#[test]
fn an_error_about_a_packet_of_no_protocol_finds_no_place_that_is_free() {
    let mut bench = Bench::new(&OBJECT);
    let mut table = bench.table();
    let reply = |remote: Ipv4Addr, protocol| {
        let (source, destination) = (remote.into(), ROUTER_WAN.into());
        let tuple = Tuple { source, destination, source_id: Id::ZERO, destination_id: Id::ZERO };
        tuple.key(protocol)
    };
    // A session without ports whose inbound half has the home that it would have without a protocol.
    let mut remotes = (1..u16::MAX).map(|number| {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(198, 18, high, low)
    });
    let mut same =
        |remote: &Ipv4Addr| table.home(&reply(*remote, 47)) == table.home(&reply(*remote, 0));
    let remote = remotes.find(&mut same).expect("a remote address");
    let gre = Packet::new(HOST_A, remote, 47, b"data").bytes();
    assert_eq!(bench.run(Hook::WanOut, &gre).reason(), OutboundSlow);
    let about = |protocol| {
        let quoted = Packet::new(ROUTER_WAN, remote, protocol, b"data").bytes();
        Packet::icmp(ISP, ROUTER_WAN, (3, 1), 0, &quoted).bytes()
    };
    assert_eq!(bench.run(Hook::WanIn, &about(47)).reason(), IcmpErrorInbound);
    assert_eq!(bench.retire(CloseCause::Flushed, &[reply(remote, 47)]), 1);
    assert_eq!(bench.run(Hook::WanIn, &about(0)).reason(), NoSession);
}

/// Who sends to himself, from the external address: packet and answer have the same tuple.
#[test]
fn a_session_whose_halves_would_have_one_key_is_not_made() {
    let mut bench = Bench::new(&OBJECT);
    let end = (ROUTER_WAN, 5000);
    let output = bench.run(Hook::WanOut, &Packet::udp(end, end, b"to myself").bytes());
    assert!(!output.counted.contains_key("session_opened"), "{:?}", output.counted);
    assert_eq!((bench.sessions().len(), bench.mappings().len()), (0, 0));
}
