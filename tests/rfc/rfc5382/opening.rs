//! How connections are opened, and by which ports.

use masq_common::{
    flow::TCP,
    settings::Filtering::{AddressAndPortDependent, EndpointIndependent},
    tcp::{ACK, FIN, RST, SYN},
};
use masq_tests::{
    lab::ROUTER_WAN,
    packet::{Packet, tcp::PSH},
    program::{Hook, Verdict},
};

use crate::nat::{A, B, Nat, S1, S2, destination, source};

mod req_1 {
    use super::*;

    #[test]
    fn the_external_port_does_not_depend_on_the_remote_endpoint() {
        let mut nat = Nat::new();
        nat.connect(A, S1);
        let port = nat.connect(B, S1);
        assert_ne!(port, B.1);
        assert_eq!([nat.connect(B, S2), nat.connect(B, (S1.0, 80))], [port; 2]);
    }
}

mod req_2 {
    use super::*;

    /// Flags and payload of a segment, and whether it goes out.
    type Segment = (bool, u8, &'static [u8]);

    const OPEN: [Segment; 3] = [(true, SYN, b""), (false, SYN | ACK, b""), (true, ACK, b"")];

    /// Each sequence is a connection of its own, to another port of the server.
    #[track_caller]
    fn all_pass(nat: &mut Nat, what: &str, segments: &[Segment]) {
        let remote = (S1.0, 1000 + nat.sessions().len() as u16);
        for (number, (out, flags, data)) in segments.iter().enumerate() {
            let end = match out {
                true => nat.out(&Packet::tcp(A, remote, *flags, data)),
                false => nat.back(&Packet::tcp(remote, (ROUTER_WAN, A.1), *flags, data)),
            };
            let packet = end.unwrap_or_else(|e| panic!("{what}: segment {number}: {e:?}"));
            let ends = (source(&packet), destination(&packet));
            let expected = if *out { ((ROUTER_WAN, A.1), remote) } else { (remote, A) };
            assert_eq!(ends, expected, "{what}: segment {number}");
            assert_eq!(packet[33], *flags, "{what}: flags of segment {number}");
        }
    }

    #[test]
    fn handshakes_with_repeats_and_data_pass() {
        let mut nat = Nat::new();
        all_pass(&mut nat, "SYN again", &[&[OPEN[0]], &OPEN[..]].concat());
        all_pass(&mut nat, "SYN and ACK again", &[&OPEN[..2], &OPEN[1..]].concat());
        all_pass(
            &mut nat,
            "data with the SYN",
            &[&[(true, SYN, &b"early"[..])], &OPEN[1..]].concat(),
        );
        all_pass(&mut nat, "ACK again", &[&OPEN[..], &OPEN[2..]].concat());
    }

    #[test]
    fn established_connections_carry_everything() {
        let mut nat = Nat::new();
        for flags in [ACK, ACK | PSH, ACK | 0x20, ACK | 0x40, ACK | 0x80] {
            let data: [Segment; 2] = [(true, flags, b"data"), (false, flags, b"answer")];
            all_pass(&mut nat, "data", &[&OPEN[..], &data].concat());
        }
        all_pass(
            &mut nat,
            "keepalive",
            &[&OPEN[..], &[(true, ACK, b"x"), (false, ACK, b"")]].concat(),
        );
    }

    #[test]
    fn connections_end_in_every_way() {
        let mut nat = Nat::new();
        let fin = FIN | ACK;
        all_pass(
            &mut nat,
            "FIN with data",
            &[&OPEN[..], &[(true, fin, b"last"), (false, ACK, b"")]].concat(),
        );
        let crossed: [Segment; 4] =
            [(true, fin, b""), (false, fin, b""), (true, ACK, b""), (false, ACK, b"")];
        all_pass(&mut nat, "both at once", &[&OPEN[..], &crossed].concat());
        let again: [Segment; 5] = [
            (false, fin, b""),
            (true, ACK, b""),
            (true, fin, b""),
            (true, fin, b""),
            (false, ACK, b""),
        ];
        all_pass(&mut nat, "FIN again", &[&OPEN[..], &again].concat());
        for open in 1..=OPEN.len() {
            for out in [true, false] {
                let reset: Segment = (out, RST | ACK, b"");
                all_pass(&mut nat, "RST", &[&OPEN[..open], &[reset]].concat());
            }
        }
    }
}

mod req_2a {
    use super::*;

    /// A SYN and its answer from each side.
    #[track_caller]
    fn cross(nat: &mut Nat) -> u16 {
        let port = nat.segment_out(A, S1, SYN).expect("the SYN leaves");
        assert!(nat.segment_back(S1, port, SYN), "the other SYN arrives");
        assert_eq!(nat.segment_out(A, S1, SYN | ACK), Some(port));
        assert!(nat.segment_back(S1, port, SYN | ACK));
        port
    }

    #[test]
    fn two_syns_that_cross_open_a_connection() {
        let mut nat = Nat::new();
        let port = cross(&mut nat);
        assert_eq!(nat.segment_out(A, S1, ACK), Some(port));
        nat.at(3600);
        nat.sweep();
        assert!(nat.segment_back(S1, port, ACK));
    }

    #[test]
    fn it_is_established_without_any_further_segment() {
        let mut nat = Nat::new();
        let port = cross(&mut nat);
        nat.at(3600);
        nat.sweep();
        assert!(nat.segment_back(S1, port, ACK));
    }
}

mod req_3 {
    use super::*;

    #[test]
    fn open_filtering_lets_a_syn_in_and_strict_filtering_does_not() {
        let mut nat = Nat::filtering(EndpointIndependent);
        let port = nat.connect(A, S1);
        assert!(nat.segment_back(S2, port, SYN));
        nat.change(|settings| settings.filtering_tcp = AddressAndPortDependent as u8);
        assert!(!nat.segment_back((S2.0, 1), port, SYN));
    }
}

mod req_3b {
    use super::*;

    #[test]
    fn udp_may_be_open_while_tcp_is_strict() {
        let mut nat = Nat::with(|settings| settings.filtering_udp = EndpointIndependent as u8);
        let (tcp, udp) = (nat.connect(A, S1), nat.udp(A, S1));
        assert!(nat.answers(S2, udp, A));
        assert!(!nat.segment_back(S2, tcp, SYN));
    }
}

mod req_7 {
    use super::*;

    #[test]
    fn two_hosts_have_different_ports_also_towards_different_servers() {
        let mut nat = Nat::new();
        let ports = [nat.connect(A, S1), nat.connect(B, S2)];
        assert_ne!(ports[0], ports[1]);
        assert_eq!(ports.map(|port| nat.holders(TCP, port)), [1, 1]);
    }
}

mod req_8a {
    use super::*;

    #[test]
    fn a_hairpinned_syn_shows_the_external_endpoint() {
        let mut nat = Nat::filtering(EndpointIndependent);
        let b = (ROUTER_WAN, nat.connect(B, S1));
        let output = nat.run(Hook::LanIn, &Packet::tcp(A, b, SYN, b"").bytes());
        assert_eq!(output.verdict, Verdict::Redirect, "{:?}", output.counted);
        let seen = source(output.packet());
        let expected = Packet::tcp(seen, B, SYN, b"").ttl(63).bytes();
        assert_eq!((seen.0, output.packet()), (ROUTER_WAN, &expected[..]));
        // The answer takes the same way.
        let answer = nat.run(Hook::LanIn, &Packet::tcp(B, seen, SYN | ACK, b"").bytes());
        assert_eq!(answer.packet(), Packet::tcp(b, A, SYN | ACK, b"").ttl(63).bytes());
    }
}
