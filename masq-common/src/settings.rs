//! What the daemon tells the kernel programs: policy, timers, devices and prefixes.

use bytemuck::{Pod, Zeroable};

use crate::{
    be::Addr,
    flow::{ICMP, TCP, UDP},
    ports::Pool,
    tcp::Phase,
    time::Span,
};

/// How long a session may be idle.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Timeouts {
    /// UDP (RFC 4787 REQ-5: at least 120 s, 300 s recommended).
    pub udp: Span,
    /// ICMP queries (RFC 5508 REQ-2: at least 60 s).
    pub icmp: Span,
    /// TCP before the handshake is complete (RFC 5382 REQ-5: at least 240 s).
    pub tcp_opening: Span,
    /// Established TCP (RFC 5382 REQ-5: at least 7,440 s).
    pub tcp_established: Span,
    /// TCP after FIN in both directions (RFC 5382 REQ-5: at least 240 s).
    pub tcp_closing: Span,
    /// TCP after RST (RFC 7857 section 2.2: 240 s).
    pub tcp_reset: Span,
    /// Protocols without ports, of which only the addresses are translated.
    pub other: Span,
}

impl Timeouts {
    /// The defaults, which are also the RFC minima except for UDP.
    pub const DEFAULT: Self = Self {
        udp: Span::from_secs(300),
        icmp: Span::from_secs(60),
        tcp_opening: Span::from_secs(240),
        tcp_established: Span::from_secs(7440),
        tcp_closing: Span::from_secs(240),
        tcp_reset: Span::from_secs(240),
        other: Span::from_secs(600),
    };

    /// How long a session of `protocol` in `phase` may be idle.
    #[inline(always)]
    pub const fn of(&self, protocol: u8, phase: Phase) -> Span {
        match (protocol, phase) {
            (TCP, Phase::Opening) => self.tcp_opening,
            (TCP, Phase::Established) => self.tcp_established,
            (TCP, Phase::Closing) => self.tcp_closing,
            (TCP, Phase::Reset) => self.tcp_reset,
            (UDP, _) => self.udp,
            (ICMP, _) => self.icmp,
            _ => self.other,
        }
    }

    /// How long after a packet of one direction its session is alive for certain, whatever the
    /// other direction has sent. Within that time one half of a session is enough to know.
    #[inline(always)]
    pub const fn certain(&self, protocol: u8) -> Span {
        match protocol {
            TCP => min(
                min(self.tcp_established, self.tcp_opening),
                min(self.tcp_closing, self.tcp_reset),
            ),
            UDP => self.udp,
            ICMP => self.icmp,
            _ => self.other,
        }
    }
}

const fn min(a: Span, b: Span) -> Span {
    if a.0 < b.0 { a } else { b }
}

/// Who may send to an inside endpoint through its mapping (RFC 4787 section 5).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Filtering {
    /// Only a remote endpoint that the inside endpoint has sent to.
    #[default]
    AddressAndPortDependent = 0,
    /// Any port of a remote address that the inside endpoint has sent to.
    AddressDependent = 1,
    /// Anybody.
    EndpointIndependent = 2,
}

impl Filtering {
    /// From its number; anything unknown is the strictest.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::AddressDependent,
            2 => Self::EndpointIndependent,
            _ => Self::AddressAndPortDependent,
        }
    }
}

/// Switches in [`Settings::switches`].
pub mod switches {
    /// Report opened and closed sessions through the ring buffer.
    pub const EVENTS: u32 = 1 << 0;
    /// Never share an external port between inside endpoints, even when none is free.
    pub const NO_OVERLAP: u32 = 1 << 1;
    /// Nothing from a LAN goes to a device without [`caps::READY`](super::caps::READY).
    pub const GUARD: u32 = 1 << 2;
    /// The kernel says when next hops change, so sessions may remember them ([`crate::hop`]).
    pub const NEXT_HOPS: u32 = 1 << 3;
    /// No fast path: every packet goes the kernel's way.
    pub const NO_FAST_PATH: u32 = 1 << 4;
    /// Nothing to do for the programs in drivers: one side has no port that they could send to.
    pub const NO_XDP: u32 = 1 << 5;
}

/// The single value of the settings map.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Settings {
    /// Added to the kernel's monotonic clock, in ns; 0 but in tests.
    pub clock_offset: u64,
    /// Idle timers.
    pub timeouts: Timeouts,
    /// External TCP and UDP ports for inside ports from 1024 up, and when `privileged` is used up.
    pub ports: Pool,
    /// External TCP and UDP ports for inside ports below 1024 (RFC 4787 REQ-3a).
    pub privileged: Pool,
    /// External ICMP identifiers.
    pub identifiers: Pool,
    /// Filtering of TCP: a [`Filtering`] as a number.
    pub filtering_tcp: u8,
    /// Filtering of UDP: a [`Filtering`] as a number.
    pub filtering_udp: u8,
    /// Padding, zero.
    pub zero: [u8; 2],
    /// See [`switches`].
    pub switches: u32,
    /// How long a port that was given back rests before another endpoint gets it, while there are
    /// others (RFC 6888 REQ-8): UDP with endpoint-independent filtering only, 0 for no rest.
    pub quarantine: Span,
    /// Limits for each inside host.
    pub host: HostLimits,
    /// How WAN egress knows what the fast path has translated: a random number that stands in the
    /// control block of such a packet. 0 in tests that want every packet looked at.
    pub pass: [u32; 2],
}

/// What one inside host may have (RFC 6888 REQ-4 and REQ-5), 0 for no limit.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct HostLimits {
    /// Mappings: external ports and identifiers.
    pub mappings: u32,
    /// Sessions.
    pub sessions: u32,
    /// New sessions a second.
    pub rate: u32,
}

impl HostLimits {
    /// Whether there is any.
    #[inline(always)]
    pub const fn any(&self) -> bool {
        self.mappings | self.sessions | self.rate != 0
    }
}

impl Settings {
    /// What holds when the user asks for nothing else.
    pub const DEFAULT: Self = Self {
        clock_offset: 0,
        timeouts: Timeouts::DEFAULT,
        ports: Pool::USER,
        privileged: Pool::PRIVILEGED,
        identifiers: Pool::IDENTIFIERS,
        filtering_tcp: Filtering::AddressAndPortDependent as u8,
        filtering_udp: Filtering::AddressAndPortDependent as u8,
        zero: [0; 2],
        switches: 0,
        quarantine: Span(0),
        host: HostLimits { mappings: 0, sessions: 0, rate: 0 },
        pass: [0; 2],
    };
}

/// What an interface is to masq: numbers of [`Device::role`].
pub mod role {
    /// Inside.
    pub const LAN: u8 = 1;
    /// Outside.
    pub const WAN: u8 = 2;
    /// Neither: known to the daemon, which knows that it is no WAN.
    pub const OTHER: u8 = 3;
}

/// Value of the device map, keyed by the interface index.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Device {
    /// The external address of a WAN; [`Addr::NONE`] while it has none, and for others.
    pub address: Addr,
    /// Link-layer address, zero if the device has none.
    pub mac: [u8; 6],
    /// See [`role`].
    pub role: u8,
    /// Index of a WAN, below [`MAX_WANS`]; 0 for others.
    pub wan: u8,
    /// See [`caps`].
    pub caps: u16,
    /// The largest TCP segment that connections over a WAN may announce, in bytes; 0 for whatever they
    /// like ([`crate::mss`]).
    pub mss: u16,
}

/// What a device can do: flags of [`Device::caps`].
pub mod caps {
    /// Frames redirected by an XDP program are sent.
    pub const XDP_TRANSMIT: u16 = 1 << 0;
    /// Frames begin with an Ethernet header; without this flag they begin with the IP header.
    pub const ETHERNET: u16 = 1 << 1;
    /// What the kernel sends there is translated if it has to be: a WAN with its egress hook, or
    /// no WAN.
    pub const READY: u16 = 1 << 2;
}

/// How many WANs one instance can have.
pub const MAX_WANS: u32 = 8;

/// Key of the prefix trie, in the form the kernel wants for an LPM key.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Pod, Zeroable)]
pub struct PrefixKey {
    /// Length of the prefix in bits, 0–32, native byte order.
    pub length: u32,
    /// The address.
    pub address: Addr,
}

/// Value of the prefix trie: what is true of the addresses below it. The trie answers with the
/// longest match only, so a longer prefix repeats what holds for those that cover it.
pub mod prefix {
    /// Packets from here are translated (`--source`; 0.0.0.0/0 without it).
    pub const SOURCE: u32 = 1 << 0;
    /// Connected to a LAN interface: must not appear as a source on the WAN side, and cannot be
    /// reached from there unasked.
    pub const INSIDE: u32 = 1 << 1;
    /// The router's own address on a LAN interface.
    pub const ROUTER: u32 = 1 << 2;
    /// The external address of a WAN, whose index stands in the bits from [`WAN_SHIFT`] on.
    pub const EXTERNAL: u32 = 1 << 3;
    /// Where the index of the WAN begins.
    pub const WAN_SHIFT: u32 = 8;
}
