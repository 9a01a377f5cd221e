//! The fast hooks: what they send on, and what they leave to the full path.

use masq_common::{
    be::Addr,
    flow::{FlowKey, ICMP, TCP, UDP},
    reason::Reason::{self, *},
    session::flags,
    settings::{Settings, switches},
    tcp::{ACK, FIN, RST, SYN},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, ROUTER_LAN, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet, frame, reseal, tcp::PSH},
    program::{Bench, Hook, Verdict, mac, pair},
};

use crate::{
    OBJECT,
    table::{ends, frames_end},
};

/// The fast hooks that see packets from the LAN.
const FROM_LAN: [Hook; 2] = [Hook::LanXdp, Hook::LanIn];

const INSIDE: Endpoint = (HOST_A, 40_000);
const OUTSIDE: Endpoint = (ROUTER_WAN, 61_001);
const REMOTE: Endpoint = (SERVER_1, 53);

/// With a session of each protocol between [`INSIDE`] and [`REMOTE`].
fn bench() -> Bench {
    let mut bench = Bench::new(&OBJECT);
    for protocol in [TCP, UDP, ICMP] {
        bench.install(protocol, INSIDE, OUTSIDE.1, REMOTE);
    }
    bench
}

fn udp() -> Packet {
    Packet::udp(INSIDE, REMOTE, b"question")
}

fn segment(flags: u8) -> Vec<u8> {
    Packet::tcp(INSIDE, REMOTE, flags, b"data").bytes()
}

#[test]
fn established_flows_are_sent_on() {
    let mut bench = bench();
    let packets = |reason| {
        [
            ("UDP", udp().bytes(), reason),
            ("UDP of TTL 2", udp().ttl(2).bytes(), reason),
            ("empty UDP", Packet::udp(INSIDE, REMOTE, b"").bytes(), reason),
            ("UDP that may be fragmented", udp().may_be_fragmented().bytes(), reason),
            ("ACK", segment(ACK), reason),
            ("PSH", segment(PSH | ACK), reason),
            ("FIN", segment(FIN | ACK), reason),
            ("RST", segment(RST), reason),
            ("echo", Packet::echo(INSIDE, SERVER_1, b"ping").bytes(), reason),
            ("1500 bytes", Packet::udp(INSIDE, REMOTE, &[1; 1472]).bytes(), reason),
        ]
    };
    for hook in FROM_LAN {
        ends(&mut bench, hook, &packets(OutboundFast));
    }
}

#[test]
fn answers_are_sent_on() {
    let mut bench = bench();
    let cases = [
        ("UDP", Packet::udp(REMOTE, OUTSIDE, b"answer").bytes(), InboundFast),
        ("ACK", Packet::tcp(REMOTE, OUTSIDE, ACK, b"answer").bytes(), InboundFast),
        ("FIN", Packet::tcp(REMOTE, OUTSIDE, FIN | ACK, b"").bytes(), InboundFast),
        ("echo reply", Packet::echo_reply(SERVER_1, OUTSIDE, b"ping").bytes(), InboundFast),
    ];
    for hook in [Hook::WanXdp, Hook::WanIn] {
        ends(&mut bench, hook, &cases);
    }
}

#[test]
fn what_needs_the_full_path_is_left_to_it() {
    let mut bench = bench();
    let mut too_short = udp().bytes();
    too_short[3] -= 1;
    too_short[2] = 0xff;
    reseal(&mut too_short);
    let mut version_6 = udp().bytes();
    version_6[0] = 0x65;
    let mut short_header = udp().bytes();
    short_header[0] = 0x44;
    let mut data_offset = segment(ACK);
    data_offset[32] = 4 << 4;
    let quoted = udp().bytes();
    let cases = [
        ("no session", Packet::udp((HOST_A, 1), REMOTE, b"").bytes(), NoSession),
        (
            "no session with this remote",
            Packet::udp(INSIDE, (SERVER_2, 53), b"").bytes(),
            NoSession,
        ),
        (
            "no session of this protocol",
            Packet::new(HOST_A, SERVER_1, 47, &[0; 8]).bytes(),
            Unusual,
        ),
        ("SYN", segment(SYN), Unusual),
        ("SYN and ACK", segment(SYN | ACK), Unusual),
        ("ICMP error", Packet::icmp(HOST_A, SERVER_1, (3, 3), 0, &quoted).bytes(), Unusual),
        ("IP option", udp().options(&[0x94, 4, 0, 0]).bytes(), Unusual),
        ("first fragment", Packet::udp(INSIDE, REMOTE, &[1; 64]).fragment(0, 32).bytes(), Unusual),
        ("later fragment", Packet::udp(INSIDE, REMOTE, &[1; 64]).fragment(32, 72).bytes(), Unusual),
        ("total length beyond the frame", too_short, Unusual),
        ("IP version 6", version_6, Unusual),
        ("IP header of 16 bytes", short_header, Unusual),
        ("TCP header of 16 bytes", data_offset, Unusual),
        ("TTL 1", udp().ttl(1).bytes(), TtlExpired),
        ("TTL 0", udp().ttl(0).bytes(), TtlExpired),
        ("1501 bytes", Packet::udp(INSIDE, REMOTE, &[1; 1473]).bytes(), TooBig),
        (
            "1501 bytes that may be fragmented",
            Packet::udp(INSIDE, REMOTE, &[1; 1473]).may_be_fragmented().bytes(),
            TooBig,
        ),
    ];
    for hook in FROM_LAN {
        ends(&mut bench, hook, &cases);
    }
}

#[test]
fn frames_for_others_are_left_alone() {
    let mut bench = bench();
    let packet = Packet::udp(INSIDE, REMOTE, &[1; 32]).bytes();
    for hook in FROM_LAN {
        let [router, host] = hook.link_addresses();
        let with_type = |ether_type: u16| {
            let mut frame = frame(router, host, &packet);
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
            frame
        };
        let tag = [&router[..], &host, &[0x81, 0, 0, 5, 8, 0], &packet].concat();
        let mut cases = vec![
            ("ARP", with_type(0x0806), NotIpv4),
            ("IPv6", with_type(0x86dd), NotIpv4),
            ("PPPoE", with_type(0x8864), NotIpv4),
            ("multicast", frame([1, 0, 0x5e, 0, 0, 1], host, &packet), NotForUs),
            ("broadcast", frame([0xff; 6], host, &packet), NotForUs),
            ("another station", frame(mac("02:00:00:00:0a:0b"), host, &packet), NotForUs),
        ];
        if hook == Hook::LanXdp {
            // In TC the kernel has taken the tag off.
            cases.push(("VLAN tag", tag, Tagged));
        }
        frames_end(&mut bench, hook, &cases);
    }
}

#[test]
fn padding_stays_as_it_is() {
    let mut bench = bench();
    let packet = Packet::udp(INSIDE, REMOTE, b"x").bytes();
    for hook in FROM_LAN {
        let [router, host] = hook.link_addresses();
        let frame = [frame(router, host, &packet), vec![0xa5; 17]].concat();
        let output = bench.run_frame(hook, &frame);
        assert_eq!(output.verdict, Verdict::Redirect);
        assert_eq!(output.frame.len(), frame.len());
        assert_eq!(output.frame[14 + packet.len()..], [0xa5; 17]);
    }
}

#[test]
fn the_kernels_routing_decides() {
    let mut bench = Bench::new(&OBJECT);
    // No neighbour entry, wrong side, no route at all.
    bench.namespace().ip("route add 198.51.100.11 via 203.0.113.200 dev wan0\n\
         route add 198.51.100.12 via 192.168.1.11 dev lan0\n\
         route add blackhole 198.51.100.13\n\
         route add prohibit 198.51.100.14\n\
         route add unreachable 198.51.100.15");
    let cases = [(11, NoNeighbour), (12, OtherDevice), (13, NoRoute), (14, NoRoute), (15, NoRoute)];
    for (last, reason) in cases {
        let remote = ([198, 51, 100, last].into(), 53);
        bench.install(UDP, INSIDE, OUTSIDE.1, remote);
        for hook in FROM_LAN {
            let packet = Packet::udp(INSIDE, remote, b"question").bytes();
            ends(&mut bench, hook, &[("UDP", packet, reason)]);
        }
    }
    bench.namespace().set_sysctl("net.ipv4.ip_forward", "0");
    bench.install(UDP, INSIDE, OUTSIDE.1, REMOTE);
    for hook in FROM_LAN {
        ends(&mut bench, hook, &[("forwarding is off", udp().bytes(), NoRoute)]);
    }
}

#[test]
fn a_narrow_wan_is_seen() {
    let mut bench = bench();
    bench.namespace().ip("link set wan0 mtu 1400");
    for hook in FROM_LAN {
        ends(
            &mut bench,
            hook,
            &[
                ("1400 bytes", Packet::udp(INSIDE, REMOTE, &[1; 1372]).bytes(), OutboundFast),
                ("1401 bytes", Packet::udp(INSIDE, REMOTE, &[1; 1373]).bytes(), TooBig),
            ],
        );
    }
}

#[test]
fn a_session_of_another_wan_address_is_left_alone() {
    let mut bench = bench();
    bench.set_wan_address(Addr::from_octets([203, 0, 113, 77]));
    for hook in FROM_LAN {
        ends(&mut bench, hook, &[("UDP", udp().bytes(), OtherDevice)]);
    }
    bench.set_wan_address(Addr::NONE);
    for hook in FROM_LAN {
        ends(&mut bench, hook, &[("UDP", udp().bytes(), OtherDevice)]);
    }
}

#[test]
fn sessions_of_the_router_itself_are_left_alone() {
    let mut bench = Bench::new(&OBJECT);
    let mut own = pair(UDP, INSIDE, OUTSIDE.1, REMOTE);
    own.outbound.flags |= flags::OWN;
    own.inbound.flags |= flags::OWN;
    bench.install_pair(own);
    for hook in FROM_LAN {
        ends(&mut bench, hook, &[("UDP", udp().bytes(), Own)]);
    }
}

#[test]
fn an_idle_session_is_left_to_the_full_path() {
    let mut bench = bench();
    // UDP 300 s, TCP the shortest of its timers, ICMP 60 s.
    let mut idle = |seconds: u64, expected: [Reason; 3]| {
        let offset = seconds * 1_000_000_000;
        bench.set_settings(&Settings { clock_offset: offset, ..Settings::DEFAULT });
        let packets =
            [udp().bytes(), segment(ACK), Packet::echo(INSIDE, SERVER_1, b"ping").bytes()];
        for (packet, reason) in packets.into_iter().zip(expected) {
            if reason == Stale {
                for hook in FROM_LAN {
                    ends(&mut bench, hook, &[("a packet", packet.clone(), reason)]);
                }
            }
        }
    };
    idle(70, [OutboundFast, OutboundFast, Stale]);
    idle(250, [OutboundFast, Stale, Stale]);
    idle(310, [Stale, Stale, Stale]);
}

#[test]
fn a_session_knows_what_has_passed() {
    let mut bench = bench();
    let packet = segment(FIN | ACK);
    let key = tcp_key();
    bench.run(Hook::LanXdp, &packet);
    bench.run(Hook::LanIn, &packet);
    let half = bench.session(&key).expect("the session");
    assert_eq!((half.packets, half.bytes), (2, 2 * packet.len() as u64));
    assert_eq!(half.tcp_seen, SYN | ACK | FIN);
    let other = bench.session(&half.partner()).expect("the other half");
    assert_eq!((other.packets, other.bytes), (0, 0));
    // A packet that is left alone is not counted here: the full path will.
    bench.run(Hook::LanIn, &Packet::tcp(INSIDE, REMOTE, ACK, b"").ttl(1).bytes());
    assert_eq!(bench.session(&key).expect("the session").packets, 2);
    // Time goes on: the next packet refreshes the session.
    let offset = 100_000_000_000;
    bench.set_settings(&Settings { clock_offset: offset, ..Settings::DEFAULT });
    bench.run(Hook::LanIn, &packet);
    let later = bench.session(&key).expect("the session");
    assert!(later.last_seen.since(half.last_seen).as_millis() > 99_000);
    // So does a first reset, from which the timer of a closing session runs; further ones do not.
    let reset_at = |bench: &mut Bench, seconds: u64| {
        let clock_offset = seconds * 1_000_000_000;
        bench.set_settings(&Settings { clock_offset, ..Settings::DEFAULT });
        bench.run(Hook::LanIn, &segment(RST));
        bench.session(&tcp_key()).expect("the session")
    };
    let first = reset_at(&mut bench, 150);
    assert_ne!(first.tcp_seen & RST, 0);
    assert!(first.last_seen.since(later.last_seen).as_millis() > 49_000);
    assert_eq!(reset_at(&mut bench, 200).last_seen, first.last_seen);
}

#[test]
fn super_packets_are_judged_by_their_segments() {
    let mut bench = bench();
    let [router, host] = Hook::LanIn.link_addresses();
    let packet = Packet::tcp(INSIDE, REMOTE, ACK, &[7; 2 * 1460]).bytes();
    let frame = frame(router, host, &packet);
    let output = bench.run_super(Hook::LanIn, &frame, 1460, 2);
    assert_eq!((output.verdict, output.reason()), (Verdict::Redirect, OutboundFast));
    let half = bench.session(&tcp_key()).expect("the session");
    assert_eq!((half.packets, half.bytes), (2, 2 * (1460 + 40)));
    // Segments that do not fit the WAN are the kernel's to cut or to refuse.
    let output = bench.run_super(Hook::LanIn, &frame, 1461, 2);
    assert_eq!((output.verdict, output.reason()), (Verdict::Pass, TooBig));
    assert_eq!(output.frame, frame);
}

/// The key of the outbound TCP packets.
fn tcp_key() -> FlowKey {
    pair(TCP, INSIDE, OUTSIDE.1, REMOTE).outbound.key()
}

#[test]
fn nothing_goes_to_a_wan_that_does_not_translate_yet() {
    let mut bench = Bench::new(&OBJECT);
    let first = udp().bytes();
    let to_router = Packet::udp(INSIDE, (ROUTER_LAN, 53), b"question").bytes();
    let unroutable = Packet::udp(INSIDE, ([192, 0, 2, 1].into(), 53), b"question").bytes();
    bench.namespace().ip("route add blackhole 192.0.2.0/24");
    bench.set_settings(&Settings { switches: switches::GUARD, ..Settings::DEFAULT });
    let cases = |leaves| {
        [
            ("first packet", first.clone(), leaves),
            ("too big", Packet::udp(INSIDE, REMOTE, &[1; 1600]).bytes(), leaves),
            ("without ports", Packet::new(INSIDE.0, REMOTE.0, 47, b"GRE").bytes(), leaves),
            ("to the router", to_router.clone(), NoSession),
            ("to nowhere", unroutable.clone(), NoSession),
        ]
    };
    ends(&mut bench, Hook::LanIn, &cases(WanNotReady));
    bench.set_wan_ready(true);
    for (name, packet, reason) in cases(NoSession) {
        let reason = if name == "without ports" { Unusual } else { reason };
        ends(&mut bench, Hook::LanIn, &[(name, packet, reason)]);
    }
    // The answers of the other side and the router's own packets do not depend on it.
    bench.set_wan_ready(false);
    let own = Packet::udp((ROUTER_WAN, 5000), REMOTE, b"own").bytes();
    ends(&mut bench, Hook::WanOutOwn, &[("own", own, Own)]);
}

#[test]
fn a_hairpin_session_is_not_entered_from_the_wan() {
    let mut bench = Bench::new(&OBJECT);
    // A and B talk through the external address; whoever forges that on the WAN is not let in.
    let b = (HOST_B, 5000);
    bench.install(UDP, INSIDE, OUTSIDE.1, (ROUTER_WAN, 50_000));
    bench.install(UDP, b, 50_000, OUTSIDE);
    let forged = Packet::udp((ROUTER_WAN, 50_000), OUTSIDE, b"forged").bytes();
    ends(&mut bench, Hook::WanXdp, &[("forged", forged.clone(), WrongSide)]);
    ends(&mut bench, Hook::WanIn, &[("forged", forged, SpoofedSource)]);
}
