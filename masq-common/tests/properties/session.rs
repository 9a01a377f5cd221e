//! The two halves of a session: they find each other, and undo each other.

use std::collections::HashSet;

use masq_common::{
    be::{Addr, Id},
    flow::{FlowKey, ICMP, Tuple},
    session::{SessionHalf, SessionPair, flags},
    time::Tick,
};
use proptest::prelude::*;

use crate::packet::{addr, id, packet, protocol, tuple};

fn masquerade(key: FlowKey, external: Addr, external_id: Id, flags: u8) -> SessionPair {
    SessionPair::masquerade(key, external, external_id, flags, 3, Tick(99))
}

fn key() -> impl Strategy<Value = FlowKey> {
    protocol().prop_flat_map(|protocol| tuple(protocol).prop_map(move |t| t.key(protocol)))
}

/// The tuple that a packet of this half leaves with, if the half is for it.
fn translate(half: &SessionHalf, packet: Tuple, protocol: u8) -> Option<Tuple> {
    half.belongs_to(&packet.key(protocol)).then_some(half.to())
}

proptest! {
    #[test]
    fn halves_are_each_others_partners(key in key(), external in addr(), external_id in id()) {
        let SessionPair { outbound, inbound } = masquerade(key, external, external_id, 0);
        prop_assert_eq!(outbound.partner(), inbound.key());
        prop_assert_eq!(inbound.partner(), outbound.key());
        prop_assert_eq!(outbound.key(), key);
        prop_assert!(outbound.belongs_to(&key) && inbound.belongs_to(&outbound.partner()));
    }

    #[test]
    fn an_answer_finds_its_way_back(key in key(), external in addr(), external_id in id()) {
        let SessionPair { outbound, inbound } = masquerade(key, external, external_id, 0);
        let sent = translate(&outbound, key.tuple, key.protocol).unwrap();
        prop_assert_eq!(sent.source, external);
        prop_assert_eq!(sent.source_id, external_id);
        prop_assert_eq!((sent.destination, sent.destination_id),
            (key.tuple.destination, key.tuple.destination_id));
        let delivered = translate(&inbound, sent.reversed(), key.protocol).unwrap();
        prop_assert_eq!(delivered.reversed(), key.tuple);
    }

    #[test]
    fn an_answer_is_delivered_byte_for_byte(
        packet in packet(), external in addr(), external_id in id(),
    ) {
        let pair = masquerade(packet.key(), external, external_id, 0);
        let answer = packet.translated(&pair.outbound, false).turned_round();
        prop_assert_eq!(answer.key(), pair.inbound.key());
        let delivered = answer.translated(&pair.inbound, false);
        prop_assert_eq!(delivered, packet.turned_round());
    }

    #[test]
    fn the_differences_of_the_halves_cancel(
        packet in packet(), external in addr(), external_id in id(),
    ) {
        let SessionPair { outbound, inbound } =
            masquerade(packet.key(), external, external_id, 0);
        let field = packet.transport_checksum().min(0xfffe);
        let sum = outbound.transport_delta().apply(field);
        prop_assert_eq!(inbound.transport_delta().apply(sum), field);
        let ip = outbound.addr_delta().apply(packet.ip_checksum());
        prop_assert_eq!(inbound.addr_delta().apply(ip), packet.ip_checksum());
    }

    #[test]
    fn a_half_belongs_to_no_other_key(key in key(), other in key(), external in addr(), at in 0..5) {
        let half = masquerade(key, external, Id::new(1024), 0).outbound;
        prop_assert_eq!(half.belongs_to(&other), key == other);
        let mut near = key;
        let step = |id: Id| Id::new(id.get().wrapping_add(1));
        match at {
            0 => near.tuple.source = other.tuple.source,
            1 => near.tuple.destination = other.tuple.destination,
            2 => near.tuple.source_id = step(key.tuple.source_id),
            3 => near.tuple.destination_id = step(key.tuple.destination_id),
            _ => near.protocol = other.protocol,
        }
        prop_assert_eq!(half.belongs_to(&near), near == key);
    }

    #[test]
    fn flags_are_shared_but_for_the_direction(key in key(), external in addr(), bits: u8) {
        let bits = bits & !flags::OUTBOUND;
        let SessionPair { outbound, inbound } = masquerade(key, external, Id::new(7), bits);
        prop_assert_eq!(outbound.flags, bits | flags::OUTBOUND);
        prop_assert_eq!(inbound.flags, bits);
        for half in [outbound, inbound] {
            prop_assert_eq!((half.protocol, half.wan, half.created, half.last_seen),
                (key.protocol, 3, Tick(99), Tick(99)));
            prop_assert_eq!((half.packets, half.bytes, half.tcp_seen), (0, 0, 0));
        }
    }

    /// Two sessions share a key only if they share the inside endpoint or the external port: what
    /// the port claim rules out for one remote endpoint.
    #[test]
    fn sessions_with_external_ports_of_their_own_share_no_key(
        keys in proptest::collection::hash_set(key(), 2..20), external in addr(),
    ) {
        prop_assume!(keys.iter().all(|key| key.tuple.source != external));
        let pairs: Vec<_> = keys
            .iter()
            .zip(1_u16..)
            .map(|(key, port)| masquerade(*key, external, Id::new(port), 0))
            .collect();
        let inbound: HashSet<_> = pairs.iter().map(|pair| pair.inbound.key()).collect();
        let outbound: HashSet<_> = pairs.iter().map(|pair| pair.outbound.key()).collect();
        prop_assert_eq!((inbound.len(), outbound.len()), (pairs.len(), pairs.len()));
    }

    #[test]
    fn reversing_twice_changes_nothing(key in key()) {
        prop_assert_eq!(key.reversed().reversed(), key);
        prop_assert_eq!(key.reversed().tuple, key.tuple.reversed());
        prop_assert_eq!(key.reversed().protocol, key.protocol);
    }

    #[test]
    fn a_query_keeps_its_single_identifier(
        tuple in tuple(ICMP), external in addr(), external_id in id(),
    ) {
        let SessionPair { outbound, inbound } =
            masquerade(tuple.key(ICMP), external, external_id, 0);
        prop_assert_eq!(outbound.to().destination_id, Id::ZERO);
        prop_assert_eq!(inbound.from.source_id, Id::ZERO);
        prop_assert_eq!(inbound.from.destination_id, external_id);
        prop_assert_eq!(inbound.to().destination_id, tuple.source_id);
        prop_assert_eq!(outbound.id, external_id);
        prop_assert_eq!(inbound.id, tuple.source_id);
    }
}
