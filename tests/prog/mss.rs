//! The segment size that a SYN announces, at both hooks of the WAN, wherever among the options it
//! stands. Checksums are those that [`Packet`] computes from scratch.

use masq_common::{
    flow::TCP,
    tcp::{ACK, SYN},
};
use masq_tests::{
    lab::{HOST_A, ROUTER_WAN, SERVER_1},
    packet::{Endpoint, Packet, reseal},
    program::{Bench, Hook, Output},
};

use crate::OBJECT;

const INSIDE: Endpoint = (HOST_A, 40_000);
const OUTSIDE: Endpoint = (ROUTER_WAN, 40_000);
const REMOTE: Endpoint = (SERVER_1, 443);

/// A time stamp (RFC 7323).
const TIMESTAMP: [u8; 10] = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];

fn bench(most: u16) -> Bench {
    let mut bench = Bench::new(&OBJECT);
    bench.set_mss(most);
    bench
}

/// A segment with these options behind its header, which are filled up with zeros.
fn segment(ends: [Endpoint; 2], flags: u8, options: &[u8]) -> Vec<u8> {
    let mut rest = options.to_vec();
    rest.resize(options.len().next_multiple_of(4), 0);
    let mut packet = Packet::tcp(ends[0], ends[1], flags, &rest).bytes();
    packet[32] = (5 + rest.len() as u8 / 4) << 4;
    reseal(&mut packet);
    packet
}

/// What is counted as lowered.
fn lowered(output: &Output) -> u64 {
    output.counted.get("mss_lowered").copied().unwrap_or_default()
}

/// Demands that of the SYN with these options, and of its answer, the size is lowered as wanted, and
/// nothing else is changed.
#[track_caller]
fn check(bench: &mut Bench, options: &[u8], wanted: &[u8]) {
    let count = u64::from(options != wanted);
    let output = bench.run(Hook::WanOut, &segment([INSIDE, REMOTE], SYN, options));
    assert_eq!(output.packet(), segment([OUTSIDE, REMOTE], SYN, wanted), "SYN {options:?}");
    assert_eq!(lowered(&output), count);
    let output = bench.run(Hook::WanIn, &segment([REMOTE, OUTSIDE], SYN | ACK, options));
    assert_eq!(output.packet(), segment([REMOTE, INSIDE], SYN | ACK, wanted), "answer {options:?}");
    assert_eq!(lowered(&output), count);
}

fn size(size: u16) -> [u8; 4] {
    let [high, low] = size.to_be_bytes();
    [2, 4, high, low]
}

#[test]
fn what_is_too_large_is_lowered_and_nothing_else() {
    let mut bench = bench(1452);
    check(&mut bench, &size(1460), &size(1452));
    check(&mut bench, &size(1452), &size(1452));
    check(&mut bench, &size(536), &size(536));
    check(&mut bench, &size(0xffff), &size(1452));
    // No limit, no size.
    bench.set_mss(0);
    check(&mut bench, &size(1460), &size(1460));
    bench.set_mss(1452);
    check(&mut bench, &[], &[]);
    check(&mut bench, &TIMESTAMP, &TIMESTAMP);
}

#[test]
fn the_option_is_found_wherever_it_stands() {
    let mut bench = bench(1452);
    for padding in 0..12 {
        let list = |value: u16| [&vec![1; padding][..], &size(value), &TIMESTAMP].concat();
        check(&mut bench, &list(1460), &list(1452));
    }
    let last = |value: u16| [&TIMESTAMP[..], &[3, 3, 7], &[1; 23], &size(value)].concat();
    assert_eq!(last(0).len(), 40, "all that there is room for");
    check(&mut bench, &last(8960), &last(1452));
    let odd = |value: u16| [&[3, 3, 7][..], &size(value), &TIMESTAMP].concat();
    check(&mut bench, &odd(1461), &odd(1452));
}

#[test]
fn what_is_no_option_is_left_alone() {
    let mut bench = bench(1452);
    let behind_the_end = [&[0][..], &size(1460)].concat();
    check(&mut bench, &behind_the_end, &behind_the_end);
    let in_another = [&[30, 6][..], &size(1460)].concat();
    check(&mut bench, &in_another, &in_another);
    // Damaged: of no length, too long, of another length, cut off.
    for damaged in
        [[30, 0, 2, 4, 5, 180, 0, 0], [30, 200, 2, 4, 5, 180, 0, 0], [2, 3, 5, 180, 2, 4, 5, 180]]
    {
        check(&mut bench, &damaged, &damaged);
    }
    let cut = [&[1; 2][..], &[2, 4]].concat();
    check(&mut bench, &cut, &cut);
}

#[test]
fn only_a_syn_announces_a_size() {
    let mut bench = bench(1452);
    bench.install(TCP, INSIDE, OUTSIDE.1, REMOTE);
    for (flags, hook, ends, seen) in [
        (ACK, Hook::WanOut, [INSIDE, REMOTE], [OUTSIDE, REMOTE]),
        (ACK, Hook::WanIn, [REMOTE, OUTSIDE], [REMOTE, INSIDE]),
    ] {
        let output = bench.run(hook, &segment(ends, flags, &size(1460)));
        assert_eq!(lowered(&output), 0);
        let [source, destination] = seen;
        let packet = output.packet();
        assert_eq!(packet[12..16], source.0.octets());
        assert_eq!(packet[16..20], destination.0.octets());
        assert_eq!(packet[40..44], size(1460));
    }
}
