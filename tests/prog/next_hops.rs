//! What sessions remember of their next hops, and what ends it.
//!
//! Neighbours of other namespaces count too, those of the tests beside this one: so a session may have
//! to ask anew at any moment, and what a test wants to see remembered it has to try more than once.

use masq_common::{
    flow::{FlowKey, TCP, UDP},
    hop::{Hop as NextHop, REST, Ticket},
    reason::Reason::*,
    settings::{Settings, switches},
    tcp::ACK,
};
use masq_tests::{
    lab::{HOST_A, ISP, MAC_ISP, MAC_ROUTER_WAN, SERVER_1},
    packet::{Endpoint, Packet},
    program::{Bench, Hook, Output, Verdict, mac, pair},
};

use crate::OBJECT;

const INSIDE: Endpoint = (HOST_A, 40_000);
const REMOTE: Endpoint = (SERVER_1, 53);
const OTHER_ISP: &str = "02:00:00:00:0b:02";

fn bench() -> Bench {
    let mut bench = Bench::new(&OBJECT);
    bench.install(UDP, INSIDE, 61_001, REMOTE);
    bench.install(TCP, INSIDE, 61_001, REMOTE);
    bench.remember_next_hops();
    bench
}

fn key() -> FlowKey {
    pair(UDP, INSIDE, 61_001, REMOTE).outbound.key()
}

fn packet() -> Packet {
    Packet::udp(INSIDE, REMOTE, b"question")
}

fn ticket(bench: &Bench) -> Ticket {
    bench.session(&key()).expect("the session").ticket
}

/// So often is tried what a change in another namespace may undo.
const TRIES: usize = 200;

/// Runs a packet until its session remembers the next hop; the number of that.
fn remembered(bench: &mut Bench, hook: Hook, packet: &[u8], key: &FlowKey) -> u32 {
    for _ in 0..TRIES {
        next_hop(&bench.run(hook, packet));
        let ticket = bench.session(key).expect("the session").ticket;
        if ticket != Ticket::NONE {
            return ticket.hop();
        }
    }
    panic!("{hook:?} does not remember");
}

/// The link-layer address that a packet was sent to.
fn next_hop(output: &Output) -> [u8; 6] {
    assert_eq!(output.verdict, Verdict::Redirect, "{output:?}");
    output.frame[..6].try_into().expect("an Ethernet frame")
}

#[test]
fn a_session_uses_what_it_remembers() {
    for hook in [Hook::LanXdp, Hook::LanIn] {
        let mut bench = bench();
        assert_eq!(ticket(&bench), Ticket::NONE);
        let number = remembered(&mut bench, hook, &packet().bytes(), &key());
        let hop = bench.next_hop(number);
        assert_eq!((hop.way.destination, hop.way.source), (mac(MAC_ISP), mac(MAC_ROUTER_WAN)));
        // The proof that the routing is not asked: the table says something else.
        let other = masq_common::hop::Way { destination: mac(OTHER_ISP), ..hop.way };
        let used = (0..TRIES).any(|_| {
            let number = remembered(&mut bench, hook, &packet().bytes(), &key());
            bench.set_next_hop(number, NextHop { way: other, ..hop });
            let sent_to = next_hop(&bench.run(hook, &packet().bytes()));
            bench.set_next_hop(number, hop);
            sent_to == mac(OTHER_ISP)
        });
        assert!(used, "{hook:?} asks every time");
        // Another flow asks by itself.
        let segment = Packet::tcp(INSIDE, REMOTE, ACK, b"data").bytes();
        assert_eq!(next_hop(&bench.run(hook, &segment)), mac(MAC_ISP));
    }
}

/// A number stands for another way in another epoch, whose sum of changes may happen to be the same.
#[test]
fn an_entry_of_another_epoch_is_not_used() {
    let mut bench = bench();
    for _ in 0..TRIES / 10 {
        let number = remembered(&mut bench, Hook::LanXdp, &packet().bytes(), &key());
        let hop = bench.next_hop(number);
        let way = masq_common::hop::Way { destination: mac(OTHER_ISP), ..hop.way };
        let state = NextHop::ready((hop.state >> 32) as u32 + 1);
        bench.set_next_hop(number, NextHop { state, way });
        let sent_to = next_hop(&bench.run(Hook::LanXdp, &packet().bytes()));
        bench.set_next_hop(number, hop);
        assert_eq!(sent_to, mac(MAC_ISP));
    }
}

#[test]
fn flows_of_one_next_hop_share_it() {
    let mut bench = bench();
    let udp = remembered(&mut bench, Hook::LanXdp, &packet().bytes(), &key());
    let segment = Packet::tcp(INSIDE, REMOTE, ACK, b"data").bytes();
    let tcp = pair(TCP, INSIDE, 61_001, REMOTE).outbound.key();
    assert_eq!(remembered(&mut bench, Hook::LanXdp, &segment, &tcp), udp);
    assert_eq!(bench.next_hops_used(), 1);
}

#[test]
fn nothing_is_remembered_unless_the_daemon_says_so() {
    let mut bench = bench();
    bench.set_settings(&Settings::DEFAULT);
    assert_eq!(next_hop(&bench.run(Hook::LanXdp, &packet().bytes())), mac(MAC_ISP));
    assert_eq!(ticket(&bench), Ticket::NONE);
}

/// The change has to count for the very next packet.
#[test]
fn every_change_of_the_routing_ends_it() {
    let changes = [
        (
            "route",
            format!("route add blackhole {SERVER_1}"),
            format!("route del blackhole {SERVER_1}"),
        ),
        (
            "rule",
            format!("rule add to {SERVER_1} prohibit"),
            format!("rule del to {SERVER_1} prohibit"),
        ),
        (
            "link",
            "link set wan0 down".into(),
            format!(
                "link set wan0 up\nroute add default via {ISP}\n\
            neigh replace {ISP} lladdr {MAC_ISP} dev wan0 nud permanent"
            ),
        ),
        (
            "neighbour",
            format!("neigh del {ISP} dev wan0"),
            format!("neigh add {ISP} lladdr {MAC_ISP} dev wan0 nud permanent"),
        ),
    ];
    for hook in [Hook::LanXdp, Hook::LanIn] {
        let mut bench = bench();
        for (what, change, back) in &changes {
            next_hop(&bench.run(hook, &packet().bytes()));
            assert_eq!(next_hop(&bench.run(hook, &packet().bytes())), mac(MAC_ISP));
            bench.namespace().ip(change);
            let output = bench.run(hook, &packet().bytes());
            assert_eq!(output.verdict, Verdict::Pass, "{hook:?}: {what} has changed");
            bench.namespace().ip(back);
            let output = bench.run(hook, &packet().bytes());
            assert_eq!(output.verdict, Verdict::Redirect, "{hook:?}: {what} has changed back");
        }
        bench.namespace().set_sysctl("net.ipv4.conf.lan0.forwarding", "0");
        assert_eq!(bench.run(hook, &packet().bytes()).verdict, Verdict::Pass, "no forwarding");
    }
}

#[test]
fn a_neighbour_with_another_address_is_sent_to_there() {
    for hook in [Hook::LanXdp, Hook::LanIn] {
        let mut bench = bench();
        assert_eq!(next_hop(&bench.run(hook, &packet().bytes())), mac(MAC_ISP));
        let change = format!("neigh replace {ISP} lladdr {OTHER_ISP} dev wan0 nud permanent");
        bench.namespace().ip(&change);
        assert_eq!(next_hop(&bench.run(hook, &packet().bytes())), mac(OTHER_ISP));
    }
}

#[test]
fn an_interface_with_another_address_sends_from_there() {
    const OTHER: &str = "02:00:00:00:02:02";
    let mut bench = bench();
    next_hop(&bench.run(Hook::LanXdp, &packet().bytes()));
    bench.namespace().ip(&format!(
        "link set wan0 address {OTHER}\nneigh replace {ISP} lladdr {MAC_ISP} dev wan0 nud permanent"
    ));
    let output = bench.run(Hook::LanXdp, &packet().bytes());
    assert_eq!((output.verdict, &output.frame[6..12]), (Verdict::Redirect, &mac(OTHER)[..]));
}

#[test]
fn what_is_too_big_for_the_way_asks_the_routing() {
    let mut bench = bench();
    let large = Packet::udp(INSIDE, REMOTE, &[1; 1300]).bytes();
    next_hop(&bench.run(Hook::LanXdp, &large));
    let narrower = format!("route replace {SERVER_1} via {ISP} mtu lock 1200");
    bench.namespace().ip(&narrower);
    let output = bench.run(Hook::LanXdp, &large);
    assert_eq!(output.counted.get(TooBig.label()), Some(&1), "{output:?}");
    let number = remembered(&mut bench, Hook::LanXdp, &packet().bytes(), &key());
    assert_eq!(bench.next_hop(number).way.mtu, 1200);
    let output = bench.run(Hook::LanXdp, &large);
    assert_eq!(output.counted.get(TooBig.label()), Some(&1), "by what is remembered: {output:?}");
}

#[test]
fn another_class_of_service_asks_for_itself() {
    let mut bench = bench();
    next_hop(&bench.run(Hook::LanXdp, &packet().bytes()));
    let rule = "route add blackhole default table 7\nrule add tos 0x10 table 7";
    bench.namespace().ip(rule);
    next_hop(&bench.run(Hook::LanXdp, &packet().bytes()));
    let output = bench.run(Hook::LanXdp, &packet().tos(0x10).bytes());
    assert_eq!(output.verdict, Verdict::Pass, "{output:?}");
    next_hop(&bench.run(Hook::LanXdp, &packet().bytes()));
}

#[test]
fn frames_for_others_are_left_alone_all_the_same() {
    let mut bench = bench();
    next_hop(&bench.run(Hook::LanXdp, &packet().bytes()));
    let frame = packet().frame(mac(OTHER_ISP), mac(OTHER_ISP));
    let output = bench.run_frame(Hook::LanXdp, &frame);
    assert_eq!(output.verdict, Verdict::Pass);
    assert_eq!(output.counted.get(NotForUs.label()), Some(&1), "{output:?}");
}

#[test]
fn an_epoch_that_ends_makes_room_after_a_while() {
    let mut bench = bench();
    let before = remembered(&mut bench, Hook::LanXdp, &packet().bytes(), &key());
    bench.forget_next_hops(true);
    assert_eq!(bench.next_hops_used(), 0);
    // The same place is somebody's still, who may be reading it: another one is taken.
    assert_ne!(remembered(&mut bench, Hook::LanXdp, &packet().bytes(), &key()), before);
    bench.forget_next_hops(true);
    let later = u64::from(REST.0 + 1) << masq_common::time::TICK_SHIFT;
    let settings =
        Settings { switches: switches::NEXT_HOPS, clock_offset: later, ..Settings::DEFAULT };
    bench.set_settings(&settings);
    let after = remembered(&mut bench, Hook::LanXdp, &packet().bytes(), &key());
    assert_eq!(after, before, "free again");
}
