//! Programs that record packets: as they came, as they were left, and why; and only those that are
//! wanted.

use masq_common::{
    be::{Addr, Id},
    flow::{ICMP, TCP, UDP},
    reason::Reason,
    trace::{End, Filter, Record, Verdict},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, ISP, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet, frame},
    program::{Bench, Hook},
};

use crate::{
    OBJECT,
    below::lines::{self, LINES, Router},
};

const INSIDE: Endpoint = (HOST_A, 40_000);
const OUTSIDE: Endpoint = (ROUTER_WAN, 40_000);
const REMOTE: Endpoint = (SERVER_1, 53);

/// The only record there is.
#[track_caller]
fn only(bench: &mut Bench) -> Record {
    let records = bench.traced();
    assert_eq!(records.len(), 1, "{records:?}");
    records[0]
}

fn frame_at(hook: Hook, packet: &[u8]) -> Vec<u8> {
    let [destination, source] = hook.link_addresses();
    frame(destination, source, packet)
}

/// Runs a packet through a hook, and demands that its record has it as it came and, unless it was
/// dropped, as it was left.
#[track_caller]
fn recorded(bench: &mut Bench, hook: Hook, packet: &[u8]) -> Record {
    let output = bench.run(hook, packet);
    let record = only(bench);
    let came = frame_at(hook, packet);
    assert_eq!(record.bytes_before(), &came[..came.len().min(128)], "{hook:?}");
    assert_eq!(record.bytes_after(), &output.frame[..output.frame.len().min(128)], "{hook:?}");
    assert_eq!(record.head.before.length, came.len() as u32);
    assert_eq!(Reason::from_number(record.head.reason), Some(output.reason()));
    let verdict = Verdict::from_number(record.head.verdict).expect("a verdict");
    let (told, is) = (format!("{verdict:?}"), format!("{:?}", output.verdict));
    assert_eq!(told, is, "{hook:?}");
    record
}

#[test]
fn packets_are_recorded_before_and_after_translation() {
    let mut bench = Bench::traced(&OBJECT);
    let out = Packet::udp(INSIDE, REMOTE, b"question").bytes();
    let first = recorded(&mut bench, Hook::WanOut, &out);
    assert_eq!(first.head.reason, Reason::OutboundSlow as u8);
    assert_ne!(first.bytes_before(), first.bytes_after());
    assert_ne!(first.head.ingress, first.head.ifindex);
    let answer = Packet::udp(REMOTE, OUTSIDE, &[7; 300]).bytes();
    for hook in [Hook::WanXdp, Hook::WanIn] {
        let record = recorded(&mut bench, hook, &answer);
        assert_eq!(record.head.reason, Reason::InboundFast as u8);
        assert_eq!((record.head.before.captured, record.head.after.captured), (128, 128));
    }
    for hook in [Hook::LanXdp, Hook::LanIn] {
        let record = recorded(&mut bench, hook, &out);
        assert_eq!(record.head.verdict, Verdict::Redirect as u8);
        assert!(record.head.nanos > first.head.nanos);
    }
    let hooks = bench.traced();
    assert!(hooks.is_empty(), "each once");
}

#[test]
fn what_is_not_translated_is_recorded_with_its_reason() {
    let mut bench = Bench::traced(&OBJECT);
    let unknown = Packet::udp(REMOTE, OUTSIDE, b"unasked").bytes();
    assert_eq!(recorded(&mut bench, Hook::WanIn, &unknown).head.reason, Reason::NoSession as u8);
    let forged = Packet::udp((HOST_B, 53), OUTSIDE, b"forged").bytes();
    let record = recorded(&mut bench, Hook::WanIn, &forged);
    assert_eq!(record.head.reason, Reason::SpoofedSource as u8);
    assert_eq!(record.head.verdict, Verdict::Drop as u8);
    let mut arp = frame_at(Hook::LanIn, &[0; 28]);
    arp[12..14].copy_from_slice(&[8, 6]);
    bench.run_frame(Hook::LanXdp, &arp);
    let record = only(&mut bench);
    assert_eq!((record.head.reason, record.bytes_before()), (Reason::NotIpv4 as u8, &arp[..]));
}

/// A condition on an endpoint; port 0 for any.
fn end(address: [u8; 4], mask: [u8; 4], port: u16) -> End {
    End {
        address: Addr::from_octets(address),
        mask: u32::from_ne_bytes(mask),
        port: Id::new(port),
        port_mask: if port == 0 { 0 } else { u16::MAX },
    }
}

/// Records packets that meet these conditions.
fn ends(ends: [End; 2]) -> Filter {
    let mut filter = Filter::ALL;
    (filter.ipv4, filter.ends) = (1, ends);
    filter
}

/// Records packets of a protocol.
fn protocol(protocol: u8) -> Filter {
    let mut filter = Filter::ALL;
    (filter.ipv4, filter.by_protocol, filter.protocol) = (1, 1, protocol);
    filter
}

#[test]
fn only_what_is_wanted_is_recorded() {
    const HOST: [u8; 4] = [255; 4];
    let mut bench = Bench::traced(&OBJECT);
    let out = Packet::udp(INSIDE, REMOTE, b"question").bytes();
    let answer = Packet::udp(REMOTE, OUTSIDE, b"answer").bytes();
    let other = Packet::udp((HOST_B, 41_000), (SERVER_2, 53), b"question").bytes();
    let quote = Packet::udp(OUTSIDE, REMOTE, b"question").bytes();
    let error = Packet::icmp(ISP, ROUTER_WAN, (11, 0), 0, &quote).bytes();
    bench.run(Hook::WanOut, &out);
    bench.run(Hook::WanOut, &other);
    assert_eq!(bench.traced().len(), 2);
    let one = |end: End| ends([end, End::default()]);
    let ipv4 = one(End::default());
    let (a, server) = (end(HOST_A.octets(), HOST, 0), end(SERVER_1.octets(), HOST, 53));
    let mut reasons = Filter::OFF;
    reasons.on = 1;
    reasons.add(Reason::InboundFast);
    for (filter, wanted) in [
        (ipv4, [true, true, true, true]),
        // The answer has this end only when it is translated.
        (one(a), [true, true, false, true]),
        (one(end([192, 168, 1, 0], [255, 255, 255, 0], 0)), [true, true, true, true]),
        (one(end([0; 4], [0; 4], 40_000)), [true, true, false, true]),
        (one(end(ROUTER_WAN.octets(), HOST, 0)), [true, true, true, true]),
        // An error comes from anywhere, and the daemon sees what it is about.
        (ends([a, server]), [true, true, false, true]),
        (ends([a, end(SERVER_2.octets(), HOST, 0)]), [false, false, false, true]),
        (one(end(HOST_A.octets(), HOST, 54)), [false, false, false, true]),
        (protocol(UDP), [true, true, true, false]),
        (protocol(TCP), [false, false, false, false]),
        (protocol(ICMP), [false, false, false, true]),
        (reasons, [false, true, false, false]),
        (Filter::OFF, [false, false, false, false]),
    ] {
        bench.set_trace_filter(&filter);
        let packets = [
            (Hook::LanIn, &out),
            (Hook::WanIn, &answer),
            (Hook::LanIn, &other),
            (Hook::WanIn, &error),
        ];
        let seen = packets.map(|(hook, packet)| {
            bench.run(hook, packet);
            !bench.traced().is_empty()
        });
        assert_eq!(seen, wanted, "{filter:?}");
    }
}

#[test]
fn packets_that_are_too_many_are_counted() {
    let mut bench = Bench::traced(&OBJECT);
    let unknown = Packet::udp(REMOTE, OUTSIDE, b"unasked").bytes();
    let before = bench.counters();
    for _ in 0..2000 {
        bench.run(Hook::WanXdp, &unknown);
    }
    let lost = bench.counted_since(&before)["trace_lost"];
    assert_eq!(bench.traced().len() as u64 + lost, 2000);
    assert!(lost > 0 && lost < 2000);
}

#[test]
fn programs_that_do_not_trace_record_nothing() {
    let mut bench = Bench::new(&OBJECT);
    bench.set_trace_filter(&Filter::ALL);
    let out = Packet::udp(INSIDE, REMOTE, b"question").bytes();
    for hook in [Hook::LanXdp, Hook::LanIn, Hook::WanOut] {
        bench.run(hook, &out);
    }
    assert!(bench.traced().is_empty());
}

#[test]
fn frames_are_recorded_with_whatever_stands_before_the_ip_header() {
    let (inside, remote) = (lines::INSIDE, lines::REMOTE);
    let packet = Packet::udp(inside, remote, b"question").bytes();
    let one = |address: [u8; 4], port| ends([end(address, [255; 4], port), End::default()]);
    let wanted =
        [Filter::ALL, one(inside.0.octets(), 0), one(remote.0.octets(), remote.1), protocol(UDP)];
    let unwanted = [one(HOST_B.octets(), 0), one(remote.0.octets(), 54), protocol(TCP)];
    let mut router = Router::with(Bench::traced(&OBJECT), [LINES[0]; 2]);
    let lengths = [14, 18, 22, 26, 14, 18];
    for (lan, before) in LINES.into_iter().zip(lengths) {
        for (wan, after) in LINES.into_iter().zip(lengths) {
            router.connect([lan, wan]);
            let frame = router.sides[0].arriving(&packet);
            for filter in &wanted {
                router.bench.set_trace_filter(filter);
                let output = router.run(0, &frame);
                let record = only(&mut router.bench);
                assert_eq!(record.bytes_before(), frame);
                assert_eq!(record.bytes_after(), output.frame);
                let links = [record.head.before.link, record.head.after.link];
                assert_eq!(links, [before, after], "{} to {}", lan.name, wan.name);
            }
            for filter in &unwanted {
                router.bench.set_trace_filter(filter);
                router.run(0, &frame);
                assert!(router.bench.traced().is_empty(), "{} to {}", lan.name, wan.name);
            }
        }
    }
}
