//! What the later fragments of a datagram have to become, from what its first one has.

use std::{collections::HashMap, net::Ipv4Addr};

use crate::wire::Ip;

/// Source, destination, identification and protocol: these tell a datagram's fragments from all
/// others (RFC 791 section 3.2).
type Datagram = (Ipv4Addr, Ipv4Addr, u16, u8);

/// What the first fragment has left with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub id: u16,
}

/// What has passed.
#[derive(Clone, Default, Debug)]
pub struct Fragments {
    known: HashMap<Datagram, Left>,
    /// Who uses an identification outside, by the datagram as it is there.
    users: HashMap<Datagram, Ipv4Addr>,
}

impl Fragments {
    /// What was done to the first fragment of this one's datagram.
    pub fn find(&self, ip: &Ip) -> Option<&Left> {
        self.known.get(&datagram(ip))
    }

    /// The identification that a first fragment has to leave with, towards these addresses; `None`
    /// if one that is different has passed before, so that it must not leave.
    ///
    /// Two hosts that use one identification towards the same destination must not do so outside
    /// (RFC 6864 section 5.3.1): then `chosen` is right, if nobody uses it.
    pub fn identification(
        &self,
        ip: &Ip,
        (source, destination): (Ipv4Addr, Ipv4Addr),
        outbound: bool,
        chosen: u16,
    ) -> Option<u16> {
        if let Some(left) = self.find(ip) {
            return ((left.source, left.destination) == (source, destination)).then_some(left.id);
        }
        let is_free = |id: &u16| {
            let user = self.users.get(&(source, destination, *id, ip.protocol));
            user.is_none_or(|user| *user == ip.source)
        };
        Some(if outbound && !is_free(&ip.id) && is_free(&chosen) { chosen } else { ip.id })
    }

    /// A first fragment has left.
    pub fn note(&mut self, ip: &Ip, as_it_left: &Ip) {
        let Ip { source, destination, id, .. } = *as_it_left;
        self.known.insert(datagram(ip), Left { source, destination, id });
        self.users.insert((source, destination, id, ip.protocol), ip.source);
    }

    /// A first fragment from outside was left to the router.
    pub fn note_own(&mut self, ip: &Ip) {
        let Ip { source, destination, id, .. } = *ip;
        self.known.insert(datagram(ip), Left { source, destination, id });
    }

    /// The fragments of this one's datagram are not known any more.
    pub fn forget(&mut self, ip: &Ip) {
        self.known.remove(&datagram(ip));
    }
}

fn datagram(ip: &Ip) -> Datagram {
    (ip.source, ip.destination, ip.id, ip.protocol)
}
