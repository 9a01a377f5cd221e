//! What is not meant by an interface that is known goes on to the kernel as it came.

use masq_common::{
    link::{Exit, Place, set},
    reason::Reason::{self, *},
};
use masq_tests::{
    packet::Packet,
    program::{Output, Verdict, mac},
};

use super::lines::{INSIDE, Line, OUTSIDE, REMOTE, Router};

/// Somebody whom nothing is known of.
const STRANGER: &str = "02:00:00:00:0e:0e";

fn outbound() -> Vec<u8> {
    Packet::udp(INSIDE, REMOTE, b"question").bytes()
}

fn inbound() -> Vec<u8> {
    Packet::udp(REMOTE, OUTSIDE, b"answer").bytes()
}

/// What is wrong with the end of a frame that has to be left alone.
fn fault(output: &Output, frame: &[u8], reason: Reason) -> Option<String> {
    if output.verdict == Verdict::Pass && output.frame == frame && output.reason() == reason {
        return None;
    }
    let changed = if output.frame == frame { "" } else { ", changed" };
    Some(format!("{:?}{changed}, counted {:?}, not {reason:?}", output.verdict, output.counted))
}

/// Frames that are left alone: before a session remembers its next hop, and while it does.
#[track_caller]
fn left_alone(router: &mut Router, index: usize, cases: &[(&str, Vec<u8>, Reason)]) {
    let packet = if index == 0 { outbound() } else { inbound() };
    let good = router.sides[index].arriving(&packet);
    let mut faults = Vec::new();
    for time in ["at first", "afterwards"] {
        for (what, frame, reason) in cases {
            let output = router.run(index, frame);
            if let Some(fault) = fault(&output, frame, *reason) {
                faults.push(format!("{what}, {time}: {fault}"));
            }
        }
        let output = router.run(index, &good);
        assert_eq!(output.verdict, Verdict::Redirect, "the good frame: {:?}", output.counted);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A frame with other bytes at some places.
fn with(frame: &[u8], changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for (at, bytes) in changes {
        frame[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    frame
}

/// The same with something put in.
fn inserted(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    [&frame[..at], bytes, &frame[at..]].concat()
}

#[test]
fn frames_of_other_vlans() {
    let mut router = Router::new([Line::named("VLAN"), Line::named("Ethernet")]);
    let good = router.sides[0].arriving(&outbound());
    let cases = [
        ("another id", with(&good, &[(14, &[0, 6])]), Tagged),
        ("no id", with(&good, &[(14, &[0xa0, 0])]), Tagged),
        ("the reserved id", with(&good, &[(14, &[0x0f, 0xff])]), Tagged),
        ("two tags", inserted(&good, 12, &[0x81, 0, 0, 5]), Tagged),
        ("a service tag", with(&good, &[(12, &[0x88, 0xa8])]), Tagged),
        ("a service tag outside", inserted(&good, 12, &[0x88, 0xa8, 0, 5]), Tagged),
        ("a service tag inside", inserted(&good, 16, &[0x88, 0xa8, 0, 5]), Tagged),
        ("ARP", with(&good, &[(16, &[8, 6])]), NotIpv4),
        ("IPv6", with(&good, &[(16, &[0x86, 0xdd])]), NotIpv4),
        ("another station", with(&good, &[(0, &mac(STRANGER))]), NotForUs),
        ("a group", with(&good, &[(0, &[1])]), NotForUs),
        ("without the tag", [&good[..12], &good[16..]].concat(), NoRole),
        ("a tag and no more", good[..16].to_vec(), Unusual),
        ("a tag cut off", good[..15].to_vec(), Unusual),
        ("half an IP header", good[..28].to_vec(), Unusual),
        ("cut off by a byte", good[..good.len() - 1].to_vec(), Unusual),
    ];
    left_alone(&mut router, 0, &cases);
    // Priority and drop eligibility are no part of the id.
    let output = router.run(0, &with(&good, &[(14, &[0xf0, 5])]));
    assert_eq!(output.verdict, Verdict::Redirect, "{:?}", output.counted);
}

#[test]
fn frames_of_other_sessions() {
    for name in ["PPPoE", "PPPoE on a VLAN"] {
        let mut router = Router::new([Line::named("Ethernet"), Line::named(name)]);
        let side = router.sides[1];
        let good = side.arriving(&inbound());
        // Where the header of PPPoE begins.
        let at = if side.vlan == 0 { 14 } else { 18 };
        let length = |more: i32| (inbound().len() as i32 + 2 + more) as u16;
        let of_length = |more| with(&good, &[(at + 4, &length(more).to_be_bytes())]);
        let protocol = |number: &[u8]| with(&good, &[(at + 6, number)]);
        let session = |id: [u8; 2]| with(&good, &[(at + 2, &id)]);
        let cases = [
            ("another session", session([0, 0x13]), PppoeOther),
            ("no session", session([0, 0]), NotIpv4),
            ("the reserved session", session([0xff, 0xff]), NotIpv4),
            ("another peer", with(&good, &[(6, &mac(STRANGER))]), PppoeOther),
            ("another station", with(&good, &[(0, &mac(STRANGER))]), NotForUs),
            ("all stations", with(&good, &[(0, &[0xff; 6])]), NotForUs),
            ("another version", with(&good, &[(at, &[0x21])]), NotIpv4),
            ("another type", with(&good, &[(at, &[0x12])]), NotIpv4),
            ("another code", with(&good, &[(at + 1, &[9])]), NotIpv4),
            ("LCP", protocol(&[0xc0, 0x21]), NotIpv4),
            ("IPCP", protocol(&[0x80, 0x21]), NotIpv4),
            ("IPv6", protocol(&[0, 0x57]), NotIpv4),
            ("a short protocol number", protocol(&[0x21, 0x45]), NotIpv4),
            ("a length without the packet", of_length(-1), Unusual),
            ("no length", with(&good, &[(at + 4, &[0, 0])]), Unusual),
            ("a length beyond the frame", of_length(1), Unusual),
            ("the longest length", with(&good, &[(at + 4, &[0xff, 0xff])]), Unusual),
            ("cut off in PPPoE", good[..at + 7].to_vec(), Unusual),
            ("cut off in IP", good[..at + 20].to_vec(), Unusual),
            ("cut off by a byte", good[..good.len() - 1].to_vec(), Unusual),
            (
                "without PPPoE",
                {
                    let plain = with(&good, &[(at - 2, &[8, 0])]);
                    [&plain[..at], &plain[at + 8..]].concat()
                },
                if side.vlan == 0 { NoRole } else { Tagged },
            ),
        ];
        left_alone(&mut router, 1, &cases);
        // What PPPoE has behind the packet, the kernel cuts off; it is not ours to keep.
        let longer = [of_length(3), vec![1, 2, 3]].concat();
        assert_eq!(router.run(1, &longer).verdict, Verdict::Redirect);
    }
}

#[test]
fn a_session_without_an_end_that_is_heard() {
    let mut router = Router::new([Line::named("Ethernet"), Line::named("PPPoE")]);
    let heard = router.sides[1].arrival().discovery();
    let (out, back) = (router.sides[0].arriving(&outbound()), router.sides[1].arriving(&inbound()));
    router.bench.remove_leg(heard);
    for (index, frame) in [(0, &out), (1, &back)] {
        let output = router.run(index, frame);
        assert_eq!(fault(&output, frame, PppoeOther), None);
    }
    router.hear(1);
    for (index, frame) in [(0, &out), (1, &back)] {
        assert_eq!(router.run(index, frame).verdict, Verdict::Redirect);
    }
}

#[test]
fn stations_that_are_not_known_where_they_are() {
    for name in ["port of a bridge", "VLAN as port of a bridge"] {
        let mut router = Router::new([Line::named(name), Line::named("Ethernet")]);
        let side = router.sides[0];
        let host = side.macs[1];
        let good = side.arriving(&outbound());
        let cases = [
            ("a stranger", with(&good, &[(6, &mac(STRANGER))]), StationUnknown),
            ("not for the bridge", with(&good, &[(0, &mac(STRANGER))]), NotForUs),
        ];
        let answer = router.sides[1].arriving(&inbound());
        let bridge = side.ifindex;
        let changes = router.bench.generations().stations[usize::from(set(host))] as u32;
        let port = router.bridge_port(0);
        let refused = [
            ("elsewhere", Place { port: port + 1, changes }, [StationUnknown, OtherDevice]),
            ("of before", Place { port, changes: changes.wrapping_sub(1) }, [StationUnknown; 2]),
        ];
        for (what, place, reasons) in refused {
            router.bench.set_place(bridge, host, place);
            router.bench.forget_next_hops(false);
            for ((index, frame), reason) in [(0, &good), (1, &answer)].into_iter().zip(reasons) {
                let output = router.run(index, frame);
                assert_eq!(fault(&output, frame, reason), None, "{name}, {what}, side {index}");
            }
        }
        router.bench.set_station(bridge, host, port);
        for (what, frame, reason) in &cases {
            let output = router.run(0, frame);
            assert_eq!(fault(&output, frame, *reason), None, "{name}: {what}");
        }
        for (index, frame) in [(0, &good), (1, &answer)] {
            assert_eq!(router.run(index, frame).verdict, Verdict::Redirect, "{name}");
        }
    }
}

#[test]
fn exits_that_cannot_send() {
    for name in ["VLAN", "PPPoE", "port of a bridge"] {
        let mut router = Router::new([Line::named("Ethernet"), Line::named(name)]);
        let frame = router.sides[0].arriving(&outbound());
        let key = router.exit_key(1);
        let good = router.exit(1);
        let faulty = [
            ("not by XDP", Exit { caps: 0, ..good }),
            ("of no kind", Exit { kind: 0, ..good }),
            ("of another kind", Exit { kind: 3, ..good }),
        ];
        for (what, exit) in faulty {
            router.bench.set_exit(key, exit);
            let output = router.run(0, &frame);
            assert_eq!(fault(&output, &frame, OtherDevice), None, "{name}: {what}");
        }
        router.bench.remove_exit(key);
        let output = router.run(0, &frame);
        assert_eq!(fault(&output, &frame, OtherDevice), None, "{name}: none");
        router.bench.set_exit(key, good);
        assert_eq!(router.run(0, &frame).verdict, Verdict::Redirect, "{name}");
    }
}
