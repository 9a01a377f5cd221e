//! One direction of a session, with its finished rewrite.
//!
//! A session (RFC 2663 section 2.3) is two entries of one table ([`crate::table`]), keyed by the tuples
//! *as received* in each direction. Each entry holds all that a packet of its direction needs, so an
//! established packet costs one lookup. The key of the other half follows from the rewrite:
//! packets that answer the rewritten packet carry its tuple reversed.
//!
//! A place of the table can be given to another half while a program still holds a pointer to it. So a half
//! begins with its key ([`SessionHalf::belongs_to`]), and its place says of which generation it is
//! ([`crate::table`]).

use bytemuck::{Pod, Zeroable};

use crate::{
    be::{Addr, Id},
    checksum::Delta,
    flow::{FlowKey, TCP, Tuple},
    hop::Ticket,
    settings::Timeouts,
    tcp,
    time::{Span, Tick},
};

/// Flags of a [`SessionHalf`], the same in both halves but for [`OUTBOUND`](flags::OUTBOUND).
pub mod flags {
    /// This half translates packets from the inside to the outside.
    pub const OUTBOUND: u8 = 1 << 0;
    /// The external port is shared with other sessions (RFC 7857 section 3): no mapping is held.
    pub const OVERLAP: u8 = 1 << 1;
    /// The inside endpoint is the router itself, whose port was already given to a LAN host.
    /// Never handled by the fast hooks.
    pub const OWN: u8 = 1 << 2;
    /// The first packet came from outside (endpoint-independent or address-dependent filtering).
    pub const FROM_OUTSIDE: u8 = 1 << 3;
    /// Of a protocol without ports: only the addresses are translated, no mapping is held.
    pub const ADDRESS_ONLY: u8 = 1 << 4;
    /// The session counts for a permit of address-dependent filtering.
    pub const PERMIT: u8 = 1 << 5;
    /// The session counts for its inside host's limit.
    pub const COUNTED: u8 = 1 << 6;
}

/// Value of the session table: one direction of a session.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct SessionHalf {
    /// The tuple of the packets of this half as received: its own key.
    pub from: Tuple,
    /// The address that they leave with in the place of one of those in `from`: of the source in
    /// the outbound half, of the destination in the inbound one ([`to`](Self::to)).
    pub address: Addr,
    /// The port or identifier that goes with it.
    pub id: Id,
    /// Upper half of the highest sequence number that this direction has sent, if TCP
    /// ([`tcp::believed`]); host byte order.
    pub sequence: u16,
    /// When the last packet of this direction passed.
    pub last_seen: Tick,
    /// The next hop of this direction.
    pub ticket: Ticket,
    /// Packets of this direction.
    pub packets: u64,
    /// Bytes of this direction, from the IP header on.
    pub bytes: u64,
    /// When the session was created.
    pub created: Tick,
    /// What this direction has sent, if TCP ([`tcp::observe`]).
    pub tcp_seen: tcp::Seen,
    /// See [`flags`].
    pub flags: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// Which WAN the session belongs to: index of [`crate::settings::Device::wan`].
    pub wan: u8,
}

impl SessionHalf {
    /// The half of `key` that puts the endpoint `address`:`id` in the place of the source, if the
    /// flags say [`OUTBOUND`](flags::OUTBOUND), or of the destination.
    #[inline(always)]
    pub const fn new(
        key: FlowKey,
        (address, id): (Addr, Id),
        flags: u8,
        wan: u8,
        now: Tick,
    ) -> Self {
        Self {
            from: key.tuple,
            address,
            id,
            sequence: 0,
            last_seen: now,
            ticket: Ticket::NONE,
            packets: 0,
            bytes: 0,
            created: now,
            tcp_seen: 0,
            flags,
            protocol: key.protocol,
            wan,
        }
    }

    /// The tuple that the packets of this half leave with.
    #[inline(always)]
    pub const fn to(&self) -> Tuple {
        if self.is_outbound() {
            Tuple { source: self.address, source_id: self.id, ..self.from }
        } else {
            Tuple { destination: self.address, destination_id: self.id, ..self.from }
        }
    }

    /// The key of this half.
    #[inline(always)]
    pub const fn key(&self) -> FlowKey {
        self.from.key(self.protocol)
    }

    /// The key of the other half: of the packets that answer the rewritten ones.
    #[inline(always)]
    pub const fn partner(&self) -> FlowKey {
        self.to().reversed().key(self.protocol)
    }

    /// Whether this is the half of `key`.
    #[inline(always)]
    pub fn belongs_to(&self, key: &FlowKey) -> bool {
        self.from == key.tuple && self.protocol == key.protocol
    }

    /// Whether this half translates from the inside to the outside.
    #[inline(always)]
    pub const fn is_outbound(&self) -> bool {
        self.flags & flags::OUTBOUND != 0
    }

    /// Difference of the addresses: for the IP header and for the pseudo-header of TCP and UDP.
    /// Cheaper to compute than the room that it would take; so is [`id_delta`](Self::id_delta).
    #[inline(always)]
    pub const fn addr_delta(&self) -> Delta {
        let old = if self.is_outbound() { self.from.source } else { self.from.destination };
        Delta::addr(old, self.address)
    }

    /// Difference of the ports or identifiers, for the transport checksum.
    #[inline(always)]
    pub const fn id_delta(&self) -> Delta {
        let old = if self.is_outbound() { self.from.source_id } else { self.from.destination_id };
        Delta::id(old, self.id)
    }

    /// Difference of the transport checksum of TCP and UDP, pseudo-header included.
    #[inline(always)]
    pub const fn transport_delta(&self) -> Delta {
        self.addr_delta().and(self.id_delta())
    }
}

/// The two halves of a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPair {
    /// From the inside endpoint to the remote one.
    pub outbound: SessionHalf,
    /// From the remote endpoint to the external one.
    pub inbound: SessionHalf,
}

impl SessionPair {
    /// A session of the inside endpoint in `key` (the outbound packet as received), seen from
    /// outside as `external`:`external_id`. `flags` without [`flags::OUTBOUND`].
    #[inline(always)]
    pub const fn masquerade(
        key: FlowKey,
        external: Addr,
        external_id: Id,
        flags: u8,
        wan: u8,
        now: Tick,
    ) -> Self {
        let to = Tuple { source: external, source_id: external_id, ..key.tuple };
        let answer = to.reversed().key(key.protocol);
        Self {
            outbound: SessionHalf::new(
                key,
                (external, external_id),
                flags | flags::OUTBOUND,
                wan,
                now,
            ),
            inbound: SessionHalf::new(
                answer,
                (key.tuple.source, key.tuple.source_id),
                flags,
                wan,
                now,
            ),
        }
    }
}

/// How long a session that was opened from outside waits for the inside to answer.
pub const UNANSWERED: Span = Span::from_secs(30);

/// How long a session of these two halves may still be idle; `None` if it has expired.
///
/// Both directions refresh a session (RFC 4787 REQ-6), except that packets from outside do not
/// refresh one that they have started (REQ-6a's security note).
#[inline(always)]
pub fn remaining(a: &SessionHalf, b: &SessionHalf, timeouts: &Timeouts, now: Tick) -> Option<Span> {
    let outbound = if a.is_outbound() { a } else { b };
    let last = if a.flags & flags::FROM_OUTSIDE == 0 {
        a.last_seen.later(b.last_seen)
    } else {
        outbound.last_seen
    };
    let mut allowed = timeouts.of(a.protocol, phase_of(a, b));
    // A reset is no answer (RFC 7857 section 7.1).
    let answered =
        outbound.packets != 0 && (a.protocol != TCP || outbound.tcp_seen & tcp::SYN != 0);
    if a.flags & flags::FROM_OUTSIDE != 0 && !answered && UNANSWERED < allowed {
        // Nobody outside may fill the table with what nobody inside wants.
        allowed = UNANSWERED;
    }
    let idle = now.since(last);
    if idle <= allowed { Some(allowed.saturating_sub(idle)) } else { None }
}

/// The TCP phase of a session; [`tcp::Phase::Established`] for other protocols.
#[inline(always)]
pub const fn phase_of(a: &SessionHalf, b: &SessionHalf) -> tcp::Phase {
    if a.protocol == TCP { tcp::phase(a.tcp_seen, b.tcp_seen) } else { tcp::Phase::Established }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::UDP;

    fn pair() -> SessionPair {
        let key = Tuple {
            source: Addr::from_octets([192, 168, 1, 10]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(40000),
            destination_id: Id::new(53),
        }
        .key(UDP);
        SessionPair::masquerade(
            key,
            Addr::from_octets([203, 0, 113, 5]),
            Id::new(61001),
            0,
            0,
            Tick(7),
        )
    }

    #[test]
    fn each_half_knows_the_key_of_the_other() {
        let SessionPair { outbound, inbound } = pair();
        assert_eq!(outbound.partner(), inbound.key());
        assert_eq!(inbound.partner(), outbound.key());
        assert!(outbound.is_outbound() && !inbound.is_outbound());
    }

    #[test]
    fn the_vector_v01_gets_its_checksums() {
        let half = pair().outbound;
        let swap = u16::from_be;
        assert_eq!(swap(half.transport_delta().apply_udp(0x643c_u16.to_be())), 0x97df);
        assert_eq!(swap(half.addr_delta().apply(0x3ee1_u16.to_be())), 0xc48d);
    }

    #[test]
    fn a_session_expires_after_its_timer_and_not_before() {
        let SessionPair { outbound, inbound } = pair();
        let timeouts = Timeouts::DEFAULT;
        let end = Tick(7 + timeouts.udp.0);
        assert_eq!(remaining(&outbound, &inbound, &timeouts, end), Some(Span(0)));
        assert_eq!(remaining(&outbound, &inbound, &timeouts, Tick(end.0 + 1)), None);
    }

    #[test]
    fn what_was_opened_from_outside_and_not_answered_goes_soon() {
        let SessionPair { mut outbound, mut inbound } = pair();
        outbound.flags |= flags::FROM_OUTSIDE;
        inbound.flags |= flags::FROM_OUTSIDE;
        let later = Tick(7 + UNANSWERED.0 + 1);
        assert_eq!(remaining(&inbound, &outbound, &Timeouts::DEFAULT, later), None);
        outbound.packets = 1;
        assert!(remaining(&inbound, &outbound, &Timeouts::DEFAULT, later).is_some());
    }

    #[test]
    fn packets_from_outside_do_not_keep_alive_what_they_started() {
        let SessionPair { mut outbound, mut inbound } = pair();
        outbound.flags |= flags::FROM_OUTSIDE;
        inbound.flags |= flags::FROM_OUTSIDE;
        inbound.last_seen = Tick(100_000);
        assert_eq!(remaining(&inbound, &outbound, &Timeouts::DEFAULT, Tick(100_000)), None);
        assert_eq!(remaining(&outbound, &inbound, &Timeouts::DEFAULT, Tick(100_000)), None);
    }
}
