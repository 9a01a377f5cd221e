//! What masq may do with a packet: an independent model of what README.md and ARCHITECTURE.md
//! promise, written from the RFCs.
//!
//! Given the hook, the frame, and the sessions before and after it was run, [`Oracle::allows`] says
//! which ends are right: untouched, dropped, or one of a few rewrites, byte for byte. Where the
//! packet is as it should be there is one right end; where it is odd (a bad checksum of the IP
//! header, a destination that the route may not lead to) both to translate it and not to may be
//! right, but never to do anything else.
//!
//! Reading order: [`parse`], [`sessions`], [`fragments`], [`rewrite`], [`fast`], [`full`].

mod fast;
pub mod fragments;
mod full;
pub mod parse;
pub mod rewrite;
pub mod sessions;

use std::net::Ipv4Addr;

use masq_common::settings::Filtering;
use masq_tests::{
    lab::{ROUTER_LAN, ROUTER_WAN},
    program::Hook,
};

use self::{
    fragments::Fragments,
    rewrite::Rewrite,
    sessions::{Key, Sessions},
};
use crate::wire::{ETHERNET, Ip, header_is_good, word};

/// Largest packet that the devices of the bench take.
const MTU: usize = 1500;

/// What is known besides the packet.
#[derive(Clone, Copy)]
pub struct Oracle<'a> {
    /// The sessions before the packet.
    pub before: &'a Sessions,
    /// The sessions after it: the same, and what it has opened.
    pub after: &'a Sessions,
    /// First fragments that have passed.
    pub fragments: &'a Fragments,
    /// Who may open sessions from outside.
    pub filtering: Filtering,
}

/// The ends that are right.
#[derive(Clone, Default, Debug)]
pub struct Allowed {
    /// It goes on as it is.
    pub untouched: bool,
    /// It is dropped.
    pub dropped: bool,
    /// It becomes one of these.
    pub rewrites: Vec<Rewrite>,
}

impl Allowed {
    fn untouched() -> Self {
        Self { untouched: true, ..Self::default() }
    }

    fn dropped() -> Self {
        Self { dropped: true, ..Self::default() }
    }

    fn rewrite(rewrite: Rewrite) -> Self {
        Self { rewrites: vec![rewrite], ..Self::default() }
    }

    /// Either these or those.
    fn or(mut self, other: Self) -> Self {
        self.untouched |= other.untouched;
        self.dropped |= other.dropped;
        self.rewrites.extend(other.rewrites);
        self
    }

    /// Either these or, unless the packet is as it should be, those.
    fn or_if_odd(self, odd: bool, other: Self) -> Self {
        if odd { self.or(other) } else { self }
    }
}

/// A frame at a hook.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    hook: Hook,
    frame: &'a [u8],
    /// The identification of the packet that has come out: where masq may choose one, it is looked
    /// at whether that was free.
    chosen: u16,
}

impl<'a> Arrival<'a> {
    /// From the IP header on.
    fn packet(&self) -> &'a [u8] {
        &self.frame[ETHERNET..]
    }

    /// Whether the frame says that it holds an IPv4 packet.
    fn is_ipv4(&self) -> bool {
        word(self.frame, 12) == 0x0800
    }

    /// Whether it was sent to this station.
    fn is_for_us(&self) -> bool {
        self.frame[..6] == self.hook.link_addresses()[0]
    }

    /// Whether a router might doubt the packet although its header can be read: its checksum is
    /// wrong (RFC 1812 section 5.2.2), or the bit is set that has to be zero.
    fn is_odd(&self, ip: &Ip) -> bool {
        !header_is_good(&self.packet()[..ip.header]) || ip.fragment & 0x8000 != 0
    }
}

impl Oracle<'_> {
    /// The right ends of a frame, which has become `output`.
    pub fn allows(&self, hook: Hook, frame: &[u8], output: &[u8]) -> Allowed {
        let has_id = output.len() >= ETHERNET + 6;
        let chosen = if has_id { word(output, ETHERNET + 4) } else { 0 };
        let arrival = Arrival { hook, frame, chosen };
        if !arrival.is_ipv4() {
            return Allowed::untouched();
        }
        match hook {
            Hook::WanOut | Hook::WanOutOwn => self.wan_out(arrival),
            Hook::LanXdp | Hook::WanXdp => self.fast(arrival, Allowed::untouched()),
            Hook::LanIn => self.fast(arrival, self.lan_in(arrival)),
            Hook::WanIn => self.fast(arrival, self.wan_in(arrival)),
        }
    }

    /// The packet of a flow, translated by half of a session on the full path; `None` if it is a
    /// first fragment that must not pass.
    fn translated(
        &self,
        arrival: Arrival<'_>,
        ip: &Ip,
        from: &Key,
        to: &Key,
        outbound: bool,
    ) -> Option<Rewrite> {
        let mut rewrite = Rewrite::of(arrival.frame);
        if ip.is_first_fragment() {
            let ends = (to.source.0, to.destination.0);
            let id = self.fragments.identification(ip, ends, outbound, arrival.chosen)?;
            rewrite.identify(id);
        }
        rewrite.translate(from, to);
        Some(rewrite)
    }
}

/// Whether an address is on a LAN, the router's own there included.
fn is_inside(address: Ipv4Addr) -> bool {
    address.octets()[..3] == [192, 168, 1]
}

/// Whether an address is that of a LAN host.
fn is_host(address: Ipv4Addr) -> bool {
    is_inside(address) && address != ROUTER_LAN
}

/// Whether an address is the one that everybody is translated to.
fn is_external(address: Ipv4Addr) -> bool {
    address == ROUTER_WAN
}

/// What no frame may be, whatever the rest of the model says: nothing leaves by the WAN with
/// another address than the external one if it has come in by a LAN.
pub fn leak(hook: Hook, frame: &[u8]) -> Option<String> {
    let is_ipv4 = frame.len() >= ETHERNET + 20 && word(frame, 12) == 0x0800;
    let source = is_ipv4.then(|| crate::wire::address(frame, ETHERNET + 12))?;
    (hook == Hook::WanOut && !is_external(source)).then(|| format!("{source} leaves by the WAN"))
}
