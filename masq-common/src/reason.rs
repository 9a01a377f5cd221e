//! Every way a packet can end, in one list.
//!
//! A [`Reason`] decides the verdict (through its [`Class`]), indexes the counters, names the
//! metric and the JSON field, and is explained in the documentation by its own text. Numbers are
//! never reused: a reason that goes away leaves a gap.

/// What a reason means for the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Translated and sent on by masq, or given translated to the kernel.
    Translated,
    /// Not touched by this hook; the kernel (or a later hook) goes on with it.
    Untouched,
    /// Dropped.
    Dropped,
    /// Not a packet: something that happened and is counted.
    Event,
}

impl Class {
    /// The class in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::Untouched => "untouched",
            Self::Dropped => "dropped",
            Self::Event => "event",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $class:ident, $label:literal;)+) => {
        /// Why a packet ended the way it did. See the module text.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// From its number, if there is such a reason.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// What it means for the packet.
            #[inline(always)]
            pub const fn class(self) -> Class {
                match self {
                    $(Self::$name => Class::$class,)+
                }
            }

            /// Whether a first packet was refused for want of room: its sender is told.
            #[inline(always)]
            pub const fn is_refusal(self) -> bool {
                matches!(
                    self,
                    Self::PortsExhausted
                        | Self::SessionTableFull
                        | Self::MappingTableFull
                        | Self::ProtocolConflict
                        | Self::HostMappings
                        | Self::HostSessions
                        | Self::HostRate
                        | Self::HostTableFull
                )
            }

            /// Its name in JSON, metrics and logs.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }

            /// What it means, in a sentence.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// Established flow from the LAN, translated and sent on by an ingress hook.
    OutboundFast = 0, Translated, "outbound_fast";
    /// Packet from the LAN, routed by the kernel and translated as it left the WAN.
    OutboundSlow = 1, Translated, "outbound_slow";
    /// Established flow from the WAN, translated and sent on by an ingress hook.
    InboundFast = 2, Translated, "inbound_fast";
    /// Packet from the WAN, translated and given to the kernel to route.
    InboundSlow = 3, Translated, "inbound_slow";
    /// ICMP error from the inside, translated with the packet it quotes.
    IcmpErrorOutbound = 4, Translated, "icmp_error_outbound";
    /// ICMP error from outside, translated with the packet it quotes.
    IcmpErrorInbound = 5, Translated, "icmp_error_inbound";
    /// The router's own ICMP error about a translated packet, its quote put into external terms.
    IcmpErrorOwn = 6, Translated, "icmp_error_own";
    /// The router's own packet, whose port belongs to a LAN host and was translated to another.
    OwnTranslated = 7, Translated, "own_translated";
    /// Later fragment, translated like the first one of its datagram.
    Fragment = 8, Translated, "fragment";
    /// From one LAN host to another through the external address of that one's mapping.
    Hairpin = 9, Translated, "hairpin";

    /// Not IPv4: ARP, IPv6 and everything else is left alone.
    NotIpv4 = 32, Untouched, "not_ipv4";
    /// Tagged frame of no interface of ours at this hook: at that of a VLAN device it has no tag.
    Tagged = 33, Untouched, "tagged";
    /// No session for it at an ingress hook: a first packet, or the router's own traffic.
    NoSession = 34, Untouched, "no_session";
    /// The router's own packet, or one that other rules have already translated.
    Own = 35, Untouched, "own";
    /// Has the external address as its source already: an ingress hook has translated it.
    AlreadyTranslated = 36, Untouched, "already_translated";
    /// Needs the full path: fragment, IP options, TCP SYN, or no TCP, UDP or ICMP query.
    Unusual = 37, Untouched, "unusual";
    /// Its session has been idle so long that the full path has to look whether it still lives.
    Stale = 38, Untouched, "stale";
    /// The hop limit ends here; the kernel answers.
    TtlExpired = 39, Untouched, "ttl_expired";
    /// Larger than the next hop takes; the kernel fragments or answers.
    TooBig = 40, Untouched, "too_big";
    /// The next hop's link-layer address is not known yet; the kernel asks for it.
    NoNeighbour = 41, Untouched, "no_neighbour";
    /// No plain route: local, blackhole, prohibited, or forwarding is off.
    NoRoute = 42, Untouched, "no_route";
    /// The route leads to a device that this hook cannot send to, or that is not of ours.
    OtherDevice = 43, Untouched, "other_device";
    /// For another station, or to a group.
    NotForUs = 44, Untouched, "not_for_us";
    /// Hook is attached, but the interface has no role yet or any more.
    NoRole = 45, Untouched, "no_role";
    /// Has the tuple of a session, but comes from the other side of it: a forged source.
    WrongSide = 46, Untouched, "wrong_side";
    /// Takes the kernel's way, as all established flows do with `--mode kernel`, and as all frames do at a
    /// driver while no port of the other side has the program.
    FastPathOff = 47, Untouched, "fast_path_off";
    /// From or to a station that its bridge is not known to have behind that port; the bridge learns, or
    /// asks all its ports.
    StationUnknown = 48, Untouched, "station_unknown";
    /// Of a PPPoE session that is no interface of ours, or that may have ended.
    PppoeOther = 49, Untouched, "pppoe_other";
    /// The driver has left no room before the frame for the longer header that it has to leave with.
    NoHeadroom = 50, Untouched, "no_headroom";

    /// Header damaged or shorter than it says.
    Malformed = 64, Dropped, "malformed";
    /// The WAN has no address to translate to.
    NoWanAddress = 65, Dropped, "no_wan_address";
    /// Source not covered by `--source`.
    SourceExcluded = 66, Dropped, "source_excluded";
    /// Protocol that cannot be translated (IPsec's AH, IGMP, and number 0, which is none).
    UnsupportedProtocol = 67, Dropped, "unsupported_protocol";
    /// TCP segment of no session that does not open one.
    NoTcpSession = 68, Dropped, "no_tcp_session";
    /// No external port is free.
    PortsExhausted = 69, Dropped, "ports_exhausted";
    /// The session table is full.
    SessionTableFull = 70, Dropped, "session_table_full";
    /// The mapping table is full.
    MappingTableFull = 71, Dropped, "mapping_table_full";
    /// The inside endpoint's mapping was being made or removed at that very moment; the sender retries.
    MappingRetiring = 72, Dropped, "mapping_retiring";
    /// Later fragment whose first one has not been seen.
    FragmentUnknown = 73, Dropped, "fragment_unknown";
    /// From the WAN with an inside source address.
    SpoofedSource = 74, Dropped, "spoofed_source";
    /// From the WAN straight to an inside address.
    UnsolicitedToLan = 75, Dropped, "unsolicited_to_lan";
    /// ICMP error from the inside about no session.
    IcmpErrorUnknown = 76, Dropped, "icmp_error_unknown";
    /// ICMP message from the inside that does not cross a NAT (redirect, obsolete types).
    IcmpOther = 77, Dropped, "icmp_other";
    /// The kernel refused a packet operation half way: out of memory.
    RewriteFailed = 78, Dropped, "rewrite_failed";
    /// ICMP reply from the inside to a request that was never translated.
    NoIcmpSession = 79, Dropped, "no_icmp_session";
    /// From a LAN host to the mapping of another one that the filtering does not let it in to.
    HairpinFiltered = 80, Dropped, "hairpin_filtered";
    /// From a LAN host to another one's mapping, and too big or without a route there.
    HairpinFailed = 81, Dropped, "hairpin_failed";
    /// From a LAN to an interface that has just appeared, until masq knows whether it is a WAN.
    WanNotReady = 82, Dropped, "wan_not_ready";
    /// Later fragment that has overtaken the first one, given to the daemon, which sends it on when
    /// the first one has passed.
    FragmentEarly = 83, Dropped, "fragment_early";
    /// Two different first fragments of one datagram: nobody can tell what the later ones belong to.
    FragmentOverlap = 84, Dropped, "fragment_overlap";
    /// Fragment that would overwrite the TCP header of the first one (RFC 1858, RFC 3128).
    FragmentTiny = 85, Dropped, "fragment_tiny";
    /// Of a protocol without ports, towards a remote host that another inside host already talks to
    /// with it.
    ProtocolConflict = 86, Dropped, "protocol_conflict";
    /// ICMP error whose checksum, or that of the header it quotes, is wrong.
    IcmpBadChecksum = 87, Dropped, "icmp_bad_checksum";
    /// ICMP error from the inside about a packet with a source route.
    SourceRoute = 88, Dropped, "source_route";
    /// The inside host has as many mappings as it may (`--host-mappings`).
    HostMappings = 89, Dropped, "host_mappings";
    /// The inside host has as many sessions as it may (`--host-sessions`).
    HostSessions = 90, Dropped, "host_sessions";
    /// The inside host opens sessions faster than it may (`--host-rate`).
    HostRate = 91, Dropped, "host_rate";
    /// No room to count one more inside host, while there are limits for each.
    HostTableFull = 92, Dropped, "host_table_full";
    /// From the inside with a source that no router forwards: link-local or reserved.
    MartianSource = 93, Dropped, "martian_source";
    /// The kernel has made room for another link-layer header, but not as much as was asked for.
    LinkFailed = 94, Dropped, "link_failed";

    /// A session was created.
    SessionOpened = 96, Event, "session_opened";
    /// A session was removed.
    SessionClosed = 97, Event, "session_closed";
    /// A mapping was created.
    MappingOpened = 98, Event, "mapping_opened";
    /// A mapping was removed.
    MappingClosed = 99, Event, "mapping_closed";
    /// A session shares its external port with others, because none was free (RFC 7857 section 3).
    PortShared = 100, Event, "port_shared";
    /// An event could not be reported: the ring buffer was full.
    EventLost = 101, Event, "event_lost";
    /// A packet could not be given to the daemon: its queue was full, or its sender had had its share.
    SlowPathFull = 102, Event, "slow_path_full";
    /// A TCP SYN announced larger segments than fit the WAN, and now announces smaller ones
    /// (`--mss-clamp`).
    MssLowered = 103, Event, "mss_lowered";
    /// A packet that `masq trace` was to show is missing there: packets came too fast.
    TraceLost = 104, Event, "trace_lost";
    /// A frame told of the beginning or end of a PPPoE session: next hops by PPPoE are asked for anew.
    PppoeDiscovery = 105, Event, "pppoe_discovery";
}

/// Number of counters: greater than any reason's number.
pub const COUNTERS: u32 = 128;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_and_labels_are_unique_and_fit_the_counters() {
        let numbers: BTreeSet<u8> = Reason::ALL.iter().map(|&r| r as u8).collect();
        let labels: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(numbers.len(), Reason::ALL.len());
        assert_eq!(labels.len(), Reason::ALL.len());
        assert!(numbers.iter().all(|&n| u32::from(n) < COUNTERS));
        assert!(Reason::ALL.iter().all(|&r| Reason::from_number(r as u8) == Some(r)));
        assert!(Reason::ALL.iter().all(|r| r.text().ends_with('.')));
    }
}
