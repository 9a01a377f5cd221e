//! Names and layouts that both sides of the kernel boundary rely on.
//!
//! Change a layout below, or the meaning of a field, and [`VERSION`] has to change with it: it is
//! what tells a new daemon whether it may adopt the maps of an old one.

use core::mem::{align_of, offset_of, size_of};

use crate::{
    account::Account,
    be::Addr,
    event::{Event, RetireRequest},
    flow::{FlowKey, Tuple},
    fragment::{Datagram, Translation},
    hop::{Generations, Hop, NEIGHBOURHOODS, Way},
    link::{Arrival, Exit, Leg, Place, STATION_SETS, Station},
    mapping::{Mapping, MappingKey, PortSlot},
    session::SessionHalf,
    settings::{Device, PrefixKey, Settings, Timeouts},
    slow::{CAPTURE, Head, Record},
    table::{Count, Header, Slot},
    trace,
};

/// Version of everything in this module.
pub const VERSION: u32 = 6;

/// Names of the maps: each is owned by one module of the kernel side.
pub mod maps {
    /// Array of [`Slot`](crate::table::Slot), the first of which are a [`Header`](crate::table::Header) and a
    /// [`Count`](crate::table::Count).
    pub const SESSIONS: &str = "SESSIONS";
    /// Hash: [`MappingKey`](crate::mapping::MappingKey) to [`Mapping`](crate::mapping::Mapping).
    pub const MAPPINGS: &str = "MAPPINGS";
    /// [`Making`](crate::mapping::Making) of the inside endpoints.
    pub const ENDPOINTS: &str = "ENDPOINTS";
    /// Array: [`slot_index`](crate::mapping::slot_index) to
    /// [`PortSlot`](crate::mapping::PortSlot).
    pub const PORTS: &str = "PORTS";
    /// Array: WAN × protocol to the number of held ports, a `u64`
    /// (`wan * 3 + protocol_index`).
    pub const PORTS_HELD: &str = "PORTS_HELD";
    /// Hash: interface index to [`Device`](crate::settings::Device).
    pub const DEVICES: &str = "DEVICES";
    /// LPM trie: [`PrefixKey`](crate::settings::PrefixKey) to flags of
    /// [`prefix`](crate::settings::prefix), a `u32`.
    pub const PREFIXES: &str = "PREFIXES";
    /// Array of one [`Settings`](crate::settings::Settings).
    pub const SETTINGS: &str = "SETTINGS";
    /// Per-CPU array: number of a [`Reason`](crate::reason::Reason) to its counter, a `u64`.
    pub const COUNTERS: &str = "COUNTERS";
    /// Hash: inside address to [`Account`](crate::account::Account); no address for all those for which
    /// there was no room.
    pub const ACCOUNTS: &str = "ACCOUNTS";
    /// Ring buffer of [`Event`](crate::event::Event).
    pub const EVENTS: &str = "EVENTS";
    /// Ring buffer of [`slow::Record`](crate::slow::Record).
    pub const SLOW: &str = "SLOW";
    /// Array of [`Hop`](crate::hop::Hop): the next hops that sessions have tickets to.
    pub const HOPS: &str = "HOPS";
    /// Array of one [`Generations`](crate::hop::Generations).
    pub const GENERATIONS: &str = "GENERATIONS";
    /// Hash: [`Arrival`](crate::link::Arrival) to [`Leg`](crate::link::Leg).
    pub const LEGS: &str = "LEGS";
    /// Hash: index of an interface or of a bridge's port to [`Exit`](crate::link::Exit).
    pub const EXITS: &str = "EXITS";
    /// Hash: [`Station`](crate::link::Station) to [`Place`](crate::link::Place).
    pub const STATIONS: &str = "STATIONS";
    /// LRU hash of the fragmented datagrams that are under way:
    /// [`Datagram`](crate::fragment::Datagram) to [`Translation`](crate::fragment::Translation).
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// Ring buffer of [`trace::Record`](crate::trace::Record); only traced programs write to it.
    pub const TRACE: &str = "TRACE";
    /// Array of one [`trace::Filter`](crate::trace::Filter).
    pub const TRACE_FILTER: &str = "TRACE_FILTER";
}

/// Names of the programs. `_ether` is for devices whose frames begin with an Ethernet header,
/// `_raw` for those that begin with the IP header (PPP, TUN, WireGuard).
pub mod programs {
    /// XDP on LAN and WAN ingress: established flows, both directions.
    pub const FAST_XDP: &str = "fast_xdp";
    /// TC on LAN ingress, Ethernet.
    pub const LAN_IN_ETHER: &str = "lan_in_ether";
    /// TC on LAN ingress, no link-layer header.
    pub const LAN_IN_RAW: &str = "lan_in_raw";
    /// TC on WAN ingress, Ethernet.
    pub const WAN_IN_ETHER: &str = "wan_in_ether";
    /// TC on WAN ingress, no link-layer header.
    pub const WAN_IN_RAW: &str = "wan_in_raw";
    /// TC on WAN egress, Ethernet.
    pub const WAN_OUT_ETHER: &str = "wan_out_ether";
    /// TC on WAN egress, no link-layer header.
    pub const WAN_OUT_RAW: &str = "wan_out_raw";
    /// XDP, never attached: run by the daemon with a [`RetireRequest`](crate::event::RetireRequest)
    /// to remove sessions.
    pub const RETIRE: &str = "retire";
    /// XDP, never attached: run by the daemon, in the network namespace of the router, to let all
    /// sessions ask for their next hop anew. With one byte of data that is not 0, the table of hops
    /// begins anew as well.
    pub const FORGET: &str = "forget";
    /// On the raw tracepoints `neigh_update_done`, `neigh_timer_handler` and
    /// `neigh_cleanup_and_release`: a neighbour may have changed. Two of them, on all three each: the
    /// kernel leaves a program out that is running on the same CPU already, and the neighbour code of
    /// a soft interrupt may interrupt that of a process.
    pub const NEIGHBOUR_CHANGED: [&str; 2] = ["neighbour_changed", "neighbour_changed_too"];
    /// On the raw tracepoints `br_fdb_update`, `br_fdb_add` and `br_fdb_external_learn_add`: the station,
    /// whose address is the third argument of each, may be behind another port. Two of them, for the
    /// reason above.
    pub const STATION_CHANGED: [&str; 2] = ["station_changed", "station_changed_too"];
    /// On the raw tracepoint `fdb_delete`: a bridge has forgotten a station. The kernel holds the lock of
    /// the bridge's table then, with soft interrupts off, so one is enough.
    pub const STATION_GONE: [&str; 1] = ["station_gone"];
}

/// The global variable that makes traced programs of the programs: not 0 if they are to record what
/// [`maps::TRACE_FILTER`] says. At 0 the verifier removes the code that records.
pub const TRACED: &str = "TRACED";

const _: () = {
    assert!(size_of::<Tuple>() == 12 && align_of::<Tuple>() == 4);
    assert!(size_of::<FlowKey>() == 16 && offset_of!(FlowKey, protocol) == 12);
    // One cache line; the header takes the room of one.
    assert!(size_of::<Slot>() == 64 && offset_of!(Slot, state) == 56);
    assert!(size_of::<Header>() == 64 && size_of::<Count>() == 64);
    assert!(size_of::<SessionHalf>() == 56 && align_of::<SessionHalf>() == 8);
    assert!(offset_of!(SessionHalf, from) == 0 && offset_of!(SessionHalf, address) == 12);
    assert!(
        offset_of!(SessionHalf, sequence) == 18
            && offset_of!(SessionHalf, last_seen) == 20
            && offset_of!(SessionHalf, ticket) == 24
            && offset_of!(SessionHalf, packets) == 32
    );
    assert!(offset_of!(SessionHalf, created) == 48 && offset_of!(SessionHalf, wan) == 55);
    assert!(size_of::<MappingKey>() == 8 && size_of::<Mapping>() == 8);
    assert!(size_of::<PortSlot>() == 16 && align_of::<PortSlot>() == 8);
    assert!(size_of::<Timeouts>() == 28 && size_of::<Settings>() == 80);
    assert!(size_of::<Device>() == 16 && offset_of!(Device, mss) == 14);
    assert!(size_of::<PrefixKey>() == 8);
    // One cache line.
    assert!(size_of::<Hop>() == 64 && offset_of!(Hop, way) == 8);
    // `Way::below` and `Way::header` count on it, and the addresses are read in words of four and two.
    assert!(size_of::<Way>() == 56 && offset_of!(Way, tag) == 40);
    assert!(offset_of!(Way, station) == 44 && offset_of!(Way, other_station) == 46);
    assert!(offset_of!(Way, addressee) == 16 && offset_of!(Way, destination) == 22);
    assert!(size_of::<Generations>() == 128 + 8 * (NEIGHBOURHOODS + STATION_SETS));
    assert!(size_of::<Arrival>() == 8 && size_of::<Leg>() == 24 && size_of::<Exit>() == 32);
    assert!(size_of::<Station>() == 12 && size_of::<Place>() == 8);
    assert!(size_of::<Datagram>() == 12 && size_of::<Translation>() == 32);
    assert!(size_of::<Head>() == 32 && offset_of!(Head, captured) == 20);
    assert!(size_of::<Record>() == 32 + CAPTURE && offset_of!(Record, data) == 32);
    assert!(size_of::<trace::Filter>() == 48 && offset_of!(trace::Filter, ends) == 16);
    assert!(size_of::<trace::Head>() == 40 && offset_of!(trace::Record, after) == 168);
    assert!(size_of::<Account>() == 40 && size_of::<Addr>() == 4);
    assert!(size_of::<Event>() == 80 && size_of::<RetireRequest>() == 16);
};

/// Lets aya read and write the shared types. `bytemuck` has already proved that they have neither
/// padding nor invalid values.
#[cfg(feature = "user")]
mod pod {
    macro_rules! pod {
        ($($type:ty),+) => {
            $(
                const _: fn() = || {
                    fn is_pod<T: bytemuck::Pod>() {}
                    is_pod::<$type>();
                };
                // SAFETY: `bytemuck::Pod`, checked just above, asks for at least as much.
                unsafe impl aya::Pod for $type {}
            )+
        };
    }

    pod!(
        super::Account,
        super::Addr,
        super::FlowKey,
        super::Datagram,
        super::Translation,
        super::Generations,
        super::Hop,
        super::Arrival,
        super::Leg,
        super::Exit,
        super::Station,
        super::Place,
        super::SessionHalf,
        super::Slot,
        super::MappingKey,
        super::Mapping,
        super::PortSlot,
        super::Device,
        super::PrefixKey,
        super::Settings,
        super::trace::Filter
    );
}
