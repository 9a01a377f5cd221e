//! Which packets somebody wants to see: for the programs, as far as they look, and exactly. Pure.

use anyhow::{Context as _, Result, bail};
use masq_common::{
    be::{Addr, Id},
    reason::{Class, Reason},
    trace::{ENDS, End, Filter},
};

use crate::control::{
    filter::EndpointFilter,
    traced::{Look, Passage, TraceQuery},
};

/// Which packets are wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    protocol: Option<u8>,
    ends: Vec<EndpointFilter>,
    filter: Filter,
}

impl Wanted {
    /// What a client has asked for.
    ///
    /// # Errors
    /// If there are too many endpoints, or a reason that no packet ends for.
    pub fn new(query: &TraceQuery) -> Result<Self> {
        if query.ends.len() > ENDS {
            bail!("at most {ENDS} endpoints: a packet goes from one to another");
        }
        let mut filter = Filter { on: 1, ..Filter::OFF };
        if query.reasons.is_empty() && !query.drops {
            filter.reasons = Filter::ALL.reasons;
        }
        for label in &query.reasons {
            let reason = reason(label).with_context(|| format!("no packet ends for {label}"))?;
            filter.add(reason);
        }
        if query.drops {
            let dropped = Reason::ALL.iter().filter(|reason| reason.class() == Class::Dropped);
            dropped.for_each(|&reason| filter.add(reason));
        }
        if let Some(protocol) = query.protocol {
            (filter.protocol, filter.by_protocol) = (protocol, 1);
        }
        for (end, wanted) in filter.ends.iter_mut().zip(&query.ends) {
            let mask = Addr::from(wanted.net().netmask()).raw();
            *end = End { address: wanted.net().network().into(), mask, ..End::default() };
            if let Some(port) = wanted.port() {
                (end.port, end.port_mask) = (Id::new(port), u16::MAX);
            }
        }
        filter.ipv4 = u8::from(query.protocol.is_some() || !query.ends.is_empty());
        Ok(Self { protocol: query.protocol, ends: query.ends.clone(), filter })
    }

    /// What the programs are told: they may let through what [`Wanted::matches`] refuses, and never
    /// the other way round.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether a packet is wanted: each endpoint is source or destination, before or after, or of the
    /// packet that an ICMP error is about.
    pub fn matches(&self, passage: &Passage) -> bool {
        let looks = || [Some(&passage.before), passage.after.as_ref()].into_iter().flatten();
        let protocol = |number| looks().any(|look| look.number == Some(number));
        self.protocol.is_none_or(protocol)
            && self.ends.iter().all(|end| looks().any(|look| has_end(look, end)))
    }
}

fn has_end(look: &Look, wanted: &EndpointFilter) -> bool {
    let quoted = look.about.iter().flat_map(|about| [&about.source, &about.destination]);
    let own = [&look.source, &look.destination].into_iter().flatten();
    own.chain(quoted).any(|endpoint| {
        // The ports of a later fragment stand in the first one.
        let unknown = look.fragment.is_some_and(|offset| offset > 0);
        wanted.matches(endpoint) || unknown && wanted.net().contains(&endpoint.address)
    })
}

/// The reason with this label, if it is one that packets end for.
pub fn reason(label: &str) -> Option<Reason> {
    let mut ends = Reason::ALL.iter().filter(|reason| reason.class() != Class::Event);
    ends.find(|reason| reason.label() == label).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{proto::Endpoint, traced::Quoted};

    fn query(ends: &[&str]) -> TraceQuery {
        let ends = ends.iter().map(|end| end.parse().unwrap()).collect();
        TraceQuery { ends, ..TraceQuery::default() }
    }

    fn look(source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> Look {
        let end = |(address, port): ([u8; 4], u16)| Endpoint { address: address.into(), port };
        Look {
            protocol: "udp".into(),
            number: Some(17),
            source: Some(end(source)),
            destination: Some(end(destination)),
            ..Look::default()
        }
    }

    const INSIDE: ([u8; 4], u16) = ([192, 168, 1, 10], 40_000);
    const EXTERNAL: ([u8; 4], u16) = ([203, 0, 113, 5], 40_001);
    const REMOTE: ([u8; 4], u16) = ([198, 51, 100, 1], 53);

    fn answer() -> Passage {
        Passage {
            before: look(REMOTE, EXTERNAL),
            after: Some(look(REMOTE, INSIDE)),
            ..Passage::default()
        }
    }

    fn matches(query: &TraceQuery, passage: &Passage) -> bool {
        Wanted::new(query).unwrap().matches(passage)
    }

    #[test]
    fn an_end_may_be_met_before_or_after_translation() {
        for ends in [
            &[][..],
            &["192.168.1.10"],
            &["192.168.1.0/24:40000"],
            &[":40001"],
            &["198.51.100.1:53", "192.168.1.10"],
            &["203.0.113.5", ":40000"],
        ] {
            assert!(matches(&query(ends), &answer()), "{ends:?}");
        }
        for ends in [&["192.168.1.11"][..], &["192.168.1.10:53"], &["192.168.1.10", ":443"]] {
            assert!(!matches(&query(ends), &answer()), "{ends:?}");
        }
        let udp = TraceQuery { protocol: Some(17), ..TraceQuery::default() };
        let tcp = TraceQuery { protocol: Some(6), ..TraceQuery::default() };
        assert!(matches(&udp, &answer()) && !matches(&tcp, &answer()));
    }

    #[test]
    fn an_error_belongs_to_the_packet_it_is_about_and_a_fragment_to_all_ports() {
        let mut error = answer();
        (error.before.source, error.after) = (look(([10, 0, 0, 1], 0), EXTERNAL).source, None);
        error.before.destination = look(REMOTE, ([203, 0, 113, 5], 0)).destination;
        assert!(!matches(&query(&[":40001"]), &error));
        let end = |look: Look| look.source.unwrap();
        error.before.about = Some(Quoted {
            protocol: "udp".into(),
            source: end(look(EXTERNAL, REMOTE)),
            destination: end(look(REMOTE, EXTERNAL)),
        });
        assert!(matches(&query(&[":40001", "198.51.100.1:53"]), &error));
        let mut fragment = answer();
        (fragment.before, fragment.after) = (look((REMOTE.0, 0), (EXTERNAL.0, 0)), None);
        fragment.before.fragment = Some(1480);
        assert!(matches(&query(&["198.51.100.1:53"]), &fragment));
        assert!(!matches(&query(&["198.51.100.2:53"]), &fragment));
    }

    #[test]
    fn the_programs_are_told_as_much_as_they_look_at() {
        let wanted = Wanted::new(&query(&["192.168.1.0/24:53"])).unwrap();
        let end = wanted.filter().ends[0];
        assert_eq!(end.address, Addr::from_octets([192, 168, 1, 0]));
        assert_eq!(end.mask.to_ne_bytes(), [255, 255, 255, 0]);
        assert_eq!((end.port.get(), end.port_mask), (53, u16::MAX));
        assert_eq!((wanted.filter().ipv4, wanted.filter().on), (1, 1));
        assert_eq!(*Wanted::new(&TraceQuery::default()).unwrap().filter(), Filter::ALL);
        assert!(Wanted::new(&query(&[":1", ":2", ":3"])).is_err());
    }

    #[test]
    fn reasons_are_those_that_packets_end_for() {
        let query = |reasons: &[&str], drops| TraceQuery {
            reasons: reasons.iter().map(|&label| label.to_owned()).collect(),
            drops,
            ..TraceQuery::default()
        };
        let has = |query: &TraceQuery, reason: Reason| {
            let filter = *Wanted::new(query).unwrap().filter();
            filter.reasons[reason as usize / 64] >> (reason as u8 % 64) & 1 == 1
        };
        let both = query(&["outbound_slow"], true);
        assert!(has(&both, Reason::OutboundSlow) && has(&both, Reason::Malformed));
        assert!(!has(&both, Reason::OutboundFast));
        assert!(Wanted::new(&query(&["session_opened"], false)).is_err());
        assert!(Wanted::new(&query(&["nonsense"], false)).is_err());
    }
}
