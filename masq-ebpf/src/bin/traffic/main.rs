//! Kernel programs of the benchmark. No part of masq.
//!
//! * [`generate`] is run by `BPF_PROG_TEST_RUN` with live frames; each run of the program sends one
//!   frame out of the interface that the test run names.
//! * [`sink`] is attached to the interface at the far end: it counts what arrives as expected,
//!   and drops it.
//! * [`forward`] asks for the next hop, writes the link-layer addresses, counts the TTL down and
//!   redirects: what any router in XDP has to do. The yardstick.
//! * [`replay`] gives a program that is measured alone the same packet again and again.
//! * `pass`, below, gives everything to the host.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod forward;
mod front;
mod generate;
mod plan;
mod replay;
mod sink;

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use plan::WORDS;

/// Positions of words in the headers: EtherType, version and header length with the type of
/// service, total length, TTL with the protocol, checksum; length and checksum of UDP.
mod at {
    pub const ETHER_TYPE: usize = 6;
    pub const VERSION: usize = 7;
    pub const LENGTH: usize = 8;
    pub const TTL: usize = 11;
    pub const IP_CHECKSUM: usize = 12;
    pub const UDP_LENGTH: usize = 19;
    pub const UDP_CHECKSUM: usize = 20;
}

/// EtherType of IPv4 as on the wire; version 4 and a header of five words.
const IPV4: u16 = 0x0800_u16.to_be();
const NO_OPTIONS: u8 = 0x45;
/// Type of service of a packet that is the only one of a new flow.
const NEW_TOS: u8 = 0x20;

/// A frame's bytes: first and one past the last address.
type Window = (usize, usize);

#[inline(always)]
fn window(ctx: &XdpContext) -> Window {
    (ctx.data(), ctx.data_end())
}

/// The first `N` words of a frame from byte `offset` on.
#[inline(always)]
fn words<'a, const N: usize>((start, end): Window, offset: usize) -> Option<&'a mut [u16; N]> {
    if start + offset + N * 2 > end {
        return None;
    }
    // SAFETY: the bytes are inside the frame, as just checked, and belong to this run of the
    // program alone; frames begin at even addresses.
    Some(unsafe { &mut *((start + offset) as *mut [u16; N]) })
}

/// The address at this position of the headers, as on the wire.
#[inline(always)]
fn address(frame: &[u16; WORDS], at: usize) -> u32 {
    u32::from(frame[at + 1]) << 16 | u32::from(frame[at])
}

/// Folds a sum of less than 2^32 and inverts it: a checksum field.
#[inline(always)]
fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

/// Gives every frame to the host: an interface with a program polls, and only then does veth take
/// frames that are redirected to it.
#[xdp]
fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that it is never reached: a loop without end would not load.
    loop {}
}

/// So that clippy, rust-analyzer and `cargo check` see this program on the machine it is written on.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// The helpers for routing are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
