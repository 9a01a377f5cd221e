//! What decides how fast an interface is: driver, queues and features, programs and shapers that the
//! fast path passes by.

use super::super::{
    Finding,
    facts::{Device, Facts},
};
use crate::{
    cli::Mode,
    config::Config,
    plan::{Fast, Interface, Plan, Port, SHAPERS},
};

/// Drivers with native XDP that can also send what another interface has received, as of Linux 6.18.
const XDP_DRIVERS: [&str; 35] = [
    "atlantic",
    "bnxt_en",
    "cpsw",
    "ena",
    "fec",
    "fsl_dpaa2_eth",
    "fsl_dpa",
    "fsl_enetc",
    "funeth",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ionic",
    "ixgbe",
    "lan966x-switch",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "netsec",
    "nfp",
    "octep",
    "qede",
    "rvu_nicpf",
    "sfc",
    "st_gmac",
    "stmmac",
    "tsnep",
    "tun",
    "veth",
    "virtio_net",
];

/// Largest packet that most drivers take with XDP: a page, less the room that a program may ask for.
const XDP_MTU: u32 = 3498;

/// Everything about one interface, or one port below an interface.
pub(super) fn judge(config: &Config, facts: &Facts, plan: &Plan, device: &Device) -> Vec<Finding> {
    let is_fast = |port: &&Port| matches!(port.fast, Fast::TryXdp | Fast::ForceXdp);
    let port = plan.ports.iter().find(|port| port.name == device.name);
    let xdp = port.as_ref().is_some_and(is_fast);
    // What leaves by a bridge, a VLAN or a PPP interface passes by its queues, too, if the port below
    // is in the driver.
    let interface = plan.interfaces.iter().find(|interface| interface.name == device.name);
    let lanes = interface.into_iter().flat_map(Interface::lanes);
    let mut below = lanes.flat_map(|lane| plan.ports.iter().find(|port| port.index == lane.port));
    let passed_by = xdp || below.any(|port| is_fast(&port));
    let mut findings = shapers(config, device, passed_by);
    findings.extend(offloads(config, facts, device));
    findings.extend(foreign_program(config, facts, device));
    if xdp {
        findings.extend(native(facts, device));
    }
    if config.mode == Mode::Xdp {
        findings.extend(veth(facts, device));
    }
    findings.into_iter().map(|finding| finding.of(&device.name)).collect()
}

/// Who else is in the driver.
fn foreign_program(config: &Config, facts: &Facts, device: &Device) -> Option<Finding> {
    let id = facts.snapshot.link(&device.name)?.xdp?;
    let name = &device.name;
    let text = format!(
        "an XDP program of somebody else (id {id}) is attached to {name}: it sees packets first, and \
         the fast path is in TC, which is slower"
    );
    let finding = Finding::note("interfaces.xdp", text).advice("if nobody needs it");
    (config.mode != Mode::Xdp).then(|| finding.command(format!("ip link set dev {name} xdp off")))
}

/// Native XDP: whether the driver can, and what keeps it from it.
fn native(facts: &Facts, device: &Device) -> Vec<Finding> {
    const CHECK: &str = "interfaces.driver";
    let name = &device.name;
    let Some(driver) = &device.ethtool.driver else { return Vec::new() };
    if !XDP_DRIVERS.contains(&driver.as_str()) {
        let text = format!(
            "{name} has the driver {driver}, which is not known to have native XDP: the fast path is \
             in TC, which is slower"
        );
        return vec![Finding::note(CHECK, text)];
    }
    let mut findings = vec![Finding::ok(CHECK, format!("{name} has native XDP ({driver})"))];
    if device.ethtool.feature("rx-lro") == Some(true) {
        let text = format!("{name} merges packets (LRO), which forbids XDP and breaks forwarding");
        findings.push(
            Finding::warning("interfaces.lro", text).command(format!("ethtool -K {name} lro off")),
        );
    }
    let mtu = facts.snapshot.link(name).map_or(0, |link| link.mtu);
    if mtu > XDP_MTU {
        let text = format!(
            "{name} has an MTU of {mtu}: most drivers take XDP up to about {XDP_MTU} only, else the \
             fast path is in TC"
        );
        findings.push(Finding::note("interfaces.xdp_mtu", text));
    }
    findings.extend(queues(facts, device));
    findings
}

/// Each CPU that sends by XDP wants a queue of its own. Software devices are made with as many as they
/// have.
fn queues(facts: &Facts, device: &Device) -> Option<Finding> {
    const CHECK: &str = "interfaces.queues";
    let name = &device.name;
    if !facts.snapshot.link(name)?.hardware {
        return None;
    }
    let (used, most) = device.ethtool.queues?;
    let cpus = u32::try_from(facts.kernel.cpus).ok()?;
    if used >= cpus {
        return Some(Finding::ok(CHECK, format!("{name} has {used} queues for {cpus} CPUs")));
    }
    let text = format!(
        "{name} has {used} queues for {cpus} CPUs: not all CPUs take part, and some drivers refuse XDP"
    );
    let finding = Finding::note(CHECK, text);
    let wanted = cpus.min(most);
    Some(match wanted > used {
        true => finding.command(format!("ethtool -L {name} combined {wanted}")),
        false => finding.advice("the card has no more"),
    })
}

/// Things that make XDP on veth fail in silence, outside of what masq could see.
fn veth(facts: &Facts, device: &Device) -> Option<Finding> {
    let link = facts.snapshot.link(&device.name)?;
    let text = format!(
        "{} is a veth: frames sent by XDP arrive only if its peer has GRO on (ethtool -K PEER gro on) \
         or an XDP program, and TCP stalls unless the sending hosts have tx checksum offload off \
         (ethtool -K IF tx off); --mode tc needs neither",
        device.name
    );
    (link.kind.as_deref() == Some("veth")).then(|| Finding::warning("interfaces.veth_xdp", text))
}

fn offloads(config: &Config, facts: &Facts, device: &Device) -> Vec<Finding> {
    let name = &device.name;
    let mut findings = Vec::new();
    if device.ethtool.feature("hw-tc-offload") == Some(true) {
        let text = format!(
            "{name} may be given flows to forward by itself (hw-tc-offload): masq never sees their \
             packets"
        );
        findings.push(
            Finding::note("interfaces.hardware", text)
                .advice("unless it is known that nobody offloads flows of the LAN")
                .command(format!("ethtool -K {name} hw-tc-offload off")),
        );
    }
    // In the driver each packet is taken by itself anyway, and software devices pass on what the
    // hardware below them has merged.
    let hardware = facts.snapshot.link(name).is_some_and(|link| link.hardware);
    if hardware && config.mode != Mode::Xdp && device.ethtool.feature("rx-gro") == Some(false) {
        let text = format!("{name} does not merge received packets (GRO): downloads cost more CPU");
        findings.push(
            Finding::note("interfaces.gro", text).command(format!("ethtool -K {name} gro on")),
        );
    }
    findings
}

/// Shapers, which some of the fast paths pass by.
fn shapers(config: &Config, device: &Device, xdp: bool) -> Vec<Finding> {
    let name = &device.name;
    if config.mode == Mode::Kernel {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let shaper = device.qdiscs.iter().find(|qdisc| SHAPERS.contains(&qdisc.kind.as_str()));
    if let Some(shaper) = shaper {
        const CHECK: &str = "interfaces.shaper";
        let kind = &shaper.kind;
        findings.push(if xdp {
            let text = format!(
                "{name} has a shaper ({kind}), and established flows pass by it when XDP sends them"
            );
            Finding::warning(CHECK, text)
                .advice("use --mode tc, which sends through it, or --mode kernel")
        } else {
            let text =
                format!("{name} has a shaper ({kind}); the fast path in TC sends through it");
            Finding::ok(CHECK, text)
        });
    }
    // clsact alone has filters for both directions, and may be masq's own.
    if device.qdiscs.iter().any(|qdisc| qdisc.ingress && qdisc.kind == "ingress") {
        let text = format!(
            "{name} has an ingress qdisc: filters in it, such as those that send packets through a \
             shaper (ifb) or police them, do not see established flows"
        );
        findings.push(
            Finding::note("interfaces.ingress", text).advice("use --mode kernel if they have to"),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::{
            Severity::{Note, Warning},
            facts::{Ethtool, Qdisc},
            made_up::{complaints, config, device, facts, link, only, usual},
        },
        *,
    };
    use crate::{
        netlink::{Link, Stack, Vlan},
        plan,
    };

    /// A machine whose WAN is a network card with this driver.
    fn with_card(driver: &str) -> Facts {
        let mut facts = facts();
        facts.snapshot.links[1].kind = None;
        facts.snapshot.links[1].hardware = true;
        facts.devices[1].ethtool.driver = Some(driver.into());
        facts
    }

    fn of_wan(config: &Config, facts: &Facts) -> Vec<Finding> {
        let plan = plan::plan(config, &facts.snapshot);
        judge(config, facts, &plan, facts.device("wan0").unwrap())
    }

    #[test]
    fn drivers_without_xdp_are_named() {
        assert_eq!(complaints(&of_wan(&usual(), &with_card("ixgbe"))), []);
        let findings = of_wan(&usual(), &with_card("r8169"));
        assert_eq!(complaints(&findings), [(Note, "interfaces.driver")]);
        // Nobody asks for it on a virtual device, or with --mode tc.
        assert_eq!(complaints(&of_wan(&usual(), &facts())), []);
        let tc = config("--lan lan0 --wan wan0 --mode tc");
        assert_eq!(complaints(&of_wan(&tc, &with_card("r8169"))), []);
    }

    #[test]
    fn what_keeps_a_driver_from_xdp_is_told_with_the_command() {
        let mut facts = with_card("ixgbe");
        facts.snapshot.links[1].mtu = 9000;
        facts.devices[1].ethtool.queues = Some((1, 63));
        facts.devices[1].ethtool.features.insert("rx-lro".into(), true);
        let findings = of_wan(&usual(), &facts);
        let expected = [
            (Warning, "interfaces.lro"),
            (Note, "interfaces.xdp_mtu"),
            (Note, "interfaces.queues"),
        ];
        assert_eq!(complaints(&findings), expected);
        assert_eq!(only(&findings, "interfaces.lro").commands, ["ethtool -K wan0 lro off"]);
        assert_eq!(only(&findings, "interfaces.queues").commands, ["ethtool -L wan0 combined 4"]);
        facts.devices[1].ethtool.queues = Some((1, 1));
        let findings = of_wan(&usual(), &facts);
        assert!(only(&findings, "interfaces.queues").commands.is_empty());
    }

    #[test]
    fn a_shaper_is_passed_by_in_xdp_only() {
        let htb = Qdisc { kind: "htb".into(), ingress: false };
        let mut card = with_card("ixgbe");
        card.devices[1].qdiscs = vec![htb.clone()];
        let findings = of_wan(&usual(), &card);
        assert_eq!(complaints(&findings), [(Warning, "interfaces.shaper")]);
        assert!(only(&findings, "interfaces.shaper").advice.contains("--mode tc"));
        for mode in ["tc", "kernel"] {
            let config = config(&format!("--lan lan0 --wan wan0 --mode {mode}"));
            assert_eq!(complaints(&of_wan(&config, &card)), [], "{mode}");
        }
        let mut veth = facts();
        veth.devices[1].qdiscs = vec![htb, Qdisc { kind: "fq_codel".into(), ingress: false }];
        assert_eq!(complaints(&of_wan(&usual(), &veth)), []);
    }

    #[test]
    fn a_shaper_above_a_port_is_passed_by_too() {
        let mut facts = with_card("ixgbe");
        let tag = Vlan { id: 7, ordinary: true, priorities: 0 };
        let stack = Stack { parent: Some(2), vlan: Some(tag), ..Stack::default() };
        let vlan = Link { kind: Some("vlan".into()), stack, ..link(9, "vlan0") };
        facts.snapshot.links.push(vlan);
        let qdiscs = vec![Qdisc { kind: "cake".into(), ingress: false }];
        facts.devices.push(Device { qdiscs, ..device(9, "vlan0") });
        let of_vlan = |mode: &str| {
            let config = config(&format!("--lan lan0 --wan vlan0 --mode {mode}"));
            let plan = plan::plan(&config, &facts.snapshot);
            judge(&config, &facts, &plan, facts.device("vlan0").unwrap())
        };
        assert_eq!(complaints(&of_vlan("auto")), [(Warning, "interfaces.shaper")]);
        assert_eq!(complaints(&of_vlan("tc")), []);
    }

    #[test]
    fn filters_on_what_arrives_do_not_see_established_flows() {
        let mut facts = facts();
        facts.devices[1].qdiscs = vec![Qdisc { kind: "ingress".into(), ingress: true }];
        assert_eq!(complaints(&of_wan(&usual(), &facts)), [(Note, "interfaces.ingress")]);
        facts.devices[1].qdiscs[0].kind = "clsact".into();
        assert_eq!(complaints(&of_wan(&usual(), &facts)), []);
    }

    #[test]
    fn offloads_that_matter_are_told() {
        let mut facts = with_card("ixgbe");
        let features = [("hw-tc-offload", true), ("rx-gro", false)];
        let features: std::collections::BTreeMap<_, _> =
            features.map(|(name, on)| (name.to_owned(), on)).into();
        facts.devices[1].ethtool = Ethtool { features, ..Ethtool::default() };
        let expected = [(Note, "interfaces.hardware"), (Note, "interfaces.gro")];
        assert_eq!(complaints(&of_wan(&usual(), &facts)), expected);
        facts.snapshot.links[1].hardware = false;
        assert_eq!(complaints(&of_wan(&usual(), &facts)), expected[..1]);
    }

    #[test]
    fn a_program_of_somebody_else_leaves_tc() {
        let mut facts = with_card("ixgbe");
        facts.snapshot.links[1].xdp = Some(7);
        let findings = of_wan(&usual(), &facts);
        assert_eq!(complaints(&findings), [(Note, "interfaces.xdp")]);
        assert!(only(&findings, "interfaces.xdp").text.contains("id 7"));
    }

    #[test]
    fn xdp_on_veth_has_traps() {
        let xdp = config("--lan lan0 --wan wan0 --mode xdp");
        assert_eq!(complaints(&of_wan(&xdp, &facts())), [(Warning, "interfaces.veth_xdp")]);
    }
}
