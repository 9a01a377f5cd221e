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

/// Words of the two link-layer addresses that a frame begins with.
pub const ADDRESSES: usize = 6;
/// Words of an 802.1Q tag, of the header of a PPPoE session, and of both.
pub const TAG: usize = 2;
pub const PPPOE: usize = 4;
pub const TAG_AND_PPPOE: usize = TAG + PPPOE;

/// Positions of words in the headers that both sides fill in.
pub mod word {
    /// Source address, two words; the destination address follows.
    pub const ADDRESSES: usize = 13;
    /// Source port; the destination port follows.
    pub const PORTS: usize = 17;
}

/// What a frame begins with, if more than an Ethernet header stands before its IP header.
///
/// All headers that are in [`WORDS`] follow `more` words later then, and the front is written over
/// them: the word before the IP header, an EtherType or the protocol of PPP, is theirs.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Front {
    /// Addresses, tag, and the header of the PPPoE session, whose length (the last word) is the packet's.
    pub words: [u16; ADDRESSES + TAG_AND_PPPOE],
    /// Words between addresses and the word before the IP header: 0, [`TAG`], [`PPPOE`] or
    /// [`TAG_AND_PPPOE`].
    pub more: u16,
    /// Nothing.
    pub zero: u16,
}

/// What the generator sends.
///
/// One end of every flow is the inside: an address and a port made from the number of the flow,
/// `ports` flows of consecutive ports for each address. The other end stands in `headers`, unless
/// there are several remote addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The headers, with zeros for all that differs from frame to frame.
    pub headers: [u16; WORDS],
    /// Which end is the inside: 0 the source, 1 the destination.
    pub end: u16,
    /// Number of flows; at least 1.
    pub flows: u32,
    /// The flow after flow `n` is `n + stride` modulo `flows`, so that neighbours in time are not
    /// neighbours in memory. Less than `flows`, and with no divisor in common; 0 for one flow.
    pub stride: u32,
    /// Number of the first flow.
    pub first_flow: u32,
    /// The first inside address, in the byte order of the machine.
    pub first_address: u32,
    /// The first inside port, in the byte order of the machine.
    pub first_port: u16,
    /// Ports for each inside address; at least 1.
    pub ports: u16,
    /// Number of inside endpoints, which flows use again and again; 0 if each has its own.
    pub insides: u32,
    /// The first remote address, in the byte order of the machine.
    pub first_remote: u32,
    /// Flows to each remote address; 0 if there is only one, which stands in `headers`.
    pub per_remote: u32,
    /// One packet in so many is the only one of a flow that nobody has seen yet, told by its type
    /// of service; 0 for none.
    pub new_every: u32,
    /// Number of the first such flow.
    pub first_new: u32,
    /// Packets that are sent without a pause; not 0 if there are pauses.
    pub burst: u32,
    /// Nanoseconds from the beginning of a burst to that of the next; 0 for no pauses.
    pub burst_gap: u32,
    /// One's-complement sum of the IP header in `headers`, not folded.
    pub ip_sum: u32,
    /// One's-complement sum of pseudo-header, UDP header and data, not folded.
    pub udp_sum: u32,
    /// Total lengths of the IP packets, in turn; no greater than that of the frame that the test
    /// run is given.
    pub lengths: [u16; LENGTHS],
    /// What the frames begin with.
    pub front: Front,
}

/// Where the generator is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// When the next burst is to begin, by the monotonic clock in nanoseconds.
    pub due: u64,
    /// Packets of this burst.
    pub in_burst: u32,
    /// The flow that comes next.
    pub flow: u32,
    /// The length that comes next: an index.
    pub length: u32,
    /// Packets since the last one of a new flow.
    pub since_new: u32,
    /// New flows so far.
    pub new: u32,
    /// Nothing.
    pub zero: u32,
}

/// What the sink counts: UDP between these endpoints, as on the wire. 0 stands for any.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Expectation {
    /// Source and destination address.
    pub addresses: [u32; 2],
    /// Source and destination port.
    pub ports: [u16; 2],
    /// Not 0 if the times between packets are of interest, which costs some.
    pub gaps: u32,
    /// What frames begin with; only looked at if it is more than an Ethernet header.
    pub front: Front,
}

/// What a sink has counted, or a generator has sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Packets as expected, but for those of new flows.
    pub packets: u64,
    /// Bytes of their frames; the generator counts those of new flows too.
    pub bytes: u64,
    /// Packets of new flows.
    pub new: u64,
    /// Other UDP packets: not translated, or not for us.
    pub others: u64,
    /// Packets with a wrong checksum, among those of the smallest length that were looked at: one
    /// in [`LOOK_EVERY`].
    pub damaged: u64,
}

/// Times between packets at a sink, in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Gap {
    /// When the last packet came, by the monotonic clock; 0 for none yet.
    pub last: u64,
    /// The longest time between two.
    pub longest: u64,
}

/// A packet for a program that is measured alone.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The headers.
    pub headers: [u16; WORDS],
    /// Which port differs from run to run: 0 the source's, 1 the destination's.
    pub end: u16,
    /// The first such port, in the byte order of the machine.
    pub first_port: u16,
    /// Nothing.
    pub zero: u16,
    /// Number of flows: consecutive ports.
    pub flows: u32,
    /// As in [`Plan`].
    pub stride: u32,
    /// The flow that comes next.
    pub flow: u32,
    /// Bytes of the frame, if the program that is measured changes where it begins; otherwise 0.
    pub size: u32,
    /// What the frame begins with.
    pub front: Front,
}

/// A UDP port whose packets sinks leave to the host: echo.
pub const ECHO_PORT: u16 = 7;

/// One packet in so many has its checksums verified. A power of two.
pub const LOOK_EVERY: u64 = 64;
