//! Established flows really take the fast path, in the mode that was asked for. Everything else in
//! this suite would hold without it, only slower.

use masq_tests::{
    daemon::{self, Mode, counter},
    lab::{Lab, LanKind, Layout, SERVER_1},
    netns::Namespace,
    sockets::eventually,
    traffic::{http, probe},
};

use crate::{in_both_modes, scene::Setup};

in_both_modes!(
    established_flows_are_translated_at_ingress,
    below_a_bridge_too,
    below_vlans_too,
    below_a_bridge_of_vlans_too,
);

const TRANSFER: usize = 5_000_000;

fn established_flows_are_translated_at_ingress(setup: Setup) {
    setup.masq_only().run(|scene| {
        let Lab { a, router, server1, .. } = scene.lab;
        let ports = || {
            let lans = scene.lab.lan_ports().iter().map(|port| redirected_by_xdp(router, port));
            [lans.sum(), redirected_by_xdp(router, scene.lab.wan_port())]
        };
        if scene.mode == Mode::Xdp {
            // A bridge has to learn first, and masq from it.
            eventually("echoes both ways by XDP", || {
                let before: [u64; 2] = ports();
                probe::ping(a, SERVER_1, 1).expect("a reply");
                probe::ping(a, SERVER_1, 1).expect("a reply");
                let now = ports();
                (now[0] > before[0] && now[1] > before[1]).then_some(())
            });
        }
        let counters = || {
            let stats = daemon::stats(router);
            [["outbound_fast", "inbound_fast"], ["outbound_slow", "inbound_slow"]]
                .map(|names| names.map(|name| counter(&stats, name)))
        };
        let _server = http::Server::start(server1, 80);
        // What any bridge of the machine learns about a station with such an address ends what masq
        // knows, until it has asked: and in the next lab there are hosts with the same addresses.
        let bridged = matches!(scene.lab.layout().lan, LanKind::Bridge | LanKind::BridgeOfVlans);
        let tries = if bridged && scene.mode == Mode::Xdp { 20 } else { 1 };
        let whole = (1..=tries).any(|attempt| {
            let (before, ports_before) = (counters(), ports());
            http::download(a, (SERVER_1, 80), TRANSFER).expect("a whole download");
            http::upload(a, (SERVER_1, 80), TRANSFER).expect("a whole upload");
            let (now, ports_now) = (counters(), ports());
            let more = |now: [u64; 2], before: [u64; 2]| [now[0] - before[0], now[1] - before[1]];
            let [fast, slow] = [more(now[0], before[0]), more(now[1], before[1])];
            for (fast, slow) in fast.into_iter().zip(slow) {
                assert!(
                    fast > 20 * slow,
                    "{fast} packets by the fast path, {slow} by the full one"
                );
            }
            // Counters do not tell XDP from TC; the devices do.
            let by_xdp = more(ports_now, ports_before);
            match scene.mode {
                Mode::Tc => assert_eq!(by_xdp, [0, 0]),
                Mode::Xdp if attempt == tries => {
                    assert_eq!(by_xdp, fast, "every one of them in XDP: {:#?}", counts(router));
                }
                Mode::Xdp => return by_xdp == fast,
                Mode::Kernel => unreachable!("there is no fast path to be in"),
            }
            true
        });
        assert!(whole, "the last attempt would have said why");
        let stats = daemon::stats(router);
        let interfaces = stats["interfaces"].as_array().expect("the interfaces");
        assert!(interfaces.iter().all(|i| i["mode"] == scene.mode.as_str()), "{interfaces:?}");
    });
}

/// What has been counted so far, for who looks for the reason.
fn counts(router: &Namespace) -> Vec<String> {
    let stats = daemon::stats(router);
    let counters = stats["counters"].as_array().expect("the counters");
    let counted = counters.iter().filter(|counter| counter["count"] != 0);
    counted.map(|counter| format!("{} {}", counter["reason"], counter["count"])).collect()
}

fn below_a_bridge_too(setup: Setup) {
    let layout = Layout::default().lan(LanKind::Bridge);
    established_flows_are_translated_at_ingress(setup.layout(layout));
}

fn below_vlans_too(setup: Setup) {
    let layout = Layout::default().lan(LanKind::Vlan).vlan();
    established_flows_are_translated_at_ingress(setup.layout(layout));
}

fn below_a_bridge_of_vlans_too(setup: Setup) {
    let layout = Layout::default().lan(LanKind::BridgeOfVlans).vlan();
    established_flows_are_translated_at_ingress(setup.layout(layout));
}

/// A port could send to nobody: then its program tries nothing, and says so.
#[test]
fn a_driver_that_could_send_to_nobody_is_at_rest() {
    let layout = Layout::default().tun();
    Setup::new(Mode::Xdp).layout(layout).masq_only().run(|scene| {
        let Lab { a, router, server1, .. } = scene.lab;
        let lan = || daemon::stats(router)["interfaces"][0].clone();
        assert_eq!((&lan()["name"], &lan()["mode"]), (&"lan0".into(), &"tc".into()));
        assert!(lan()["why"].as_str().is_some_and(|why| why.contains("no WAN")), "{}", lan());
        let link = || router.output("ip", &["-details", "link", "show", "lan0"]);
        assert!(link().contains("xdp"), "it stays, as for a redial: {}", link());
        let _server = http::Server::start(server1, 80);
        http::download(a, (SERVER_1, 80), TRANSFER).expect("a whole download");
        let stats = daemon::stats(router);
        let fast = counter(&stats, "outbound_fast");
        assert!(fast > 100, "{fast} packets from the LAN by TC");
        assert!(counter(&stats, "fast_path_off") >= fast, "none of them was tried before");
        assert_eq!(redirected_by_xdp(router, "lan0"), 0);
        // No frame of the LAN was looked up in vain.
        assert_eq!(counter(&stats, "other_device"), 0, "{:#?}", counts(router));
    });
}

#[test]
fn a_driver_at_rest_goes_on_when_the_other_side_is_there() {
    Setup::new(Mode::Xdp).masq_only().run(|scene| {
        let lab = scene.lab;
        let lan = || daemon::stats(&lab.router)["interfaces"][0].clone();
        let has = |mode: &str| (lan()["mode"] == mode).then_some(());
        has("xdp").expect("at the start");
        let port = lab.lan_ports()[0];
        let program = || {
            let link = lab.router.output("ip", &["-details", "link", "show", port]);
            let (_, rest) = link.split_once("prog/xdp id ").expect("it is never without");
            rest.split_whitespace().next().map(str::to_owned)
        };
        let before = program();
        lab.remove_wan();
        eventually("the LAN at rest", || has("tc"));
        assert_eq!(program(), before, "the program stays");
        lab.restore_wan();
        lab.prepare_for_xdp();
        lab.connect_wan();
        eventually("the LAN in XDP", || has("xdp"));
        assert_eq!(program(), before);
        eventually("echoes both ways by XDP", || {
            let ports = [port, lab.wan_port()];
            let counts = || ports.map(|port| redirected_by_xdp(&lab.router, port));
            let before = counts();
            for _ in 0..2 {
                probe::ping(&lab.a, SERVER_1, 1).ok()?;
            }
            counts().iter().zip(before).all(|(now, before)| *now > before).then_some(())
        });
    });
}

#[test]
fn without_a_fast_path_the_kernel_routes_every_packet() {
    Setup::new(Mode::Kernel).masq_only().run(|scene| {
        let Lab { a, router, server1, .. } = scene.lab;
        // What the fast path would pass by.
        router.feed(
            "nft",
            &["-f", "-"],
            "table ip t {\n chain c {\n type filter hook forward priority 0\n counter\n }\n}\n",
        );
        let _server = http::Server::start(server1, 80);
        http::download(a, (SERVER_1, 80), TRANSFER).expect("a whole download");
        let stats = daemon::stats(router);
        for name in ["outbound_fast", "inbound_fast"] {
            assert_eq!(counter(&stats, name), 0, "{name}");
        }
        let rules = router.output("nft", &["list", "ruleset"]);
        let seen =
            rules.split_once("counter packets ").and_then(|(_, rest)| rest.split(' ').next());
        let seen: u64 = seen.and_then(|n| n.parse().ok()).expect("a counter");
        let translated = counter(&stats, "outbound_slow") + counter(&stats, "inbound_slow");
        assert!(seen >= translated, "{seen} of {translated} packets were forwarded");
    });
}

/// Frames that XDP on a veth has redirected, by the device's own statistics.
pub fn redirected_by_xdp(namespace: &Namespace, interface: &str) -> u64 {
    let statistics = namespace.output("ethtool", &["-S", interface]);
    let of_queues = statistics.lines().filter(|line| line.contains("_xdp_redirect:"));
    let counts = of_queues.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}
