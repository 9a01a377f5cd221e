//! What is remembered of a way by PPPoE ends with a frame of the peer that tells of its end; and nothing
//! else does.

use masq_common::{
    flow::UDP,
    hop::Ticket,
    link::{Arrival, Leg},
    reason::Reason::*,
    settings::{Settings, switches},
};
use masq_tests::program::Verdict;

use super::{
    end, frames, key,
    lines::{Line, Router},
    pass,
};

/// Frames of PPPoE discovery: code and session.
fn discovery(router: &Router, index: usize, code: u8, session: u16) -> Vec<u8> {
    let side = &router.sides[index];
    let mut frame = side.macs.concat();
    if side.vlan != 0 {
        frame.extend([0x8100, side.vlan].map(u16::to_be_bytes).as_flattened());
    }
    frame.extend([0x88, 0x63, 0x11, code]);
    frame.extend([session, 0].map(u16::to_be_bytes).as_flattened());
    frame.resize(60, 0);
    frame
}

/// Runs a frame that has to go on untouched; whether it counted as the end of a session.
#[track_caller]
fn told(router: &mut Router, index: usize, frame: &[u8]) -> bool {
    let output = router.run(index, frame);
    assert_eq!((output.verdict, &output.frame[..]), (Verdict::Pass, frame), "{frame:02x?}");
    output.counted.contains_key(PppoeDiscovery.label())
}

const PADO: u8 = 0x07;
const PADI: u8 = 0x09;
const PADR: u8 = 0x19;
const PADS: u8 = 0x65;
const PADT: u8 = 0xa7;

#[test]
fn a_hang_up_ends_what_was_learned_of_the_session() {
    for name in ["PPPoE", "PPPoE on a VLAN"] {
        let mut router = Router::new([Line::named("Ethernet"), Line::named(name)]);
        let at = if router.sides[1].vlan == 0 { 14 } else { 18 };
        // Whatever the version: the kernel does not look at it either.
        for version in [0x11, 0x12] {
            pass(&mut router);
            pass(&mut router);
            let mut frame = discovery(&router, 1, PADT, router.sides[1].session);
            frame[at] = version;
            assert!(told(&mut router, 1, &frame), "{name}: {version:#x}");
            end(&mut router, [PppoeOther; 2]);
            // Another way of asking the routing does not bring it back: only the daemon does.
            router.bench.forget_next_hops(false);
            end(&mut router, [PppoeOther; 2]);
            router.renew(1);
            pass(&mut router);
        }
    }
}

#[test]
fn at_rest_nothing_is_tried_and_an_end_is_heard_all_the_same() {
    let on = Settings { switches: switches::NEXT_HOPS, ..Settings::DEFAULT };
    let at_rest = Settings { switches: switches::NEXT_HOPS | switches::NO_XDP, ..on };
    for name in ["PPPoE", "PPPoE on a VLAN"] {
        let mut router = Router::new([Line::named("Ethernet"), Line::named(name)]);
        pass(&mut router);
        router.bench.set_settings(&at_rest);
        end(&mut router, [FastPathOff; 2]);
        let frame = discovery(&router, 1, PADT, router.sides[1].session);
        assert!(told(&mut router, 1, &frame), "{name}");
        router.bench.set_settings(&on);
        end(&mut router, [PppoeOther; 2]);
        router.renew(1);
        pass(&mut router);
    }
}

#[test]
fn other_frames_of_discovery_end_nothing() {
    for name in ["PPPoE", "PPPoE on a VLAN"] {
        let mut router = Router::new([Line::named("Ethernet"), Line::named(name)]);
        let good = discovery(&router, 1, PADT, router.sides[1].session);
        let at = if router.sides[1].vlan == 0 { 14 } else { 18 };
        let changed = |at: usize, byte: u8| {
            let mut frame = good.clone();
            frame[at] = byte;
            frame
        };
        let mut frames: Vec<_> = [PADO, PADI, PADR, PADS].map(|code| changed(at + 1, code)).into();
        frames.push(changed(5, 0x77));
        // Anybody on the line may send these: not from the peer, not of a session of ours.
        frames.push(changed(11, 0x77));
        frames.push(changed(at + 3, 0x77));
        let sender = |from: [u8; 6], session: u16| {
            let mut frame = discovery(&router, 1, PADT, session);
            frame[6..12].copy_from_slice(&from);
            frame
        };
        // What legs without a peer are known by.
        frames.push(sender([0; 6], 0));
        frames.push(sender([0; 6], 0xffff));
        frames.push(good[..at + 3].to_vec());
        // A session is none of discovery.
        frames.push(changed(at - 1, 0x64));
        for frame in frames {
            assert!(!told(&mut router, 1, &frame), "{name}: {frame:02x?}");
        }
        // From the LAN, where nobody speaks PPPoE, to whomever.
        let mut forged = good.clone();
        for address in [router.sides[0].macs[0], router.sides[1].macs[0]] {
            forged[..6].copy_from_slice(&address);
            assert!(!told(&mut router, 0, &forged), "{name}");
        }
        pass(&mut router);
        assert!(told(&mut router, 1, &good), "{name}");
    }
}

#[test]
fn a_tag_with_nothing_but_a_priority_hides_no_end() {
    let mut router = Router::new([Line::named("Ethernet"), Line::named("PPPoE")]);
    pass(&mut router);
    let mut frame = discovery(&router, 1, PADT, router.sides[1].session);
    frame.splice(12..12, [0x81, 0x00, 0xe0, 0x00]);
    assert!(told(&mut router, 1, &frame));
    end(&mut router, [PppoeOther; 2]);
}

#[test]
fn ways_without_pppoe_outlive_a_redial() {
    let mut router = Router::new([Line::named("VLAN"), Line::named("Ethernet")]);
    router.hear(1);
    // A session on the same line, that the way is none of.
    let [mac, peer] = router.sides[1].macs;
    let arrival = Arrival { session: 1_u16.to_be(), ..router.sides[1].arrival() };
    router.bench.set_leg(arrival, Leg { mac, peer, ..Leg::default() });
    let frame = &frames(&router)[0];
    let end = discovery(&router, 1, PADT, 1);
    // Neighbours of other tests may change at any moment, so it is tried more than once.
    let lasted = (0..50).any(|_| {
        let ticket =
            |router: &Router| router.bench.session(&key(0, UDP)).expect("a session").ticket;
        router.run(0, frame);
        let before = ticket(&router);
        let told = told(&mut router, 1, &end);
        router.run(0, frame);
        assert!(told);
        before != Ticket::NONE && ticket(&router) == before
    });
    assert!(lasted);
}
