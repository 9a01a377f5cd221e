//! What is remembered of a way from or to a bridge ends with what the kernel's bridge says of the station.

use masq_common::{link::set, reason::Reason::StationUnknown};
use masq_tests::{
    capture::Injector, lab::veth, netns::Namespace, packet::Packet, program::mac,
    sockets::eventually,
};

use super::{
    end, frames,
    lines::{INSIDE, Line, REMOTE, Router},
    pass,
};

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
        Self { peer }
    }

    /// A frame comes in by a port.
    fn receive(&self, port: &str, frame: &[u8]) {
        Injector::open(&self.peer, port).send(frame);
    }
}

#[test]
fn what_a_bridge_learns_and_forgets_is_heard() {
    let mut router = Router::new([Line::named("port of a bridge"), Line::named("Ethernet")]);
    router.bench.watch_stations();
    let _bridge = Bridge::new(&router);
    let (side, port) = (router.sides[0], router.bridge_port(0));
    let host = side.macs[1];
    let text = host.map(|byte| format!("{byte:02x}")).join(":");
    let other = mac("02:00:00:00:0f:01");
    assert_ne!(set(other), set(host));
    let changes: [(&str, &[&str]); 6] = [
        ("added", &["fdb", "add", &text, "dev", "p0", "master", "static"]),
        ("moved", &["fdb", "replace", &text, "dev", "p1", "master", "static"]),
        ("deleted", &["fdb", "del", &text, "dev", "p1", "master"]),
        ("learned", &["fdb", "add", &text, "dev", "p0", "master", "dynamic"]),
        ("learned from outside", &["fdb", "replace", &text, "dev", "p1", "master", "extern_learn"]),
        ("flushed", &["fdb", "flush", "dev", "br9"]),
    ];
    for (what, arguments) in changes {
        router.bench.set_station(side.ifindex, host, port);
        pass(&mut router);
        pass(&mut router);
        let before = router.bench.generations();
        router.bench.namespace().output("bridge", arguments);
        end(&mut router, [StationUnknown; 2]);
        let after = router.bench.generations();
        assert!(after.changes > before.changes, "{what}");
        let [there, elsewhere] = [host, other].map(|mac| usize::from(set(mac)));
        assert!(after.stations[there] > before.stations[there], "{what}");
        if what != "flushed" {
            assert_eq!(after.stations[elsewhere], before.stations[elsewhere], "{what}");
        }
        assert_eq!((before.stations[0], after.stations[0]), (0, 0), "nobody's set");
    }
}

#[test]
fn a_frame_that_a_bridge_learns_from_is_heard() {
    let mut router = Router::new([Line::named("port of a bridge"), Line::named("Ethernet")]);
    router.bench.watch_stations();
    let bridge = Bridge::new(&router);
    let (side, port) = (router.sides[0], router.bridge_port(0));
    for from in ["p0", "p1", "p0"] {
        router.bench.set_station(side.ifindex, side.macs[1], port);
        pass(&mut router);
        // The host is heard at a port of the kernel's bridge, and then at the other.
        let frame = side.arriving(&Packet::udp(INSIDE, REMOTE, b"hello").bytes());
        bridge.receive(from, &frame);
        eventually("the bridge to learn", || {
            let output = router.run(0, &frames(&router)[0]);
            (output.reason() == StationUnknown).then_some(())
        });
        end(&mut router, [StationUnknown; 2]);
    }
    // When a port goes down, all that was behind it is forgotten.
    router.bench.set_station(side.ifindex, side.macs[1], port);
    pass(&mut router);
    router.bench.namespace().ip("link set p0 down");
    eventually("the bridge to forget", || {
        let output = router.run(0, &frames(&router)[0]);
        (output.reason() == StationUnknown).then_some(())
    });
}
