//! Rules as managers of firewalls make them, judged for the made-up router.

use super::{
    super::{
        Severity::{Note, Warning},
        made_up::{complaints, config, facts, only, usual},
        ruleset::{Flowtable, Ruleset, Tool, iptables, nft},
    },
    *,
};

/// The router with rules of iptables in nftables.
fn with_iptables(text: &str) -> Facts {
    with(iptables::parse(text, Tool::Nft))
}

fn with(ruleset: Ruleset) -> Facts {
    let mut facts = facts();
    facts.firewall.ruleset = ruleset;
    facts
}

/// The router with one chain of nftables.
fn with_nft(table: &str, base: &str, rules: &[&str]) -> Facts {
    let rule = |(handle, expressions): (u64, &&str)| {
        format!(
            r#"{{"rule": {{"family": "inet", "table": "{table}", "chain": "c",
                "handle": {handle}, "expr": [{expressions}]}}}},"#
        )
    };
    let rules: String = (5..).zip(rules).map(rule).collect();
    let text = format!(
        r#"{{"nftables": [{rules} {{"chain": {{"family": "inet", "table": "{table}",
            "name": "c", "handle": 1, {base}, "prio": 0}}}}]}}"#
    );
    with(nft::parse(&text).unwrap())
}

const FORWARD: &str = r#""type": "filter", "hook": "forward", "policy": "drop""#;
const POSTROUTING: &str = r#""type": "nat", "hook": "postrouting", "policy": "accept""#;

const DOCKER: &str = "\
*filter
:FORWARD DROP [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -i docker0 -j ACCEPT
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
";

#[test]
fn docker_drops_what_is_forwarded_and_has_a_chain_for_exceptions() {
    let findings = judge(&usual(), &with_iptables(DOCKER));
    // Its masquerade is for its containers only.
    assert_eq!(complaints(&findings), [(Warning, "competing.forward")]);
    let finding = only(&findings, "competing.forward");
    assert!(finding.text.contains("chain FORWARD of table ip filter drops"), "{finding:?}");
    assert!(finding.text.contains("by its policy"), "{finding:?}");
    assert_eq!(finding.commands[0], "iptables -I DOCKER-USER -i lan0 -o wan0 -j ACCEPT");
    assert_eq!(finding.commands.len(), 2);
}

#[test]
fn what_the_commands_do_makes_docker_acceptable() {
    let accepting = DOCKER.replace(
        "-A FORWARD -j DOCKER-USER\n",
        "-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -i lan0 -o wan0 -j ACCEPT\n\
         -A DOCKER-USER -i wan0 -o lan0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
    );
    assert_eq!(complaints(&judge(&usual(), &with_iptables(&accepting))), []);
    let outward_only = DOCKER.replace(
        "-A FORWARD -j DOCKER-USER\n",
        "-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -i lan0 -o wan0 -j ACCEPT\n",
    );
    let findings = judge(&usual(), &with_iptables(&outward_only));
    assert!(only(&findings, "competing.forward").text.contains("answers"));
}

#[test]
fn a_firewall_that_lets_some_pass_is_a_note() {
    let some = DOCKER.replace(
        "-A FORWARD -j DOCKER-USER\n",
        "-A FORWARD -p tcp -m tcp --dport 443 -j ACCEPT\n\
         -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n",
    );
    assert_eq!(complaints(&judge(&usual(), &with_iptables(&some))), [(Note, "competing.forward")]);
}

#[test]
fn chains_of_nftables_are_mended_with_nft_and_rules_named_by_handle() {
    let findings = judge(&usual(), &with_nft("t", FORWARD, &[r#"{"reject": null}"#]));
    let finding = only(&findings, "competing.forward");
    assert!(finding.text.contains("chain c of table inet t"), "{finding:?}");
    assert!(finding.text.contains("handle 5"), "{finding:?}");
    assert!(finding.commands[0].starts_with("nft 'insert rule inet t c iifname \"lan0\""));
}

#[test]
fn firewalld_and_ufw_have_their_own_words() {
    let findings = judge(&usual(), &with_nft("firewalld", FORWARD, &[]));
    assert!(only(&findings, "competing.forward").commands[0].starts_with("firewall-cmd"));
    let ufw = "*filter\n:FORWARD DROP [0:0]\n:ufw-before-forward - [0:0]\nCOMMIT\n";
    let findings = judge(&usual(), &with_iptables(ufw));
    let expected = ["ufw route allow in on lan0 out on wan0"];
    assert_eq!(only(&findings, "competing.forward").commands, expected);
}

#[test]
fn a_masquerade_on_the_wan_is_to_be_removed() {
    let rule = r#"{"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "wan0"}},
                  {"masquerade": null}"#;
    let findings = judge(&usual(), &with_nft("t", POSTROUTING, &[rule]));
    assert_eq!(complaints(&findings), [(Warning, "competing.masquerade")]);
    let finding = only(&findings, "competing.masquerade");
    assert_eq!(finding.commands, ["nft delete rule inet t c handle 5"]);
    let other = rule.replace("wan0", "eth9");
    assert_eq!(complaints(&judge(&usual(), &with_nft("t", POSTROUTING, &[&other]))), []);
    // One rule for all is told once.
    let two = config("--lan lan0 --wan wan0 --wan wan1");
    let all = with_nft("t", POSTROUTING, &[r#"{"masquerade": null}"#]);
    assert_eq!(complaints(&judge(&two, &all)), [(Warning, "competing.masquerade")]);
}

#[test]
fn older_tables_are_changed_with_their_own_program() {
    let text = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]\n\
                -A POSTROUTING -s 192.168.0.0/16 -o wan0 -j MASQUERADE\nCOMMIT\n";
    let ruleset = iptables::parse(text, Tool::Iptables("iptables-legacy"));
    let findings = judge(&usual(), &with(ruleset));
    let command = &only(&findings, "competing.forward").commands[0];
    assert_eq!(command, "iptables-legacy -I FORWARD -i lan0 -o wan0 -j ACCEPT");
    let expected = "iptables-legacy -t nat -D POSTROUTING -s 192.168.0.0/16 -o wan0 -j MASQUERADE";
    assert_eq!(only(&findings, "competing.masquerade").commands, [expected]);
}

#[test]
fn dropping_the_invalid_is_a_trap_unless_connection_tracking_is_liberal() {
    let text = "*filter\n:FORWARD ACCEPT [0:0]\n\
                -A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
    let mut facts = with_iptables(text);
    assert_eq!(complaints(&judge(&usual(), &facts)), []);
    facts.sysctls.be_liberal = Some(false);
    assert_eq!(complaints(&judge(&usual(), &facts)), [(Note, "competing.invalid")]);
    facts.sysctls.be_liberal = Some(true);
    assert_eq!(complaints(&judge(&usual(), &facts)), []);
}

#[test]
fn flowtables_matter_if_they_have_our_interfaces() {
    let mut facts = facts();
    let table = |devices: &[&str], hardware| Flowtable {
        family: "inet".into(),
        table: "t".into(),
        name: "f".into(),
        devices: devices.iter().map(|name| (*name).to_owned()).collect(),
        hardware,
    };
    facts.firewall.ruleset.flowtables = vec![table(&["eth8", "eth9"], false)];
    assert_eq!(complaints(&judge(&usual(), &facts)), []);
    facts.firewall.ruleset.flowtables = vec![table(&["eth8", "wan0"], true)];
    let findings = judge(&usual(), &facts);
    let finding = only(&findings, "competing.flowtable");
    assert!(finding.severity == Warning && finding.text.contains("network card"), "{finding:?}");
    assert_eq!(finding.commands[1], "nft delete flowtable inet t f");
}

#[test]
fn rules_that_cannot_be_read_are_no_good_sign() {
    let mut facts = facts();
    facts.firewall.trouble = Some("nft is not installed".into());
    let findings = judge(&usual(), &facts);
    assert_eq!(complaints(&findings), [(Note, "competing.unreadable")]);
    assert!(findings.iter().all(|finding| finding.check != "competing.forward"));
}
