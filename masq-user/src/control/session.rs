//! What the halves of a session tell: its ends, whether it lives, and all that is shown of it.

use masq_common::{
    be::{Addr, Id},
    flow::{ICMP, TCP},
    session::{SessionHalf, flags, phase_of, remaining},
    settings::Timeouts,
    time::Tick,
};

use super::{
    filter::{Ends, Filter},
    proto::{Endpoint, Session, protocol_name},
};
use crate::{maps::Sessions, sweep::may_be_over};

/// What is known of the session of a half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It lives, and is one of those that are looked for.
    Matches,
    /// It would be, but has expired.
    Expired,
    /// It is another one, or has gone.
    Other,
}

/// Tells of a half what is true of its session, looking at the other half only if it has to.
pub struct Judge<'a> {
    /// The table.
    pub sessions: &'a Sessions,
    /// Its timers.
    pub timeouts: &'a Timeouts,
    /// The time.
    pub now: Tick,
}

impl Judge<'_> {
    /// What is true of the session of an outbound half.
    pub fn one(&self, half: &SessionHalf, filter: &Filter) -> Verdict {
        if !filter.matches_ends(&ends(half)) {
            return Verdict::Other;
        }
        if filter.phase.is_none() && !may_be_over(half, self.timeouts, self.now) {
            return Verdict::Matches;
        }
        // It may have gone since it was read.
        let Some(other) = self.sessions.partner(half) else {
            return Verdict::Other;
        };
        let matches = filter.matches_phase(phase(half, &other));
        match remaining(half, &other, self.timeouts, self.now) {
            None => Verdict::Expired,
            Some(_) if matches => Verdict::Matches,
            Some(_) => Verdict::Other,
        }
    }
}

/// The phase of a session, if it is of TCP.
pub fn phase(outbound: &SessionHalf, inbound: &SessionHalf) -> Option<&'static str> {
    (outbound.protocol == TCP).then(|| phase_of(outbound, inbound).as_str())
}

/// The ends of a session, told by either half.
pub fn ends_of(half: &SessionHalf) -> Ends {
    if half.is_outbound() { ends(half) } else { ends(&outbound_of(half)) }
}

/// The outbound half of a session, as it was when the session was opened, told by the inbound one.
fn outbound_of(half: &SessionHalf) -> SessionHalf {
    let end = (half.from.destination, half.from.destination_id);
    SessionHalf::new(half.partner(), end, half.flags | flags::OUTBOUND, half.wan, half.created)
}

/// The ends of a session, told by its outbound half.
pub fn ends(half: &SessionHalf) -> Ends {
    let (from, to) = (half.from, half.to());
    let endpoint = |address: Addr, id: Id| Endpoint { address: address.into(), port: id.get() };
    if half.protocol == ICMP {
        // A query has one identifier, which belongs to the inside whichever side asks.
        let inside = Id::from_raw(from.source_id.raw() | from.destination_id.raw());
        return Ends {
            protocol: ICMP,
            inside: endpoint(from.source, inside),
            external: endpoint(to.source, half.id),
            remote: endpoint(from.destination, Id::ZERO),
        };
    }
    Ends {
        protocol: half.protocol,
        inside: endpoint(from.source, from.source_id),
        external: endpoint(to.source, to.source_id),
        remote: endpoint(from.destination, from.destination_id),
    }
}

/// The session of these halves; `None` if it has expired.
pub fn session(
    outbound: &SessionHalf,
    inbound: &SessionHalf,
    ends: &Ends,
    timeouts: &Timeouts,
    now: Tick,
    wans: &[String],
) -> Option<Session> {
    let remaining = remaining(outbound, inbound, timeouts, now)?;
    let last = outbound.last_seen.later(inbound.last_seen);
    Some(Session {
        protocol: protocol_name(ends.protocol).into_owned(),
        wan: wans.get(usize::from(outbound.wan)).cloned().unwrap_or_default(),
        inside: ends.inside,
        external: ends.external,
        remote: ends.remote,
        phase: phase(outbound, inbound).map(str::to_owned),
        idle_ms: now.since(last).as_millis(),
        remaining_ms: remaining.as_millis(),
        age_ms: now.since(outbound.created).as_millis(),
        packets_out: outbound.packets,
        bytes_out: outbound.bytes,
        packets_in: inbound.packets,
        bytes_in: inbound.bytes,
        flags: flag_names(outbound.flags),
    })
}

fn flag_names(set: u8) -> Vec<String> {
    let names = [
        (flags::OVERLAP, "port_shared"),
        (flags::OWN, "own"),
        (flags::FROM_OUTSIDE, "from_outside"),
    ];
    let chosen = names.iter().filter(|(flag, _)| set & flag != 0);
    chosen.map(|(_, name)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use masq_common::{
        flow::{Tuple, UDP},
        session::SessionPair,
        tcp,
    };

    use super::*;

    fn pair(protocol: u8, remote_id: u16) -> SessionPair {
        let key = Tuple {
            source: Addr::from_octets([192, 168, 1, 10]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(40000),
            destination_id: Id::new(remote_id),
        }
        .key(protocol);
        let external = Addr::from_octets([203, 0, 113, 5]);
        SessionPair::masquerade(key, external, Id::new(61001), flags::OVERLAP, 1, Tick(1000))
    }

    fn shown(pair: &SessionPair, now: Tick) -> Option<Session> {
        let SessionPair { outbound, inbound } = pair;
        let wans = ["ppp0".to_owned(), "ppp1".to_owned()];
        session(outbound, inbound, &ends(outbound), &Timeouts::DEFAULT, now, &wans)
    }

    #[test]
    fn a_session_is_shown_with_its_three_endpoints() {
        let session = shown(&pair(UDP, 53), Tick(1000)).unwrap();
        assert_eq!(session.inside.to_string(), "192.168.1.10:40000");
        assert_eq!(session.external.to_string(), "203.0.113.5:61001");
        assert_eq!(session.remote.to_string(), "198.51.100.1:53");
        assert_eq!((session.protocol.as_str(), session.wan.as_str()), ("udp", "ppp1"));
        assert_eq!((session.phase, session.flags), (None, vec!["port_shared".to_owned()]));
    }

    #[test]
    fn an_icmp_session_shows_its_identifiers() {
        let session = shown(&pair(ICMP, 0), Tick(1000)).unwrap();
        assert_eq!(session.inside.to_string(), "192.168.1.10:40000");
        assert_eq!(session.external.to_string(), "203.0.113.5:61001");
        assert_eq!(session.remote.to_string(), "198.51.100.1");
    }

    #[test]
    fn times_are_those_of_the_direction_that_was_heard_last() {
        let mut pair = pair(TCP, 443);
        pair.outbound.tcp_seen = tcp::SYN | tcp::ACK;
        pair.inbound.tcp_seen = tcp::SYN | tcp::ACK;
        pair.inbound.last_seen = Tick(1100);
        let session = shown(&pair, Tick(1200)).unwrap();
        assert_eq!(session.phase.as_deref(), Some("established"));
        assert_eq!((session.idle_ms, session.age_ms), (13_421, 26_843));
        let whole = Timeouts::DEFAULT.tcp_established.as_millis();
        assert!((session.remaining_ms + session.idle_ms).abs_diff(whole) <= 1);
    }

    #[test]
    fn both_halves_tell_the_same_ends() {
        for (protocol, remote) in [(TCP, 443), (UDP, 53), (ICMP, 0)] {
            let SessionPair { outbound, inbound } = pair(protocol, remote);
            assert_eq!(ends_of(&outbound), ends_of(&inbound), "protocol {protocol}");
            assert_eq!(ends_of(&inbound).external.port, 61_001);
        }
    }

    #[test]
    fn an_expired_session_is_not_shown() {
        let end = Tick(1001 + Timeouts::DEFAULT.udp.0);
        assert_eq!(shown(&pair(UDP, 53), end), None);
    }
}
