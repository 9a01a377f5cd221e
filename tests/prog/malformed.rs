//! Packets that nobody should send: cut off at every byte, with every header byte changed. Nothing
//! is ever changed that is not translated, nothing is read beyond its end, and whatever comes from
//! the LAN, no LAN source leaves.

use masq_common::{
    flow::{ICMP, TCP, UDP},
    reason::{Class, Reason},
    tcp::{ACK, SYN},
};
use masq_tests::{
    checksum::{Transport, check},
    lab::{HOST_A, ROUTER_WAN, SERVER_1},
    packet::{Endpoint, Packet, frame, reseal},
    program::{Bench, Hook, Output, Verdict},
};

use crate::OBJECT;

const INSIDE: Endpoint = (HOST_A, 40_000);
const OUTSIDE: Endpoint = (ROUTER_WAN, 61_001);
const REMOTE: Endpoint = (SERVER_1, 53);

/// One good packet of each kind, from the LAN (`out`) or from the WAN.
fn packets(out: bool) -> Vec<Vec<u8>> {
    let (from, to) = if out { (INSIDE, REMOTE) } else { (REMOTE, OUTSIDE) };
    // What an error quotes has gone the other way, and looks as its receiver has seen it.
    let quoted = |make: &dyn Fn(Endpoint, Endpoint) -> Packet| make(to, from).bytes();
    let udp = quoted(&|from, to| Packet::udp(from, to, b"quoted").options(&[0x94, 4, 0, 0]));
    let tcp = quoted(&|from, to| Packet::tcp(from, to, ACK, b"quoted"));
    let error = |quoted: &[u8]| Packet::icmp(from.0, to.0, (3, 1), 0, quoted).bytes();
    let echo = match out {
        true => Packet::echo(INSIDE, SERVER_1, b"ping"),
        false => Packet::echo_reply(SERVER_1, OUTSIDE, b"ping"),
    };
    vec![
        Packet::udp(from, to, b"data").bytes(),
        Packet::tcp(from, to, ACK, b"data").bytes(),
        Packet::tcp(from, to, SYN, b"").options(&[0x94, 4, 0, 0]).bytes(),
        Packet::udp(from, to, &[1; 24]).fragment(0, 16).bytes(),
        echo.bytes(),
        error(&udp),
        error(&tcp),
    ]
}

fn bench() -> Bench {
    let mut bench = Bench::new(&OBJECT);
    for protocol in [TCP, UDP, ICMP] {
        bench.install(protocol, INSIDE, OUTSIDE.1, REMOTE);
    }
    bench
}

/// Runs what `spoil` makes of every packet through every hook that sees it.
fn at_every_hook(spoil: impl Fn(&[u8], &mut dyn FnMut(Vec<u8>))) {
    let mut bench = bench();
    let mut run = 0;
    for hook in Hook::ALL {
        for packet in packets(hook.is_from_lan()) {
            spoil(&packet, &mut |packet| {
                run += 1;
                check_one(&mut bench, hook, &packet);
            });
        }
    }
    assert!(run > 1000, "only {run} packets");
}

#[track_caller]
fn check_one(bench: &mut Bench, hook: Hook, packet: &[u8]) {
    let [destination, source] = hook.link_addresses();
    let frame = frame(destination, source, packet);
    let output = bench.run_frame(hook, &frame);
    if let Some(fault) = fault(hook, &frame, &output) {
        let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{fault} at {hook:?}, counted {:?}, packet {hex}", output.counted);
    }
}

fn fault(hook: Hook, frame: &[u8], output: &Output) -> Option<String> {
    let (before, after) = (&frame[14..], output.packet());
    let reason = output.reason();
    if matches!(output.verdict, Verdict::Strange(_)) {
        return Some(format!("{:?}", output.verdict));
    }
    if (reason.class() == Class::Dropped) != (output.verdict == Verdict::Drop) {
        return Some(format!("{reason:?} with the verdict {:?}", output.verdict));
    }
    if after.len() != before.len() {
        return Some(format!("{} bytes became {}", before.len(), after.len()));
    }
    let translated = reason.class() == Class::Translated;
    if !translated && output.verdict != Verdict::Drop && output.frame != frame {
        return Some(format!("changed, although {reason:?}"));
    }
    let leaves = hook == Hook::WanOut && output.verdict == Verdict::Pass;
    if leaves && reason != Reason::NotIpv4 && after[12..16] == HOST_A.octets() {
        return Some("a LAN source leaves".into());
    }
    if translated && is_whole(before) && is_good(before) && !is_good(after) {
        return Some("a good checksum became a bad one".into());
    }
    None
}

fn is_whole(packet: &[u8]) -> bool {
    let header = usize::from(packet[0] & 0xf) * 4;
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    header >= 20 && length >= header && length == packet.len()
}

fn is_good(packet: &[u8]) -> bool {
    check(packet, Transport::Whole).is_ok()
}

#[test]
fn cut_off_by_the_line() {
    at_every_hook(|packet, run| (20..packet.len()).for_each(|length| run(packet[..length].into())));
}

#[test]
fn cut_off_within_the_ip_header() {
    // Only XDP: the kernel does not let BPF_PROG_TEST_RUN make such socket buffers.
    let mut bench = bench();
    for hook in [Hook::LanXdp, Hook::WanXdp] {
        for length in 0..20 {
            check_one(&mut bench, hook, &packets(hook.is_from_lan())[0][..length]);
        }
    }
}

#[test]
fn cut_off_by_the_sender() {
    at_every_hook(|packet, run| {
        for length in 20..packet.len() {
            let mut packet = packet[..length].to_vec();
            packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            reseal(&mut packet);
            run(packet);
        }
    });
}

#[test]
fn any_byte_changed() {
    at_every_hook(|packet, run| {
        for at in 0..packet.len().min(72) {
            for value in [0, 1, 0x7f, 0x80, 0xff, packet[at] ^ 1] {
                // The addresses decide which hook and which rule it is: they have their own tests.
                if !(12..20).contains(&at) {
                    let mut packet = packet.to_vec();
                    packet[at] = value;
                    run(packet);
                }
            }
        }
    });
}

#[test]
fn total_length_of_any_size() {
    at_every_hook(|packet, run| {
        for length in (0..packet.len() as u16 + 3).chain([0x7fff, 0x8000, 0xffff]) {
            let mut packet = packet.to_vec();
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            reseal(&mut packet);
            run(packet);
        }
    });
}
