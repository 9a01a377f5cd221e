//! An answer as a running instance gives it, for the tests of those who show it.

use masq_common::reason::Reason;

use super::proto::{
    Counter, Instance, InterfaceInfo, Mode, Occupancy, Ports, SlowPath, Stats, Survival, Tables,
};

/// Two WANs, one of them without an address; a counter's value is its place in the list.
pub(crate) fn stats() -> Stats {
    let interface = |name: &str, role: &str, address: Option<[u8; 4]>| InterfaceInfo {
        name: name.into(),
        role: role.into(),
        index: Some(4),
        mode: Some(Mode::Tc),
        why: "asked for".into(),
        mss: None,
        ports: Vec::new(),
        address: address.map(Into::into),
    };
    let gone = InterfaceInfo { index: None, mode: None, ..interface("ppp1", "wan", None) };
    let counter = |(count, reason): (u64, &Reason)| Counter {
        reason: reason.label().into(),
        class: reason.class().as_str().into(),
        count,
        text: reason.text().into(),
    };
    let ports = |(wan, protocol, used): (&str, &str, u64)| Ports {
        wan: wan.into(),
        protocol: protocol.into(),
        used,
        max: 64_512,
    };
    Stats {
        instance: Instance {
            instance: "ppp0".into(),
            pid: Some(77),
            busy: false,
            netns: 4_026_531_840,
            uptime_secs: 7_440,
            version: "0.1.0".into(),
            interfaces: vec![
                interface("eth1", "lan", None),
                interface("ppp0", "wan", Some([203, 0, 113, 5])),
                gone,
            ],
            survival: Survival { pins: Some("/p".into()), ..Survival::default() },
        },
        tables: Tables {
            sessions: Occupancy { used: 131_072, max: 262_144 },
            mappings: Occupancy { used: 1_000, max: 262_144 },
            ports: [("ppp0", "tcp", 60_000), ("ppp0", "udp", 12), ("ppp1", "tcp", 0)]
                .map(ports)
                .into(),
        },
        slow_path: SlowPath {
            parked: 1,
            parked_bytes: 1_480,
            reinjected: 3,
            expired: 4,
            refused: 5,
            unusable: 6,
            held: 7,
            retried: 8,
            icmp_sent: 9,
            icmp_suppressed: 10,
            failed: 11,
        },
        counters: (0..).zip(Reason::ALL).map(counter).collect(),
    }
}
