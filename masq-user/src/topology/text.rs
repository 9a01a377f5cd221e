//! Topologies in words, for status and log.

use super::{Kind, Lane, Topology};

/// What an interface turned out to be and where its fast path is, in one line. `state` says of a port,
/// by index, whether the program is in its driver, and why or why not.
pub fn describe<'a>(topology: &Topology, state: impl Fn(u32) -> (bool, &'a str)) -> String {
    let lanes = &topology.lanes;
    if let (Kind::Itself, [lane]) = (&topology.kind, lanes.as_slice()) {
        return state(lane.port).1.to_owned();
    }
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for lane in lanes {
        match (lane.idle, state(lane.port)) {
            (None, (true, _)) => fast.push(lane.at()),
            (Some(why), _) | (None, (false, why)) => slow.push((lane.at(), why)),
        }
    }
    slow.extend(topology.refused.iter().map(|(name, why)| (name.clone(), why.as_str())));
    let mut text = head(topology);
    if !fast.is_empty() {
        text += &format!(", in the driver of {}", fast.join(", "));
    }
    // Those that stay out for the same reason together.
    while let Some((_, why)) = slow.first().cloned() {
        let (same, rest): (Vec<_>, _) = slow.into_iter().partition(|(_, other)| *other == why);
        slow = rest;
        let names: Vec<_> = same.into_iter().map(|(name, _)| name).collect();
        text += &format!("; not in the driver of {}: {why}", names.join(", "));
    }
    text
}

fn head(topology: &Topology) -> String {
    let lane = topology.lanes.first();
    match (&topology.kind, lane) {
        (Kind::Pppoe(device), Some(Lane { pppoe: Some(pppoe), .. })) => format!(
            "PPPoE session {:#06x} with {}, on {device}",
            u16::from_be(pppoe.id),
            mac(pppoe.peer)
        ),
        (Kind::Vlan(id), Some(lane)) => format!("VLAN {id} of {}", lane.name),
        (Kind::Bridge, None) if topology.refused.is_empty() => "bridge without ports".to_owned(),
        (Kind::Bridge, _) => "bridge".to_owned(),
        _ => String::new(),
    }
}

impl Lane {
    /// The port, with the VLAN if that is what the bridge has.
    fn at(&self) -> String {
        match (self.bridge_port, self.vlan) {
            (Some(_), 1..) => format!("{} (VLAN {})", self.name, self.vlan),
            _ => self.name.clone(),
        }
    }
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
