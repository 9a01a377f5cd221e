//! Following a packet through the rules: whether it is dropped, where, and how certain that is.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::{Action, Chain, Condition, Rule, Ruleset};

/// A packet that is made up.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The interface that it came in by.
    pub input: &'a str,
    /// The interface that it leaves by.
    pub output: &'a str,
    /// Its source.
    pub source: Side,
    /// Its destination.
    pub destination: Side,
    /// What connection tracking says about it: `new`, `established`, `invalid`.
    pub state: &'a str,
}

/// One address of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// Some host of this prefix.
    Within(Ipv4Net),
    /// Some host of the Internet.
    Outside,
    /// Nothing is known.
    Unknown,
}

/// Whether something holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// Certainly.
    Yes,
    /// Perhaps: it depends on what is not known of packet or rule.
    Maybe,
    /// Certainly not.
    No,
}

/// The end of a packet in a base chain.
#[derive(Clone, Copy, Debug)]
pub enum Fate<'a> {
    /// It goes on.
    Passed,
    /// It is dropped.
    Dropped {
        /// In this chain.
        chain: &'a Chain,
        /// By this rule; `None`: by the policy.
        rule: Option<&'a Rule>,
        /// Whether no rule before might have accepted it.
        certain: bool,
    },
}

/// Rules that are looked at for a packet at most: chains that lead to each other many times over would
/// take for ever. The kernel goes through some millions in a second, and masq is to answer within one.
const PATIENCE: u32 = 200_000;

/// Follows a packet through a base chain.
pub fn follow<'a>(ruleset: &'a Ruleset, chain: &'a Chain, packet: &Packet<'_>) -> Fate<'a> {
    let mut walk = Walk::new(ruleset, packet);
    let drops = chain.base.as_ref().is_some_and(|base| base.drops);
    match walk.through(chain, &mut BTreeSet::new()) {
        End::Accepted => Fate::Passed,
        End::Dropped(chain, rule) => {
            Fate::Dropped { chain, rule: Some(rule), certain: !walk.doubt }
        }
        End::Reached if drops => Fate::Dropped { chain, rule: None, certain: !walk.doubt },
        End::Reached => Fate::Passed,
    }
}

/// The rules of a base chain that replace the packet's source address, or might.
pub fn translations<'a>(
    ruleset: &'a Ruleset,
    chain: &'a Chain,
    packet: &Packet<'_>,
) -> Vec<(&'a Chain, &'a Rule)> {
    let mut walk = Walk::new(ruleset, packet);
    walk.through(chain, &mut BTreeSet::new());
    walk.translated
}

/// The end of one chain.
enum End<'a> {
    Accepted,
    Dropped(&'a Chain, &'a Rule),
    /// No rule has decided.
    Reached,
}

struct Walk<'a, 'p> {
    ruleset: &'a Ruleset,
    packet: &'p Packet<'p>,
    /// Whether the packet might have gone another way before.
    doubt: bool,
    translated: Vec<(&'a Chain, &'a Rule)>,
    /// Rules that may still be looked at.
    patience: u32,
}

impl<'a, 'p> Walk<'a, 'p> {
    const fn new(ruleset: &'a Ruleset, packet: &'p Packet<'p>) -> Self {
        Self { ruleset, packet, doubt: false, translated: Vec::new(), patience: PATIENCE }
    }

    /// `above` are the chains that lead here: the kernel allows no circles, a text might have them.
    fn through(&mut self, chain: &'a Chain, above: &mut BTreeSet<String>) -> End<'a> {
        if !above.insert(chain.name.clone()) {
            return End::Reached;
        }
        let end = self.rules(chain, above);
        above.remove(&chain.name);
        end
    }

    fn rules(&mut self, chain: &'a Chain, above: &mut BTreeSet<String>) -> End<'a> {
        for rule in &chain.rules {
            let Some(left) = self.patience.checked_sub(1) else {
                self.doubt = true;
                return End::Reached;
            };
            self.patience = left;
            let certain = match self.packet.suits(rule) {
                Match::No => continue,
                Match::Yes => true,
                Match::Maybe => false,
            };
            match (&rule.action, certain) {
                (Action::Accept, true) => return End::Accepted,
                (Action::Drop, true) => return End::Dropped(chain, rule),
                (Action::Return, true) => return End::Reached,
                (Action::Accept | Action::Return | Action::Unknown, _) => self.doubt = true,
                // It is somebody's wish that some packets are dropped.
                (Action::Drop, false) | (Action::Nothing, _) => {}
                (Action::Translate, certain) => {
                    self.translated.push((chain, rule));
                    if certain {
                        return End::Accepted;
                    }
                }
                (Action::Jump(name) | Action::Goto(name), certain) => {
                    let end = match self.ruleset.beside(chain, name) {
                        Some(next) => self.through(next, above),
                        None => {
                            self.doubt = true;
                            End::Reached
                        }
                    };
                    let goes = matches!(rule.action, Action::Goto(_));
                    match (end, certain) {
                        (End::Reached, true) if goes => return End::Reached,
                        (End::Reached, _) => self.doubt |= goes,
                        (End::Accepted, false) => self.doubt = true,
                        (End::Dropped(..), false) => {}
                        (end, true) => return end,
                    }
                }
            }
        }
        End::Reached
    }
}

impl Packet<'_> {
    /// Whether all conditions of a rule hold.
    fn suits(&self, rule: &Rule) -> Match {
        let all = rule.conditions.iter().map(|condition| self.meets(condition));
        all.fold(Match::Yes, |so_far, next| match (so_far, next) {
            (Match::No, _) | (_, Match::No) => Match::No,
            (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
            _ => Match::Yes,
        })
    }

    fn meets(&self, condition: &Condition) -> Match {
        let (holds, not) = match condition {
            Condition::In(names, not) => (is_named(names, self.input), not),
            Condition::Out(names, not) => (is_named(names, self.output), not),
            Condition::Source(nets, not) => (self.source.is_in(nets), not),
            Condition::Destination(nets, not) => (self.destination.is_in(nets), not),
            Condition::State(states, not) => {
                (certainly(states.iter().any(|state| state == self.state)), not)
            }
            Condition::Never => return Match::No,
            Condition::Unknown => return Match::Maybe,
        };
        match holds {
            Match::Yes if *not => Match::No,
            Match::No if *not => Match::Yes,
            holds => holds,
        }
    }
}

const fn certainly(holds: bool) -> Match {
    if holds { Match::Yes } else { Match::No }
}

fn is_named(names: &[String], interface: &str) -> Match {
    let suits = |name: &String| match name.strip_suffix(['*', '+']) {
        Some(beginning) => interface.starts_with(beginning),
        None => interface == name,
    };
    certainly(names.iter().any(suits))
}

impl Side {
    fn is_in(self, nets: &[Ipv4Net]) -> Match {
        match self {
            Self::Within(own) if nets.iter().any(|net| net.contains(&own)) => Match::Yes,
            Self::Within(own) if nets.iter().any(|net| own.contains(net)) => Match::Maybe,
            Self::Within(_) => Match::No,
            _ if nets.iter().any(|net| net.prefix_len() == 0) => Match::Yes,
            Self::Outside if nets.iter().all(is_local) => Match::No,
            Self::Outside | Self::Unknown => Match::Maybe,
        }
    }
}

/// Whether nobody on the Internet has an address of this prefix.
fn is_local(net: &Ipv4Net) -> bool {
    let first = net.network();
    let large = net.prefix_len() < 8;
    !large && (first.is_private() || first.is_loopback() || first.is_link_local())
        || net.prefix_len() >= 4 && first.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Tool, iptables},
        *,
    };

    const PACKET: Packet<'_> = Packet {
        input: "lan0",
        output: "wan0",
        source: Side::Unknown,
        destination: Side::Outside,
        state: "new",
    };

    /// What becomes of a packet in FORWARD with this policy, and how certain that is.
    fn forward(packet: &Packet<'_>, policy: &str, rules: &str) -> &'static str {
        let text = format!(
            "*filter\n:FORWARD {policy} [0:0]\n:one - [0:0]\n:two - [0:0]\n{rules}\nCOMMIT\n"
        );
        let ruleset = iptables::parse(&text, Tool::Nft);
        match follow(&ruleset, &ruleset.chains[0], packet) {
            Fate::Passed => "passed",
            Fate::Dropped { rule: None, certain: true, .. } => "policy",
            Fate::Dropped { rule: Some(_), certain: true, .. } => "rule",
            Fate::Dropped { certain: false, .. } => "doubt",
        }
    }

    #[test]
    fn the_policy_decides_where_no_rule_does() {
        assert_eq!(forward(&PACKET, "ACCEPT", ""), "passed");
        assert_eq!(forward(&PACKET, "DROP", ""), "policy");
        assert_eq!(forward(&PACKET, "DROP", "-A FORWARD -i lan0 -j ACCEPT"), "passed");
        assert_eq!(forward(&PACKET, "DROP", "-A FORWARD -i lan1 -j ACCEPT"), "policy");
        assert_eq!(forward(&PACKET, "DROP", "-A FORWARD -i lan+ ! -o eth0 -j ACCEPT"), "passed");
        assert_eq!(forward(&PACKET, "ACCEPT", "-A FORWARD -j REJECT"), "rule");
    }

    #[test]
    fn what_is_not_understood_makes_it_doubtful() {
        let rule = "-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT";
        assert_eq!(forward(&PACKET, "DROP", rule), "doubt");
        // But a rule that drops some packets is somebody's wish.
        let rule = "-A FORWARD -p tcp -m tcp --dport 25 -j DROP";
        assert_eq!(forward(&PACKET, "ACCEPT", rule), "passed");
        assert_eq!(forward(&PACKET, "DROP", rule), "policy");
    }

    #[test]
    fn the_state_of_a_connection_counts() {
        let rule = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
        assert_eq!(forward(&PACKET, "DROP", rule), "policy");
        assert_eq!(forward(&Packet { state: "established", ..PACKET }, "DROP", rule), "passed");
    }

    #[test]
    fn chains_are_followed_and_left() {
        let rules = "-A FORWARD -j one\n-A one -o wan0 -j two\n-A two -j ACCEPT";
        assert_eq!(forward(&PACKET, "DROP", rules), "passed");
        let rules = "-A FORWARD -j one\n-A one -j RETURN\n-A one -j ACCEPT";
        assert_eq!(forward(&PACKET, "DROP", rules), "policy");
        let rules = "-A FORWARD -g one\n-A FORWARD -j ACCEPT";
        assert_eq!(forward(&PACKET, "DROP", rules), "policy");
        let rules = "-A FORWARD -p udp -j one\n-A one -j ACCEPT";
        assert_eq!(forward(&PACKET, "DROP", rules), "doubt");
        let rules = "-A FORWARD -p udp -j one\n-A one -o eth0 -j ACCEPT";
        assert_eq!(forward(&PACKET, "DROP", rules), "policy");
        let circle = "-A FORWARD -j one\n-A one -j two\n-A two -j one";
        assert_eq!(forward(&PACKET, "DROP", circle), "policy");
    }

    #[test]
    fn chains_that_lead_to_each_other_many_times_end_in_doubt() {
        let mut text = "*filter\n:FORWARD DROP [0:0]\n:c40 - [0:0]\n".to_owned();
        text += "-A FORWARD -j c0\n";
        for level in 0..40 {
            text += &format!(":c{level} - [0:0]\n");
            text += &format!("-A c{level} -j c{next}\n", next = level + 1).repeat(2);
        }
        let ruleset = iptables::parse(&text, Tool::Nft);
        let fate = follow(&ruleset, &ruleset.chains[0], &PACKET);
        assert!(matches!(fate, Fate::Dropped { rule: None, certain: false, .. }), "{fate:?}");
    }

    #[test]
    fn dockers_rules_drop_what_is_forwarded_between_others() {
        let rules = "-A FORWARD -j one\n-A FORWARD -o docker0 -m conntrack --ctstate \
                     RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n\
                     -A one -i docker0 ! -o docker0 -j two\n-A one -j RETURN\n\
                     -A two -o docker0 -j DROP\n-A two -j RETURN";
        assert_eq!(forward(&PACKET, "DROP", rules), "policy");
    }

    #[test]
    fn addresses_of_the_lan_are_in_larger_prefixes_and_maybe_in_smaller_ones() {
        let lan = Side::Within("192.168.1.0/24".parse().unwrap());
        let is_in = |side: Side, net: &str| side.is_in(&[net.parse().unwrap()]);
        assert_eq!(is_in(lan, "192.168.0.0/16"), Match::Yes);
        assert_eq!(is_in(lan, "192.168.1.7/32"), Match::Maybe);
        assert_eq!(is_in(lan, "172.17.0.0/16"), Match::No);
        assert_eq!(is_in(Side::Outside, "172.17.0.2/32"), Match::No);
        assert_eq!(is_in(Side::Outside, "0.0.0.0/0"), Match::Yes);
        assert_eq!(is_in(Side::Outside, "9.9.9.9/32"), Match::Maybe);
        assert_eq!(is_in(Side::Outside, "0.0.0.0/1"), Match::Maybe);
    }

    #[test]
    fn a_masquerade_for_others_does_not_translate_the_lan() {
        let found = |rule: &str| {
            let text = format!("*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING {rule}\nCOMMIT\n");
            let ruleset = iptables::parse(&text, Tool::Nft);
            let lan = Side::Within("192.168.1.0/24".parse().unwrap());
            let packet = Packet { source: lan, ..PACKET };
            translations(&ruleset, &ruleset.chains[0], &packet).len()
        };
        assert_eq!(found("-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"), 0);
        assert_eq!(found("-o eth7 -j MASQUERADE"), 0);
        assert_eq!(found("-o wan0 -j MASQUERADE"), 1);
        assert_eq!(found("-o wan0 -p tcp -j SNAT --to-source 203.0.113.5"), 1);
    }
}
