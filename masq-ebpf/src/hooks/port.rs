//! XDP, at a port: what kind of frame it is. The fast path is compiled for each length of what may stand
//! before the IP header, so that packets on plain Ethernet do not pay for the others.

use aya_ebpf::{EbpfContext as _, programs::XdpContext};
use masq_common::{link::Arrival, reason::Reason, settings::switches, trace::Hook};

use crate::{
    config, counters,
    hooks::fast,
    links,
    packet::{
        ETHERNET, Packet as _,
        link::{self, Kind, Link, PPPOE, TAGGED, TAGGED_PPPOE},
        xdp::Frame,
    },
    trace,
    verdict::{self, Outcome},
};

/// Runs the hook; the kernel's number.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> u32 {
    let frame = Frame::<ETHERNET>::new(ctx.as_ptr().cast(), Link::PLAIN);
    trace::before(&frame, Hook::FastXdp);
    verdict::xdp(&frame, decide(&frame))
}

#[inline(always)]
fn decide(frame: &Frame<ETHERNET>) -> Outcome {
    let link = match link::kind(frame.window()) {
        // Heard of in any case: who looks at the sessions after it goes by the count.
        Kind::Terminated(link) => {
            terminated(frame, link.arrival(frame.ifindex()));
            return Outcome::Ends(Reason::NotIpv4);
        }
        Kind::Other(reason) => return Outcome::Ends(reason),
        // Nobody on the other side could be sent to: to find that out would cost a good part of what TC
        // then does once more.
        _ if is_off() => return Outcome::Ends(Reason::FastPathOff),
        Kind::Plain => return fast::run(frame, 0),
        Kind::Below(link) => link,
    };
    match link.length {
        TAGGED => below::<TAGGED>(frame, link.vlan, 0, 0),
        PPPOE => below::<PPPOE>(frame, 0, link.session, link.payload),
        _ => below::<TAGGED_PPPOE>(frame, link.vlan, link.session, link.payload),
    }
}

#[inline(always)]
fn is_off() -> bool {
    config::settings().is_ok_and(|settings| settings.switches & switches::NO_XDP != 0)
}

/// The fast path for a frame with more than an Ethernet header. As a function of its own it would have its
/// stack on top of that of plain frames, and both would be too large; as a part of this one, it has the same.
#[inline(always)]
fn below<const LINK: usize>(
    frame: &Frame<ETHERNET>,
    vlan: u16,
    session: u16,
    payload: u16,
) -> Outcome {
    let link = Link { length: LINK, vlan, session, payload };
    fast::run(&Frame::<LINK>::new(frame.context().cast(), link), 0)
}

/// Has all next hops by PPPoE asked for anew, if it is a session of ours that has ended.
#[inline(always)]
fn terminated(frame: &Frame<ETHERNET>, arrival: Arrival) {
    let (Some(to), Some(from)) = (frame.to(), frame.from()) else { return };
    if links::terminated(arrival, &[to, from]) {
        counters::bump(Reason::PppoeDiscovery);
    }
}
