//! The end of sessions: what the daemon's program removes, and what it leaves.

use masq_common::{
    event::CloseCause,
    flow::{TCP, UDP},
    settings::Settings,
    tcp::{ACK, FIN, RST, SYN},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet},
    program::{Bench, Hook, pair},
};

use crate::OBJECT;

const INSIDE: Endpoint = (HOST_A, 40_000);
const REMOTE: Endpoint = (SERVER_1, 53);

fn at(bench: &mut Bench, seconds: u64) {
    let clock_offset = seconds * 1_000_000_000;
    bench.set_settings(&Settings { clock_offset, ..Settings::DEFAULT });
}

#[test]
fn only_what_has_expired_goes_by_itself() {
    let mut bench = Bench::new(&OBJECT);
    for (inside, remote) in [(INSIDE, REMOTE), (INSIDE, (SERVER_2, 53)), ((HOST_B, 1), REMOTE)] {
        bench.run(Hook::WanOut, &Packet::udp(inside, remote, b"").bytes());
    }
    at(&mut bench, 200);
    bench.run(Hook::WanOut, &Packet::udp(INSIDE, (SERVER_2, 53), b"").bytes());
    at(&mut bench, 350);
    let keys: Vec<_> = bench.sessions().iter().map(|half| half.key()).collect();
    assert_eq!(keys.len(), 6);
    assert_eq!(bench.retire(CloseCause::Expired, &keys), 2);
    // The one that was refreshed is there, and so is its mapping.
    assert_eq!((bench.sessions().len(), bench.mappings().len()), (2, 1));
    assert_eq!(bench.holders(UDP, INSIDE.1), 1);
    assert_eq!(bench.retire(CloseCause::Expired, &keys), 0);
    assert_eq!(bench.retire(CloseCause::Flushed, &keys), 1);
    assert_eq!((bench.sessions().len(), bench.mappings().len()), (0, 0));
    assert_eq!(bench.ports_held(UDP), 0);
}

#[test]
fn either_half_names_a_session_and_strangers_name_none() {
    let mut bench = Bench::new(&OBJECT);
    for half in 0..2 {
        bench.run(Hook::WanOut, &Packet::udp(INSIDE, REMOTE, b"").bytes());
        let halves = pair(UDP, INSIDE, INSIDE.1, REMOTE);
        let stranger = pair(UDP, INSIDE, INSIDE.1, (SERVER_2, 1)).outbound.key();
        assert_eq!(bench.retire(CloseCause::Flushed, &[stranger]), 0);
        let key = [halves.outbound.key(), halves.inbound.key()][half];
        assert_eq!(bench.retire(CloseCause::Flushed, &[key, key]), 1);
        assert_eq!(bench.sessions().len(), 0);
    }
}

#[test]
fn tcp_timers_follow_the_phase() {
    let mut bench = Bench::new(&OBJECT);
    let remote = (SERVER_1, 80);
    let outside = (masq_tests::lab::ROUTER_WAN, INSIDE.1);
    let out = |flags| (Hook::WanOut, Packet::tcp(INSIDE, remote, flags, b"").bytes());
    let back = |flags| (Hook::WanIn, Packet::tcp(remote, outside, flags, b"").bytes());
    let open = [out(SYN), back(SYN | ACK), out(ACK)];
    let closed = [open.to_vec(), vec![out(FIN | ACK), back(FIN | ACK), out(ACK)]].concat();
    let reset = [open.to_vec(), vec![back(RST)]].concat();
    let half_closed = [open.to_vec(), vec![out(FIN | ACK), back(ACK)]].concat();
    // Segments, and the seconds at which the session is still there and no longer there.
    let cases = [
        ("SYN", open[..1].to_vec(), 239, 242),
        ("SYN, SYN and ACK", open[..2].to_vec(), 239, 242),
        ("established", open.to_vec(), 7439, 7442),
        ("half closed", half_closed, 7439, 7442),
        ("closed", closed, 239, 242),
        ("reset", reset, 239, 242),
    ];
    for (what, segments, alive, gone) in cases {
        at(&mut bench, 0);
        for (hook, packet) in segments {
            bench.run(hook, &packet);
        }
        let key = pair(TCP, INSIDE, INSIDE.1, remote).outbound.key();
        at(&mut bench, alive);
        assert_eq!(bench.retire(CloseCause::Expired, &[key]), 0, "{what} after {alive} s");
        at(&mut bench, gone);
        assert_eq!(bench.retire(CloseCause::Expired, &[key]), 1, "{what} after {gone} s");
        assert_eq!(bench.ports_held(TCP), 0, "{what}");
    }
}
