//! Makes frames of frames: fields get other values, lengths lie, packets are cut, grow, are
//! fragmented, get options, are quoted by ICMP errors; and bits are flipped anywhere.
//!
//! Most changes know what they change, since a packet of random bytes ends at the first check.

use std::net::Ipv4Addr;

use fastrand::Rng;
use masq_tests::program::Hook;

use crate::{
    case::Step,
    scene,
    wire::{
        AH, DCCP, ETHERNET, ICMP, IGMP, Ip, TCP, UDP, UDP_LITE, address, seal, set_address,
        set_word, word,
    },
};

/// Longest frame: BPF_PROG_TEST_RUN takes no more than fits a page.
const LONGEST: usize = 3000;
/// Length of the shortest frame that BPF_PROG_TEST_RUN takes: an Ethernet header; at TC, where it
/// makes a socket buffer of it, also the IP header that the EtherType promises.
pub fn shortest(step: &Step) -> usize {
    let ether_type = step.frame.get(12..14).unwrap_or_default();
    match (step.hook, ether_type) {
        (Hook::LanXdp | Hook::WanXdp, _) => ETHERNET,
        (_, [0x86, 0xdd]) => ETHERNET + 40,
        _ => ETHERNET + 20,
    }
}

/// Changes one of the steps, or puts one more beside it.
pub fn mutate(rng: &mut Rng, steps: &mut Vec<Step>) {
    let at = rng.usize(..steps.len());
    if rng.u8(..8) == 0
        && let Some((first, later)) = split(rng, &steps[at].frame)
    {
        let hook = steps[at].hook;
        steps[at].frame = first;
        steps.insert(at + 1, Step { hook, frame: later });
        return;
    }
    let step = &mut steps[at];
    if rng.u8(..3) == 0 {
        step.hook = sibling(rng, step.hook);
        let [destination, source] = step.hook.link_addresses();
        step.frame[..6].copy_from_slice(&destination);
        step.frame[6..12].copy_from_slice(&source);
    }
    let mut packet = step.frame.split_off(ETHERNET);
    for _ in 0..rng.u32(1..=4) {
        change(rng, &mut packet);
    }
    // Half of them with checksums that are right again: others do not get far.
    if rng.bool() {
        seal(&mut packet);
        seal_quote(&mut packet);
    }
    if rng.u8(..32) == 0 {
        change_link(rng, &mut step.frame);
    }
    step.frame.append(&mut packet);
    step.frame.truncate(LONGEST);
    step.frame.resize(step.frame.len().max(shortest(step)), 0);
}

/// Another hook that sees packets of the same side.
fn sibling(rng: &mut Rng, hook: Hook) -> Hook {
    let side: &[Hook] = match hook {
        Hook::LanXdp | Hook::LanIn | Hook::WanOut => &[Hook::LanXdp, Hook::LanIn, Hook::WanOut],
        Hook::WanXdp | Hook::WanIn => &[Hook::WanXdp, Hook::WanIn],
        Hook::WanOutOwn => &[Hook::WanOutOwn, Hook::WanOut],
    };
    side[rng.usize(..side.len())]
}

/// One change of a packet, from the IP header on.
fn change(rng: &mut Rng, packet: &mut Vec<u8>) {
    packet.resize(packet.len().max(20), 0);
    match rng.u8(..20) {
        0..=2 => header_field(rng, packet),
        3..=5 => transport_field(rng, packet),
        6 => {
            let at = if rng.bool() { 12 } else { 16 };
            set_address(packet, at, some_address(rng));
        }
        7 | 8 => retarget(rng, packet),
        9 => options(rng, packet),
        10 => cut(rng, packet),
        11 => grow(rng, packet),
        12 => fragment(rng, packet),
        13 => quote_it(rng, packet),
        14 | 15 => change_quote(rng, packet),
        16 => block(rng, packet),
        17 => {
            let at = rng.usize(..packet.len());
            packet[at] = some_byte(rng);
        }
        _ => {
            for _ in 0..rng.u32(1..=4) {
                let at = rng.usize(..packet.len());
                packet[at] ^= 1 << rng.u8(..8);
            }
        }
    }
}

fn header_field(rng: &mut Rng, packet: &mut [u8]) {
    let length = packet.len() as u16;
    match rng.u8(..8) {
        0 => packet[0] = 0x40 | rng.u8(..16),
        1 => packet[1] = some_byte(rng),
        2 => set_word(packet, 2, rng.u16(..length + 8)),
        3 => set_word(packet, 4, rng.u16(..4)),
        4 => set_word(packet, 6, some_word(rng)),
        5 => packet[8] = rng.u8(..4),
        6 => {
            packet[9] = *rng
                .choice([ICMP, TCP, UDP, 4, 47, 50, 132, AH, IGMP, DCCP, UDP_LITE, 0, 255].iter())
                .unwrap_or(&0)
        }
        _ => set_word(packet, 10, some_word(rng)),
    }
}

/// Ports, flags, types, lengths and checksums stand in the first 20 bytes of transport headers.
fn transport_field(rng: &mut Rng, packet: &mut [u8]) {
    let start = header(packet);
    let there = packet.len().saturating_sub(start).min(20);
    if there < 2 {
        return;
    }
    let at = start + rng.usize(..there - 1);
    match rng.u8(..3) {
        0 => packet[at] = some_byte(rng),
        1 => set_word(packet, at, some_word(rng)),
        // The fields of two bytes stand at even places.
        _ => set_word(packet, start + (at - start) / 2 * 2, some_word(rng)),
    }
    if packet[9] == ICMP && rng.bool() {
        packet[start] = *rng.choice([0, 3, 4, 5, 8, 11, 12, 13, 14].iter()).unwrap_or(&0);
    }
}

/// Gives a packet, or what it quotes, the tuple of a session.
fn retarget(rng: &mut Rng, packet: &mut [u8]) {
    let start = header(packet);
    if packet.len() < start + 8 {
        return;
    }
    let (protocol, source, destination) = scene::tuple(rng.usize(..scene::TUPLES));
    packet[9] = protocol;
    set_address(packet, 12, source.0);
    set_address(packet, 16, destination.0);
    if protocol == ICMP {
        packet[start] = if source.1 == 0 { 0 } else { 8 };
        set_word(packet, start + 4, source.1 | destination.1);
    } else {
        set_word(packet, start, source.1);
        set_word(packet, start + 2, destination.1);
    }
    if protocol == TCP && packet.len() >= start + 20 && rng.bool() {
        packet[start + 12] = 5 << 4;
        packet[start + 13] = *rng.choice([2, 16, 18, 17, 4, 24].iter()).unwrap_or(&16);
    }
}

/// Puts IP options in, or takes some out.
fn options(rng: &mut Rng, packet: &mut Vec<u8>) {
    let words = packet[0] & 0xf;
    let start = header(packet);
    let total = word(packet, 2);
    if words > 5 && words < 16 && rng.bool() && packet.len() >= start {
        packet.drain(start - 4..start);
        packet[0] -= 1;
        set_word(packet, 2, total.saturating_sub(4));
    } else if (5..15).contains(&words) {
        // Router alert, a source route (RFC 791), anything.
        let option: [u8; 4] = match rng.u8(..3) {
            0 => [0x94, 4, 0, 0],
            1 => [0x83, 3, 4, 0],
            _ => rng.u32(..).to_be_bytes(),
        };
        packet.splice(20..20, option);
        packet[0] += 1;
        set_word(packet, 2, total.saturating_add(4));
    }
}

/// Cuts a packet; its length may know of it.
fn cut(rng: &mut Rng, packet: &mut Vec<u8>) {
    let length = rng.usize(20..=packet.len());
    packet.truncate(length);
    if rng.bool() {
        set_word(packet, 2, length as u16);
    }
}

/// Adds bytes behind a packet; its length may know of them.
fn grow(rng: &mut Rng, packet: &mut Vec<u8>) {
    let more = if rng.u8(..8) == 0 { rng.usize(..1600) } else { rng.usize(..64) };
    packet.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
    if rng.bool() && packet.len() <= LONGEST - ETHERNET {
        let length = packet.len() as u16;
        set_word(packet, 2, length);
    }
}

/// Makes it a fragment of some kind.
fn fragment(rng: &mut Rng, packet: &mut [u8]) {
    let word = match rng.u8(..4) {
        0 => 0x2000,
        1 => 0x2000 | rng.u16(..8),
        2 => rng.u16(..8),
        _ => 0x4000,
    };
    set_word(packet, 6, word);
}

/// A good packet as its two fragments.
fn split(rng: &mut Rng, frame: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let ip = Ip::read(&frame[ETHERNET..]).filter(Ip::is_whole)?;
    let payload = ip.total - ip.header;
    if payload < 9 || frame[12..ETHERNET] != [0x08, 0x00] {
        return None;
    }
    let cut = rng.usize(1..=(payload - 1) / 8) * 8;
    let start = ETHERNET + ip.header;
    let part = |from: usize, to: usize, word: u16| {
        let mut part = [&frame[..start], &frame[start + from..start + to]].concat();
        set_word(&mut part, ETHERNET + 2, (ip.header + to - from) as u16);
        set_word(&mut part, ETHERNET + 6, word);
        seal(&mut part[ETHERNET..]);
        part
    };
    let (first, later) = (part(0, cut, 0x2000), part(cut, payload, (cut / 8) as u16));
    Some(if rng.u8(..4) == 0 { (later, first) } else { (first, later) })
}

/// An ICMP error about a packet, from somebody on its way or from its receiver.
fn quote_it(rng: &mut Rng, packet: &mut Vec<u8>) {
    let from = if rng.bool() { some_address(rng) } else { address(packet, 16) };
    let to = address(packet, 12);
    let kind = *rng.choice([3, 3, 11, 12, 4, 5].iter()).unwrap_or(&3);
    let quoted = packet.len().min(if rng.bool() { header(packet) + 8 } else { 548 });
    let mut error = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, ICMP, 0, 0];
    error.extend([from, to].iter().flat_map(Ipv4Addr::octets));
    error.extend([kind, rng.u8(..16), 0, 0]);
    error.extend(rng.u32(..1500).to_be_bytes());
    error.extend(&packet[..quoted]);
    let length = error.len() as u16;
    set_word(&mut error, 2, length);
    seal(&mut error);
    *packet = error;
}

/// Where the packet begins that an ICMP message might quote.
fn quoted(packet: &[u8]) -> Option<usize> {
    let start = header(packet) + 8;
    (packet[9] == ICMP && packet.len() >= start + 20).then_some(start)
}

fn change_quote(rng: &mut Rng, packet: &mut [u8]) {
    let Some(start) = quoted(packet) else { return };
    let quote = &mut packet[start..];
    match rng.u8(..5) {
        0 => header_field(rng, quote),
        1 | 2 => retarget(rng, quote),
        _ => transport_field(rng, quote),
    }
}

fn seal_quote(packet: &mut [u8]) {
    if let Some(start) = quoted(packet) {
        seal(&mut packet[start..]);
        seal(packet);
    }
}

/// Copies some bytes over others.
fn block(rng: &mut Rng, packet: &mut [u8]) {
    let length = rng.usize(1..=packet.len().min(16));
    let (from, to) = (rng.usize(..=packet.len() - length), rng.usize(..=packet.len() - length));
    packet.copy_within(from..from + length, to);
}

fn change_link(rng: &mut Rng, link: &mut [u8]) {
    match rng.u8(..3) {
        0 => {
            let kinds = [0x0806, 0x86dd, 0x8100, 0x88a8, 0x8864, 0x0801, 0x05dc];
            set_word(link, 12, *rng.choice(kinds.iter()).unwrap_or(&0x0806));
        }
        1 => link[rng.usize(..6)] ^= 1 << rng.u8(..8),
        _ => link[..6].fill(0xff),
    }
}

/// Bytes of the IP header, as it says, or 20 if that cannot be.
fn header(packet: &[u8]) -> usize {
    (usize::from(packet[0] & 0xf) * 4).max(20)
}

fn some_address(rng: &mut Rng) -> Ipv4Addr {
    if rng.u8(..4) == 0 {
        return Ipv4Addr::from_bits(rng.u32(..));
    }
    scene::ADDRESSES[rng.usize(..scene::ADDRESSES.len())]
}

fn some_byte(rng: &mut Rng) -> u8 {
    if rng.bool() {
        return rng.u8(..);
    }
    *rng.choice([0, 1, 0x7f, 0x80, 0xff].iter()).unwrap_or(&0)
}

fn some_word(rng: &mut Rng) -> u16 {
    if rng.bool() {
        return rng.u16(..);
    }
    let (_, source, destination) = scene::tuple(rng.usize(..scene::TUPLES));
    *rng.choice([0, 1, 0xffff, 0x2000, 0x4000, source.1, destination.1].iter()).unwrap_or(&0)
}
