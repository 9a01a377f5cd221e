//! Whatever the order of the halves, and however little room there is, each session comes out once.

use masq_common::{
    be::{Addr, Id},
    flow::{ICMP, TCP, Tuple, UDP},
};
use proptest::prelude::*;

use super::*;

fn session(protocol: u8, port: u16) -> SessionPair {
    let key = Tuple {
        source: Addr::from_octets([192, 168, 1, 10]),
        destination: Addr::from_octets([198, 51, 100, 1]),
        source_id: Id::new(port),
        destination_id: Id::new(if protocol == ICMP { 0 } else { 443 }),
    }
    .key(protocol);
    let external = Addr::from_octets([203, 0, 113, 5]);
    let flags = flags::COUNTED;
    let mut pair =
        SessionPair::masquerade(key, external, Id::new(port ^ 0x5555), flags, 3, Tick(7));
    let number = u64::from(port);
    (pair.outbound.packets, pair.outbound.bytes) = (number, number * 100);
    (pair.inbound.packets, pair.inbound.bytes) = (number + 1, number * 1_000);
    (pair.outbound.last_seen, pair.inbound.last_seen) = (Tick(100), Tick(200));
    (pair.outbound.tcp_seen, pair.inbound.tcp_seen) = (tcp::SYN, tcp::SYN | tcp::ACK);
    pair
}

/// Whoever else walks meanwhile.
fn with_room(room: usize, look_up: LookUp<'_>) -> Pairs<'_> {
    Pairs { room, ..Pairs::at(None, 0, look_up) }
}

/// The sessions that come out, in any order, sorted.
fn met(halves: &[SessionHalf], room: usize, table: &HashMap<FlowKey, SessionHalf>) -> Vec<u16> {
    let look_up = |key: &FlowKey| Ok(table.get(key).copied());
    let mut pairs = with_room(room, &look_up);
    let mut found = Vec::new();
    for half in halves {
        found.extend(pairs.meet(half).unwrap());
        assert!(pairs.waiting.len() <= room);
    }
    for key in pairs.into_rest() {
        found.extend(left_over(&key, &look_up).unwrap());
    }
    let mut ports: Vec<_> = found.iter().map(|pair| pair.outbound.from.source_id.get()).collect();
    for pair in found {
        assert_eq!(pair, session(TCP, pair.outbound.from.source_id.get()));
    }
    ports.sort_unstable();
    ports
}

proptest! {
    #[test]
    fn each_session_comes_out_once(
        // For each session whether its halves were read on the walk, and are in the table at its end.
        sessions in prop::collection::vec((any::<[bool; 2]>(), any::<bool>()), 0..60),
        room in 0..80_usize,
        seed: u64,
    ) {
        let mut halves = Vec::new();
        let mut table = HashMap::new();
        let mut whole = Vec::new();
        for (port, (read, there)) in (1_u16..).zip(&sessions) {
            let pair = session(TCP, port);
            for (half, read) in [pair.outbound, pair.inbound].into_iter().zip(read) {
                if *read {
                    halves.push(half);
                }
                if *there {
                    table.insert(half.key(), half);
                }
            }
            // Of those that have come or gone meanwhile, some may be missing.
            if *read == [true, true] && *there {
                whole.push(port);
            }
        }
        let mut state = seed | 1;
        for place in (1..halves.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            halves.swap(place, (state >> 33) as usize % (place + 1));
        }
        let found = met(&halves, room, &table);
        prop_assert!(found.is_sorted_by(|a, b| a < b), "none twice: {found:?}");
        prop_assert!(whole.iter().all(|port| found.contains(port)), "{found:?} lacks of {whole:?}");
    }
}

#[test]
fn a_half_that_has_waited_is_the_same_as_before() {
    for protocol in [TCP, UDP, ICMP] {
        let SessionPair { outbound, inbound } = session(protocol, 40_000);
        for (first, second) in [(outbound, inbound), (inbound, outbound)] {
            let look_up = |_: &FlowKey| panic!("nobody has to be looked up");
            let mut pairs = with_room(ROOM, &look_up);
            assert_eq!(pairs.meet(&first).unwrap(), None);
            let met = pairs.meet(&second).unwrap().expect("both");
            assert_eq!(met, SessionPair { outbound, inbound }, "protocol {protocol}");
            assert_eq!(pairs.into_rest().count(), 0);
        }
    }
}

#[test]
fn halves_of_different_sessions_with_the_same_ends_do_not_meet() {
    let earlier = session(UDP, 1);
    let later = SessionHalf { created: Tick(9), packets: 1, ..earlier.inbound };
    let look_up = |_: &FlowKey| Ok(None);
    let mut pairs = with_room(ROOM, &look_up);
    assert_eq!(pairs.meet(&earlier.outbound).unwrap(), None);
    assert_eq!(pairs.meet(&later).unwrap(), None);
    // The earlier one may be there still, and is looked up.
    let key = earlier.outbound.key();
    assert_eq!(pairs.into_rest().collect::<Vec<_>>(), [key]);
}

#[test]
fn the_rest_of_an_earlier_session_hides_no_later_one() {
    let later = session(UDP, 1);
    let external = Addr::from_octets([203, 0, 113, 5]);
    let key = later.outbound.key();
    let rest =
        SessionPair::masquerade(key, external, Id::new(9), flags::COUNTED, 3, Tick(1)).inbound;
    let table: HashMap<_, _> =
        [later.outbound, later.inbound, rest].map(|half| (half.key(), half)).into();
    assert_eq!(table.len(), 3);
    let halves = [later.outbound, later.inbound, rest];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let halves = order.map(|number| halves[number]);
        let look_up = |key: &FlowKey| Ok(table.get(key).copied());
        let mut pairs = with_room(ROOM, &look_up);
        let mut found = Vec::new();
        for half in &halves {
            found.extend(pairs.meet(half).unwrap());
        }
        for key in pairs.into_rest() {
            found.extend(left_over(&key, &look_up).unwrap());
        }
        assert_eq!(found, [later], "{order:?}");
    }
}

#[test]
fn no_more_than_a_few_walks_at_once_have_memory() {
    let SessionPair { outbound, inbound } = session(TCP, 1);
    let look_up = |key: &FlowKey| Ok((*key == inbound.key()).then_some(inbound));
    let walks: Vec<_> = (0..2 * WALKS).map(|_| Pairs::new(1_000_000, &look_up)).collect();
    let waits = |walk: &Pairs<'_>| walk.room > 0;
    assert_eq!(walks.iter().filter(|walk| waits(walk)).count(), WALKS);
    for mut walk in walks {
        let waits = waits(&walk);
        let first = walk.meet(&outbound).unwrap();
        let second = walk.meet(&inbound).unwrap();
        let found: Vec<_> = first.into_iter().chain(second).collect();
        assert_eq!(found, [SessionPair { outbound, inbound }]);
        assert_eq!(first.is_some(), !waits, "who has no room looks up");
    }
    assert_eq!(PLACES.available_permits(), WALKS);
}
