//! What a frame begins with, if more than an Ethernet header stands before its IP header: tags and PPPoE
//! sessions, as generator and sink speak them.

use crate::{
    Window,
    plan::{ADDRESSES, Front, PPPOE},
    words,
};

/// Protocol of PPP: IPv4 (RFC 1332), as on the wire.
pub const PPP_IPV4: u16 = 0x0021_u16.to_be();

/// Writes the first `FRONT` words of a frame.
#[inline(always)]
pub fn write<const FRONT: usize>(window: Window, front: &Front) -> Option<()> {
    let frame: &mut [u16; FRONT] = words(window, 0)?;
    for (place, word) in frame.iter_mut().zip(&front.words) {
        *place = *word;
    }
    Some(())
}

/// Writes the length of what is in a PPPoE frame: of the IP packet and the protocol of PPP.
#[inline(always)]
pub fn write_length<const FRONT: usize>(window: Window, packet: u16) -> Option<()> {
    let frame: &mut [u16; FRONT] = words(window, 0)?;
    frame[FRONT - 1] = (packet + 2).to_be();
    Some(())
}

/// Whether the first `FRONT` words of a frame with an IP packet of this length are these.
#[inline(always)]
pub fn fits<const FRONT: usize>(window: Window, front: &Front, packet: u16) -> Option<bool> {
    let frame: &mut [u16; FRONT] = words(window, 0)?;
    let mut fixed = FRONT;
    let mut differences = 0;
    if FRONT >= ADDRESSES + PPPOE {
        fixed = FRONT - 1;
        differences = frame[FRONT - 1] ^ (packet + 2).to_be();
    }
    for (found, wanted) in frame.iter().zip(&front.words).take(fixed) {
        differences |= *found ^ *wanted;
    }
    Some(differences == 0)
}
