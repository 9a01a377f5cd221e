//! Differences against full sums: RFC 1624 must give exactly what RFC 1071 gives.

use masq_common::{
    be::Addr,
    checksum::Delta,
    flow::{TCP, Tuple, UDP},
    session::{SessionHalf, flags},
    time::Tick,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::packet::{Packet, packet, sum, tuple};

/// The half that turns the tuple of a packet into `to`, of which only one side is new.
fn half(packet: &Packet, to: Tuple) -> SessionHalf {
    let from = packet.tuple();
    if (to.destination, to.destination_id) == (from.destination, from.destination_id) {
        let source = (to.source, to.source_id);
        SessionHalf::new(packet.key(), source, flags::OUTBOUND, 0, Tick(0))
    } else {
        let destination = (to.destination, to.destination_id);
        SessionHalf::new(packet.key(), destination, 0, 0, Tick(0))
    }
}

/// A packet and the tuple that it is rewritten to: one side of it changes, in full or not.
fn rewrite() -> impl Strategy<Value = (Packet, Tuple)> {
    (packet(), 0_u8..4).prop_flat_map(|(packet, change)| {
        let from = packet.tuple();
        let to = tuple(packet.protocol()).prop_map(move |new| match change {
            0 => Tuple { source: new.source, source_id: new.source_id, ..from },
            1 => Tuple { source: new.source, ..from },
            2 => from,
            _ => Tuple { destination: new.destination, destination_id: new.destination_id, ..from },
        });
        (Just(packet), to)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_translated_packet_is_byte_for_byte_the_recomputed_one(
        (packet, to) in rewrite(), decrement_ttl: bool,
    ) {
        let translated = packet.translated(&half(&packet, to), decrement_ttl);
        prop_assert_eq!(&translated, &packet.recomputed(&to, decrement_ttl));
        prop_assert_eq!(translated.ip_sum(), 0xffff);
        if packet.protocol() == UDP && packet.transport_checksum() == 0 {
            prop_assert_eq!(translated.transport_checksum(), 0);
        } else {
            prop_assert_eq!(translated.transport_sum(), 0xffff);
        }
    }

    #[test]
    fn a_checksum_that_comes_out_zero_is_written_as_the_protocol_wants(
        (packet, to) in rewrite(),
    ) {
        // Steers the *translated* packet to zero, and back from there to what was sent.
        let mut wanted = packet.recomputed(&to, false);
        wanted.0.truncate(wanted.0.len() & !1);
        let last = wanted.0.len() - 2;
        wanted.set_word(last, 0);
        wanted.set_transport_checksum(0);
        let missing = !wanted.transport_sum();
        wanted.set_word(last, missing);
        let zero = if packet.protocol() == UDP { 0xffff } else { 0 };
        wanted.set_transport_checksum(zero);

        let sent = wanted.recomputed(&packet.tuple(), false);
        let translated = sent.translated(&half(&sent, to), false);
        prop_assert_eq!(translated.transport_checksum(), zero);
    }

    #[test]
    fn a_damaged_packet_stays_damaged_by_the_same_amount(
        (packet, to) in rewrite(), place: Index, flip in 1_u8..,
    ) {
        let mut damaged = packet;
        let at = damaged.damageable(place);
        damaged.0[at] ^= flip;
        prop_assume!(damaged.protocol() != UDP || damaged.transport_checksum() != 0);
        // All ones is not a value that a sum of TCP or ICMP can have.
        prop_assume!(damaged.protocol() == UDP || damaged.transport_checksum() != 0xffff);
        let translated = damaged.translated(&half(&damaged, to), true);
        prop_assert_eq!(translated.ip_sum() % 0xffff, damaged.ip_sum() % 0xffff);
        prop_assert_eq!(translated.transport_sum() % 0xffff, damaged.transport_sum() % 0xffff);
    }

    #[test]
    fn a_rewrite_and_its_reverse_leave_the_packet_as_it_was((packet, to) in rewrite()) {
        let there = packet.translated(&half(&packet, to), false);
        let back = there.translated(&half(&there, packet.tuple()), false);
        prop_assert_eq!(back, packet);
    }

    #[test]
    fn udp_never_gains_or_loses_its_checksum((packet, to) in rewrite(), field: u16) {
        let delta = half(&packet, to).transport_delta();
        prop_assert_eq!(delta.apply_udp(field) == 0, field == 0);
    }

    /// What the translation of an ICMP error needs: any number of words of the quoted packet
    /// change, in any grouping, and its checksums among them.
    #[test]
    fn differences_of_any_words_add_up(
        words in vec(any::<u16>(), 1..80),
        changes in vec((any::<Index>(), any::<u16>()), 0..20),
        split: Index,
    ) {
        // The first word is the version and length of a packet, never zero: a sum of nothing but
        // zeros is the one case in which the two notations of zero differ.
        let bytes = |words: &[u16]| {
            [&[0x45, 0][..], &words.iter().flat_map(|w| w.to_ne_bytes()).collect::<Vec<_>>()]
                .concat()
        };
        let before = !u16::from_ne_bytes(sum(&bytes(&words)).to_be_bytes());
        let mut words = words;
        let deltas: Vec<Delta> = changes
            .iter()
            .map(|(at, new)| {
                let at = at.index(words.len());
                Delta::word(std::mem::replace(&mut words[at], *new), *new)
            })
            .collect();
        let after = !u16::from_ne_bytes(sum(&bytes(&words)).to_be_bytes());
        let (left, right) = deltas.split_at(split.index(deltas.len() + 1));
        let fold = |part: &[Delta]| part.iter().fold(Delta::ZERO, |all, one| all.and(*one));
        prop_assert_eq!(fold(left).and(fold(right)).apply(before), after);
    }
}

/// Where carries of carries are lost: too rare for random numbers.
#[test]
fn no_carry_is_lost_at_the_corners() {
    let corners = [0, 1, 2, 3, 0x7fff, 0x8000, 0xfffc, 0xfffd, 0xfffe, 0xffff];
    let pairs = || corners.iter().flat_map(|a| corners.iter().map(move |b| (*a, *b)));
    for ((a, b), (c, d)) in pairs().flat_map(|old| pairs().map(move |new| (old, new))) {
        let addr = |high: u16, low: u16| Addr::from_raw(u32::from(high) << 16 | u32::from(low));
        let apart = Delta::word(a, c).and(Delta::word(b, d));
        let together = Delta::addr(addr(a, b), addr(c, d));
        let exact: u32 = [!a, !b, c, d].map(u32::from).iter().sum();
        assert_eq!(u32::from(together.raw()) % 0xffff, exact % 0xffff, "{a} {b} {c} {d}");
        assert_eq!(apart, together, "{a} {b} {c} {d}");
        assert_eq!(together == Delta::ZERO, exact == 0, "a sum is zero only if all words are");
    }
}

#[test]
fn the_oracle_agrees_with_the_example_of_rfc_1071() {
    assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    assert_eq!(sum(&[0x01]), 0x0100);
}

/// The generator must produce what the properties are about, or they say nothing.
#[test]
fn the_generator_reaches_the_corners() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = [0; 4];
    for _ in 0..4000 {
        let packet = packet().new_tree(&mut runner).unwrap().current();
        assert_eq!(packet.ip_sum(), 0xffff);
        match (packet.protocol(), packet.transport_checksum()) {
            (UDP, 0) => seen[0] += 1,
            (UDP, 0xffff) => seen[1] += 1,
            (TCP, 0) => seen[2] += 1,
            (_, 0) => seen[3] += 1,
            _ => assert_eq!(packet.transport_sum(), 0xffff),
        }
    }
    assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
}
