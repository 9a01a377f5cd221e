//! The rules of the packet filter, from whoever can tell: nft, iptables-save for what iptables keeps in
//! nftables (nft does not understand all of it), and iptables-save for the older tables beside them.

use std::fs;

use super::tools::{Answer, ask};
use crate::check::ruleset::{Condition, Ruleset, Tool, iptables, nft};

/// What is known of the rules.
#[derive(Clone, Default, Debug)]
pub struct Firewall {
    /// The rules.
    pub ruleset: Ruleset,
    /// Why some of them could not be read, and what would help.
    pub trouble: Option<String>,
}

/// What iptables-save says in its first line if its rules are in nftables.
const IN_NFTABLES: &str = "(nf_tables)";

impl Firewall {
    pub(super) fn gather() -> Self {
        let mut firewall = Self::default();
        // Terse: without the elements of sets, which may be millions.
        let nft = match ask("nft", &["--json", "--terse", "list", "ruleset"]) {
            Answer::Text(text) => match nft::parse(&text) {
                Some(ruleset) => {
                    firewall.ruleset = ruleset;
                    true
                }
                None => firewall.fail("nft prints no JSON that masq can read".to_owned()),
            },
            Answer::Failed(why) => firewall.fail(why),
            Answer::Missing => false,
        };
        if nft && is_unclear(&firewall.ruleset) {
            if let Some(text) = save(&["iptables-nft-save", "iptables-save"], true) {
                merge(&mut firewall.ruleset, iptables::parse(&text, Tool::Nft));
            }
        } else if !nft {
            match save(&["iptables-nft-save", "iptables-save"], true) {
                Some(text) => {
                    let tool = Tool::Iptables("iptables");
                    firewall.ruleset = iptables::parse(&text, tool);
                    firewall
                        .fail("only the rules of iptables can be read, not those of nft".into());
                }
                None if firewall.trouble.is_none() => {
                    firewall.fail("nft is not installed".into());
                }
                None => {}
            }
        }
        // To ask for tables that nobody uses would make them.
        let used = fs::read_to_string("/proc/thread-self/net/ip_tables_names");
        if used.is_ok_and(|names| !names.trim().is_empty()) {
            let (program, names) = match ask("iptables-legacy-save", &[]) {
                Answer::Text(text) => ("iptables-legacy", Some(text)),
                _ => ("iptables", save(&["iptables-save"], false)),
            };
            match names {
                Some(text) => {
                    let legacy = iptables::parse(&text, Tool::Iptables(program));
                    firewall.ruleset.chains.extend(legacy.chains);
                }
                None => {
                    firewall
                        .fail("iptables has rules, and iptables-save does not tell them".into());
                }
            }
        }
        firewall
    }

    /// Notes the first trouble; false, for whoever has had it.
    fn fail(&mut self, why: String) -> bool {
        self.trouble.get_or_insert(why);
        false
    }
}

/// What the first of these programs has printed whose rules are in nftables, or are not.
fn save(programs: &[&str], in_nftables: bool) -> Option<String> {
    programs.iter().find_map(|program| match ask(program, &[]) {
        Answer::Text(text) => {
            let first = text.lines().next().unwrap_or_default();
            // Where there are no rules, nothing is printed.
            (first.is_empty() || first.contains(IN_NFTABLES) == in_nftables).then_some(text)
        }
        Answer::Missing | Answer::Failed(_) => None,
    })
}

/// Whether there are tables of iptables with rules that nft does not understand.
fn is_unclear(ruleset: &Ruleset) -> bool {
    let chains = ruleset.chains.iter().filter(|chain| chain.is_of_iptables());
    let mut conditions = chains.flat_map(|chain| &chain.rules).flat_map(|rule| &rule.conditions);
    conditions.any(|condition| *condition == Condition::Unknown)
}

/// Puts the better description of rules in place of the other; their numbers are known to nft alone.
fn merge(ruleset: &mut Ruleset, saved: Ruleset) {
    for chain in saved.chains {
        let is = |other: &&mut crate::check::ruleset::Chain| {
            (&other.family, &other.table, &other.name) == (&chain.family, &chain.table, &chain.name)
        };
        let Some(there) = ruleset.chains.iter_mut().find(is) else { continue };
        let mut rules = chain.rules;
        // Else somebody has changed them between the two answers.
        if rules.len() == there.rules.len() {
            for (rule, old) in rules.iter_mut().zip(&there.rules) {
                rule.handle = old.handle;
            }
            there.rules = rules;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_does_not_understand_is_told_by_iptables_with_the_numbers_of_nft() {
        let nft = r#"{"nftables": [
            {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 1,
                       "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 9,
                      "expr": [{"xt": {"type": "match", "name": "conntrack"}}, {"accept": null}]}}]}"#;
        let saved = "*filter\n:FORWARD DROP [0:0]\n\
                     -A FORWARD -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n";
        let mut ruleset = nft::parse(nft).unwrap();
        assert!(is_unclear(&ruleset));
        merge(&mut ruleset, iptables::parse(saved, Tool::Nft));
        let rule = &ruleset.chains[0].rules[0];
        assert_eq!(rule.handle, Some(9));
        assert_eq!(rule.conditions, [Condition::State(vec!["new".into()], false)]);
        assert!(!is_unclear(&ruleset));
    }
}
