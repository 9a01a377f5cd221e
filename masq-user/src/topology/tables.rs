//! What the programs are told of topologies: the tables of legs and exits ([`masq_common::link`]).

use std::collections::HashMap;

use masq_common::{
    link::{Arrival, DISCOVERY, Exit, Leg, exit},
    settings::caps,
};

use super::{Kind, Lane, Pppoe, Topology};

/// The two tables.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Tables {
    /// Which interface a frame is for.
    pub legs: HashMap<Arrival, Leg>,
    /// How frames of an interface, or of a bridge's port, leave.
    pub exits: HashMap<u32, Exit>,
}

impl Tables {
    /// Adds an interface: its index, its link-layer address, what is below it. Only ports that
    /// `in_driver` has the program on take part: of the others no frame is seen, and to send there is
    /// not certain to work. PPPoE sessions hold only after [`Tables::hold_for`].
    pub fn add(
        &mut self,
        (index, mac): (u32, [u8; 6]),
        topology: &Topology,
        in_driver: impl Fn(u32) -> bool,
    ) {
        if topology.kind == Kind::Itself {
            return;
        }
        let mut any = false;
        for lane in &topology.lanes {
            if lane.idle.is_none() && in_driver(lane.port) {
                any = true;
                self.legs.insert(lane.arrival(), lane.leg((index, mac)));
                self.legs.extend(lane.discovery());
                self.exits.insert(lane.bridge_port.unwrap_or(index), lane.exit());
            }
        }
        if any && topology.kind == Kind::Bridge {
            self.exits.insert(index, Exit { kind: exit::BRIDGE, ..Exit::default() });
        }
    }

    /// Whether anything in it depends on PPPoE sessions.
    pub fn has_sessions(&self) -> bool {
        self.legs.keys().any(|arrival| arrival.session != 0)
    }

    /// What has to be there before PPPoE sessions are read, so that the end of one of them is heard of.
    pub fn discovery(&self) -> impl Iterator<Item = (Arrival, Leg)> {
        let legs = self.legs.iter().filter(|(arrival, _)| arrival.session == DISCOVERY);
        legs.map(|(arrival, leg)| (*arrival, *leg))
    }

    /// Writes down for which discoveries the sessions hold.
    pub fn hold_for(&mut self, discoveries: u32) {
        let legs = self.legs.iter_mut();
        let legs = legs.filter(|(arrival, _)| !matches!(arrival.session, 0 | DISCOVERY));
        legs.for_each(|(_, leg)| leg.discoveries = discoveries);
        let exits = self.exits.values_mut().filter(|exit| exit.session != 0);
        exits.for_each(|exit| exit.discoveries = discoveries);
    }

    /// Leaves the sessions out, which have changed meanwhile.
    pub fn drop_sessions(&mut self) {
        self.legs.retain(|arrival, _| matches!(arrival.session, 0 | DISCOVERY));
        self.exits.retain(|_, exit| exit.session == 0);
    }
}

impl Lane {
    /// What its frames show.
    const fn arrival(&self) -> Arrival {
        let session = match self.pppoe {
            Some(pppoe) => pppoe.id,
            None => 0,
        };
        Arrival { port: self.port, vlan: self.vlan, session }
    }

    fn leg(&self, (ifindex, mac): (u32, [u8; 6])) -> Leg {
        let leg =
            Leg { ifindex, bridge_port: self.bridge_port.unwrap_or(0), mac, ..Leg::default() };
        match self.pppoe {
            Some(pppoe) => Leg { mac: pppoe.own, peer: pppoe.peer, ..leg },
            None => leg,
        }
    }

    /// Where the beginnings and ends of PPPoE sessions are heard of.
    fn discovery(&self) -> Option<(Arrival, Leg)> {
        let Pppoe { device, own, .. } = self.pppoe?;
        let arrival = Arrival { session: DISCOVERY, ..self.arrival() };
        Some((arrival, Leg { ifindex: device, mac: own, ..Leg::default() }))
    }

    fn exit(&self) -> Exit {
        let exit = Exit {
            port: self.port,
            kind: exit::PORT,
            caps: caps::ETHERNET | caps::XDP_TRANSMIT | caps::READY,
            vlan: self.vlan,
            priorities: self.priorities,
            ..Exit::default()
        };
        match self.pppoe {
            Some(Pppoe { id, own, peer, .. }) => Exit { session: id, source: own, peer, ..exit },
            None => exit,
        }
    }
}
