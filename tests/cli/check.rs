//! `masq check`: what it finds on machines that are made for it, that it changes nothing, and that
//! `masq run` warns of the same.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use masq_tests::{
    daemon::{Masq, json, masq, run},
    lab::{HOST_A, Lab, LanKind, Layout, SERVER_1, WAN_IF},
    netns::Namespace,
    traffic::probe,
};
use serde_json::Value;

use crate::{failure, text};

const USUAL: [&str; 4] = ["--lan", "lan0", "--wan", WAN_IF];

/// What is found, without what is as it should be.
fn found(router: &Namespace, options: &[&str]) -> Vec<Value> {
    let output = run(router, [&["check", "--json"], options].concat());
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("no JSON ({e}): {}", text(&output.stderr)));
    let findings = report["findings"].as_array().expect("the findings").clone();
    let fatal = findings.iter().filter(|finding| finding["severity"] == "fatal").count();
    assert_eq!(report["fatal"], fatal);
    assert_eq!(output.status.code(), Some(if fatal == 0 { 0 } else { 1 }));
    findings.into_iter().filter(|finding| finding["severity"] != "ok").collect()
}

/// The only finding of this check.
#[track_caller]
fn only(findings: &[Value], check: &str) -> Value {
    let of: Vec<_> = findings.iter().filter(|finding| finding["check"] == check).collect();
    assert_eq!(of.len(), 1, "{check} in {findings:#?}");
    of[0].clone()
}

/// Names of the checks that have found something on the network, whatever the machine is like.
fn checks(findings: &[Value]) -> Vec<&str> {
    let names = findings.iter().filter_map(|finding| finding["check"].as_str());
    names.filter(|name| !name.starts_with("kernel.")).collect()
}

/// Runs the commands of a finding, as a person would who copies them.
fn obey(router: &Namespace, finding: &Value) {
    for command in finding["commands"].as_array().expect("the commands") {
        router.output("sh", &["-c", command.as_str().expect("a command")]);
    }
}

#[test]
fn a_router_in_order_has_no_findings_and_gets_none_by_running() {
    let lab = Lab::new(Layout::default());
    assert_eq!(checks(&found(&lab.router, &USUAL)), [""; 0]);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    // Those of the instance, which holds hooks on them and has turned forwarding on.
    assert_eq!(checks(&found(&lab.router, &[])), [""; 0]);
    let log = masq.stop();
    assert!(!log.contains(" WARN "), "{log}");
}

#[test]
fn the_programs_of_masq_are_not_those_of_somebody_else() {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let masq = Masq::start(&lab, ["--mode", "xdp"]);
    let forced = [&USUAL[..], &["--mode", "xdp"]].concat();
    assert_eq!(checks(&found(&lab.router, &forced)), ["interfaces.veth_xdp"; 2]);
    masq.stop();
}

#[test]
fn a_forward_chain_that_drops_is_named_and_its_commands_mend_it() {
    let lab = Lab::new(Layout::default());
    let rules = "table inet guard {
        chain through {
            type filter hook forward priority filter; policy drop
            ct state vmap { established : accept, related : accept, invalid : drop }
            iifname \"eth*\" accept
        }
    }";
    lab.router.feed("nft", &["-f", "-"], rules);
    let finding = only(&found(&lab.router, &USUAL), "competing.forward");
    assert_eq!(finding["severity"], "warning");
    let sentence = finding["text"].as_str().expect("a text");
    assert!(sentence.contains("chain through of table inet guard"), "{sentence}");
    // masq starts all the same, and says so.
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let line = masq.wait_for("chain through of table inet guard");
    assert!(line.contains("WARN") && line.contains("nft 'insert rule"), "{line}");
    assert_eq!(masq.log().matches("chain through").count(), 1, "said once");
    probe::ping(&lab.a, SERVER_1, 1).expect_err("the rule drops it");
    obey(&lab.router, &finding);
    probe::ping(&lab.a, SERVER_1, 2).expect("a reply");
    assert_eq!(checks(&found(&lab.router, &[])), [""; 0]);
    masq.stop();
}

#[test]
fn rules_of_iptables_are_understood_with_their_extensions() {
    let lab = Lab::new(Layout::default());
    let iptables = |words: &str| {
        lab.router.output("iptables", &words.split(' ').collect::<Vec<_>>());
    };
    // As Docker has it.
    iptables("-P FORWARD DROP");
    iptables("-N DOCKER-USER");
    iptables("-A FORWARD -j DOCKER-USER");
    iptables("-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    iptables("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    iptables("-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE");
    let finding = only(&found(&lab.router, &USUAL), "competing.forward");
    assert_eq!(finding["severity"], "warning", "certain, not perhaps: {finding}");
    assert!(finding["commands"][0].as_str().is_some_and(|c| c.contains("-I DOCKER-USER")));
    obey(&lab.router, &finding);
    assert_eq!(checks(&found(&lab.router, &USUAL)), [""; 0]);
}

#[test]
fn another_masquerade_is_found_and_removed_by_its_handle() {
    let lab = Lab::new(Layout::default());
    let rules = format!(
        "table ip other {{
            chain post {{
                type nat hook postrouting priority srcnat
                ip saddr 172.17.0.0/16 masquerade
                oifname {WAN_IF} masquerade
            }}
        }}"
    );
    lab.router.feed("nft", &["-f", "-"], &rules);
    let finding = only(&found(&lab.router, &USUAL), "competing.masquerade");
    assert_eq!(finding["interface"], WAN_IF);
    obey(&lab.router, &finding);
    assert_eq!(checks(&found(&lab.router, &USUAL)), [""; 0]);
    let left = lab.router.output("nft", &["list", "ruleset"]);
    assert!(left.contains("172.17.0.0/16"), "the other rule has stayed:\n{left}");
}

#[test]
fn a_flowtable_with_our_interfaces_is_found() {
    let lab = Lab::new(Layout::default());
    let rules = format!(
        "table inet t {{ flowtable f {{ hook ingress priority 0; devices = {{ {WAN_IF} }}; }} }}"
    );
    let mut nft = lab.router.command("nft");
    if !nft.arg(&rules).output().expect("start nft").status.success() {
        println!("left out: this kernel has no flowtables (CONFIG_NF_FLOW_TABLE)");
        return;
    }
    let finding = only(&found(&lab.router, &USUAL), "competing.flowtable");
    assert!(finding["text"].as_str().is_some_and(|text| text.contains(WAN_IF)));
}

#[test]
fn addresses_tell_what_is_around_this_router() {
    let lab = Lab::new(Layout::default());
    let with = |address: &str| {
        lab.router.ip(&format!("addr flush dev {WAN_IF}\naddr add {address} dev {WAN_IF}"));
        found(&lab.router, &USUAL)
    };
    let nat = only(&with("100.64.7.7/24"), "addresses.double_nat");
    assert!(nat["text"].as_str().is_some_and(|text| text.contains("carrier-grade")), "{nat}");
    assert_eq!(nat["severity"], "note");
    assert_eq!(only(&with("10.7.7.7/24"), "addresses.double_nat")["severity"], "note");
    let overlap = only(&with("192.168.1.99/24"), "addresses.overlap");
    assert_eq!(overlap["severity"], "warning");
    // With the addresses the default route has gone.
    let findings = with("203.0.113.5/24");
    assert_eq!(checks(&findings), ["addresses.route"]);
    assert_eq!(only(&findings, "addresses.route")["interface"], "lan0");
    lab.router.ip(&format!("addr flush dev {WAN_IF}"));
    only(&found(&lab.router, &USUAL), "addresses.none");
}

#[test]
fn packets_that_leave_by_another_interface_are_told_of() {
    let lab = Lab::new(Layout::default().lan(LanKind::InterfacePerHost));
    // A rule for what comes from this host only: the router's own packets go another way.
    lab.router.ip(&format!(
        "route add default via {HOST_A} dev lan0 table 7\nrule add iif lan1 lookup 7"
    ));
    lab.router.set_sysctl("net.ipv4.ip_forward", "1");
    let options = ["--lan", "lan1", "--wan", WAN_IF];
    // lan1 has one address and no network, so no host is known to ask for.
    assert_eq!(checks(&found(&lab.router, &options)), [""; 0]);
    lab.router.ip("addr add 192.168.9.1/24 dev lan1");
    let finding = only(&found(&lab.router, &options), "addresses.route");
    assert!(finding["text"].as_str().is_some_and(|text| text.contains("leave by lan0")));
}

#[test]
fn a_small_mtu_is_told_of_and_a_shaper_is_no_trouble_in_tc() {
    let lab = Lab::new(Layout::default().wan_mtu(1400));
    lab.router.output(
        "tc",
        &"qdisc add dev wan0 root tbf rate 100mbit burst 32k latency 50ms"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    // masq clamps by itself.
    let tc = [&USUAL[..], &["--mode", "tc"]].concat();
    assert_eq!(checks(&found(&lab.router, &tc)), [""; 0]);
    let findings = found(&lab.router, &USUAL);
    assert_eq!(checks(&findings), ["interfaces.below"]);
    let stays = only(&findings, "interfaces.below");
    assert!(stays["text"].as_str().is_some_and(|text| text.contains("shaper (tbf)")), "{stays}");
    let findings = found(&lab.router, &[&tc[..], &["--mss-clamp", "off"]].concat());
    let finding = only(&findings, "interfaces.mtu");
    let sentence = finding["text"].as_str().expect("a text");
    assert!(sentence.contains("1400") && sentence.contains("1500"), "{sentence}");
    assert_eq!(checks(&findings), ["interfaces.mtu"]);
    let forced = found(&lab.router, &[&USUAL[..], &["--mode", "xdp"]].concat());
    assert_eq!(only(&forced, "interfaces.shaper")["interface"], WAN_IF);
    // The line of the log that a script may look for.
    let masq = Masq::start(&lab, ["--mode", "tc", "--mss-clamp", "off"]);
    assert!(masq.wait_for("1400 bytes").contains("WARN"));
    masq.stop();
}

#[test]
fn what_cannot_work_is_fatal_and_run_refuses_it_in_the_same_words() {
    let lab = Lab::new(Layout::default().lan(LanKind::Bridge));
    let options = ["--lan", "port0", "--wan", WAN_IF];
    let finding = only(&found(&lab.router, &options), "interfaces.port");
    assert!(finding["advice"].as_str().is_some_and(|advice| advice.contains("name lan0 instead")));
    let error = failure(&run(&lab.router, [&["run"], &options[..]].concat()), 1);
    assert!(error.contains(finding["text"].as_str().expect("a text")), "{error}");
    let missing =
        only(&found(&lab.router, &["--lan", "lan0", "--wan", "ppp7"]), "interfaces.exist");
    assert_eq!(missing["severity"], "fatal");
    lab.router.set_sysctl("net.ipv4.ip_forward", "1");
    lab.router.set_sysctl("net.ipv4.conf.lan0.forwarding", "0");
    lab.router.ip("link set lan0 down");
    let findings = found(&lab.router, &USUAL);
    for check in ["interfaces.up", "sysctls.forwarding"] {
        obey(&lab.router, &only(&findings, check));
    }
    masq_tests::lab::wait_for_carrier(&lab.router, "lan0");
    assert_eq!(checks(&found(&lab.router, &USUAL)), [""; 0]);
}

#[test]
fn strictness_and_words_for_people() {
    let lab = Lab::new(Layout::default());
    lab.router.set_sysctl("net.ipv4.conf.wan0.route_localnet", "1");
    let check = |more: &[&str]| run(&lab.router, [&["check"], &USUAL[..], more].concat());
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output.stdout);
    assert!(out.contains("[sysctls.route_localnet]") && !out.contains("\x1b["), "{out}");
    assert!(out.ends_with("1 warning, 0 notes\n") || out.contains("1 warning,"), "{out}");
    assert!(!out.contains("ok  "), "{out}");
    let strict = check(&["--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(text(&strict.stderr).contains("--strict"));
    assert!(text(&check(&["-v"]).stdout).contains("[kernel.version]"));
    // There is nothing to look at in an empty namespace.
    let empty = Namespace::new("empty");
    assert!(failure(&run(&empty, ["check"]), 2).contains("--lan"));
    let error = failure(&run(&empty, [&["check"], &USUAL[..], &["--ports", "3-2"]].concat()), 2);
    assert!(error.contains("2-3"), "{error}");
    let file = std::env::temp_dir().join(format!("{}.toml", lab.router.name()));
    std::fs::write(&file, "lan = \"lan0\"\nwan = \"wan0\"\n").expect("write a file");
    let path = file.to_str().expect("UTF-8");
    let of_file = run(&lab.router, ["check", "--config", path]);
    std::fs::remove_file(&file).expect("remove the file");
    assert!(text(&of_file.stdout).contains("lan lan0, wan wan0: "), "{of_file:?}");
}

#[test]
fn services_among_the_external_ports_are_counted() {
    let lab = Lab::new(Layout::default());
    let _service = lab.router.tcp_listen(8080);
    let report = json(&lab.router, [&["check", "--json"], &USUAL[..]].concat());
    let findings = report["findings"].as_array().expect("the findings").clone();
    let finding = only(&findings, "ports.listeners");
    assert_eq!(finding["severity"], "ok");
    assert!(finding["text"].as_str().is_some_and(|text| text.contains("8080/tcp")), "{finding}");
}

#[test]
fn it_changes_nothing() {
    let lab = Lab::new(Layout::default());
    lab.router.output("iptables", &["-P", "FORWARD", "DROP"]);
    // What an instance leaves has the number of its namespace in its name.
    let number = lab.router.run(|| std::fs::metadata("/proc/thread-self/ns/net"));
    let number = number.expect("the namespace").ino().to_string();
    let before = state(&lab.router);
    let output = masq(&lab.router, ["check", "-v"]).args(USUAL).output().expect("start masq");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(before, state(&lab.router));
    let files = [files("/run/masq"), files("/sys/fs/bpf/masq")].concat();
    let left: Vec<_> =
        files.iter().filter(|file| file.to_string_lossy().contains(&number)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Everything in a namespace that could be changed, as its own tools show it.
fn state(router: &Namespace) -> BTreeMap<&'static str, String> {
    let commands = [
        "ip -details link",
        "ip address",
        "ip route show table all",
        "ip rule",
        "ip neighbour",
        "nft list ruleset",
        "tc qdisc",
        "sysctl -a --pattern ^net.ipv4.(ip_forward|conf)",
        "cat /proc/net/ip_tables_names",
    ];
    let mut state = BTreeMap::new();
    for command in commands {
        let words: Vec<_> = command.split(' ').collect();
        // Neighbours may become stale at any time.
        let shown = router.output(words[0], &words[1..]).replace("REACHABLE", "STALE");
        state.insert(command, shown);
    }
    state
}

/// All files below a directory.
fn files(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { Vec::new() };
    entries
        .map(|entry| entry.path())
        .flat_map(|path| [vec![path.clone()], below(path)].concat())
        .collect()
}
