//! What is remembered of a way from or to a bridge ends with what the kernel's bridge says of the station.

use std::sync::{Mutex, PoisonError};

use masq_common::{
    link::{STATION_SETS, set},
    reason::Reason::StationUnknown,
};
use masq_tests::{
    capture::Injector,
    lab::{veth, wait_for_carrier},
    netns::Namespace,
    packet::Packet,
    program::Verdict,
    sockets::eventually,
};

use super::{
    end, frames,
    lines::{INSIDE, Line, REMOTE, Router},
};

/// The programs of both tests hear both bridges.
static ALONE: Mutex<()> = Mutex::new(());

/// Says where the station of the LAN is, until its packets pass: a run of this suite beside this one may
/// just have moved it.
fn known(router: &mut Router) {
    let (side, port) = (router.sides[0], router.bridge_port(0));
    eventually("the packets of a known station to pass", || {
        router.bench.set_station(side.ifindex, side.macs[1], port);
        let frames = frames(router);
        let passes = |index: usize| router.run(index, &frames[index]).verdict == Verdict::Redirect;
        [0, 1, 0, 1].into_iter().all(passes).then_some(())
    });
}

/// A bridge of the kernel with two ports, beside the interfaces: the programs only know the addresses
/// that it learns.
struct Bridge {
    peer: Namespace,
}

impl Bridge {
    fn new(router: &Router) -> Self {
        let peer = Namespace::new("stations");
        let namespace = router.bench.namespace();
        namespace.ip("link add br9 type bridge ageing_time 100000\nlink set br9 up");
        for port in ["p0", "p1"] {
            veth(namespace, port, &peer, port);
            peer.ip(&format!("link set {port} up"));
            namespace.ip(&format!("link set {port} master br9 up"));
        }
        for port in ["p0", "p1"] {
            wait_for_carrier(namespace, port);
        }
        Self { peer }
    }

    /// A frame comes in by a port.
    fn receive(&self, port: &str, frame: &[u8]) {
        Injector::open(&self.peer, port).send(frame);
    }
}

#[test]
fn what_a_bridge_learns_and_forgets_is_heard() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut router = Router::new([Line::named("port of a bridge"), Line::named("Ethernet")]);
    router.bench.watch_stations();
    let _bridge = Bridge::new(&router);
    let host = router.sides[0].macs[1];
    let text = host.map(|byte| format!("{byte:02x}")).join(":");
    let changes: [(&str, &[&str]); 6] = [
        ("added", &["fdb", "add", &text, "dev", "p0", "master", "static"]),
        ("moved", &["fdb", "replace", &text, "dev", "p1", "master", "static"]),
        ("deleted", &["fdb", "del", &text, "dev", "p1", "master"]),
        ("learned", &["fdb", "add", &text, "dev", "p0", "master", "dynamic"]),
        ("learned from outside", &["fdb", "replace", &text, "dev", "p1", "master", "extern_learn"]),
        ("flushed", &["fdb", "flush", "dev", "br9"]),
    ];
    for (what, arguments) in changes {
        known(&mut router);
        let before = router.bench.generations();
        router.bench.namespace().output("bridge", arguments);
        end(&mut router, [StationUnknown; 2]);
        let after = router.bench.generations();
        assert!(after.changes > before.changes, "{what}");
        let there = usize::from(set(host));
        assert!(after.stations[there] > before.stations[there], "{what}");
        // Perhaps of others too, but not of all.
        let sets = before.stations.iter().zip(&after.stations);
        let changed = sets.filter(|(before, after)| before != after).count();
        assert!(changed < STATION_SETS / 4, "{what}: {changed} sets");
        assert_eq!((before.stations[0], after.stations[0]), (0, 0), "nobody's set");
    }
}

#[test]
fn a_frame_that_a_bridge_learns_from_is_heard() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut router = Router::new([Line::named("port of a bridge"), Line::named("Ethernet")]);
    router.bench.watch_stations();
    let bridge = Bridge::new(&router);
    let side = router.sides[0];
    for from in ["p0", "p1", "p0"] {
        known(&mut router);
        // The host is heard at a port of the kernel's bridge, and then at the other.
        let frame = side.arriving(&Packet::udp(INSIDE, REMOTE, b"hello").bytes());
        eventually("the bridge to learn", || {
            bridge.receive(from, &frame);
            let output = router.run(0, &frames(&router)[0]);
            (output.reason() == StationUnknown).then_some(())
        });
        end(&mut router, [StationUnknown; 2]);
    }
    // When a port goes down, all that was behind it is forgotten.
    known(&mut router);
    router.bench.namespace().ip("link set p0 down");
    eventually("the bridge to forget", || {
        let output = router.run(0, &frames(&router)[0]);
        (output.reason() == StationUnknown).then_some(())
    });
}
