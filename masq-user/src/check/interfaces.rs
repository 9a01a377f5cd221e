//! Judging the interfaces that were named: what cannot work with them ([`refusals`]), and what will
//! be slow or surprise ([`remarks`]). Their addresses are judged in [`super::addresses`].

mod fast;

#[cfg(test)]
mod tests;

use masq_common::settings::MAX_WANS;

use super::{
    Finding,
    facts::{Device, Facts},
};
use crate::{
    cli::MssClamp,
    config::Config,
    netlink::{Layer, Link, Snapshot},
    plan::{self, Fast, Plan, Port},
    topology,
};

/// What keeps masq from starting on these interfaces.
pub fn refusals(config: &Config, snapshot: &Snapshot, plan: &Plan) -> Vec<Finding> {
    debug_assert!(config.wans.len() <= MAX_WANS as usize);
    [
        missing(config, snapshot),
        link_layers(config, snapshot),
        ports(config, snapshot),
        foreign_xdp(snapshot, plan),
    ]
    .concat()
}

/// Everything else that there is to say about them.
pub fn remarks(config: &Config, facts: &Facts) -> Vec<Finding> {
    let plan = plan::plan(config, &facts.snapshot);
    let mut findings = Vec::new();
    for name in config.interfaces() {
        let Some(device) = facts.device(name) else { continue };
        findings.extend(state(device));
        findings.extend(below(&plan, name));
        findings.extend(fast::judge(config, facts, &plan, device));
    }
    // What is below them decides how fast they are, too.
    let named = |port: &&Port| config.interfaces().any(|name| *name == port.name);
    for port in plan.ports.iter().filter(|port| !named(port)) {
        let Some(device) = facts.device(&port.name) else { continue };
        findings.extend(fast::judge(config, facts, &plan, device));
    }
    findings.extend(sizes(config, facts));
    findings
}

/// What an interface that is not its own port stands on.
fn below(plan: &Plan, name: &str) -> Option<Finding> {
    const CHECK: &str = "interfaces.below";
    let interface = plan.interfaces.iter().find(|interface| interface.name == name)?;
    let present = interface.present.as_ref().filter(|present| !present.is_port())?;
    let text = match &present.below {
        // Of a mode that was asked for, or of a device without Ethernet, there is nothing to say.
        Err(why) if why.starts_with("asked") || why.starts_with("no Ethernet") => return None,
        Err(why) => {
            let text = format!("{name}: the fast path is in TC, which is slower: {why}");
            return Some(Finding::note(CHECK, text).of(name));
        }
        Ok(topology) => {
            let state = |index| {
                let port = plan.ports.iter().find(|port| port.index == index);
                match port.map(|port| &port.fast) {
                    Some(Fast::Tc(why)) => (false, why.as_str()),
                    Some(Fast::TryXdp | Fast::ForceXdp) => (true, ""),
                    None => (false, "it has gone"),
                }
            };
            format!("{name}: {}", topology::describe(topology, state))
        }
    };
    Some(Finding::ok(CHECK, text).of(name))
}

fn missing(config: &Config, snapshot: &Snapshot) -> Vec<Finding> {
    const CHECK: &str = "interfaces.exist";
    let missing: Vec<_> =
        config.interfaces().filter(|name| snapshot.link(name).is_none()).collect();
    if missing.is_empty() {
        return vec![Finding::ok(CHECK, "all interfaces exist")];
    }
    if config.wait_interfaces {
        let text = format!("there is no interface {} yet; masq waits for it", missing.join(", "));
        return vec![Finding::note(CHECK, text)];
    }
    let existing = snapshot.links.iter().map(|link| link.name.as_str());
    let existing: Vec<_> = existing.filter(|name| *name != "lo").collect();
    let text = format!(
        "there is no interface {}; there {}",
        missing.join(", "),
        match existing.as_slice() {
            [] => "are no interfaces here".to_owned(),
            names => format!("are: {}", names.join(", ")),
        }
    );
    let advice = "correct the name, or add --wait-interfaces to wait for it";
    vec![Finding::fatal(CHECK, text).advice(advice)]
}

fn link_layers(config: &Config, snapshot: &Snapshot) -> Vec<Finding> {
    let other = |name: &&str| snapshot.link(name).is_some_and(|link| link.layer == Layer::Other);
    let finding = |name: &str| {
        let text = format!(
            "{name} carries neither Ethernet frames nor bare IP packets; masq cannot read it"
        );
        Finding::fatal("interfaces.layer", text).of(name)
    };
    config.interfaces().filter(other).map(finding).collect()
}

/// Packets of a bridge's or bond's port belong to the bridge or bond, which has the address. A VRF
/// takes packets over as well, but leaves them their interface.
fn ports(config: &Config, snapshot: &Snapshot) -> Vec<Finding> {
    let finding = |name: &str| {
        let index = snapshot.link(name)?.master?;
        let master = snapshot.links.iter().find(|link| link.index == index)?;
        let text = format!(
            "{name} is a port of {master}, which has the packets and the address",
            master = master.name
        );
        let advice = format!("name {} instead", master.name);
        (master.kind.as_deref() != Some("vrf"))
            .then(|| Finding::fatal("interfaces.port", text).of(name).advice(advice))
    };
    config.interfaces().filter_map(finding).collect()
}

/// With `--mode xdp`, a program of somebody else is in the way.
fn foreign_xdp(snapshot: &Snapshot, plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    for port in plan.ports.iter().filter(|port| port.fast == Fast::ForceXdp) {
        let name = &port.name;
        if let Some(id) = snapshot.link(name).and_then(|link| link.xdp) {
            let text = format!("another XDP program (id {id}) is attached to {name}");
            let advice = format!(
                "remove it with `ip link set dev {name} xdp off` or its owner, or use --mode tc"
            );
            findings.push(Finding::fatal("interfaces.xdp", text).of(name).advice(advice));
        }
    }
    findings
}

fn state(device: &Device) -> Vec<Finding> {
    const CHECK: &str = "interfaces.up";
    let name = &device.name;
    vec![
        if !device.up {
            Finding::warning(CHECK, format!("{name} is down: nothing passes through it"))
                .command(format!("ip link set {name} up"))
        } else if device.carrier {
            Finding::ok(CHECK, format!("{name} is up"))
        } else {
            Finding::warning(
                CHECK,
                format!("{name} is up but has no line: nothing passes through it"),
            )
            .advice("look at the cable, and at the other end")
        }
        .of(name),
    ]
}

/// Headers of IP and TCP without options, in bytes: what a packet has besides its segment.
const HEADERS: u32 = 40;

/// A WAN that takes smaller packets than a LAN.
fn sizes(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "interfaces.mtu";
    let link = |name: &String| facts.snapshot.link(name).filter(|link| link.mtu > 0);
    let Some(lan) = config.lans.iter().filter_map(link).max_by_key(|link| link.mtu) else {
        return Vec::new();
    };
    let finding = |wan: &Link| {
        if wan.mtu >= lan.mtu {
            let text = format!("{} takes packets as large as those of the LAN", wan.name);
            return Finding::ok(CHECK, text).of(&wan.name);
        }
        let sizes = format!(
            "{wan} takes packets of {} bytes, {lan} of {}",
            wan.mtu,
            lan.mtu,
            wan = wan.name,
            lan = lan.name
        );
        let fits = match config.mss_clamp {
            MssClamp::Auto => true,
            MssClamp::Most(size) => u32::from(size) + HEADERS <= wan.mtu,
            MssClamp::Off => false,
        };
        if fits {
            let text = format!("{sizes}; masq has TCP announce segments that fit");
            return Finding::ok(CHECK, text).of(&wan.name);
        }
        let text = format!(
            "{sizes}: hosts learn that from ICMP errors, and where a server or a firewall on the way \
             loses these, TCP connections hang"
        );
        Finding::warning(CHECK, text).of(&wan.name).advice("run masq with --mss-clamp auto")
    };
    config.wans.iter().filter_map(link).map(finding).collect()
}
