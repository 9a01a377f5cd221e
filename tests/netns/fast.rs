//! Established flows really take the fast path, in the mode that was asked for. Everything else in
//! this suite would hold without it, only slower.

use masq_tests::{
    daemon::{self, Mode, counter},
    lab::{Lab, SERVER_1, WAN_IF},
    netns::Namespace,
    traffic::http,
};

use crate::{in_both_modes, scene::Setup};

in_both_modes!(established_flows_are_translated_at_ingress);

const TRANSFER: usize = 5_000_000;

fn established_flows_are_translated_at_ingress(setup: Setup) {
    setup.masq_only().run(|scene| {
        let Lab { a, router, server1, .. } = scene.lab;
        let _server = http::Server::start(server1, 80);
        http::download(a, (SERVER_1, 80), TRANSFER).expect("a whole download");
        http::upload(a, (SERVER_1, 80), TRANSFER).expect("a whole upload");
        let stats = daemon::stats(router);
        let [fast, slow] = [["outbound_fast", "inbound_fast"], ["outbound_slow", "inbound_slow"]]
            .map(|names| names.map(|name| counter(&stats, name)));
        for (fast, slow) in fast.into_iter().zip(slow) {
            assert!(fast > 20 * slow, "{fast} packets by the fast path, {slow} by the full one");
        }
        // Counters do not tell XDP from TC; the devices do.
        let by_xdp = ["lan0", WAN_IF].map(|interface| redirected_by_xdp(router, interface));
        match scene.mode {
            Mode::Tc => assert_eq!(by_xdp, [0, 0]),
            Mode::Xdp => assert_eq!(by_xdp, fast, "every one of them in XDP"),
            Mode::Kernel => unreachable!("there is no fast path to be in"),
        }
        let interfaces = stats["interfaces"].as_array().expect("the interfaces");
        assert!(interfaces.iter().all(|i| i["mode"] == scene.mode.as_str()), "{interfaces:?}");
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
fn redirected_by_xdp(namespace: &Namespace, interface: &str) -> u64 {
    let statistics = namespace.output("ethtool", &["-S", interface]);
    let of_queues = statistics.lines().filter(|line| line.contains("_xdp_redirect:"));
    let counts = of_queues.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}
