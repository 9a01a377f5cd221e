//! Timers: never early, at most two ticks late, and no harm from the wrap of the clock.

use masq_common::{
    be::{Addr, Id},
    flow::{ICMP, TCP, UDP},
    session::{SessionHalf, SessionPair, UNANSWERED, flags, phase_of, remaining},
    settings::Timeouts,
    tcp::{ACK, FIN, Phase, RST, SYN},
    time::{Span, TICK_SHIFT, Tick},
};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const TICK: u64 = 1 << TICK_SHIFT;
/// Where the 32 bits of the clock wrap round, in ns.
const WRAP: u64 = 1 << (32 + TICK_SHIFT);

/// Instants, in ns: any, and those around the wrap.
fn instant() -> impl Strategy<Value = u64> {
    prop_oneof![0..WRAP, WRAP - 20_000 * SECOND..WRAP + 20_000 * SECOND]
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    prop::array::uniform7(1_u32..100_000).prop_map(|secs| {
        let [udp, icmp, tcp_opening, tcp_established, tcp_closing, tcp_reset, other] =
            secs.map(Span::from_secs);
        Timeouts { udp, icmp, tcp_opening, tcp_established, tcp_closing, tcp_reset, other }
    })
}

fn pair(protocol: u8, bits: u8) -> SessionPair {
    let key = masq_common::flow::Tuple {
        source: Addr::from_octets([192, 168, 1, 10]),
        destination: Addr::from_octets([198, 51, 100, 1]),
        source_id: Id::new(40000),
        destination_id: Id::new(if protocol == ICMP { 0 } else { 53 }),
    }
    .key(protocol);
    SessionPair::masquerade(key, Addr::NONE, Id::new(61001), bits, 0, Tick(0))
}

/// A session of each kind, with its two directions last seen `out` and `back`.
fn session() -> impl Strategy<Value = SessionPair> {
    let seen = prop::sample::select(vec![0, SYN, SYN | ACK, SYN | ACK | FIN, SYN | ACK | RST]);
    let protocol = prop::sample::select(vec![TCP, UDP, ICMP]);
    let kind = (any::<bool>(), 0_u64..2);
    (protocol, seen.clone(), seen, kind).prop_map(|(protocol, out, back, (outside, packets))| {
        let mut pair = pair(protocol, if outside { flags::FROM_OUTSIDE } else { 0 });
        (pair.outbound.tcp_seen, pair.inbound.tcp_seen) = (out, back);
        pair.outbound.packets = packets;
        pair
    })
}

/// What the timer of a session should be set to.
fn allowed(outbound: &SessionHalf, inbound: &SessionHalf, timeouts: &Timeouts) -> Span {
    let Span(ticks) = timeouts.of(outbound.protocol, phase_of(outbound, inbound));
    // Of TCP, only a SYN is an answer: a reset refuses.
    let answered = match outbound.protocol {
        TCP => outbound.packets > 0 && outbound.tcp_seen & SYN != 0,
        _ => outbound.packets > 0,
    };
    let unanswered = outbound.flags & flags::FROM_OUTSIDE != 0 && !answered;
    Span(if unanswered { ticks.min(UNANSWERED.0) } else { ticks })
}

fn seen_at(mut half: SessionHalf, nanos: u64) -> SessionHalf {
    half.last_seen = Tick::from_nanos(nanos);
    half
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_timer_is_never_early_and_hardly_late(
        secs in 1_u32..200_000, start in instant(), nanos in 0_u64..300_000 * SECOND,
    ) {
        let idle = Tick::from_nanos(start + nanos).since(Tick::from_nanos(start));
        let expired = idle > Span::from_secs(secs);
        if nanos <= u64::from(secs) * SECOND {
            prop_assert!(!expired, "early");
        }
        if nanos >= u64::from(secs) * SECOND + 2 * TICK {
            prop_assert!(expired, "late");
        }
    }

    #[test]
    fn a_session_lives_as_long_as_its_timer_after_its_last_packet(
        pair in session(), timeouts in timeouts(), start in instant(),
        gap in 0..9_000 * SECOND, nanos in 0..9_000 * SECOND, outbound_first: bool,
    ) {
        let (first, second) = (start, start + gap);
        let (out, back) = if outbound_first { (first, second) } else { (second, first) };
        let (outbound, inbound) = (seen_at(pair.outbound, out), seen_at(pair.inbound, back));
        let now = second + nanos;
        let refreshed = if pair.outbound.flags & flags::FROM_OUTSIDE == 0 { second } else { out };
        let allowed = allowed(&outbound, &inbound, &timeouts);
        let left = remaining(&outbound, &inbound, &timeouts, Tick::from_nanos(now));

        prop_assert_eq!(left, remaining(&inbound, &outbound, &timeouts, Tick::from_nanos(now)));
        let idle = now - refreshed;
        let limit = u64::from(allowed.0) * TICK;
        if idle <= limit {
            prop_assert!(left.is_some_and(|left| left <= allowed));
        }
        if idle >= limit + TICK {
            prop_assert_eq!(left, None);
        }
    }

    #[test]
    fn what_remains_is_exactly_what_remains(
        pair in session(), timeouts in timeouts(), start in instant(), nanos in 0..100 * SECOND,
    ) {
        let (outbound, inbound) = (seen_at(pair.outbound, start), seen_at(pair.inbound, start));
        let now = Tick::from_nanos(start + nanos);
        if let Some(Span(left)) = remaining(&outbound, &inbound, &timeouts, now) {
            let at = |ticks: u32| {
                remaining(&outbound, &inbound, &timeouts, Tick(now.0.wrapping_add(ticks)))
            };
            prop_assert_eq!(at(left), Some(Span(0)));
            prop_assert_eq!(at(left + 1), None);
        }
    }

    #[test]
    fn the_certain_time_is_certain_whatever_the_other_direction_sent(
        pair in session(), timeouts in timeouts(), start in instant(), other in instant(),
        ticks: prop::sample::Index,
    ) {
        let certain = timeouts.certain(pair.outbound.protocol);
        for phase in [Phase::Opening, Phase::Established, Phase::Closing, Phase::Reset] {
            prop_assert!(certain <= timeouts.of(pair.outbound.protocol, phase));
        }
        let now = Tick(Tick::from_nanos(start).0.wrapping_add(ticks.index(certain.0 as usize + 1) as u32));
        // One half alone tells of sessions that the inside has opened, and of no others.
        let mut pair = pair;
        pair.outbound.flags &= !flags::FROM_OUTSIDE;
        pair.inbound.flags &= !flags::FROM_OUTSIDE;
        // The other direction's last packet lies before this one.
        let other = start.saturating_sub(other % (20_000 * SECOND));
        let (outbound, inbound) = (seen_at(pair.outbound, start), seen_at(pair.inbound, other));
        prop_assert!(remaining(&outbound, &inbound, &timeouts, now).is_some());
    }

    #[test]
    fn the_later_instant_is_the_later_one(start in instant(), nanos in 0..WRAP / 3) {
        let (early, late) = (Tick::from_nanos(start), Tick::from_nanos(start + nanos));
        prop_assert_eq!(early.later(late), late);
        prop_assert_eq!(late.later(early), late);
        prop_assert_eq!(u64::from(late.since(early).0), (start + nanos) / TICK - start / TICK);
        if early != late {
            prop_assert_eq!(early.since(late), Span(0));
        }
    }

    #[test]
    fn no_number_of_seconds_overflows(secs: u32) {
        let span = Span::from_secs(secs);
        prop_assert!(span.0 <= u32::MAX / 2);
        let exact = u64::from(secs) * 1000;
        prop_assert!(span.as_millis() >= exact || span.0 == u32::MAX / 2);
        prop_assert!(span.as_millis() <= exact + TICK / 1_000_000 + 1);
    }
}
