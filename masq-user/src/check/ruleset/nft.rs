//! Reading what `nft --json list ruleset` prints (libnftables-json(5)).

use ipnet::{Ipv4Net, Ipv4Subnets};
use serde_json::Value;

use super::{Action, Base, Chain, Condition, Flowtable, Rule, Ruleset, Tool};

/// Reads it; `None` if it is no such text. What is for other families is left out.
pub fn parse(text: &str) -> Option<Ruleset> {
    let document: Value = serde_json::from_str(text).ok()?;
    let objects = document.get("nftables")?.as_array()?;
    let mut ruleset = Ruleset::default();
    // Chains may be listed after rules.
    for object in objects {
        if let Some(chain) = object.get("chain").and_then(chain) {
            ruleset.chains.push(chain);
        }
        if let Some(flowtable) = object.get("flowtable").and_then(flowtable) {
            ruleset.flowtables.push(flowtable);
        }
    }
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let (family, table, name) =
            (text_of(rule, "family"), text_of(rule, "table"), text_of(rule, "chain"));
        let is = |chain: &&mut Chain| {
            chain.family == family && chain.table == table && chain.name == name
        };
        if let Some(chain) = ruleset.chains.iter_mut().find(is) {
            chain.rules.extend(rules(rule));
        }
    }
    Some(ruleset)
}

fn text_of(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn is_ipv4(family: &str) -> bool {
    matches!(family, "ip" | "inet")
}

fn chain(value: &Value) -> Option<Chain> {
    let family = text_of(value, "family");
    let base = value.get("hook").map(|_| Base {
        kind: text_of(value, "type"),
        hook: text_of(value, "hook"),
        drops: text_of(value, "policy") == "drop",
    });
    is_ipv4(&family).then(|| Chain {
        tool: Tool::Nft,
        family,
        table: text_of(value, "table"),
        name: text_of(value, "name"),
        base,
        rules: Vec::new(),
    })
}

fn flowtable(value: &Value) -> Option<Flowtable> {
    let family = text_of(value, "family");
    let words = |field: &str| match value.get(field) {
        Some(Value::String(word)) => vec![word.clone()],
        Some(Value::Array(words)) => {
            words.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
        }
        _ => Vec::new(),
    };
    let hardware = words("flags").iter().any(|flag| flag == "offload");
    is_ipv4(&family).then(|| Flowtable {
        family,
        table: text_of(value, "table"),
        name: text_of(value, "name"),
        devices: words("dev"),
        hardware,
    })
}

/// A rule, or several if it has a map of verdicts: one for each element.
fn rules(value: &Value) -> Vec<Rule> {
    let handle = value.get("handle").and_then(Value::as_u64);
    let mut conditions = Vec::new();
    let mut found = Vec::new();
    let statements = value.get("expr").and_then(Value::as_array).into_iter().flatten();
    for statement in statements {
        let Some((name, content)) = statement.as_object().and_then(|object| object.iter().next())
        else {
            conditions.push(Condition::Unknown);
            continue;
        };
        let rule = |conditions: &[Condition], action| Rule {
            handle,
            words: None,
            conditions: conditions.to_vec(),
            action,
        };
        match name.as_str() {
            "match" => conditions.push(condition(content)),
            // Whether the rate is exceeded, nobody knows.
            "limit" | "quota" | "ct count" => conditions.push(Condition::Unknown),
            "xt" => match (text_of(content, "type").as_str(), text_of(content, "name").as_str()) {
                ("match", "comment") => {}
                ("target", "MASQUERADE" | "SNAT") => {
                    found.push(rule(&conditions, Action::Translate))
                }
                ("target", "REJECT") => found.push(rule(&conditions, Action::Drop)),
                ("target", "LOG" | "MARK" | "CONNMARK" | "TCPMSS" | "NFLOG" | "SET") => {}
                ("target", _) => found.push(rule(&conditions, Action::Unknown)),
                _ => conditions.push(Condition::Unknown),
            },
            "vmap" => found.extend(verdict_map(content).map(|(condition, action)| {
                rule(&[&conditions[..], &[condition]].concat(), action)
            })),
            _ => {
                if let Some(action) = action(name, content) {
                    found.push(rule(&conditions, action));
                }
            }
        }
    }
    if found.is_empty() {
        // Keeps the place of a rule that does nothing.
        found.push(Rule { handle, words: None, conditions, action: Action::Nothing });
    }
    found
}

/// A statement that may decide; `None` for those that never do.
fn action(name: &str, content: &Value) -> Option<Action> {
    Some(match name {
        "accept" => Action::Accept,
        "drop" | "reject" => Action::Drop,
        "return" => Action::Return,
        "jump" => Action::Jump(text_of(content, "target")),
        "goto" => Action::Goto(text_of(content, "target")),
        "masquerade" | "snat" => Action::Translate,
        "queue" | "tproxy" | "synproxy" | "fwd" => Action::Unknown,
        _ => return None,
    })
}

fn verdict_map(content: &Value) -> impl Iterator<Item = (Condition, Action)> {
    let key = content.get("key").cloned().unwrap_or_default();
    let elements = content.pointer("/data/set").and_then(Value::as_array).cloned();
    // Elements of a named map are not listed.
    let unnamed = elements.unwrap_or_default();
    unnamed.into_iter().filter_map(move |element| {
        let [value, verdict] = element.as_array()?.as_slice() else { return None };
        let (name, content) = verdict.as_object()?.iter().next()?;
        Some((compare(&key, "==", value), action(name, content)?))
    })
}

fn condition(content: &Value) -> Condition {
    let (Some(left), Some(right)) = (content.get("left"), content.get("right")) else {
        return Condition::Unknown;
    };
    compare(left, &text_of(content, "op"), right)
}

/// A comparison of a field of the packet with a value or a set of them.
fn compare(left: &Value, op: &str, right: &Value) -> Condition {
    let not = match op {
        "==" | "in" => false,
        "!=" => true,
        _ => return Condition::Unknown,
    };
    let key = |of: &str| left.get(of).map(|field| text_of(field, "key")).unwrap_or_default();
    let payload = left.get("payload").map(|p| (text_of(p, "protocol"), text_of(p, "field")));
    let payload = payload.as_ref().map(|(protocol, field)| (protocol.as_str(), field.as_str()));
    match (key("meta").as_str(), key("ct").as_str(), payload) {
        ("iifname" | "iif", _, _) => words(right).map(|names| Condition::In(names, not)),
        ("oifname" | "oif", _, _) => words(right).map(|names| Condition::Out(names, not)),
        ("nfproto", _, _) => words(right).map(|families| {
            // Certain either way; what holds for every packet of IPv4 excludes no interface.
            let ipv4 = families.iter().any(|family| family == "ipv4");
            if ipv4 == not { Condition::Never } else { Condition::In(Vec::new(), true) }
        }),
        (_, "state", _) => words(right).map(|states| Condition::State(states, not)),
        (_, _, Some(("ip", "saddr"))) => nets(right).map(|nets| Condition::Source(nets, not)),
        (_, _, Some(("ip", "daddr"))) => nets(right).map(|nets| Condition::Destination(nets, not)),
        (_, _, Some(("ip6", _))) => Some(Condition::Never),
        _ => None,
    }
    .unwrap_or(Condition::Unknown)
}

/// One value, a list of flags, or a set.
fn items(right: &Value) -> Vec<&Value> {
    match right.get("set").unwrap_or(right) {
        Value::Array(items) => items.iter().collect(),
        item => vec![item],
    }
}

fn words(right: &Value) -> Option<Vec<String>> {
    let word =
        |item: &Value| item.as_str().filter(|word| !word.starts_with('@')).map(str::to_owned);
    items(right).into_iter().map(word).collect()
}

fn nets(right: &Value) -> Option<Vec<Ipv4Net>> {
    let nets = items(right).into_iter().map(net).collect::<Option<Vec<_>>>()?;
    Some(nets.concat())
}

fn net(item: &Value) -> Option<Vec<Ipv4Net>> {
    if let Some(prefix) = item.get("prefix") {
        let length = prefix.get("len")?.as_u64()?.try_into().ok()?;
        let net = Ipv4Net::new(text_of(prefix, "addr").parse().ok()?, length).ok()?;
        return Some(vec![net.trunc()]);
    }
    if let Some([first, last]) = item.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        let (first, last) = (first.as_str()?.parse().ok()?, last.as_str()?.parse().ok()?);
        return Some(Ipv4Subnets::new(first, last, 0).collect());
    }
    Some(vec![Ipv4Net::from(item.as_str()?.parse::<std::net::Ipv4Addr>().ok()?)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expressions: &str) -> Vec<Rule> {
        let text = format!(
            r#"{{"nftables": [
                {{"metainfo": {{"version": "1.0.6"}}}},
                {{"rule": {{"family": "inet", "table": "t", "chain": "c", "handle": 7,
                            "expr": [{expressions}]}}}},
                {{"rule": {{"family": "ip6", "table": "t", "chain": "c", "expr": []}}}},
                {{"chain": {{"family": "inet", "table": "t", "name": "c", "handle": 1,
                             "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}}}},
                {{"chain": {{"family": "ip6", "table": "t", "name": "c", "handle": 1}}}}]}}"#
        );
        let ruleset = parse(&text).unwrap();
        let [chain] = ruleset.chains.as_slice() else { panic!("{ruleset:?}") };
        assert!(chain.base.as_ref().is_some_and(|base| base.drops && base.hook == "forward"));
        chain.rules.clone()
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn conditions_are_read() {
        let rules = of(r#"
            {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"set": ["eth*", "lan0"]}}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}},
                       "right": {"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, "192.168.1.1"]}}},
            {"match": {"op": "!=", "left": {"meta": {"key": "oifname"}}, "right": "wan0"}},
            {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["related", "new"]}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@s"}},
            {"counter": {"packets": 0, "bytes": 0}}, {"accept": null}"#);
        let [rule] = rules.as_slice() else { panic!("{rules:?}") };
        let nets = ["10.0.0.0/8", "192.168.1.1/32"].map(|net| net.parse().unwrap()).to_vec();
        let expected = [
            Condition::In(strings(&["eth*", "lan0"]), false),
            Condition::Source(nets, false),
            Condition::Out(strings(&["wan0"]), true),
            Condition::State(strings(&["related", "new"]), false),
            Condition::Unknown,
        ];
        assert_eq!(rule.conditions, expected);
        assert_eq!((rule.handle, &rule.action), (Some(7), &Action::Accept));
    }

    #[test]
    fn a_range_of_addresses_is_made_of_prefixes() {
        let right = serde_json::json!({"range": ["10.0.0.1", "10.0.0.3"]});
        let expected = ["10.0.0.1/32", "10.0.0.2/31"].map(|net| net.parse().unwrap());
        assert_eq!(nets(&right), Some(expected.to_vec()));
    }

    #[test]
    fn a_map_of_verdicts_is_a_rule_for_each() {
        let rules = of(r#"{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [
            ["invalid", {"drop": null}], ["established", {"jump": {"target": "x"}}]]}}}"#);
        let actions: Vec<_> = rules.iter().map(|rule| rule.action.clone()).collect();
        assert_eq!(actions, [Action::Drop, Action::Jump("x".into())]);
        assert_eq!(rules[0].conditions, [Condition::State(strings(&["invalid"]), false)]);
    }

    #[test]
    fn other_families_never_match_and_ours_always_does() {
        let of_family = |family: &str, op: &str| {
            let left = serde_json::json!({"meta": {"key": "nfproto"}});
            compare(&left, op, &serde_json::json!(family))
        };
        assert_eq!(of_family("ipv6", "=="), Condition::Never);
        assert_eq!(of_family("ipv4", "!="), Condition::Never);
        assert_eq!(of_family("ipv4", "=="), Condition::In(Vec::new(), true));
        assert_eq!(of_family("ipv6", "!="), Condition::In(Vec::new(), true));
    }

    #[test]
    fn what_iptables_has_made_is_understood_as_far_as_nft_tells() {
        let rules = of(r#"{"xt": {"type": "match", "name": "conntrack"}},
                          {"xt": {"type": "target", "name": "MASQUERADE"}}"#);
        assert_eq!(rules[0].conditions, [Condition::Unknown]);
        assert_eq!(rules[0].action, Action::Translate);
        let rules = of(r#"{"xt": {"type": "match", "name": "comment"}},
                          {"xt": {"type": "target", "name": "TCPMSS"}}"#);
        assert_eq!((&rules[0].conditions[..], &rules[0].action), (&[][..], &Action::Nothing));
    }

    #[test]
    fn flowtables_have_devices() {
        let text = |devices: &str| {
            format!(
                r#"{{"nftables": [{{"flowtable": {{"family": "inet", "name": "f", "table": "t",
                    "handle": 2, "hook": "ingress", "prio": 0, "dev": {devices}}}}}]}}"#
            )
        };
        let devices = |text: &str| parse(text).unwrap().flowtables.remove(0).devices;
        assert_eq!(devices(&text(r#"["lan0", "wan0"]"#)), ["lan0", "wan0"]);
        assert_eq!(devices(&text(r#""lan0""#)), ["lan0"]);
    }

    #[test]
    fn nonsense_is_no_ruleset() {
        for text in ["", "[]", "{}", r#"{"nftables": 3}"#, "no JSON"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse(r#"{"nftables": [3, {"rule": []}, {"chain": null}]}"#).is_some());
    }
}
