//! The phase of a TCP connection (RFC 5382 section 5), derived, not stored.
//!
//! Each half of a session remembers which flags its own direction has sent; nobody writes to the
//! other half. Whoever wants to know the phase (sweeper, lookup of an idle session, CLI) asks
//! [`phase`]. Sequence numbers are never looked at: a segment out of the window can shorten a
//! timer, but no more than that, and the next ordinary segment of its direction undoes it.

/// TCP header flag FIN.
pub const FIN: u8 = 0x01;
/// TCP header flag SYN.
pub const SYN: u8 = 0x02;
/// TCP header flag RST.
pub const RST: u8 = 0x04;
/// TCP header flag ACK.
pub const ACK: u8 = 0x10;

/// What one direction of a connection has sent, as a set of the flags above. `ACK` is only
/// remembered from a segment without SYN, so it says that this direction has finished its part of
/// the handshake.
pub type Seen = u8;

/// What a direction has sent, after one more segment with these header `flags`.
#[inline(always)]
pub const fn observe(seen: Seen, flags: u8) -> Seen {
    if flags & RST != 0 {
        return seen | RST;
    }
    // A live direction goes on after a forged RST: its next segment takes the mark away.
    let seen = seen & !RST;
    if flags & SYN != 0 { seen | SYN } else { seen | (flags & (FIN | ACK)) }
}

/// Where a connection is, as far as its timer is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not both directions have completed the handshake.
    Opening,
    /// Handshake complete; at most one direction has finished.
    Established,
    /// Both directions have sent FIN, or one has reset the connection.
    Closing,
}

impl Phase {
    /// The phase in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
        }
    }
}

/// The phase of a connection whose two directions have sent `a` and `b`.
#[inline(always)]
pub const fn phase(a: Seen, b: Seen) -> Phase {
    if (a | b) & RST != 0 || a & b & FIN != 0 {
        Phase::Closing
    } else if a & b & SYN != 0 && (a | b) & ACK != 0 {
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
        let segments =
            [(true, SYN), (false, SYN), (true, SYN | ACK), (false, SYN | ACK), (true, ACK)];
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
        assert_eq!(run(&[(true, SYN), (false, RST | ACK)]), Phase::Closing);
    }

    #[test]
    fn a_forged_reset_is_undone_by_the_next_segment_of_its_direction() {
        let segments =
            [(true, SYN), (false, SYN | ACK), (true, ACK), (false, RST), (true, ACK), (false, ACK)];
        assert_eq!(run(&segments), Phase::Established);
    }
}
