//! What lies below the interfaces (see [`masq_common::link`]): which one a frame at a port is for, and by
//! which port and with which header a packet leaves that the routing sends to one. Asked only where the
//! routing is asked too.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use masq_common::{
    hop::Way,
    link::{Arrival, Exit, Leg, NO_STATION, Place, Station, exit, set},
    reason::Reason,
    settings::{caps, role},
};

use crate::{config, generations, verdict::Step};

/// Full means that the daemon leaves further interfaces to TC, and says so.
#[btf_map]
static LEGS: HashMap<Arrival, Leg, 1024> = HashMap::new();

/// Full means the same.
#[btf_map]
static EXITS: HashMap<u32, Exit, 1024> = HashMap::new();

/// Full means that the packets of further stations of bridges stay with TC.
#[btf_map]
static STATIONS: HashMap<Station, Place, 8192> = HashMap::new();

/// A link-layer address.
pub type Mac = [u8; 6];

/// In two words, as it lies in memory: for these the compiler calls no function that goes byte by byte.
#[inline(always)]
pub const fn words(mac: Mac) -> (u32, u16) {
    let [a, b, c, d, e, f] = mac;
    (u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]))
}

/// The opposite of [`words`].
#[inline(always)]
pub const fn from_words((begin, end): (u32, u16)) -> Mac {
    let ([a, b, c, d], [e, f]) = (begin.to_ne_bytes(), end.to_ne_bytes());
    [a, b, c, d, e, f]
}

#[inline(always)]
fn is_same(one: Mac, other: Mac) -> bool {
    words(one) == words(other)
}

/// How a packet has come in, to the kernel and to us.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Entry {
    /// The frame.
    pub arrival: Arrival,
    /// The interface that the kernel sees it at.
    pub ifindex: u32,
    /// See [`Way::addressee`].
    pub addressee: Mac,
    /// See [`Way::peer`].
    pub peer: Mac,
    /// The set of the station that it comes from, if the interface is a bridge.
    pub station: u16,
    /// Of the interface: see [`role`].
    pub role: u16,
}

/// Finds the interface that a frame with these link-layer addresses (destination, source) is for:
/// `entry` has its arrival already.
#[inline(never)]
pub fn enter(entry: &mut Entry, addresses: &[Mac; 2]) -> Step<()> {
    let arrival = entry.arrival;
    let [to, from] = *addresses;
    if arrival == Arrival::plain(arrival.port)
        && let Some(device) = config::device(arrival.port)
        && matches!(device.role, role::LAN | role::WAN)
    {
        entry.ifindex = arrival.port;
        entry.addressee = device.mac;
        entry.role = u16::from(device.role);
        return if is_same(to, device.mac) { Ok(()) } else { Err(Reason::NotForUs) };
    }
    let stranger = match arrival {
        Arrival { session: 0, vlan: 0, .. } => Reason::NoRole,
        Arrival { session: 0, .. } => Reason::Tagged,
        _ => Reason::PppoeOther,
    };
    // SAFETY: what is read while the daemon changes it ends with the generation that it then begins.
    let leg = unsafe { LEGS.get(arrival) }.ok_or(stranger)?;
    if !is_same(to, leg.mac) {
        return Err(Reason::NotForUs);
    }
    if arrival.session != 0 && !(is_same(from, leg.peer) && is_current(arrival, leg.discoveries)) {
        return Err(Reason::PppoeOther);
    }
    if leg.bridge_port != 0 {
        if place(leg.ifindex, from) != Some(leg.bridge_port) {
            return Err(Reason::StationUnknown);
        }
        entry.station = set(from);
    }
    let device = config::device(leg.ifindex).ok_or(Reason::NoRole)?;
    entry.ifindex = leg.ifindex;
    entry.addressee = leg.mac;
    entry.peer = leg.peer;
    entry.role = u16::from(device.role);
    Ok(())
}

/// Completes a `way` to the interface `ifindex`, of a packet with this type-of-service byte, by what is
/// known of its exit. Without one the interface is its own port.
#[inline(never)]
pub fn leave(way: &mut Way, ifindex: u32, tos: u8) -> Step<()> {
    // SAFETY: as in `enter`.
    let Some(mut exit) = (unsafe { EXITS.get(ifindex) }) else {
        let sends = way.caps & caps::XDP_TRANSMIT != 0;
        return if sends { Ok(()) } else { Err(Reason::OtherDevice) };
    };
    if exit.kind == exit::BRIDGE {
        let port = place(ifindex, way.destination).ok_or(Reason::StationUnknown)?;
        let station = set(way.destination);
        if way.station == NO_STATION {
            way.station = station;
        } else {
            way.other_station = station;
        }
        // SAFETY: as in `enter`.
        exit = unsafe { EXITS.get(port) }.ok_or(Reason::OtherDevice)?;
    }
    if exit.kind != exit::PORT || exit.caps & caps::XDP_TRANSMIT == 0 {
        return Err(Reason::OtherDevice);
    }
    if exit.session != 0 {
        let arrival = Arrival { port: exit.port, vlan: exit.vlan, session: exit.session };
        if !is_current(arrival, exit.discoveries) {
            return Err(Reason::PppoeOther);
        }
        way.destination = exit.peer;
        way.source = exit.source;
    }
    way.port = exit.port;
    way.caps = exit.caps | Way::BELOW;
    way.tag = exit.tag(tos);
    way.session = exit.session;
    Ok(())
}

/// The port of a bridge that a station is behind, if the bridge has not changed its mind since the
/// daemon asked it.
#[inline(always)]
fn place(bridge: u32, mac: Mac) -> Option<u32> {
    let station = Station { bridge, mac, zero: 0 };
    let at = STATIONS.get_ptr(station)?;
    // SAFETY: the kernel keeps the memory readable until the program ends.
    let place = unsafe { *at };
    // If the daemon has taken it away meanwhile, it may have been given to another station.
    if STATIONS.get_ptr(station)? != at {
        return None;
    }
    (generations::stations(set(mac))? == place.changes).then_some(place.port)
}

/// Whether a PPPoE session that was there at this count of discoveries may be there still.
#[inline(always)]
fn is_current(arrival: Arrival, discoveries: u32) -> bool {
    // SAFETY: as in `enter`.
    let heard = unsafe { LEGS.get(arrival.discovery()) }.is_some();
    heard && generations::discoveries() == Some(discoveries)
}

/// A frame with these link-layer addresses (destination, source) tells of the end of the PPPoE session that
/// frames like `arrival` belong to; whether that is one of ours. Only who could end it with the kernel
/// can: everybody on the line may send such frames.
#[inline(never)]
pub fn terminated(arrival: Arrival, addresses: &[Mac; 2]) -> bool {
    let [to, from] = *addresses;
    // SAFETY: as in `enter`.
    let ours = match unsafe { LEGS.get(arrival) } {
        Some(leg) => is_same(leg.mac, to) && is_same(leg.peer, from),
        None => false,
    };
    if ours {
        generations::terminated();
    }
    ours
}
