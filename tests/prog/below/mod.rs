//! The fast path in the driver, below bridges, VLANs and PPPoE sessions: what leaves, byte for byte, and
//! what does not.

pub mod lines;
mod random;
mod sessions;
mod stations;
mod strangers;

use masq_common::{
    flow::{FlowKey, ICMP, TCP, UDP},
    hop::{Hop, Ticket, Way},
    reason::Reason::{self, InboundFast, OtherDevice, OutboundFast, TooBig},
    settings::caps,
    tcp::ACK,
};
use masq_tests::{
    packet::Packet,
    program::{Output, Verdict, pair},
};

use self::lines::{INSIDE, LINES, Line, OUTSIDE, REMOTE, Router};

/// A packet that comes in by a side, and what it has to be on the other.
type Passage = (u8, Packet, Packet);

/// One of each protocol, from the LAN and from the WAN.
fn passages(tos: u8) -> [[Passage; 3]; 2] {
    let data = b"data";
    let both = |packet: Packet, after: Packet| (packet.tos(tos), after.tos(tos).ttl(63));
    let outbound = [
        (UDP, both(Packet::udp(INSIDE, REMOTE, data), Packet::udp(OUTSIDE, REMOTE, data))),
        (
            TCP,
            both(Packet::tcp(INSIDE, REMOTE, ACK, data), Packet::tcp(OUTSIDE, REMOTE, ACK, data)),
        ),
        (ICMP, both(Packet::echo(INSIDE, REMOTE.0, data), Packet::echo(OUTSIDE, REMOTE.0, data))),
    ];
    let inbound = [
        (UDP, both(Packet::udp(REMOTE, OUTSIDE, data), Packet::udp(REMOTE, INSIDE, data))),
        (
            TCP,
            both(Packet::tcp(REMOTE, OUTSIDE, ACK, data), Packet::tcp(REMOTE, INSIDE, ACK, data)),
        ),
        (
            ICMP,
            both(
                Packet::echo_reply(REMOTE.0, OUTSIDE, data),
                Packet::echo_reply(REMOTE.0, INSIDE, data),
            ),
        ),
    ];
    [outbound, inbound]
        .map(|ways| ways.map(|(protocol, (before, after))| (protocol, before, after)))
}

/// The key of the packets of a protocol that come in by a side.
fn key(index: usize, protocol: u8) -> FlowKey {
    let pair = pair(protocol, INSIDE, OUTSIDE.1, REMOTE);
    [pair.outbound, pair.inbound][index].key()
}

/// Frames of the session, one for each side.
fn frames(router: &Router) -> [Vec<u8>; 2] {
    let packets =
        [Packet::udp(INSIDE, REMOTE, b"question"), Packet::udp(REMOTE, OUTSIDE, b"answer")];
    [0, 1].map(|index| router.sides[index].arriving(&packets[index].bytes()))
}

#[track_caller]
fn pass(router: &mut Router) {
    for (index, frame) in frames(router).iter().enumerate() {
        let output = router.run(index, frame);
        assert_eq!(output.verdict, Verdict::Redirect, "side {index}: {:?}", output.counted);
    }
}

/// That frames of each side end like this, untouched.
#[track_caller]
fn end(router: &mut Router, reasons: [Reason; 2]) {
    for ((index, frame), reason) in frames(router).iter().enumerate().zip(reasons) {
        let output = router.run(index, frame);
        assert_eq!((output.verdict, output.reason()), (Verdict::Pass, reason), "side {index}");
        assert_eq!(output.frame, *frame);
    }
}

/// What is wrong with what has left.
fn fault(output: &Output, index: usize, wanted: &[u8]) -> Option<String> {
    let reason = [OutboundFast, InboundFast][index];
    if output.verdict != Verdict::Redirect || output.reason() != reason {
        return Some(format!("{:?}, counted {:?}", output.verdict, output.counted));
    }
    (output.frame != wanted).then(|| format!("{:02x?}\n instead of {wanted:02x?}", output.frame))
}

/// Every interface to every other, both ways: the first time by the routing, the second time by what is
/// remembered.
#[test]
fn frames_get_the_header_of_the_way_out() {
    let mut router = Router::new([LINES[0]; 2]);
    let mut faults = Vec::new();
    for (lan, wan) in LINES.iter().flat_map(|lan| LINES.iter().map(move |wan| (*lan, *wan))) {
        router.connect([lan, wan]);
        for (tos, priority) in [(0, 1), (0x08, 3), (0x10, 7), (0xb8 | 1, 5)] {
            for (index, passages) in passages(tos).into_iter().enumerate() {
                for (protocol, before, after) in passages {
                    let (from, to) = (router.sides[index], router.sides[1 - index]);
                    // What makes a frame long enough for Ethernet stays behind the packet.
                    let padding = [0xa5; 17];
                    let frame = [from.arriving(&before.bytes()), padding.to_vec()].concat();
                    let wanted = [to.leaving(&after.bytes(), priority), padding.to_vec()].concat();
                    for time in ["first", "second"] {
                        let output = router.run(index, &frame);
                        if let Some(fault) = fault(&output, index, &wanted) {
                            faults.push(format!(
                                "{} to {}, protocol {protocol}, service {tos:#x}, {time}: {fault}",
                                from.line.name, to.line.name
                            ));
                        }
                    }
                }
            }
        }
    }
    faults.truncate(5);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The shortest frame of Ethernet, without its check sequence.
const SHORTEST: usize = 60;

#[test]
fn what_becomes_too_short_gets_zeros_behind_it() {
    let mut router = Router::new([Line::named("VLAN"), Line::named("PPPoE on a VLAN")]);
    let ack = |from, to| Packet::tcp(from, to, ACK, b"");
    // With one byte in the place of padding, as the shortest tagged frame may have.
    let frame = [router.sides[1].arriving(&ack(REMOTE, OUTSIDE).bytes()), vec![0xa5]].concat();
    let mut wanted = router.sides[0].leaving(&ack(REMOTE, INSIDE).ttl(63).bytes(), 1);
    wanted.push(0xa5);
    wanted.resize(SHORTEST, 0);
    for time in ["first", "second"] {
        let output = router.run(1, &frame);
        assert_eq!(fault(&output, 1, &wanted), None, "{time}");
    }
    // A session counts what has left.
    let counted = router.bench.session(&key(1, TCP)).expect("the session").packets;
    assert_eq!(counted, 2);
}

/// No interface has this index.
const NOWHERE: u32 = 60_000;

/// So often is tried what a change in another namespace may undo.
const TRIES: usize = 100;

#[test]
fn frames_leave_by_the_port_and_sessions_know_that() {
    let mut router = Router::new([LINES[0]; 2]);
    for (lan, wan) in LINES.iter().flat_map(|lan| LINES.iter().map(move |wan| (*lan, *wan))) {
        router.connect([lan, wan]);
        for (index, passages) in passages(0).into_iter().enumerate() {
            let (protocol, before, _) = &passages[0];
            let (from, to) = (router.sides[index], router.sides[1 - index]);
            let frame = from.arriving(&before.bytes());
            let key = key(index, *protocol);
            let remembered = (0..TRIES).find_map(|_| {
                router.run(index, &frame);
                let ticket = router.bench.session(&key).expect("the session").ticket;
                (ticket != Ticket::NONE).then_some(ticket)
            });
            let ticket = remembered.unwrap_or_else(|| panic!("{lan:?} {wan:?}: not remembered"));
            let way = router.bench.next_hop(ticket.hop()).way;
            assert_eq!((way.arrival, way.port), (from.arrival(), to.port), "{lan:?} {wan:?}");
        }
    }
}

/// The proof: the entry of the session says another interface than the routing would.
#[test]
fn the_routing_is_not_asked_where_tc_sends_what_xdp_cannot() {
    let mut router = Router::new([Line::named("port of a bridge"), Line::named("Ethernet")]);
    let [_, frame] = frames(&router);
    let key = key(1, UDP);
    let bridge = router.sides[0].ifindex;
    let mut ends = |port: u32, reason: Reason| {
        (0..TRIES).any(|_| {
            pass(&mut router);
            let number = router.bench.session(&key).expect("the session").ticket.hop();
            if number == 0 {
                return false;
            }
            let hop = router.bench.next_hop(number);
            // As TC has it.
            let way = Way { port, caps: caps::ETHERNET | caps::READY, ..hop.way };
            router.bench.set_next_hop(number, Hop { way, ..hop });
            let output = router.run(1, &frame);
            router.bench.set_next_hop(number, hop);
            output.reason() == reason
        })
    };
    assert!(ends(NOWHERE, OtherDevice), "asked every time");
    assert!(ends(bridge, InboundFast), "never asked");
}

#[test]
fn the_mtu_is_that_of_the_interface() {
    let mut router = Router::new([Line::named("VLAN"), Line::named("PPPoE on a VLAN")]);
    router.bench.namespace().ip("link set outside mtu 1492");
    for (size, reason) in [(1492, OutboundFast), (1493, TooBig)] {
        let packet = Packet::udp(INSIDE, REMOTE, &vec![7; size - 28]).bytes();
        let frame = router.sides[0].arriving(&packet);
        for _ in 0..2 {
            let output = router.run(0, &frame);
            assert_eq!(output.reason(), reason, "{size} bytes");
        }
    }
    // RFC 4638: whole Ethernet packets, if both ends can.
    router.bench.namespace().ip("link set outside mtu 1500");
    let packet = Packet::udp(INSIDE, REMOTE, &[7; 1472]).bytes();
    let output = router.run(0, &router.sides[0].arriving(&packet));
    assert_eq!((output.reason(), output.frame.len()), (OutboundFast, 1526));
}
