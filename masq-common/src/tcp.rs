//! The phase of a TCP connection (RFC 5382 section 5), derived, not stored.
//!
//! Each half of a session remembers which flags its own direction has sent; nobody writes to the
//! other half. Whoever wants to know the phase (sweeper, lookup of an idle session, CLI) asks
//! [`phase`].
//!
//! Sequence numbers never decide whether a segment is forwarded. They decide whether a FIN or RST is
//! believed ([`believed`]): one that is far from what its direction has sent is forwarded like any
//! other segment (its receiver judges it, RFC 5961), but does not shorten the timer. A RST that is
//! believed can shorten it, no more than that, and the next ordinary segment of its direction undoes
//! it. Only the upper half of the sequence number is kept, which is what there is room for.

/// TCP header flag FIN.
pub const FIN: u8 = 0x01;
/// TCP header flag SYN.
pub const SYN: u8 = 0x02;
/// TCP header flag RST.
pub const RST: u8 = 0x04;
/// TCP header flag ACK.
pub const ACK: u8 = 0x10;

/// What one direction of a connection has sent, as a set of the flags above. `ACK` says that it has
/// seen the other direction's SYN.
pub type Seen = u8;

/// What a direction has sent, after one more segment with these header `flags`.
#[inline(always)]
pub const fn observe(seen: Seen, flags: u8) -> Seen {
    if flags & RST != 0 {
        return seen | RST;
    }
    // A live direction goes on after a forged RST: its next segment takes the mark away.
    let seen = seen & !RST;
    let what = if flags & SYN != 0 { SYN | ACK } else { FIN | ACK };
    seen | (flags & what)
}

/// How far from the highest sequence number of its direction a segment may be, in units of 64 KiB:
/// 4 MiB, more than is lost at once before us, and a thousandth of all numbers.
const NEAR: i16 = 64;

/// Whether a segment is one that its direction may have sent, given the upper halves of the highest
/// sequence number that it has sent and of the segment's.
#[inline(always)]
pub const fn is_near(highest: u16, sequence: u16) -> bool {
    let ahead = sequence.wrapping_sub(highest) as i16;
    -NEAR <= ahead && ahead <= NEAR
}

/// What is remembered of a segment: its flags, less those that are not believed, and the upper half
/// of the highest sequence number. `seen` and `highest` are what was remembered before.
#[inline(always)]
pub const fn believed(seen: Seen, highest: u16, flags: u8, sequence: u16) -> (u8, u16) {
    if seen & SYN == 0 {
        // The first of its direction; whatever it is, there is nothing to compare it with.
        return (flags, sequence);
    }
    if !is_near(highest, sequence) {
        return (flags & !(FIN | RST), highest);
    }
    let ahead = sequence.wrapping_sub(highest) as i16 > 0;
    (flags, if ahead { sequence } else { highest })
}

/// Where a connection is, as far as its timer is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not both directions have completed the handshake.
    Opening,
    /// Handshake complete; at most one direction has finished.
    Established,
    /// Both directions have sent FIN.
    Closing,
    /// One direction has reset the connection.
    Reset,
}

impl Phase {
    /// The phase in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Reset => "reset",
        }
    }
}

/// The phase of a connection whose two directions have sent `a` and `b`.
#[inline(always)]
pub const fn phase(a: Seen, b: Seen) -> Phase {
    if (a | b) & RST != 0 {
        Phase::Reset
    } else if a & b & FIN != 0 {
        Phase::Closing
    } else if a & b & SYN != 0 && a & b & ACK != 0 {
        Phase::Established
    } else {
        Phase::Opening
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(segments: &[(bool, u8)]) -> Phase {
        let (mut out, mut back) = (0, 0);
        for &(outbound, flags) in segments {
            let seen = if outbound { &mut out } else { &mut back };
            *seen = observe(*seen, flags);
        }
        phase(out, back)
    }

    #[test]
    fn rfc5382_handshake_establishes() {
        assert_eq!(run(&[(true, SYN)]), Phase::Opening);
        assert_eq!(run(&[(true, SYN), (false, SYN | ACK)]), Phase::Opening);
        assert_eq!(run(&[(true, SYN), (false, SYN | ACK), (true, ACK)]), Phase::Established);
    }

    #[test]
    fn rfc5382_simultaneous_open_establishes() {
        // Nobody sends more than this (RFC 9293 figure 7).
        let segments = [(true, SYN), (false, SYN), (true, SYN | ACK), (false, SYN | ACK)];
        assert_eq!(run(&segments[..3]), Phase::Opening);
        assert_eq!(run(&segments), Phase::Established);
    }

    #[test]
    fn one_fin_keeps_the_connection_established() {
        let open = [(true, SYN), (false, SYN | ACK), (true, ACK), (true, FIN | ACK), (false, ACK)];
        assert_eq!(run(&open), Phase::Established);
        let both = [open.as_slice(), &[(false, FIN | ACK), (true, ACK)]].concat();
        assert_eq!(run(&both), Phase::Closing);
    }

    #[test]
    fn a_reset_never_establishes() {
        assert_eq!(run(&[(true, SYN), (false, RST | ACK)]), Phase::Reset);
    }

    #[test]
    fn a_fin_or_reset_is_believed_near_what_its_direction_has_sent() {
        for flag in [FIN, RST] {
            assert_eq!(believed(SYN, 100, flag | ACK, 100), (flag | ACK, 100));
            assert_eq!(believed(SYN, 100, flag | ACK, 164), (flag | ACK, 164));
            assert_eq!(believed(SYN, 100, flag | ACK, 36), (flag | ACK, 100));
            assert_eq!(believed(SYN, 100, flag | ACK, 165), (ACK, 100));
            assert_eq!(believed(SYN, 100, flag | ACK, 35), (ACK, 100));
            assert_eq!(believed(0, 100, flag, 30_000), (flag, 30_000), "the first one");
        }
    }

    #[test]
    fn what_is_far_away_does_not_move_the_mark() {
        assert_eq!(believed(SYN, 100, ACK, 40_000), (ACK, 100));
    }

    #[test]
    fn sequence_numbers_come_round_again() {
        assert_eq!(believed(SYN, u16::MAX, FIN, 3), (FIN, 3));
        assert_eq!(believed(SYN, 3, FIN, u16::MAX), (FIN, 3));
    }

    #[test]
    fn a_forged_reset_is_undone_by_the_next_segment_of_its_direction() {
        let segments =
            [(true, SYN), (false, SYN | ACK), (true, ACK), (false, RST), (true, ACK), (false, ACK)];
        assert_eq!(run(&segments), Phase::Established);
    }
}
