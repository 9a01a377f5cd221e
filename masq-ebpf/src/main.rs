//! The kernel programs of masq. This file holds the entry points only: each gives its packet to a
//! hook and lets [`verdict`] turn the outcome into the kernel's number.
//!
//! Modules in the order in which a packet meets them; a module calls only those below it:
//!
//! 1. [`hooks`]: what happens at which point, a file for each.
//! 2. [`packet`]: reading and rewriting, for XDP and for TC.
//! 3. [`icmp_error`], [`fragments`]: the two kinds of packets that are looked up by proxy.
//! 4. [`create`]: the first packet of a flow: mapping, port, pair of halves.
//! 5. [`retire`]: the end of a session; [`accounts`]: what is kept of it.
//! 6. [`forward`]: where an established packet goes, asked from the kernel's routing; [`links`]: what
//!    lies below the interfaces; [`hops`]: what was answered, remembered; [`generations`]: until when.
//! 7. [`slow`]: packets for the daemon.
//! 8. [`trace`]: packets before and after, for whoever traces; not there while nobody does.
//! 9. [`sessions`] and their [`table`], [`ports`], [`config`], [`events`], [`counters`], [`clock`]: the maps and their
//!    questions. Each map is private to its module.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unstable_features, reason = "inline assembly for BPF, see the atomic module"),
    feature(asm_experimental_arch)
)]

mod accounts;
mod atomic;
mod clock;
mod config;
mod counters;
mod create;
mod events;
mod forward;
mod fragments;
mod generations;
mod hooks;
mod hops;
mod icmp_error;
mod links;
mod packet;
mod ports;
mod retire;
mod sessions;
mod slow;
mod table;
mod trace;
mod verdict;

use aya_ebpf::{
    macros::{classifier, raw_tracepoint, xdp},
    programs::{RawTracePointContext, TcContext, XdpContext},
};
use masq_common::trace::Hook;
use packet::{ETHERNET, RAW, skb::Skb};

// Large as it is, the compiler would make it a function that the program calls.
#[xdp]
#[inline(always)]
fn fast_xdp(ctx: XdpContext) -> u32 {
    hooks::port::run(&ctx)
}

#[classifier]
fn lan_in_ether(ctx: TcContext) -> i32 {
    let skb = Skb::<ETHERNET>::new(&ctx);
    trace::before(&skb, Hook::LanIn);
    verdict::tc(&skb, hooks::lan_in::run(&skb))
}

#[classifier]
fn lan_in_raw(ctx: TcContext) -> i32 {
    let skb = Skb::<RAW>::new(&ctx);
    trace::before(&skb, Hook::LanIn);
    verdict::tc(&skb, hooks::lan_in::run(&skb))
}

#[classifier]
fn wan_in_ether(ctx: TcContext) -> i32 {
    let skb = Skb::<ETHERNET>::new(&ctx);
    trace::before(&skb, Hook::WanIn);
    verdict::tc(&skb, hooks::wan_in::run(&skb))
}

#[classifier]
fn wan_in_raw(ctx: TcContext) -> i32 {
    let skb = Skb::<RAW>::new(&ctx);
    trace::before(&skb, Hook::WanIn);
    verdict::tc(&skb, hooks::wan_in::run(&skb))
}

#[classifier]
fn wan_out_ether(ctx: TcContext) -> i32 {
    let skb = Skb::<ETHERNET>::new(&ctx);
    trace::before(&skb, Hook::WanOut);
    verdict::tc(&skb, hooks::wan_out::run(&skb))
}

#[classifier]
fn wan_out_raw(ctx: TcContext) -> i32 {
    let skb = Skb::<RAW>::new(&ctx);
    trace::before(&skb, Hook::WanOut);
    verdict::tc(&skb, hooks::wan_out::run(&skb))
}

/// Never attached: the daemon runs it with a list of sessions to remove.
#[xdp]
fn retire(ctx: XdpContext) -> u32 {
    retire::run(&ctx)
}

/// Never attached: the daemon runs it when sessions have to ask for their next hops anew.
#[xdp]
fn forget(ctx: XdpContext) -> u32 {
    generations::forget(&ctx)
}

/// On the tracepoints behind which a neighbour may be another one than before.
#[raw_tracepoint]
fn neighbour_changed(ctx: RawTracePointContext) -> i32 {
    generations::neighbour_changed(&ctx);
    0
}

/// The same, for when that one is running (see the names in `masq_common::abi`).
#[raw_tracepoint]
fn neighbour_changed_too(ctx: RawTracePointContext) -> i32 {
    generations::neighbour_changed(&ctx);
    0
}

/// On the tracepoints behind which a station of a bridge may be behind another port.
#[raw_tracepoint]
fn station_changed(ctx: RawTracePointContext) -> i32 {
    generations::station_changed(&ctx);
    0
}

/// The same, for when that one is running.
#[raw_tracepoint]
fn station_changed_too(ctx: RawTracePointContext) -> i32 {
    generations::station_changed(&ctx);
    0
}

/// On the tracepoint where a bridge forgets a station.
#[raw_tracepoint]
fn station_gone(ctx: RawTracePointContext) -> i32 {
    generations::station_gone(&ctx);
    0
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that it is never reached: a loop without end would not load.
    loop {}
}

/// So that clippy, rust-analyzer and `cargo check` see this crate on the machine it is written on.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// The helpers for checksums and routing are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
