//! What the generator sends, what the sink expects, what both have counted.
//!
//! This file is compiled into the kernel programs and into the benchmark that loads them, so that
//! the layouts exist once. All packet data is as it stands on the wire.

/// Headers of a frame in 16-bit words: Ethernet (7), IPv4 without options (10), UDP (4).
pub const WORDS: usize = 21;
/// Bytes of the Ethernet header.
pub const ETHERNET: usize = 14;
/// Number of lengths that the generator goes through in turn: as many as make up one round of IMIX.
pub const LENGTHS: usize = 12;
/// Total length of the IP packet in an Ethernet frame of 64 bytes (4 of them the checksum).
pub const SMALLEST: u16 = 46;

/// Positions of words in the headers that both sides fill in.
pub mod word {
    /// Source address, two words; the destination address follows.
    pub const ADDRESSES: usize = 13;
    /// Source port; the destination port follows.
    pub const PORTS: usize = 17;
}

/// What the generator sends.
///
/// One end of every flow is the same for all: it stands in `headers`. The other end is made from
/// the number of the flow: `ports` flows of consecutive ports for each address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The headers, with zeros for all that differs from frame to frame.
    pub headers: [u16; WORDS],
    /// Which end differs: 0 the source, 1 the destination.
    pub end: u16,
    /// Number of flows; at least 1.
    pub flows: u32,
    /// The flow after flow `n` is `n + stride` modulo `flows`, so that neighbours in time are not
    /// neighbours in memory. Less than `flows`, and with no divisor in common; 0 for one flow.
    pub stride: u32,
    /// The first address, in the byte order of the machine.
    pub first_address: u32,
    /// The first port, in the byte order of the machine.
    pub first_port: u16,
    /// Ports for each address; at least 1.
    pub ports: u16,
    /// One's-complement sum of the IP header in `headers`, not folded.
    pub ip_sum: u32,
    /// One's-complement sum of pseudo-header, UDP header and data, not folded.
    pub udp_sum: u32,
    /// Total lengths of the IP packets, in turn; no greater than that of the frame that the test
    /// run is given.
    pub lengths: [u16; LENGTHS],
}

/// Where the generator is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// The flow that comes next.
    pub flow: u32,
    /// The length that comes next: an index.
    pub length: u32,
}

/// What the sink counts: UDP between these endpoints, as on the wire. 0 stands for any.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Expectation {
    /// Source and destination address.
    pub addresses: [u32; 2],
    /// Source and destination port.
    pub ports: [u16; 2],
}

/// What a sink has counted, or a generator has sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Packets as expected.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Other UDP packets: not translated, or not for us.
    pub others: u64,
    /// Packets with a wrong checksum, among those of the smallest length that were looked at: one
    /// in [`LOOK_EVERY`].
    pub damaged: u64,
}

/// One packet in so many has its checksums verified. A power of two.
pub const LOOK_EVERY: u64 = 64;
