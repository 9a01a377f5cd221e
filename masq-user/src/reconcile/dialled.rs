//! The ports below PPPoE sessions, remembered while their interface is away or has no session: some
//! drivers take the line down when the program comes or goes, and a redial would have to wait. A later
//! daemon is told of them too ([`crate::survival::manifest`]).

use std::collections::BTreeMap;

use crate::{
    plan::Interface,
    topology::{Kind, Topology},
};

/// The port below the session that each interface had last.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Dialled(BTreeMap<String, u32>);

impl Dialled {
    /// As an earlier daemon has noted it.
    pub fn noted(ports: BTreeMap<String, u32>) -> Self {
        Self(ports)
    }

    /// To be noted for a later daemon.
    pub fn to_note(&self) -> BTreeMap<String, u32> {
        self.0.clone()
    }

    /// Follows what the interfaces are now.
    pub fn follow(&mut self, interfaces: &[Interface]) {
        self.0.retain(|name, _| interfaces.iter().any(|interface| interface.name == *name));
        for Interface { name, present, .. } in interfaces {
            match present.as_ref().map(|present| &present.below) {
                Some(Ok(Topology { kind: Kind::Pppoe(_), lanes, .. })) => {
                    self.0.extend(lanes.first().map(|lane| (name.clone(), lane.port)));
                }
                Some(Ok(_)) => _ = self.0.remove(name),
                // Away, or without a session.
                Some(Err(_)) | None => {}
            }
        }
    }

    /// The ports.
    pub fn ports(&self) -> impl Iterator<Item = u32> {
        self.0.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::{Present, Role},
        topology::Lane,
    };

    fn interface(name: &str, below: Option<Result<Topology, String>>) -> Interface {
        let present = |below| Present {
            index: 9,
            ethernet: false,
            mac: [0; 6],
            address: None,
            mss: 0,
            below,
        };
        Interface { name: name.into(), role: Role::Wan(0), present: below.map(present) }
    }

    fn over(kind: Kind, port: u32) -> Option<Result<Topology, String>> {
        let lane = Lane {
            port,
            name: "eth0".into(),
            vlan: 0,
            priorities: 0,
            bridge_port: None,
            pppoe: None,
            idle: None,
        };
        Some(Ok(Topology { kind, lanes: vec![lane], refused: Vec::new() }))
    }

    fn session(port: u32) -> Option<Result<Topology, String>> {
        over(Kind::Pppoe("eth0".into()), port)
    }

    #[test]
    fn a_port_is_kept_while_its_interface_is_away_or_has_no_session() {
        let mut dialled = Dialled::default();
        let mut after = |interfaces: &[Interface]| {
            dialled.follow(interfaces);
            dialled.ports().collect::<Vec<_>>()
        };
        let none = || Some(Err("no session".to_owned()));
        assert_eq!(after(&[interface("ppp0", none())]), [0; 0], "none so far");
        assert_eq!(after(&[interface("ppp0", session(2))]), [2]);
        for below in [None, none(), None] {
            assert_eq!(after(&[interface("ppp0", below)]), [2]);
        }
        assert_eq!(after(&[interface("ppp0", session(3))]), [3], "dialled by another line");
        assert_eq!(after(&[interface("ppp0", over(Kind::Itself, 9))]), [0; 0], "no PPP any more");
    }

    #[test]
    fn of_an_interface_that_is_not_wanted_any_more_nothing_is_kept() {
        let mut dialled = Dialled::default();
        dialled.follow(&[interface("ppp0", session(2)), interface("ppp1", session(3))]);
        dialled.follow(&[interface("ppp1", None)]);
        assert_eq!(dialled.ports().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_later_daemon_keeps_it_too() {
        let mut dialled = Dialled::default();
        dialled.follow(&[interface("ppp0", session(2))]);
        let mut later = Dialled::noted(dialled.to_note());
        later.follow(&[interface("ppp0", None)]);
        assert_eq!(later.ports().collect::<Vec<_>>(), [2]);
    }
}
