//! Fragments: later ones that are translated like the first of their datagram, that come before it,
//! that collide with others on the outside, and that are not honest.

use masq_common::{
    be::Id,
    flow::{FlowKey, Tuple},
    fragment::Datagram,
    reason::Reason::*,
    settings::Settings,
    slow::{Cause, Head},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1},
    packet::{Endpoint, Packet},
    program::{Bench, Hook, Output, Verdict},
};

use crate::{OBJECT, table::ends};

const INSIDE: Endpoint = (HOST_A, 40_000);
const OUTSIDE: Endpoint = (ROUTER_WAN, 40_000);
const REMOTE: Endpoint = (SERVER_1, 7000);

/// The fragments of a datagram with this identification.
fn fragments(from: Endpoint, to: Endpoint, id: u16) -> [Vec<u8>; 3] {
    let whole = || Packet::udp(from, to, &[7; 40]).id(id);
    [(0, 16), (16, 32), (32, 48)].map(|(begin, end)| whole().fragment(begin, end).bytes())
}

fn identification(output: &Output) -> u16 {
    u16::from_be_bytes([output.packet()[4], output.packet()[5]])
}

fn causes(records: &[(Head, Vec<u8>)]) -> Vec<Option<Cause>> {
    records.iter().map(|(head, _)| Cause::from_number(head.cause)).collect()
}

#[test]
fn one_that_overtakes_the_first_goes_to_the_daemon_whole() {
    let mut bench = Bench::new(&OBJECT);
    let [first, middle, last] = fragments(INSIDE, REMOTE, 0x0f01);
    ends(&mut bench, Hook::WanOut, &[("last", last.clone(), FragmentEarly)]);
    ends(&mut bench, Hook::WanOut, &[("first", first, OutboundSlow)]);
    ends(
        &mut bench,
        Hook::WanOut,
        &[("middle", middle, Fragment), ("last", last.clone(), Fragment)],
    );
    let records = bench.slow_records();
    assert_eq!(causes(&records), [Some(Cause::EarlyOut), Some(Cause::FirstSeen)]);
    let (head, data) = &records[0];
    assert_eq!((head.length as usize, data), (last.len(), &last));
    let datagram: Datagram = bytemuck::pod_read_unaligned(&records[1].1);
    assert_eq!(datagram.source, HOST_A.into());
    assert_eq!(datagram.identification, 0x0f01_u16.to_be());
    // The translation that the daemon finds for it is the one of the first.
    let translation = bench.fragment(&datagram).expect("the first one is remembered");
    assert_eq!(translation.source, ROUTER_WAN.into());
}

#[test]
fn from_outside_the_router_gets_it_and_the_daemon_a_copy() {
    let mut bench = Bench::new(&OBJECT);
    bench.install(17, INSIDE, OUTSIDE.1, REMOTE);
    let [first, _, last] = fragments(REMOTE, OUTSIDE, 0x0f02);
    ends(&mut bench, Hook::WanIn, &[("last", last.clone(), NoSession)]);
    ends(&mut bench, Hook::WanIn, &[("first", first, InboundSlow)]);
    ends(&mut bench, Hook::WanIn, &[("last", last.clone(), Fragment)]);
    let records = bench.slow_records();
    assert_eq!(causes(&records), [Some(Cause::EarlyIn), Some(Cause::FirstSeen)]);
    assert_eq!(records[0].1, last);
}

#[test]
fn no_sender_has_more_than_its_share_of_the_daemon() {
    let mut bench = Bench::new(&OBJECT);
    let early = |host, id| fragments((host, 1), REMOTE, id)[2].clone();
    let mut taken = 0;
    let mut refused = None;
    // A tick may end meanwhile, and a new share begin.
    for id in 0..200 {
        let output = bench.run(Hook::WanOut, &early(HOST_A, id));
        assert_eq!(output.verdict, Verdict::Drop);
        match output.reason() {
            FragmentEarly => taken += 1,
            _ => {
                refused = Some(output);
                break;
            }
        }
    }
    let refused = refused.expect("the share is used up at some time");
    assert_eq!(refused.reason(), FragmentUnknown);
    assert_eq!(refused.counted.get("slow_path_full"), Some(&1));
    assert!(taken >= 32, "only {taken}");
    assert_eq!(bench.run(Hook::WanOut, &early(HOST_B, 1)).reason(), FragmentEarly);
}

#[test]
fn two_hosts_with_one_identification_differ_outside() {
    let mut bench = Bench::new(&OBJECT);
    let id = 0x0f01;
    let [first_a, middle_a, last_a] = fragments(INSIDE, REMOTE, id);
    let [first_b, middle_b, last_b] = fragments((HOST_B, 40_000), REMOTE, id);
    let mut run = |packet: &[u8]| {
        let output = bench.run(Hook::WanOut, packet);
        assert_eq!(output.verdict, Verdict::Pass);
        masq_tests::checksum::check(output.packet(), masq_tests::checksum::Transport::Whole)
            .expect("good checksums");
        identification(&output)
    };
    // The first to come keeps its own (as netfilter and everybody expects), the second does not.
    assert_eq!(run(&first_a), id);
    let b = run(&first_b);
    assert_ne!(b, id);
    assert_eq!([run(&middle_a), run(&last_a)], [id; 2]);
    assert_eq!([run(&middle_b), run(&last_b)], [b; 2]);
    // The same first fragment again is the same datagram.
    assert_eq!([run(&first_b), run(&first_a)], [b, id]);
}

#[test]
fn an_identification_is_free_again_after_the_lifetime_of_a_datagram() {
    let mut bench = Bench::new(&OBJECT);
    let at = |seconds: u64| Settings { clock_offset: seconds * 1_000_000_000, ..Settings::DEFAULT };
    let run = |bench: &mut Bench, host| {
        let [first, ..] = fragments((host, 40_000), REMOTE, 77);
        identification(&bench.run(Hook::WanOut, &first))
    };
    assert_eq!(run(&mut bench, HOST_A), 77);
    bench.set_settings(&at(119));
    assert_ne!(run(&mut bench, HOST_B), 77);
    bench.set_settings(&at(119 + 125));
    assert_eq!(run(&mut bench, HOST_B), 77);
}

#[test]
fn what_was_remembered_is_forgotten_in_time() {
    let mut bench = Bench::new(&OBJECT);
    let [first, _, last] = fragments(INSIDE, REMOTE, 5);
    ends(&mut bench, Hook::WanOut, &[("first", first, OutboundSlow)]);
    let later = Settings { clock_offset: 6_000_000_000, ..Settings::DEFAULT };
    bench.set_settings(&later);
    ends(&mut bench, Hook::WanOut, &[("last", last, FragmentEarly)]);
}

#[test]
fn two_firsts_that_differ_take_the_datagram_with_them() {
    let mut bench = Bench::new(&OBJECT);
    bench.install(17, INSIDE, 40_000, REMOTE);
    bench.install(17, (HOST_B, 5000), 50_000, REMOTE);
    let [to_a, _, last] = fragments(REMOTE, OUTSIDE, 9);
    let [to_b, ..] = fragments(REMOTE, (ROUTER_WAN, 50_000), 9);
    ends(&mut bench, Hook::WanIn, &[("to A", to_a, InboundSlow), ("to B", to_b, FragmentOverlap)]);
    ends(&mut bench, Hook::WanIn, &[("the rest", last, NoSession)]);
}

#[test]
fn a_tcp_header_is_not_overwritten() {
    let mut bench = Bench::new(&OBJECT);
    let segment = || Packet::tcp(INSIDE, REMOTE, 0x02, &[0; 40]).id(3);
    let cases = [
        ("first without ports", segment().fragment(0, 0).bytes(), Malformed),
        ("first with half a header", segment().fragment(0, 8).bytes(), Malformed),
        ("second at the flags", segment().fragment(8, 16).bytes(), FragmentTiny),
        ("first with a whole header", segment().fragment(0, 24).bytes(), OutboundSlow),
        ("second behind it", segment().fragment(24, 40).bytes(), Fragment),
    ];
    ends(&mut bench, Hook::WanOut, &cases);
}

#[test]
fn the_routers_own_datagrams_do_not_go_to_the_daemon() {
    let mut bench = Bench::new(&OBJECT);
    let [first, middle, last] = fragments(REMOTE, (ROUTER_WAN, 500), 21);
    let cases =
        [("first", first, NoSession), ("middle", middle, NoSession), ("last", last, NoSession)];
    ends(&mut bench, Hook::WanIn, &cases);
    assert_eq!(causes(&bench.slow_records()), []);
}

/// What a half has counted.
fn counted(bench: &Bench, from: Endpoint, to: Endpoint) -> (u64, u64) {
    let key: FlowKey = Tuple {
        source: from.0.into(),
        destination: to.0.into(),
        source_id: Id::new(from.1),
        destination_id: Id::new(to.1),
    }
    .key(17);
    let half = bench.session(&key).expect("the half");
    (half.packets, half.bytes)
}

fn bytes(packets: &[&Vec<u8>]) -> u64 {
    packets.iter().map(|packet| packet.len() as u64).sum()
}

#[test]
fn all_are_counted_in_the_session_of_the_first() {
    let mut bench = Bench::new(&OBJECT);
    let [first, middle, last] = fragments(INSIDE, REMOTE, 31);
    // The daemon sends the last one when the first one has passed.
    bench.run(Hook::WanOut, &last);
    bench.run(Hook::WanOut, &first);
    assert_eq!(counted(&bench, INSIDE, REMOTE), (2, bytes(&[&first, &last])));
    bench.run(Hook::WanOut, &middle);
    assert_eq!(counted(&bench, INSIDE, REMOTE), (3, bytes(&[&first, &middle, &last])));
    // The other direction has had nothing yet.
    assert_eq!(counted(&bench, REMOTE, OUTSIDE), (0, 0));
    let [first, middle, last] = fragments(REMOTE, OUTSIDE, 31);
    for fragment in [&first, &middle, &last] {
        bench.run(Hook::WanIn, fragment);
    }
    assert_eq!(counted(&bench, REMOTE, OUTSIDE), (3, bytes(&[&first, &middle, &last])));
    assert_eq!(counted(&bench, INSIDE, REMOTE).0, 3);
}

#[test]
fn what_the_daemon_had_of_an_earlier_datagram_is_not_counted() {
    let mut bench = Bench::new(&OBJECT);
    let [first, _, last] = fragments(INSIDE, REMOTE, 32);
    bench.run(Hook::WanOut, &last);
    // Identifications come round again.
    let clock_offset = 6_000_000_000;
    bench.set_settings(&Settings { clock_offset, ..Settings::DEFAULT });
    bench.run(Hook::WanOut, &first);
    assert_eq!(counted(&bench, INSIDE, REMOTE), (1, bytes(&[&first])));
}

#[test]
fn between_two_hosts_they_are_counted_in_both_sessions() {
    let mut bench = Bench::new(&OBJECT);
    // A talks to B's mapping.
    let (b, outside_b) = ((HOST_B, 5000), (ROUTER_WAN, 50_000));
    bench.install(17, INSIDE, OUTSIDE.1, outside_b);
    bench.install(17, b, outside_b.1, OUTSIDE);
    let [first, middle, last] = fragments(INSIDE, outside_b, 33);
    for fragment in [&first, &middle, &last] {
        let output = bench.run(Hook::LanIn, fragment);
        assert_eq!((output.reason(), output.verdict), (Hairpin, Verdict::Redirect));
    }
    let all = (3, bytes(&[&first, &middle, &last]));
    assert_eq!(counted(&bench, INSIDE, outside_b), all, "A's session");
    assert_eq!(counted(&bench, OUTSIDE, outside_b), all, "B's session");
}
