//! What a link stands on: the parent of a VLAN, the ports of a bridge. Plain data read from netlink
//! messages; what follows from it for the fast path is judged in [`crate::topology`].

use rtnetlink::packet_route::link::{
    BridgePortState, InfoBridge, InfoBridgePort, InfoData, InfoPortData, InfoVlan, LinkInfo,
    VlanProtocol, VlanQosMapping,
};

/// What is told of a link about those below it, and about the bridge that it is a port of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stack {
    /// Index of the link that it is made on top of (of a veth its other end); `None` if there is none,
    /// or in another network namespace.
    pub parent: Option<u32>,
    /// Of a VLAN device: its tag.
    pub vlan: Option<Vlan>,
    /// Of a bridge: whether it treats frames by their VLAN (`vlan_filtering`).
    pub filters_vlans: bool,
    /// Of the port of a bridge.
    pub port: Option<BridgePort>,
}

/// The tag of a VLAN device.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Vlan {
    /// Its id.
    pub id: u16,
    /// Whether it is an ordinary one (802.1Q), not the outer one of two (802.1ad).
    pub ordinary: bool,
    /// 802.1p priority for each of the kernel's priorities 0 to 7, three bits each, the lowest for 0
    /// (`egress-qos-map`).
    pub priorities: u32,
}

/// What a bridge thinks of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BridgePort {
    /// Whether it takes part: it has a line, and STP does not block it.
    pub forwarding: bool,
    /// Whether the bridge learns the addresses of those behind it.
    pub learning: bool,
    /// Whether another port takes over what is sent to it while it has no line.
    pub has_backup: bool,
    /// Whether only those that somebody has let in may send (802.1X).
    pub locked: bool,
}

impl Stack {
    /// Takes what the link's own kind says of it.
    pub(super) fn read(&mut self, infos: &[LinkInfo]) {
        for info in infos {
            match info {
                LinkInfo::Data(InfoData::Vlan(data)) => self.vlan = Some(vlan(data)),
                LinkInfo::Data(InfoData::Bridge(data)) => {
                    self.filters_vlans = data.contains(&InfoBridge::VlanFiltering(true));
                }
                LinkInfo::PortData(InfoPortData::BridgePort(data)) => {
                    self.port = Some(BridgePort {
                        forwarding: data
                            .contains(&InfoBridgePort::State(BridgePortState::Forwarding)),
                        learning: data.contains(&InfoBridgePort::Learning(true)),
                        has_backup: data.iter().any(
                            |info| matches!(info, InfoBridgePort::BackupPort(index) if *index != 0),
                        ),
                        locked: data.contains(&InfoBridgePort::Locked(true)),
                    });
                }
                _ => {}
            }
        }
    }
}

fn vlan(data: &[InfoVlan]) -> Vlan {
    // A kernel that does not tell the protocol knows but one.
    let mut vlan = Vlan { ordinary: true, ..Vlan::default() };
    for info in data {
        match info {
            InfoVlan::Id(id) => vlan.id = *id,
            InfoVlan::Protocol(protocol) => vlan.ordinary = *protocol == VlanProtocol::Ieee8021Q,
            InfoVlan::EgressQos(mappings) => vlan.priorities = priorities(mappings),
            _ => {}
        }
    }
    vlan
}

/// The kernel's priorities go further than those that it gives to forwarded packets.
fn priorities(mappings: &[VlanQosMapping]) -> u32 {
    let mut word = 0;
    for mapping in mappings {
        if let VlanQosMapping::Mapping(from @ 0..=7, to @ 0..=7) = mapping {
            word |= to << (3 * from);
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_says_its_tag_and_its_priorities() {
        let mappings = vec![
            VlanQosMapping::Mapping(0, 1),
            VlanQosMapping::Mapping(6, 5),
            // Of local senders only.
            VlanQosMapping::Mapping(15, 7),
        ];
        let data = vec![
            InfoVlan::Protocol(VlanProtocol::Ieee8021Q),
            InfoVlan::Id(7),
            InfoVlan::EgressQos(mappings),
        ];
        let mut stack = Stack::default();
        stack.read(&[LinkInfo::Data(InfoData::Vlan(data))]);
        let priorities = 1 | 5 << 18;
        assert_eq!(stack.vlan, Some(Vlan { id: 7, ordinary: true, priorities }));
        let data = vec![InfoVlan::Protocol(VlanProtocol::Ieee8021Ad), InfoVlan::Id(7)];
        stack.read(&[LinkInfo::Data(InfoData::Vlan(data))]);
        assert!(!stack.vlan.unwrap().ordinary);
    }

    #[test]
    fn a_port_says_what_its_bridge_thinks_of_it() {
        let port = |data| {
            let mut stack = Stack::default();
            stack.read(&[LinkInfo::PortData(InfoPortData::BridgePort(data))]);
            stack.port.unwrap()
        };
        let usual = [InfoBridgePort::Learning(true), InfoBridgePort::Locked(false)];
        let forwarding = InfoBridgePort::State(BridgePortState::Forwarding);
        let blocking = InfoBridgePort::State(BridgePortState::Blocking);
        let good = port([&usual[..], &[forwarding]].concat());
        assert_eq!(
            good,
            BridgePort { forwarding: true, learning: true, has_backup: false, locked: false }
        );
        assert!(!port([&usual[..], &[blocking]].concat()).forwarding);
    }
}
