//! The packet vectors in `vectors.json`, byte for byte. They were computed by a program that sums
//! whole packets and were compared with another NAT; what the fields mean is written there.
//!
//! A vector is run at every hook that sees its packet:
//!
//! * the fast hooks (XDP and TC on the ingress of its side) translate it, take one off its TTL and
//!   redirect it; or, if it is one of [`NOT_FAST`], leave it as it is;
//! * the full path (TC egress of the WAN, TC ingress of the WAN) translates what the fast hooks
//!   leave, and keeps the TTL, which is the kernel's to count; a hairpin packet, which the kernel
//!   could not route, is sent on from TC ingress of the LAN.

use std::net::Ipv4Addr;

use masq_common::flow::{ICMP, TCP, UDP};
use masq_tests::{
    lab::ROUTER_WAN,
    packet::frame,
    program::{Bench, Hook, Output, RawLine, Side, Tables, Verdict, mac},
};
use serde::Deserialize;

use crate::OBJECT;

/// Vectors that the fast hooks leave to the full path: SYNs, ICMP errors, IP options, fragments,
/// hairpin packets.
const NOT_FAST: [&str; 18] = [
    "V09", "V10", "V15", "V16", "V17", "V18", "V19", "V20", "V21", "V22", "V23", "V24", "V25",
    "X01", "X03", "X04", "X05", "X06",
];

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    direction: String,
    mapping: Mapping,
    session: Session,
    state: State,
    #[serde(deserialize_with = "hex")]
    input_hex: Vec<u8>,
    #[serde(deserialize_with = "hex")]
    input_eth_hex: Vec<u8>,
    #[serde(deserialize_with = "hex")]
    expect_hex: Vec<u8>,
    #[serde(deserialize_with = "hex")]
    expect_hex_ttl_kept: Vec<u8>,
}

#[derive(Deserialize)]
struct Mapping {
    proto: String,
    int_ip: Ipv4Addr,
    int_port: u16,
    ext_port: u16,
}

#[derive(Deserialize)]
struct Session {
    remote_ip: Ipv4Addr,
    #[serde(default)]
    remote_port: u16,
}

/// What has to be there besides.
#[derive(Deserialize)]
struct State {
    /// Of the receiver of a hairpin packet.
    second_mapping: Option<Mapping>,
}

impl Vector {
    fn install(&self, tables: &mut Tables) {
        tables.forget_sessions();
        let protocol = match self.mapping.proto.as_str() {
            "tcp" => TCP,
            "udp" => UDP,
            _ => ICMP,
        };
        let inside = (self.mapping.int_ip, self.mapping.int_port);
        let remote = (self.session.remote_ip, self.session.remote_port);
        tables.install(protocol, inside, self.mapping.ext_port, remote);
        if let Some(second) = &self.state.second_mapping {
            // With a session, so that the filtering lets the packet in.
            let inside = (second.int_ip, second.int_port);
            tables.install(protocol, inside, second.ext_port, (ROUTER_WAN, self.mapping.ext_port));
        }
    }

    fn is_fast(&self) -> bool {
        !NOT_FAST.contains(&self.id.as_str())
    }

    /// What is wrong with the output of a fast hook, if anything.
    fn wrong_at_fast_hook(&self, output: &Output) -> Option<String> {
        if self.is_fast() {
            differs(output, Verdict::Redirect, &self.expect_hex)
        } else {
            differs(output, Verdict::Pass, &self.input_hex)
        }
    }

    /// What is wrong with the output of the full path, if anything.
    fn wrong_at_full_path(&self, output: &Output) -> Option<String> {
        differs(output, Verdict::Pass, &self.expect_hex_ttl_kept)
    }
}

#[test]
fn the_list_is_complete() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 31);
    for id in NOT_FAST {
        assert!(vectors.iter().any(|vector| vector.id == id), "there is no vector {id}");
    }
}

#[test]
fn xdp_translates_what_is_fast_and_leaves_the_rest() {
    let mut bench = Bench::new(&OBJECT);
    check(&mut bench, Vector::wrong_at_fast_hook, |direction| match direction {
        "out" | "hairpin" => Some(Hook::LanXdp),
        "in" => Some(Hook::WanXdp),
        _ => None,
    });
}

#[test]
fn tc_on_lan_ingress_translates_what_is_fast_and_leaves_the_rest() {
    let mut bench = Bench::new(&OBJECT);
    let wrong = |vector: &Vector, output: &Output| match vector.direction.as_str() {
        "hairpin" => differs(output, Verdict::Redirect, &vector.expect_hex),
        _ => vector.wrong_at_fast_hook(output),
    };
    check(&mut bench, wrong, |direction| {
        (direction == "out" || direction == "hairpin").then_some(Hook::LanIn)
    });
}

#[test]
fn tc_on_wan_ingress_translates_everything() {
    let mut bench = Bench::new(&OBJECT);
    let wrong = |vector: &Vector, output: &Output| match vector.is_fast() {
        true => vector.wrong_at_fast_hook(output),
        false => vector.wrong_at_full_path(output),
    };
    check(&mut bench, wrong, |direction| (direction == "in").then_some(Hook::WanIn));
}

#[test]
fn tc_on_wan_egress_translates_everything() {
    let mut bench = Bench::new(&OBJECT);
    check(&mut bench, Vector::wrong_at_full_path, |direction| match direction {
        "out" => Some(Hook::WanOut),
        "local-out" => Some(Hook::WanOutOwn),
        _ => None,
    });
}

#[test]
fn devices_without_link_layer_header_translate_everything() {
    let mut line = RawLine::new(&OBJECT);
    let mut faults = Vec::new();
    for vector in vectors() {
        vector.install(&mut line);
        // Whether a fast hook has sent it on or the kernel has routed it: one hop, once translated.
        let input = &vector.input_hex;
        let packet = match vector.direction.as_str() {
            "out" => line.send(Side::Lan, Side::Wan, input),
            "in" => line.send(Side::Wan, Side::Lan, input),
            "hairpin" => line.send(Side::Lan, Side::Lan, input),
            _ => line.send_own(input),
        };
        if packet != vector.expect_hex {
            let (found, expected) = (hex_of(&packet), hex_of(&vector.expect_hex));
            faults.push(format!("{}\n  found    {found}\n  expected {expected}", vector.id));
        }
    }
    assert!(faults.is_empty(), "{} vectors:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_redirected_frame_has_the_addresses_of_the_next_hop() {
    let mut bench = Bench::new(&OBJECT);
    let next = |out: bool| match out {
        true => [mac("02:00:00:00:0b:01"), mac("02:00:00:00:02:01")],
        false => [mac("02:00:00:00:0a:0a"), mac("02:00:00:00:01:01")],
    };
    for (id, out, hooks) in
        [("V01", true, [Hook::LanXdp, Hook::LanIn]), ("V02", false, [Hook::WanXdp, Hook::WanIn])]
    {
        let vectors = vectors();
        let vector = vectors.iter().find(|vector| vector.id == id).expect("this vector");
        vector.install(&mut bench);
        for hook in hooks {
            let [destination, source] = next(out);
            let expected = frame(destination, source, &vector.expect_hex);
            assert_eq!(bench.run_frame(hook, &vector.input_eth_hex).frame, expected, "{hook:?}");
        }
    }
}

/// Runs every vector that `hook_of` gives a hook, and reports all that are wrong at once.
fn check(
    bench: &mut Bench,
    wrong: impl Fn(&Vector, &Output) -> Option<String>,
    hook_of: impl Fn(&str) -> Option<Hook>,
) {
    let mut run = 0;
    let mut faults = Vec::new();
    for vector in vectors() {
        let Some(hook) = hook_of(&vector.direction) else { continue };
        vector.install(bench);
        let output = bench.run_frame(hook, &vector.input_eth_hex);
        run += 1;
        if let Some(fault) = wrong(&vector, &output) {
            faults.push(format!("{}: {fault}", vector.id));
        }
    }
    assert!(run > 0, "no vector was run");
    assert!(faults.is_empty(), "{} of {run} vectors:\n{}", faults.len(), faults.join("\n"));
}

/// What is not as it should be, if anything.
fn differs(output: &Output, verdict: Verdict, packet: &[u8]) -> Option<String> {
    if output.verdict == verdict && output.packet() == packet {
        return None;
    }
    Some(format!(
        "{:?} instead of {verdict:?}, counted {:?}\n  found    {}\n  expected {}",
        output.verdict,
        output.counted,
        hex_of(output.packet()),
        hex_of(packet)
    ))
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All vectors; a later fragment comes after the first one of its datagram.
fn vectors() -> Vec<Vector> {
    let file: File =
        serde_json::from_str(include_str!("vectors.json")).expect("the vectors are JSON");
    let mut vectors = file.vectors;
    let place = |id: &str, vectors: &[Vector]| vectors.iter().position(|vector| vector.id == id);
    let (first, later) = (place("X01", &vectors), place("V25", &vectors));
    let first = vectors.remove(first.expect("the vector X01"));
    vectors.insert(later.expect("the vector V25"), first);
    vectors
}

fn hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    bytes.ok_or_else(|| serde::de::Error::custom("expected hexadecimal bytes"))
}
