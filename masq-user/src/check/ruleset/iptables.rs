//! Reading what iptables-save prints. It is the only way to the rules of the older tables, and the
//! better one to those that iptables keeps in nftables: nft does not tell what the extensions of
//! iptables, such as `-m conntrack`, ask for.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Action, Base, Chain, Condition, Rule, Ruleset, Tool};

/// Reads it. Whatever is not understood is kept as such.
pub fn parse(text: &str, tool: Tool) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim();
        } else if let Some(rest) = line.strip_prefix(':') {
            let mut words = rest.split_whitespace();
            let (Some(name), policy) = (words.next(), words.next()) else { continue };
            ruleset.chains.push(Chain {
                tool,
                family: "ip".into(),
                table: table.to_owned(),
                name: name.to_owned(),
                base: base(table, name, policy.unwrap_or("-")),
                rules: Vec::new(),
            });
        } else if let Some(rest) = line.strip_prefix("-A ") {
            let words = split(rest);
            let Some((name, options)) = words.split_first() else { continue };
            let is = |chain: &&mut Chain| chain.table == table && chain.name == *name;
            if let Some(chain) = ruleset.chains.iter_mut().find(is) {
                chain.rules.push(rule(options, &quoted(&words)));
            }
        }
    }
    ruleset
}

/// Where a built-in chain is; others have no policy.
fn base(table: &str, name: &str, policy: &str) -> Option<Base> {
    let kind = if table == "nat" { "nat" } else { "filter" };
    (policy != "-").then(|| Base {
        kind: kind.into(),
        hook: name.to_ascii_lowercase(),
        drops: policy == "DROP",
    })
}

/// Words for a shell: whatever stands in a comment is no command, and no control character.
fn quoted(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.,:/=@%+-!".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(is_plain) {
            return word.clone();
        }
        let visible: String = word.chars().filter(|c| !c.is_control()).collect();
        format!("'{}'", visible.replace('\'', r"'\''"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Words as a shell has them: blanks within quotation marks do not separate.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => word.extend(characters.next()),
            '"' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            other => word.push(other),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

fn rule(options: &[String], words: &str) -> Rule {
    let mut conditions = Vec::new();
    let mut action = Action::Nothing;
    let mut not = false;
    let mut options = options.iter().map(String::as_str);
    while let Some(option) = options.next() {
        let negated = std::mem::take(&mut not);
        let mut next = || options.next().unwrap_or_default().to_owned();
        match option {
            "!" => not = true,
            "-i" => conditions.push(Condition::In(vec![next()], negated)),
            "-o" => conditions.push(Condition::Out(vec![next()], negated)),
            "-s" => conditions.push(address(&next(), |nets| Condition::Source(nets, negated))),
            "-d" => conditions.push(address(&next(), |nets| Condition::Destination(nets, negated))),
            "--ctstate" | "--state" => {
                let states = next().split(',').map(str::to_ascii_lowercase).collect();
                conditions.push(Condition::State(states, negated));
            }
            // Loads what the options after it belong to; `addrtype` and the like say no more here.
            "-m" => drop(next()),
            "--comment" => drop(next()),
            "-j" => {
                action = target(&next());
                // The rest tells how.
                break;
            }
            "-g" => {
                action = Action::Goto(next());
                break;
            }
            // One condition, be it of one word or of several.
            _ if option.starts_with('-') => conditions.push(Condition::Unknown),
            _ => {}
        }
    }
    Rule { handle: None, words: Some(words.to_owned()), conditions, action }
}

fn address(text: &str, condition: impl FnOnce(Vec<Ipv4Net>) -> Condition) -> Condition {
    let net = text.parse().ok().or_else(|| text.parse::<Ipv4Addr>().ok().map(Ipv4Net::from));
    net.map_or(Condition::Unknown, |net: Ipv4Net| condition(vec![net.trunc()]))
}

fn target(name: &str) -> Action {
    match name {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        "MASQUERADE" | "SNAT" => Action::Translate,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS" | "SET" | "DSCP" | "TOS" | "TTL"
        | "CT" | "CLASSIFY" | "CHECKSUM" | "TRACE" => Action::Nothing,
        "QUEUE" | "NFQUEUE" | "NETMAP" | "TPROXY" | "DNAT" | "REDIRECT" => Action::Unknown,
        chain => Action::Jump(chain.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"# Generated by iptables-save
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -i lan0 ! -o wan+ -m conntrack --ctstate NEW,RELATED -j ACCEPT
-A FORWARD -s 10.0.0.0/8 -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
-A FORWARD -m comment --comment "a \"b\" -j ACCEPT" -j LOG --log-prefix "x y"
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
"#;

    #[test]
    fn what_is_printed_for_a_shell_is_no_command_of_its_own() {
        let words =
            split(r#"POSTROUTING -m comment --comment "it's $(reboot) `x` \"y\"" ! -o a -j X"#);
        assert_eq!(
            quoted(&words),
            r#"POSTROUTING -m comment --comment 'it'\''s $(reboot) `x` "y"' ! -o a -j X"#
        );
        assert_eq!(quoted(&["\u{1b}[31m".to_owned()]), "'[31m'");
    }

    #[test]
    fn chains_and_rules_are_read() {
        let ruleset = parse(SAVED, Tool::Iptables("iptables"));
        let names: Vec<_> = ruleset.chains.iter().map(|chain| chain.name.as_str()).collect();
        assert_eq!(names, ["INPUT", "FORWARD", "DOCKER-USER", "POSTROUTING"]);
        let forward = &ruleset.chains[1];
        assert!(forward.base.as_ref().is_some_and(|base| base.drops && base.hook == "forward"));
        assert!(ruleset.chains[2].base.is_none());
        assert_eq!(forward.rules[0].action, Action::Jump("DOCKER-USER".into()));
        let expected = [
            Condition::In(vec!["lan0".into()], false),
            Condition::Out(vec!["wan+".into()], true),
            Condition::State(vec!["new".into(), "related".into()], false),
        ];
        assert_eq!(forward.rules[1].conditions, expected);
        let rule = &forward.rules[2];
        assert_eq!(
            rule.conditions[0],
            Condition::Source(vec!["10.0.0.0/8".parse().unwrap()], false)
        );
        assert!(rule.conditions.contains(&Condition::Unknown) && rule.action == Action::Drop);
        let rule = &forward.rules[3];
        assert_eq!((&rule.conditions[..], &rule.action), (&[][..], &Action::Nothing));
        let translate = &ruleset.chains[3].rules[0];
        assert_eq!(translate.action, Action::Translate);
        let words = "POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE";
        assert_eq!(translate.words.as_deref(), Some(words));
    }

    #[test]
    fn a_module_without_options_is_an_unknown_condition_only_if_it_asks_for_something() {
        let words = split("-m addrtype --dst-type LOCAL -j ACCEPT");
        assert_eq!(rule(&words, "").conditions, [Condition::Unknown]);
        let words = split("! -s 10.0.0.0/8 -j ACCEPT");
        let all = vec!["10.0.0.0/8".parse().unwrap()];
        assert_eq!(rule(&words, "").conditions, [Condition::Source(all, true)]);
    }

    #[test]
    fn nonsense_is_no_rule() {
        for text in ["", "-A", "-A FORWARD -j ACCEPT", ":", "*", "-A \"", "*filter\n:X\n-A X -i"] {
            let _ = parse(text, Tool::Nft);
        }
    }
}
