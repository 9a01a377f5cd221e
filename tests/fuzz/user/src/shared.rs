//! The shared logic: what the kernel programs compute with words out of packets.

use masq_common::{
    be::{Addr, Id},
    checksum::Delta,
    ports::{PARITY_PROBES, Pool},
    tcp::{self, Phase},
};

/// The bytes in pairs; what is left over does not count.
fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// The checksum of some words, as RFC 1071 section 4.1 computes it.
fn whole(words: &[u16]) -> u16 {
    let mut sum: u64 = words.iter().map(|word| u64::from(*word)).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// The first half of the words becomes the second half: the difference has to turn the checksum
/// of the one into that of the other, whichever way it is put together.
pub fn checksum(bytes: &[u8]) {
    let words: Vec<_> = words(bytes).collect();
    let (old, new) = words.split_at(words.len() / 2);
    let new = &new[..old.len()];
    let is_nothing = |words: &[u16]| words.iter().all(|word| *word == 0);
    if is_nothing(old) || is_nothing(new) {
        // No header is all zeros; the sum of one would be the other zero.
        return;
    }
    let pairs = old.iter().zip(new).map(|(old, new)| Delta::word(old.to_be(), new.to_be()));
    let delta = pairs.fold(Delta::ZERO, Delta::and);
    let (before, after) = (whole(old), whole(new));
    assert_eq!(u16::from_be(delta.apply(before.to_be())), after, "{old:04x?} to {new:04x?}");
    let udp = |sum| if sum == 0 { 0xffff } else { sum };
    assert_eq!(u16::from_be(delta.apply_udp(udp(before).to_be())), udp(after));
    assert_eq!(delta.apply_udp(0), 0);
    if let ([a, b, c, ..], [d, e, f, ..]) = (old, new) {
        let address = |high: u16, low: u16| {
            Addr::from_octets((u32::from(high) << 16 | u32::from(low)).to_be_bytes())
        };
        let of_words = [(a, d), (b, e), (c, f)]
            .map(|(old, new)| Delta::word(old.to_be(), new.to_be()))
            .into_iter()
            .fold(Delta::ZERO, Delta::and);
        let of_fields =
            Delta::addr(address(*a, *b), address(*d, *e)).and(Delta::id(Id::new(*c), Id::new(*f)));
        let equal = |delta: Delta| delta.raw() % 0xffff;
        assert_eq!(equal(of_words), equal(of_fields));
    }
}

/// Each byte is a segment: its low bits are the flags, its highest bit the direction.
pub fn tcp(bytes: &[u8]) {
    let mut seen = [0; 2];
    let mut ever = [0_u8; 2];
    for byte in bytes {
        let (side, flags) = (usize::from(byte >> 7), byte & 0x1f);
        ever[side] |= flags;
        let before = seen[side];
        seen[side] = tcp::observe(before, flags);
        // Nothing is remembered that was not sent, and all but a reset is remembered for good.
        assert_eq!(seen[side] & !(ever[side] | tcp::RST), 0);
        assert_eq!(before & !seen[side] & !tcp::RST, 0);
        assert_eq!(seen[side] & tcp::RST, flags & tcp::RST);
        let phase = tcp::phase(seen[0], seen[1]);
        assert_eq!(phase, tcp::phase(seen[1], seen[0]));
        if flags & tcp::RST != 0 {
            assert_eq!(phase, Phase::Reset);
        }
        if phase == Phase::Established {
            // RFC 5382 REQ-2: both directions have sent SYN and confirmed the other's.
            assert_eq!(ever[0] & ever[1] & (tcp::SYN | tcp::ACK), tcp::SYN | tcp::ACK);
        }
    }
}

/// Two words are the ends of a pool, one the inside port; the rest is chance.
pub fn ports(bytes: &[u8]) {
    let mut words = words(bytes);
    let mut next = || words.next().unwrap_or_default();
    let (pool, wanted) = (Pool { low: next(), high: next() }, next());
    let random = u32::from(next()) << 16 | u32::from(next());
    if pool.is_empty() {
        assert_eq!(pool.len(), 0);
        return;
    }
    assert!(pool.contains(pool.at(random)));
    if pool.len() > 1 && random < u32::MAX {
        assert_ne!(pool.at(random), pool.at(random + 1));
    }
    for attempt in 0..PARITY_PROBES + 2 {
        let port = pool.probe(wanted, attempt, random);
        assert!(pool.contains(port), "{port} of {pool:?}");
        // RFC 4787 REQ-3a and REQ-4.
        assert!(attempt > 0 || !pool.contains(wanted) || port == wanted);
        let even = port % 2 == wanted % 2;
        assert!(even || attempt > PARITY_PROBES || pool.len() == 1, "{port} for {wanted}");
    }
}
