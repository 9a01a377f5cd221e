//! Measuring: packets from the kernel, TCP and round trips with sockets, for several kinds of
//! router in turn; programs alone; memory.
//!
//! 1. [`mod@line`]: host, router and remote in a row, with nothing else between them; [`topology`]: what
//!    lies below the router's interfaces.
//! 2. [`contender`]: what the router does: forward, masquerade, or masq.
//! 3. [`stream`], [`frames`], [`link`]: which packets, in which frames; generator and sink, kernel
//!    programs of their own.
//! 4. [`rate`]: packets a second through a router, for a number of established or new flows.
//! 5. [`latency`]: round trips while packets are under way.
//! 6. [`throughput`]: bytes a second over TCP.
//! 7. [`program`], [`below`]: nanoseconds of masq's programs alone.
//! 8. [`memory`], [`mod@cpu`]: what the kernel says of memory and time.
//! 9. [`conntrack`]: room in the kernel's own table.
//! 10. [`series`]: the median of what was measured several times.

pub mod below;
pub mod conntrack;
pub mod contender;
mod counts;
pub mod cpu;
mod crafted;
pub mod frames;
pub mod latency;
pub mod line;
pub mod link;
pub mod memory;
mod pppoe;
pub mod program;
pub mod rate;
mod sending;
pub mod series;
pub mod stream;
pub mod throughput;
pub mod topology;

// One declaration of the layouts for both sides of the kernel boundary.
#[path = "../../../masq-ebpf/src/bin/traffic/plan.rs"]
mod plan;
