//! The sessions that there are, as they are read from the table: who talks to whom, and as whom.
//! Their checksum differences, which masq has computed, are not looked at.

use std::collections::HashMap;

use masq_common::session::{SessionHalf, flags};
use masq_tests::{lab::ROUTER_WAN, packet::Endpoint};

use crate::wire::{AH, ICMP, IGMP};

/// Source and destination of a packet, and its protocol. The end of an ICMP query that has not
/// chosen its identifier has 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// IP protocol number.
    pub protocol: u8,
    /// Whom it is from.
    pub source: Endpoint,
    /// Whom it is to.
    pub destination: Endpoint,
}

impl Key {
    /// Of the packets that answer.
    pub fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }
}

/// What is done to the packets of one direction of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Half {
    /// As they come.
    pub from: Key,
    /// As they leave.
    pub to: Key,
    /// Whether they come from the inside.
    pub outbound: bool,
    /// Whether the inside is the router.
    pub own: bool,
    /// Whether the external port is shared.
    pub shared: bool,
}

/// All of them.
#[derive(Clone, Default, Debug)]
pub struct Sessions {
    halves: HashMap<Key, Half>,
}

impl Sessions {
    /// From the entries of the session table.
    pub fn read(entries: &[SessionHalf]) -> Self {
        let halves = entries.iter().map(|entry| {
            let key = |tuple: masq_common::flow::Tuple| Key {
                protocol: entry.protocol,
                source: (tuple.source.into(), tuple.source_id.get()),
                destination: (tuple.destination.into(), tuple.destination_id.get()),
            };
            let half = Half {
                from: key(entry.from),
                to: key(entry.to()),
                outbound: entry.flags & flags::OUTBOUND != 0,
                own: entry.flags & flags::OWN != 0,
                shared: entry.flags & flags::OVERLAP != 0,
            };
            (half.from, half)
        });
        Self { halves: halves.collect() }
    }

    /// The half that translates packets of `key`.
    pub fn find(&self, key: &Key) -> Option<&Half> {
        self.halves.get(key)
    }

    /// The halves that translate what comes from the inside.
    pub fn outbound(&self) -> impl Iterator<Item = &Half> {
        self.halves.values().filter(|half| half.outbound)
    }

    /// The inside endpoint that holds an external port.
    pub fn holder(&self, protocol: u8, external: Endpoint) -> Option<Endpoint> {
        let holds = |half: &&Half| {
            half.from.protocol == protocol && half.to.source == external && !half.shared
        };
        self.outbound().find(holds).map(|half| half.from.source)
    }

    /// What is wrong with the sessions that are here and not in `before`, if anything.
    pub fn fault_of_new(&self, before: &Self) -> Option<String> {
        let new = self.halves.values().filter(|half| before.find(&half.from).is_none());
        let mut wrong = new.filter(|half| !self.is_lawful(half, before));
        wrong.next().map(|half| format!("a session that should not be: {half:?}"))
    }

    fn is_lawful(&self, half: &Half, before: &Self) -> bool {
        let mirrored = self.find(&half.to.reversed()).is_some_and(|other| {
            other.outbound != half.outbound && other.to == half.from.reversed()
        });
        if !half.outbound {
            return mirrored;
        }
        let Key { protocol, source: inside, destination: remote } = half.from;
        let external = half.to.source;
        // RFC 4787 REQ-1: one external port for each inside endpoint, unless it is taken towards
        // this remote one; REQ-3a: ports below 1024 for ports below 1024.
        let mapped: Vec<_> = before
            .outbound()
            .filter(|other| {
                other.from.protocol == protocol && other.from.source == inside && !other.shared
            })
            .collect();
        let same = mapped.is_empty()
            || mapped.iter().any(|other| {
                let taken = Key { protocol, source: remote, destination: other.to.source };
                external == other.to.source || before.find(&taken).is_some()
            });
        let class = protocol == ICMP || (inside.1 < 1024) == (external.1 < 1024);
        mirrored
            && !matches!(protocol, 0 | AH | IGMP)
            && external.0 == ROUTER_WAN
            && half.to.destination == remote
            && same
            && class
    }
}
