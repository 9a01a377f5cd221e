//! Frames that nobody has thought of: whatever their bytes, a frame is either left as it is, or it is what
//! the same packet would be on plain Ethernet, with the other header.

use fastrand::Rng;
use masq_common::{
    flow::{ICMP, TCP, UDP},
    reason::{Class, Reason},
};
use masq_tests::program::{Output, Verdict};

use super::{
    SHORTEST,
    lines::{LINES, Router, Side},
    passages,
};

/// Frames for each pair of interfaces and side.
const FRAMES: usize = 150;
/// Bytes of a link-layer header where mutations go most.
const HEAD: usize = 26;

/// A frame with a few things changed.
fn mutated(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    const WORDS: [u16; 12] =
        [0, 1, 0x21, 0x0800, 0x1100, 0x8021, 0x8100, 0x8863, 0x8864, 0x88a8, 0xc021, 0xffff];
    let mut frame = good.to_vec();
    for _ in 0..rng.usize(0..4) {
        let within = if rng.bool() { HEAD.min(frame.len()) } else { frame.len() };
        let at = rng.usize(..within);
        match rng.u8(0..8) {
            0 => frame[at] = rng.u8(..),
            1 | 2 => frame[at] ^= 1 << rng.u8(0..8),
            3 => {
                let at = at & !1;
                let word = WORDS[rng.usize(..WORDS.len())].to_be_bytes();
                frame.splice(at..(at + 2).min(within), word);
            }
            4 => drop(frame.splice(at..at, [0x81, 0x00, rng.u8(0..16), rng.u8(..)])),
            5 => drop(frame.drain(at..(at + rng.usize(1..9)).min(frame.len()))),
            6 => frame.truncate(rng.usize(14..frame.len().max(15))),
            _ => frame.extend((0..rng.usize(1..40)).map(|_| rng.u8(..))),
        }
        // No device hands on less, and neither does BPF_PROG_TEST_RUN.
        frame.resize(frame.len().max(14), 0);
    }
    frame
}

/// The packet of a frame, with what follows it, if the frame is one of this side: read in the order of
/// the standards, and not as the programs do.
fn packet<'a>(side: &Side, frame: &'a [u8]) -> Option<&'a [u8]> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let [router, other] = side.macs;
    if frame[..6] != router || side.line.session && frame[6..12] != other {
        return None;
    }
    let mut at = 12;
    if side.vlan != 0 {
        if word(at)? != 0x8100 || word(at + 2)? & 0xfff != side.vlan {
            return None;
        }
        at += 4;
    }
    if side.session == 0 {
        return (word(at)? == 0x0800).then(|| &frame[at + 2..]);
    }
    let begin = [word(at)?, word(at + 2)?, word(at + 4)?, word(at + 8)?];
    if begin != [0x8864, 0x1100, side.session, 0x0021] {
        return None;
    }
    let (length, packet) = (usize::from(word(at + 6)?), &frame[at + 10..]);
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    (total + 2 <= length && length <= packet.len() + 2).then_some(packet)
}

/// What is wrong, if anything, with the end of a frame whose packet has ended like `plain` on Ethernet.
fn fault(
    frame: &[u8],
    output: &Output,
    plain: Option<&Output>,
    [from, to]: [&Side; 2],
) -> Option<String> {
    let untouched = output.verdict == Verdict::Pass
        && output.frame == frame
        && output.ends().all(|(reason, _)| reason.class() == Class::Untouched);
    let Some(plain) = plain.filter(|plain| plain.verdict == Verdict::Redirect) else {
        return (!untouched).then(|| format!("touched: {output:?}"));
    };
    let stranger = from.line.bridge && frame[6..12] != from.macs[1];
    if stranger && untouched && output.reason() == Reason::StationUnknown {
        // Nobody looks while the session remembers its next hop from a packet of a station that the
        // bridge knows.
        return None;
    }
    let packet = &plain.frame[14..];
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    // 1, 3, 7 and 5 for the four types of service that Linux tells apart.
    let priority = [1, 3, 7, 5][usize::from(packet[1] >> 3 & 3)];
    let mut wanted = [&to.leaving(&packet[..length], priority), &packet[length..]].concat();
    let plain = |side: &Side| side.vlan == 0 && side.session == 0;
    if wanted.len() < SHORTEST && !(plain(from) && plain(to)) {
        wanted.resize(SHORTEST, 0);
    }
    let right = output.verdict == Verdict::Redirect && output.frame == wanted;
    (!right).then(|| format!("{output:02x?}\nwanted {wanted:02x?}"))
}

#[test]
fn whatever_comes_is_left_alone_or_translated_as_on_ethernet() {
    let seed = 0x6265_6c6f;
    let mut rng = Rng::with_seed(seed);
    let mut router = Router::new([LINES[0]; 2]);
    let mut ethernet = Router::new([LINES[0]; 2]);
    let mut sent = 0;
    for (lan, wan) in LINES.iter().flat_map(|lan| LINES.iter().map(move |wan| (*lan, *wan))) {
        router.connect([lan, wan]);
        for index in [0, 1] {
            let (from, to) = (router.sides[index], router.sides[1 - index]);
            for number in 0..FRAMES {
                if number % 50 == 0 {
                    // Resets and the like have had their effect.
                    for bench in [&mut router.bench, &mut ethernet.bench] {
                        for protocol in [TCP, UDP, ICMP] {
                            bench.install(protocol, super::INSIDE, super::OUTSIDE.1, super::REMOTE);
                        }
                    }
                }
                let (_, packets, _) = &passages(rng.u8(..))[index][rng.usize(..3)];
                let frame = mutated(&mut rng, &from.arriving(&packets.bytes()));
                let plain = packet(&from, &frame).map(|packet| {
                    let frame = ethernet.sides[index].arriving(packet);
                    ethernet.run(index, &frame)
                });
                let output = router.run(index, &frame);
                sent += usize::from(output.verdict == Verdict::Redirect);
                if let Some(fault) = fault(&frame, &output, plain.as_ref(), [&from, &to]) {
                    panic!("{} to {}, frame {frame:02x?}: {fault}", from.line.name, to.line.name);
                }
                assert_ne!(output.counted.get(Reason::LinkFailed.label()), Some(&1));
            }
        }
    }
    let all = FRAMES * 2 * LINES.len() * LINES.len();
    assert!((all / 10..all * 9 / 10).contains(&sent), "{sent} of {all} were sent on");
}
