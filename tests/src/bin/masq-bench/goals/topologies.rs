//! Goals on bridges, VLANs and PPPoE sessions: against the kernel on the same topology, and against plain
//! Ethernet.

use masq_tests::measure::topology::Topology;

use super::{Bound::AtLeast, Goal, NFTABLES, XDP, goal};
use crate::{
    metric::Metric,
    record::Record,
    sections::{
        Section,
        topology::{BUILT, CRAFTED, crafted_key, key},
    },
};

/// Only of runs that have measured topologies, and of those that were measured: a kernel may lack others.
pub fn all(record: &Record) -> Vec<Goal> {
    let many = record
        .rows_of(Section::Topology, Metric::PacketRate)
        .find_map(|row| row.situation.ends_with(" flows").then_some(row.situation.as_str()));
    let Some(many) = many else { return Vec::new() };
    let value =
        |key: &str| Some(record.row(Section::Topology, key, many, Metric::PacketRate)?.median());
    let plain = |contender| value(&key(contender, Topology::Plain));
    let built = BUILT.map(|topology| {
        let (kernel, title) = (value(&key(NFTABLES, topology)), topology.title());
        (title.to_owned(), "there", value(&key(XDP, topology)), kernel)
    });
    // What the kernel does for a VLAN or PPPoE it does on top of what it does for plain Ethernet.
    let crafted = CRAFTED.map(|link| {
        let title = format!("{}, crafted", link.title());
        (title, "on Ethernet", value(&crafted_key(link)), plain(NFTABLES))
    });
    let mut goals = Vec::new();
    for (title, place, this, kernel) in built.into_iter().chain(crafted) {
        let Some(this) = this else { continue };
        let mut add = |other: &str, bound, value: Option<f64>| {
            let ratio = value.map(|value| this / value);
            goals.push(goal(format!("XDP, {title}, against {other}"), AtLeast(bound), ratio));
        };
        add(&format!("nftables {place}"), 3.5, kernel);
        add("XDP on Ethernet", 0.85, plain(XDP));
    }
    goals
}

#[cfg(test)]
mod tests {
    use masq_tests::measure::link::Link;

    use super::*;

    #[test]
    fn topologies_have_goals_where_they_were_measured() {
        let mut record = Record::new();
        let bridge = Topology::Bridge;
        let rates = [
            (key(NFTABLES, Topology::Plain), 4e5),
            (key(XDP, Topology::Plain), 1.6e6),
            (key(NFTABLES, bridge), 3e5),
            (key(XDP, bridge), 1.2e6),
            (crafted_key(Link::PppoeOnVlan), 1.44e6),
        ];
        for (key, rate) in &rates {
            record.push(Section::Topology, key, "50000 flows", Metric::PacketRate, *rate);
        }
        let goals = all(&record);
        let reached: Vec<_> = goals.iter().map(|goal| (goal.reached(), goal.verdict())).collect();
        let wanted = [("4.00", "met"), ("0.75", "NOT MET"), ("3.60", "met"), ("0.90", "met")];
        assert_eq!(reached, wanted.map(|(reached, verdict)| (reached.to_owned(), verdict)));
        assert!(goals[0].title.starts_with("XDP, bridge,"), "{goals:?}");
        assert!(goals[2].title.starts_with("XDP, PPPoE on a VLAN, crafted"), "{goals:?}");
    }
}
