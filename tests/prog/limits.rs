//! Limits for each inside host (RFC 6888 REQ-4, REQ-5), the rest of ports that were given back
//! (RFC 6888 REQ-8), and ports that nobody gets.

use masq_common::{
    event::CloseCause,
    flow::UDP,
    ports::Pool,
    reason::Reason::{self, *},
    settings::{HostLimits, Settings},
    time::{Span, TICK_SHIFT},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet},
    program::{Bench, Hook, Output},
};

use crate::OBJECT;

const REMOTE: Endpoint = (SERVER_1, 53);

fn bench(host: HostLimits) -> Bench {
    let mut bench = Bench::new(&OBJECT);
    bench.set_settings(&Settings { host, ..Settings::DEFAULT });
    bench
}

fn send(bench: &mut Bench, from: Endpoint, to: Endpoint) -> Output {
    bench.run(Hook::WanOut, &Packet::udp(from, to, b"first").bytes())
}

fn reasons(bench: &mut Bench, flows: impl Iterator<Item = (Endpoint, Endpoint)>) -> Vec<Reason> {
    flows.map(|(from, to)| send(bench, from, to).reason()).collect()
}

/// Ends all sessions of an inside port, as the user would.
fn end(bench: &mut Bench, from: Endpoint) {
    let halves = bench.sessions();
    let of = |half: &&masq_common::session::SessionHalf| {
        half.is_outbound() && half.from.source_id.get() == from.1
    };
    let keys: Vec<_> = halves.iter().filter(of).map(|half| half.key()).collect();
    assert_eq!(bench.retire(CloseCause::Flushed, &keys), keys.len() as u32);
}

/// So often is tried what has to happen within one tick.
const TRIES: usize = 20;

#[test]
fn being_out_of_ports_is_remembered_for_a_tick() {
    let only_one = Pool { low: 2000, high: 2000 };
    let settings = Settings { ports: only_one, privileged: Pool::EMPTY, ..Settings::DEFAULT };
    let other = (SERVER_2, 53);
    let flows = [((HOST_A, 5000), REMOTE), ((HOST_B, 5001), other), ((HOST_A, 5002), other)];
    let mut bench = Bench::new(&OBJECT);
    let remembered = (0..TRIES).any(|_| {
        bench.set_settings(&settings);
        let expected = [OutboundSlow, OutboundSlow, PortsExhausted];
        assert_eq!(reasons(&mut bench, flows.into_iter()), expected, "all are taken there");
        // The port can be shared again, but nobody looks before the next tick.
        end(&mut bench, (HOST_B, 5001));
        let refused = send(&mut bench, (HOST_A, 5002), other).reason() == PortsExhausted;
        if refused {
            // Towards others it never was.
            assert_eq!(send(&mut bench, (HOST_A, 5002), (SERVER_2, 54)).reason(), OutboundSlow);
            let later = Settings { clock_offset: 1 << TICK_SHIFT, ..settings };
            bench.set_settings(&later);
            assert_eq!(send(&mut bench, (HOST_A, 5002), other).reason(), OutboundSlow);
        }
        [5000, 5001, 5002].into_iter().for_each(|port| end(&mut bench, (HOST_A, port)));
        refused
    });
    assert!(remembered, "every packet searches");
}

#[test]
fn sessions_of_a_host_are_limited_and_those_of_another_are_not() {
    let mut bench = bench(HostLimits { sessions: 3, ..HostLimits::default() });
    let flows = (1..=4).map(|port| ((HOST_A, port), REMOTE));
    let expected = [OutboundSlow, OutboundSlow, OutboundSlow, HostSessions];
    assert_eq!(reasons(&mut bench, flows), expected);
    assert_eq!(send(&mut bench, (HOST_B, 1), REMOTE).reason(), OutboundSlow);
    // What exists goes on, and what ends makes room.
    assert_eq!(send(&mut bench, (HOST_A, 1), REMOTE).reason(), OutboundSlow);
    end(&mut bench, (HOST_A, 2));
    assert_eq!(send(&mut bench, (HOST_A, 4), REMOTE).reason(), OutboundSlow);
    assert_eq!(send(&mut bench, (HOST_A, 5), REMOTE).reason(), HostSessions);
}

#[test]
fn mappings_of_a_host_are_limited_apart_from_its_sessions() {
    // Ports that no mapping preserves, and such that all do.
    for first in [1, 40_001] {
        let [a, b, c, d] = [0, 1, 2, 3].map(|number| (HOST_A, first + number));
        let mut bench = bench(HostLimits { mappings: 2, ..HostLimits::default() });
        let flows = [(a, REMOTE), (b, REMOTE), (c, REMOTE), (b, (SERVER_2, 53))];
        let expected = [OutboundSlow, OutboundSlow, HostMappings, OutboundSlow];
        assert_eq!(reasons(&mut bench, flows.into_iter()), expected, "from port {first} on");
        // A mapping goes with its last session.
        end(&mut bench, a);
        assert_eq!(send(&mut bench, c, REMOTE).reason(), OutboundSlow);
        assert_eq!(send(&mut bench, d, REMOTE).reason(), HostMappings);
        assert_eq!(bench.mappings().len(), 2);
    }
}

#[test]
fn new_sessions_of_a_host_are_limited_by_the_second() {
    let mut bench = bench(HostLimits { rate: 5, ..HostLimits::default() });
    let flows = (1..=20).map(|port| ((HOST_A, port), REMOTE));
    let passed = reasons(&mut bench, flows).iter().filter(|r| **r == OutboundSlow).count();
    // A second may end meanwhile.
    assert!((5..=10).contains(&passed), "{passed}");
    assert_eq!(send(&mut bench, (HOST_B, 1), REMOTE).reason(), OutboundSlow);
    let host = HostLimits { rate: 5, ..HostLimits::default() };
    let later = Settings { host, clock_offset: 10_000_000_000, ..Settings::DEFAULT };
    bench.set_settings(&later);
    assert_eq!(send(&mut bench, (HOST_A, 30), REMOTE).reason(), OutboundSlow);
}

#[test]
fn what_is_refused_leaves_no_count_behind() {
    let limits = HostLimits { sessions: 2, mappings: 2, rate: 0 };
    let mut bench = Bench::new(&OBJECT);
    let pool = Pool { low: 2000, high: 2000 };
    bench.set_settings(&Settings {
        host: limits,
        ports: pool,
        privileged: Pool::EMPTY,
        switches: masq_common::settings::switches::NO_OVERLAP,
        ..Settings::DEFAULT
    });
    assert_eq!(send(&mut bench, (HOST_B, 1), REMOTE).reason(), OutboundSlow);
    for port in 1..10 {
        assert_eq!(send(&mut bench, (HOST_A, port), REMOTE).reason(), PortsExhausted);
    }
    end(&mut bench, (HOST_B, 1));
    bench.set_settings(&Settings { host: limits, ..Settings::DEFAULT });
    let flows = (1..=3).map(|port| ((HOST_A, port), REMOTE));
    assert_eq!(reasons(&mut bench, flows), [OutboundSlow, OutboundSlow, HostSessions]);
}

#[test]
fn a_port_rests_while_there_are_others() {
    let mut bench = Bench::new(&OBJECT);
    let at = |seconds: u64, high| Settings {
        ports: Pool { low: 2000, high },
        privileged: Pool::EMPTY,
        quarantine: Span::from_secs(120),
        clock_offset: seconds * 1_000_000_000,
        ..Settings::DEFAULT
    };
    let port = |output: &Output| u16::from_be_bytes([output.packet()[20], output.packet()[21]]);
    bench.set_settings(&at(0, 2001));
    assert_eq!(port(&send(&mut bench, (HOST_A, 2000), REMOTE)), 2000);
    end(&mut bench, (HOST_A, 2000));
    assert_eq!(bench.holders(UDP, 2000), 0);
    // Not even the host that asks for it gets it.
    assert_eq!(port(&send(&mut bench, (HOST_B, 2000), REMOTE)), 2001);
    end(&mut bench, (HOST_B, 2000));
    // When all rest, any will do: better a port too soon than none.
    assert_eq!(send(&mut bench, (HOST_A, 2000), REMOTE).reason(), OutboundSlow);
    end(&mut bench, (HOST_A, 2000));
    bench.set_settings(&at(121, 2001));
    assert_eq!(port(&send(&mut bench, (HOST_B, 2000), REMOTE)), 2000);
}

#[test]
fn a_reserved_port_is_not_given_away_and_not_shared() {
    let mut bench = Bench::new(&OBJECT);
    let settings = Settings {
        ports: Pool { low: 2000, high: 2003 },
        privileged: Pool::EMPTY,
        ..Settings::DEFAULT
    };
    bench.set_settings(&settings);
    bench.reserve(UDP, 2001);
    bench.reserve(UDP, 2002);
    let port = |output: &Output| u16::from_be_bytes([output.packet()[20], output.packet()[21]]);
    let mut given: Vec<_> =
        (2001..2003).map(|from| port(&send(&mut bench, (HOST_A, from), REMOTE))).collect();
    given.sort();
    assert_eq!(given, [2000, 2003]);
    // Now none is free: towards other remote endpoints they are shared, but not the reserved ones.
    for from in 3000..3040 {
        let output = send(&mut bench, (HOST_B, from), (SERVER_2, from));
        assert_eq!(output.reason(), OutboundSlow);
        assert!([2000, 2003].contains(&port(&output)), "{}", port(&output));
    }
}
