//! TC on WAN egress: first packets and all that is unusual; what is dropped and why.

use masq_common::{
    be::Addr,
    event::CloseCause,
    flow::{ICMP, TCP, UDP},
    ports::Pool,
    reason::Reason::*,
    session::flags,
    settings::{Settings, prefix, switches},
    tcp::{ACK, FIN, RST, SYN},
};
use masq_tests::{
    checksum::{Transport, check},
    lab::{HOST_A, HOST_B, ROUTER_LAN, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet, frame, reseal},
    program::{Bench, Hook, Output, TABLE_SIZE, Verdict, pair},
};

use crate::{
    OBJECT,
    table::{ends, frames_end},
};

const INSIDE: Endpoint = (HOST_A, 40_000);
const REMOTE: Endpoint = (SERVER_1, 53);

/// Sends the first packet of a UDP flow; demands that it is translated, and returns the external
/// port.
#[track_caller]
fn open(bench: &mut Bench, inside: Endpoint, remote: Endpoint) -> u16 {
    let output = bench.run(Hook::WanOut, &Packet::udp(inside, remote, b"first").bytes());
    assert_eq!(output.reason(), OutboundSlow, "{inside:?} > {remote:?}");
    external(&output)
}

/// The source port of a translated packet.
#[track_caller]
fn external(output: &Output) -> u16 {
    assert_eq!(output.packet()[12..16], ROUTER_WAN.octets());
    u16::from_be_bytes([output.packet()[20], output.packet()[21]])
}

#[test]
fn a_first_packet_opens_a_session() {
    let mut bench = Bench::new(&OBJECT);
    let packet = Packet::udp(INSIDE, REMOTE, b"first").tos(0xb8).ttl(63).bytes();
    let output = bench.run(Hook::WanOut, &packet);
    assert_eq!(output.verdict, Verdict::Pass);
    let expected = Packet::udp((ROUTER_WAN, INSIDE.1), REMOTE, b"first").tos(0xb8).ttl(63).bytes();
    assert_eq!(output.packet(), expected);
    let counted = [("mapping_opened", 1), ("outbound_slow", 1), ("session_opened", 1)];
    assert_eq!(output.counted, counted.into());
    let sessions = bench.sessions();
    assert_eq!(sessions.len(), 2);
    let key = pair(UDP, INSIDE, INSIDE.1, REMOTE).outbound.key();
    let half = bench.session(&key).expect("the outbound half");
    assert_eq!((half.packets, half.bytes), (1, packet.len() as u64));
    assert_eq!((half.flags, half.wan), (flags::OUTBOUND, 0));
    assert!(bench.session(&half.partner()).is_some_and(|other| other.partner() == key));
    assert_eq!(bench.holders(UDP, INSIDE.1), 1);
    // The second one belongs to it.
    let output = bench.run(Hook::WanOut, &packet);
    assert_eq!(output.counted, [("outbound_slow", 1)].into());
    assert_eq!(output.packet(), expected);
}

#[test]
fn what_the_fast_path_has_translated_has_a_pass() {
    let pass = [0x1234_5678, 0x9abc_def0];
    let mut bench = Bench::new(&OBJECT);
    bench.set_settings(&Settings { pass, ..Settings::DEFAULT });
    bench.install(UDP, INSIDE, 61_001, REMOTE);
    let packet = Packet::udp(INSIDE, REMOTE, b"data").bytes();
    let (output, given) = bench.run_with_pass(Hook::LanIn, &packet, [0; 2]);
    assert_eq!((output.reason(), given), (OutboundFast, pass));
    // Who has it is not looked at, and has it no longer.
    let (output, left) = bench.run_with_pass(Hook::WanOut, &packet, pass);
    assert_eq!((output.reason(), output.packet()), (AlreadyTranslated, &packet[..]));
    assert_ne!(left, pass);
    // Anything else is no pass: nothing leaves with an inside address for it.
    for forged in [[0; 2], [pass[0], 0], [0, pass[1]], [pass[1], pass[0]]] {
        let (output, _) = bench.run_with_pass(Hook::WanOut, &packet, forged);
        assert_eq!((output.reason(), external(&output)), (OutboundSlow, 61_001), "{forged:x?}");
    }
    // Nor are two zeros, where no pass is given at all.
    bench.set_settings(&Settings::DEFAULT);
    let (output, _) = bench.run_with_pass(Hook::WanOut, &packet, [0; 2]);
    assert_eq!(output.reason(), OutboundSlow);
}

#[test]
fn only_a_syn_and_a_request_open_sessions() {
    let mut bench = Bench::new(&OBJECT);
    let tcp = |flags| Packet::tcp(INSIDE, (SERVER_1, 80), flags, b"").bytes();
    let icmp = |kind| Packet::icmp(HOST_A, SERVER_1, kind, 7 << 16 | 1, &[0; 12]).bytes();
    let cases = [
        ("ACK", tcp(ACK), NoTcpSession),
        ("SYN and ACK", tcp(SYN | ACK), NoTcpSession),
        ("SYN and RST", tcp(SYN | RST), NoTcpSession),
        ("RST", tcp(RST), NoTcpSession),
        ("FIN", tcp(FIN | ACK), NoTcpSession),
        ("no flags", tcp(0), NoTcpSession),
        ("echo reply", icmp((0, 0)), NoIcmpSession),
        ("timestamp reply", icmp((14, 0)), NoIcmpSession),
        ("redirect", icmp((5, 1)), IcmpOther),
        ("router advertisement", icmp((9, 0)), IcmpOther),
        ("address mask request", icmp((17, 0)), IcmpOther),
    ];
    ends(&mut bench, Hook::WanOut, &cases);
    assert_eq!(bench.sessions(), []);
    let cases = [
        ("SYN", tcp(SYN), OutboundSlow),
        ("echo", icmp((8, 0)), OutboundSlow),
        ("timestamp", icmp((13, 0)), OutboundSlow),
        ("then ACK", tcp(ACK), OutboundSlow),
    ];
    // Other identifiers and ports, so that something changes in each packet.
    for (what, packet, reason) in cases {
        let output = bench.run(Hook::WanOut, &packet);
        assert_eq!((output.reason(), output.verdict), (reason, Verdict::Pass), "{what}");
        assert_eq!(check(output.packet(), Transport::Whole), Ok(()), "{what}");
    }
    assert_eq!(bench.sessions().len(), 4, "both ICMP queries have the same identifier");
}

#[test]
fn what_cannot_be_translated_is_dropped() {
    let mut bench = Bench::new(&OBJECT);
    bench.install(UDP, INSIDE, 61_001, REMOTE);
    let mut cases: Vec<_> = [("IGMP", 2), ("AH", 51), ("no protocol", 0)]
        .map(|(name, protocol)| {
            let packet = Packet::new(HOST_A, SERVER_1, protocol, &[0x5a; 32]).bytes();
            (name, packet, UnsupportedProtocol)
        })
        .into();
    let quoted = Packet::udp(REMOTE, INSIDE, b"answer").bytes();
    let unknown = Packet::udp(REMOTE, (HOST_A, 1), b"answer").bytes();
    let error = |quoted: &[u8]| Packet::icmp(HOST_A, SERVER_1, (3, 3), 0, quoted).bytes();
    cases.extend([
        ("error about no session", error(&unknown), IcmpErrorUnknown),
        ("error that quotes 27 bytes", error(&quoted[..27]), Malformed),
        ("error that quotes 19 bytes", error(&quoted[..19]), Malformed),
        ("error that quotes nothing", error(&[]), Malformed),
        (
            "later fragment",
            Packet::udp(INSIDE, REMOTE, &[1; 64]).fragment(32, 72).bytes(),
            FragmentEarly,
        ),
    ]);
    ends(&mut bench, Hook::WanOut, &cases);
    // And one that is about the session goes.
    ends(&mut bench, Hook::WanOut, &[("error", error(&quoted), IcmpErrorOutbound)]);
}

#[test]
fn excluded_sources_are_dropped() {
    let mut bench = Bench::new(&OBJECT);
    bench.set_prefix([0; 4].into(), 0, 0);
    bench.set_prefix([192, 168, 1, 0].into(), 24, prefix::INSIDE);
    bench.set_prefix(HOST_A, 32, prefix::INSIDE | prefix::SOURCE);
    let from = |host| Packet::udp((host, 40_000), REMOTE, b"first").bytes();
    ends(
        &mut bench,
        Hook::WanOut,
        &[
            ("A", from(HOST_A), OutboundSlow),
            ("B", from(HOST_B), SourceExcluded),
            ("a network behind the LAN", from([10, 0, 0, 1].into()), SourceExcluded),
        ],
    );
}

#[test]
fn without_an_address_nothing_leaves() {
    let mut bench = Bench::new(&OBJECT);
    open(&mut bench, INSIDE, REMOTE);
    bench.set_wan_address(Addr::NONE);
    let packet = Packet::udp(INSIDE, REMOTE, b"second").bytes();
    let other = Packet::udp((HOST_B, 1), REMOTE, b"first").bytes();
    ends(
        &mut bench,
        Hook::WanOut,
        &[("a session", packet, NoWanAddress), ("no session", other, NoWanAddress)],
    );
}

#[test]
fn a_session_of_an_old_address_gives_way_to_a_new_one() {
    let mut bench = Bench::new(&OBJECT);
    open(&mut bench, INSIDE, REMOTE);
    bench.set_wan_address(Addr::from_octets([203, 0, 113, 77]));
    let output = bench.run(Hook::WanOut, &Packet::udp(INSIDE, REMOTE, b"second").bytes());
    assert_eq!(output.packet()[12..16], [203, 0, 113, 77]);
    assert_eq!(output.counted.get("session_closed"), Some(&1));
    assert_eq!(bench.sessions().len(), 2);
}

#[test]
fn frames_that_are_not_ipv4_pass() {
    let mut bench = Bench::new(&OBJECT);
    let [isp, router] = Hook::WanOut.link_addresses();
    let with_type = |ether_type: u16| {
        let mut frame = frame(isp, router, &Packet::udp(INSIDE, REMOTE, &[1; 32]).bytes());
        frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
        frame
    };
    for hook in [Hook::WanOut, Hook::WanOutOwn] {
        frames_end(
            &mut bench,
            hook,
            &[
                ("ARP", with_type(0x0806), NotIpv4),
                ("IPv6", with_type(0x86dd), NotIpv4),
                ("PPPoE", with_type(0x8864), NotIpv4),
            ],
        );
    }
}

#[test]
fn the_routers_own_packets_pass_untouched() {
    let mut bench = Bench::new(&OBJECT);
    let own = (ROUTER_WAN, 40_000);
    let mut broken = Packet::udp(own, REMOTE, b"data").bytes();
    broken[3] = 24;
    reseal(&mut broken);
    ends(
        &mut bench,
        Hook::WanOutOwn,
        &[
            ("UDP", Packet::udp(own, REMOTE, b"data").bytes(), Own),
            ("SYN", Packet::tcp(own, REMOTE, SYN, b"").bytes(), Own),
            ("ACK", Packet::tcp(own, REMOTE, ACK, b"").bytes(), Own),
            ("echo", Packet::echo(own, SERVER_1, b"").bytes(), Own),
            ("DHCP", Packet::udp(([0; 4].into(), 68), ([255; 4].into(), 67), b"").bytes(), Own),
            ("OSPF", Packet::new(ROUTER_WAN, [224, 0, 0, 5].into(), 89, &[1; 40]).bytes(), Own),
            ("a broken one", broken, Own),
        ],
    );
    assert_eq!(bench.sessions(), []);
}

#[test]
fn the_routers_own_packets_from_its_lan_address_are_translated() {
    let mut bench = Bench::new(&OBJECT);
    let packet = Packet::udp((ROUTER_LAN, 40_000), REMOTE, b"data").bytes();
    let output = bench.run(Hook::WanOutOwn, &packet);
    assert_eq!(output.reason(), OutboundSlow);
    external(&output);
}

#[test]
fn the_routers_own_flow_steps_aside_for_a_lan_hosts_flow() {
    let mut bench = Bench::new(&OBJECT);
    assert_eq!(open(&mut bench, INSIDE, REMOTE), INSIDE.1);
    let own = |remote| Packet::udp((ROUTER_WAN, INSIDE.1), remote, b"own").bytes();
    let output = bench.run(Hook::WanOutOwn, &own(REMOTE));
    assert_eq!(output.reason(), OwnTranslated);
    let port = external(&output);
    assert_ne!(port, INSIDE.1);
    // The answer finds its way back, by the full path only.
    let answer = Packet::udp(REMOTE, (ROUTER_WAN, port), b"answer").bytes();
    let back = bench.run(Hook::WanIn, &answer);
    assert_eq!((back.verdict, back.reason()), (Verdict::Pass, InboundSlow));
    assert_eq!(back.packet(), Packet::udp(REMOTE, (ROUTER_WAN, INSIDE.1), b"answer").bytes());
    ends(&mut bench, Hook::WanXdp, &[("answer", answer, Own)]);
    // Towards another remote endpoint nothing collides.
    ends(&mut bench, Hook::WanOutOwn, &[("another remote", own((SERVER_2, 53)), Own)]);
}

#[test]
fn the_mapping_is_the_same_towards_everybody() {
    let mut bench = Bench::new(&OBJECT);
    // B comes second and gets another port; all its flows get that one.
    open(&mut bench, INSIDE, REMOTE);
    let b = (HOST_B, INSIDE.1);
    let port = open(&mut bench, b, REMOTE);
    assert_ne!(port, INSIDE.1);
    assert_eq!(port & 1, INSIDE.1 & 1, "the parity stays (RFC 4787 REQ-4)");
    for remote in [(SERVER_1, 54), (SERVER_2, 53), (SERVER_2, 1)] {
        assert_eq!(open(&mut bench, b, remote), port);
    }
    assert_eq!(bench.holders(UDP, port), 4);
    assert_eq!(bench.mappings().len(), 2);
}

#[test]
fn a_mapping_stays_where_it_is_when_its_own_port_gets_free() {
    let mut bench = Bench::new(&OBJECT);
    open(&mut bench, INSIDE, REMOTE);
    let b = (HOST_B, INSIDE.1);
    let port = open(&mut bench, b, REMOTE);
    assert_ne!(port, INSIDE.1, "that one is taken");
    let first = pair(UDP, INSIDE, INSIDE.1, REMOTE).outbound.key();
    assert_eq!(bench.retire(CloseCause::Flushed, &[first]), 1);
    assert_eq!(bench.holders(UDP, INSIDE.1), 0, "now it is free");
    assert_eq!(open(&mut bench, b, (SERVER_2, 53)), port);
    // A mapping ends with its last session. The next one may have its own port.
    let keys: Vec<_> = bench.sessions().iter().map(|half| half.key()).collect();
    assert_eq!(bench.retire(CloseCause::Flushed, &keys), 2);
    assert_eq!(open(&mut bench, b, (SERVER_2, 53)), b.1);
    assert_eq!((bench.mappings().len(), bench.holders(UDP, port)), (1, 0));
}

#[test]
fn a_port_for_one_session_alone_is_not_the_mapping() {
    let mut bench = Bench::new(&OBJECT);
    let settings = Settings { ports: Pool { low: 2000, high: 2001 }, ..Settings::DEFAULT };
    bench.set_settings(&settings);
    // B comes second, so its mapping is not with its own port; then that one gets free.
    let (a, b) = ((HOST_A, 2000), (HOST_B, 2000));
    assert_eq!(open(&mut bench, a, REMOTE), 2000);
    assert_eq!(open(&mut bench, b, REMOTE), 2001);
    let first = pair(UDP, a, 2000, REMOTE).outbound.key();
    assert_eq!(bench.retire(CloseCause::Flushed, &[first]), 1);
    // Somebody else's session has B's port towards the next remote endpoint.
    let taken = pair(UDP, (HOST_A, 5000), 2001, (SERVER_2, 53));
    bench.table().insert(taken.inbound);
    bench.table().insert(taken.outbound);
    assert_eq!(open(&mut bench, b, (SERVER_2, 53)), 2000, "apart, with what is its own port");
    assert_eq!(open(&mut bench, b, (SERVER_2, 54)), 2001, "the mapping is what it was");
    assert_eq!((bench.holders(UDP, 2000), bench.holders(UDP, 2001)), (1, 2));
    let mapped = bench.mappings();
    assert!(matches!(mapped[..], [(key, 2001)] if key.address == HOST_B.into()), "{mapped:?}");
}

#[test]
fn ports_stay_in_their_class_and_pool() {
    let mut bench = Bench::new(&OBJECT);
    let settings = Settings { ports: Pool { low: 2000, high: 2003 }, ..Settings::DEFAULT };
    bench.set_settings(&settings);
    let mut ports: Vec<_> =
        (20..24).map(|last| open(&mut bench, ([192, 168, 1, last].into(), 5000), REMOTE)).collect();
    ports.sort();
    assert_eq!(ports, [2000, 2001, 2002, 2003]);
    // Privileged ports have a pool of their own (RFC 4787 REQ-3a).
    let privileged = open(&mut bench, (HOST_A, 123), REMOTE);
    assert!((600..1024).contains(&privileged), "{privileged}");
}

#[test]
fn when_ports_run_out_they_are_shared_towards_other_remotes_only() {
    let mut bench = Bench::new(&OBJECT);
    let settings = Settings {
        ports: Pool { low: 2000, high: 2000 },
        privileged: Pool::EMPTY,
        ..Settings::DEFAULT
    };
    bench.set_settings(&settings);
    let (a, b) = ((HOST_A, 5000), (HOST_B, 5000));
    assert_eq!(open(&mut bench, a, REMOTE), 2000);
    let packet = |remote| Packet::udp(b, remote, b"first").bytes();
    let output = bench.run(Hook::WanOut, &packet((SERVER_2, 53)));
    assert_eq!((output.reason(), external(&output)), (OutboundSlow, 2000));
    assert_eq!(output.counted.get("port_shared"), Some(&1));
    ends(&mut bench, Hook::WanOut, &[("the same remote", packet(REMOTE), PortsExhausted)]);
    // Unless the user does not want that.
    bench.set_settings(&Settings { switches: switches::NO_OVERLAP, ..settings });
    let cases = [("another remote", packet((SERVER_2, 54)), PortsExhausted)];
    ends(&mut bench, Hook::WanOut, &cases);
    // Sessions that exist go on.
    assert_eq!(open(&mut bench, a, REMOTE), 2000);
}

#[test]
fn a_full_session_table_is_counted_and_hurts_nobody() {
    let mut bench = Bench::new(&OBJECT);
    let flows = (0..TABLE_SIZE as u16).map(|i| (HOST_A, 10_000 + i));
    let mut opened = Vec::new();
    let mut refused = None;
    for inside in flows {
        let output = bench.run(Hook::WanOut, &Packet::udp(inside, REMOTE, b"first").bytes());
        match output.reason() {
            OutboundSlow => opened.push(inside),
            _ => {
                refused = Some(output);
                break;
            }
        }
    }
    let refused = refused.expect("a table of this size is full at some time");
    assert_eq!((refused.reason(), refused.verdict), (SessionTableFull, Verdict::Drop));
    assert!(opened.len() >= TABLE_SIZE as usize / 2 - 8, "only {} sessions", opened.len());
    assert_eq!(bench.sessions().len(), 2 * opened.len(), "no half is left behind");
    assert_eq!(bench.mappings().len(), opened.len(), "no mapping is left behind");
    for inside in opened.iter().step_by(50) {
        assert_eq!(open(&mut bench, *inside, REMOTE), inside.1);
    }
}

#[test]
fn an_expired_session_is_replaced() {
    let mut bench = Bench::new(&OBJECT);
    open(&mut bench, INSIDE, REMOTE);
    let after =
        |seconds: u64| Settings { clock_offset: seconds * 1_000_000_000, ..Settings::DEFAULT };
    bench.set_settings(&after(299));
    let packet = Packet::udp(INSIDE, REMOTE, b"again").bytes();
    assert_eq!(bench.run(Hook::WanOut, &packet).counted, [("outbound_slow", 1)].into());
    bench.set_settings(&after(299 + 301));
    let output = bench.run(Hook::WanOut, &packet);
    assert_eq!(external(&output), INSIDE.1);
    for event in ["session_closed", "session_opened", "mapping_closed", "mapping_opened"] {
        assert_eq!(output.counted.get(event), Some(&1), "{event}: {:?}", output.counted);
    }
    assert_eq!(bench.holders(UDP, INSIDE.1), 1);
    // An established TCP connection that has expired is gone: only a SYN opens a new one.
    bench.install(TCP, INSIDE, INSIDE.1, REMOTE);
    bench.set_settings(&after(600 + 8000));
    let ack = Packet::tcp(INSIDE, REMOTE, ACK, b"late").bytes();
    ends(&mut bench, Hook::WanOut, &[("ACK", ack, NoTcpSession)]);
}

#[test]
fn icmp_identifiers_are_mapped_like_ports() {
    let mut bench = Bench::new(&OBJECT);
    let mut run = |host, id| {
        let output = bench.run(Hook::WanOut, &Packet::echo((host, id), SERVER_1, b"ping").bytes());
        assert_eq!(output.reason(), OutboundSlow);
        u16::from_be_bytes([output.packet()[24], output.packet()[25]])
    };
    assert_eq!(run(HOST_A, 77), 77);
    assert_ne!(run(HOST_B, 77), 77);
    // 0 means "none" in a tuple; a host may use it all the same.
    assert_ne!(run(HOST_A, 0), 0);
    assert_eq!(bench.holders(ICMP, 77), 1);
}
