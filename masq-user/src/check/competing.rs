//! Judging what others do to the same packets: rules that drop a host's first packets, rules that
//! replace the source address before masq does, and fast paths of the kernel. What changes such rules
//! is in [`mend`].

mod mend;

use super::{
    Finding,
    facts::Facts,
    ruleset::{
        Chain, Condition, Rule,
        walk::{Fate, Packet, Side, follow, translations},
    },
};
use crate::config::Config;

/// Everything about them.
pub fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    [
        unreadable(facts),
        forward(config, facts),
        translated(config, facts),
        invalid(config, facts),
        flowtables(config, facts),
    ]
    .concat()
}

fn unreadable(facts: &Facts) -> Vec<Finding> {
    let Some(why) = &facts.firewall.trouble else { return Vec::new() };
    let text = format!("the rules of the packet filter cannot all be read: {why}");
    let finding = Finding::note("competing.unreadable", text);
    vec![finding.advice("install nft to have them checked: `apt install nftables`")]
}

/// A LAN and a WAN, and a packet each way.
struct Pair<'a> {
    lan: &'a str,
    wan: &'a str,
    out: Packet<'a>,
    back: Packet<'a>,
}

fn pairs<'a>(config: &'a Config, facts: &Facts) -> Vec<Pair<'a>> {
    let host = |lan: &str| {
        let index = facts.snapshot.link(lan)?.index;
        let mut networks = facts.snapshot.addresses_of(index).map(|address| address.network);
        networks.find(|network| network.prefix_len() < 32)
    };
    let pair = |lan: &'a str, wan: &'a str| {
        let host = host(lan).map_or(Side::Unknown, Side::Within);
        let out = Packet {
            input: lan,
            output: wan,
            source: host,
            destination: Side::Outside,
            state: "new",
        };
        let back = Packet {
            input: wan,
            output: lan,
            source: Side::Outside,
            destination: host,
            state: "established",
        };
        Pair { lan, wan, out, back }
    };
    config.lans.iter().flat_map(|lan| config.wans.iter().map(move |wan| pair(lan, wan))).collect()
}

/// Chains that drop first packets: these take the kernel's way.
fn forward(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "competing.forward";
    let ruleset = &facts.firewall.ruleset;
    let mut findings = Vec::new();
    for chain in ruleset.base_chains("filter", "forward") {
        for Pair { lan, wan, out, back } in pairs(config, facts) {
            let (first, answer) = (follow(ruleset, chain, &out), follow(ruleset, chain, &back));
            let finding = match (first, answer) {
                (Fate::Dropped { chain: at, rule, certain: true }, _) => {
                    let text = format!(
                        "{}: hosts on {lan} cannot begin to talk to anybody",
                        dropped(at, rule, &format!("packets from {lan} to {wan}"))
                    );
                    Finding::warning(CHECK, text)
                }
                (_, Fate::Dropped { chain: at, rule, certain: true }) => {
                    let text = format!(
                        "{}: some of the answers to hosts on {lan} are lost",
                        dropped(at, rule, &format!("answers from {wan} to {lan}"))
                    );
                    Finding::warning(CHECK, text)
                }
                (Fate::Dropped { chain: at, rule, certain: false }, _) => {
                    let what = format!("packets from {lan} to {wan} that no rule before accepts");
                    let text =
                        format!("{}; masq cannot tell which these are", dropped(at, rule, &what));
                    let note = Finding::note(CHECK, text).advice("if hosts are to have everything");
                    findings.push(mend::accept(ruleset, chain, lan, wan, note).of(lan));
                    continue;
                }
                _ => continue,
            };
            let finding = finding.advice("accept them");
            findings.push(mend::accept(ruleset, chain, lan, wan, finding).of(lan));
        }
    }
    if findings.is_empty() && facts.firewall.trouble.is_none() {
        findings.push(Finding::ok(CHECK, "no rule is known to drop what hosts begin"));
    }
    findings
}

/// "chain FORWARD of table ip filter drops ... by its policy".
fn dropped(chain: &Chain, rule: Option<&Rule>, what: &str) -> String {
    let how = match rule.map(|rule| (rule.handle, rule.words.as_deref())) {
        None => " by its policy".to_owned(),
        Some((Some(handle), _)) => format!(" by its rule with handle {handle}"),
        Some((None, Some(words))) => format!(" by its rule `-A {words}`"),
        Some((None, None)) => String::new(),
    };
    format!("{} drops {what}{how}", chain.shown())
}

/// Rules that translate on the same way: two translations, of which one is for nothing.
fn translated(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "competing.masquerade";
    let ruleset = &facts.firewall.ruleset;
    let mut seen: Vec<&Rule> = Vec::new();
    let mut findings = Vec::new();
    for chain in ruleset.base_chains("nat", "postrouting") {
        for Pair { lan, wan, out, .. } in pairs(config, facts) {
            for (at, rule) in translations(ruleset, chain, &out) {
                if seen.iter().any(|other| std::ptr::eq(*other, rule)) {
                    continue;
                }
                seen.push(rule);
                let number = rule.handle.map(|handle| format!(", handle {handle}"));
                let text = format!(
                    "the kernel translates what leaves by {wan} too (a rule in {}{}): connections of \
                     {lan} are translated by it before masq sees them, and have nothing of masq but \
                     its cost",
                    at.shown(),
                    number.unwrap_or_default()
                );
                let finding = Finding::warning(CHECK, text);
                let finding = finding
                    .advice("remove the rule, also where it is set up when the machine starts");
                findings.push(mend::remove(at, rule, wan, finding).of(wan));
            }
        }
    }
    findings
}

/// Connection tracking sees but some packets of a connection that has a fast path, and may take the
/// next one that it sees for invalid.
fn invalid(config: &Config, facts: &Facts) -> Vec<Finding> {
    if facts.sysctls.be_liberal != Some(false) {
        return Vec::new();
    }
    let ruleset = &facts.firewall.ruleset;
    let is_invalid = |rule: &Rule| {
        rule.conditions.iter().any(|condition| match condition {
            Condition::State(states, false) => states.iter().any(|state| state == "invalid"),
            _ => false,
        })
    };
    for chain in ruleset.base_chains("filter", "forward") {
        for Pair { lan, out, .. } in pairs(config, facts) {
            let packet = Packet { state: "invalid", ..out };
            if let Fate::Dropped { chain: at, rule: Some(rule), .. } =
                follow(ruleset, chain, &packet)
                && is_invalid(rule)
            {
                let text = format!(
                    "{}: connection tracking does not see packets on the fast path, so a connection \
                     that comes back to the kernel's way (as after a change of routes) may look \
                     invalid and hang",
                    dropped(at, Some(rule), "what connection tracking takes for invalid")
                );
                let finding = Finding::note("competing.invalid", text).of(lan);
                return vec![
                    finding.command("sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1"),
                ];
            }
        }
    }
    Vec::new()
}

fn flowtables(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "competing.flowtable";
    let mut findings = Vec::new();
    for table in &facts.firewall.ruleset.flowtables {
        let ours = config.interfaces().filter(|name| table.devices.iter().any(|its| its == name));
        let ours: Vec<_> = ours.collect();
        let Some(first) = ours.first() else { continue };
        let (family, of, name) = (&table.family, &table.table, &table.name);
        let meaning = if table.hardware {
            "the network card forwards flows by itself, and masq neither sees nor translates them"
        } else {
            "the kernel's own fast path takes what masq leaves to the kernel past its FORWARD rules; \
             with `flags offload` the network card forwards flows that masq neither sees nor translates"
        };
        let text = format!(
            "flowtable {name} of table {family} {of} has {}: {meaning}",
            ours.join(" and ")
        );
        findings.push(
            Finding::warning(CHECK, text)
                .of(first)
                .advice("remove the rules that add flows to it, then the flowtable")
                .command(format!("nft -a list table {family} {of} | grep 'flow add @{name}'"))
                .command(format!("nft delete flowtable {family} {of} {name}")),
        );
    }
    findings
}

#[cfg(test)]
mod tests;
