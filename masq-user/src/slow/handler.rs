//! What is done with the records of the kernel programs. All decisions of the slow path are made
//! here; the clock is an argument, and everything outside is behind [`World`].

use std::{io, time::Instant};

use masq_common::{
    be::Addr,
    fragment::{Datagram, MEMORY, Translation},
    reason::Reason,
    settings::prefix::{EXTERNAL, INSIDE, ROUTER},
    slow::{Cause, Head},
    time::Tick,
};

use super::{
    fragment::{self, Hop},
    icmp,
    ip::Packet,
    lot::{Lot, Parked},
    rate::Rate,
    refused::{Held, Queue, complete_checksum},
};
use crate::{cli::ExhaustionIcmp, control::proto::SlowPath};

/// What is outside: the tables of the kernel programs, the interfaces, the network.
pub trait World {
    /// What is done to the fragments of a datagram, if its first one has passed.
    fn translation(&self, datagram: &Datagram) -> Option<Translation>;
    /// What is true of an address: flags of [`masq_common::settings::prefix`].
    fn flags(&self, address: Addr) -> u32;
    /// The address that a WAN translates to now.
    fn external(&self, wan: u8) -> Option<Addr>;
    /// The router's address on an interface, for messages to `host`; [`Addr::NONE`] if unknown.
    fn router(&self, interface: u32, host: Addr) -> Addr;
    /// Whether this interface is that WAN, and what leaves by it is translated.
    fn translates(&self, wan: u8, interface: u32) -> bool;
    /// Has expired sessions removed soon.
    fn wake_sweeper(&self);
    /// Sends a packet by this interface; 0 leaves the choice to the kernel.
    fn send(&self, packet: &[u8], interface: u32) -> io::Result<()>;
}

/// The slow path.
#[derive(Debug)]
pub struct Handler {
    lot: Lot,
    queue: Queue,
    rate: Rate,
    icmp: ExhaustionIcmp,
    /// Sessions that the sweeper has removed so far.
    removed: u64,
    counts: SlowPath,
}

impl Handler {
    /// With nothing waiting. `icmp` is the answer to who is refused.
    pub fn new(icmp: ExhaustionIcmp) -> Self {
        Self {
            lot: Lot::default(),
            queue: Queue::default(),
            rate: Rate::default(),
            icmp,
            removed: 0,
            counts: SlowPath::default(),
        }
    }

    /// Answers in another way from now on, also those that wait.
    pub const fn answer_with(&mut self, icmp: ExhaustionIcmp) {
        self.icmp = icmp;
    }

    /// Deals with a record of the ring buffer.
    pub fn record(&mut self, record: &[u8], now: Instant, world: &impl World) {
        let cause = Head::split(record)
            .and_then(|(head, data)| Some((head, data, Cause::from_number(head.cause)?)));
        let Some((head, data, cause)) = cause else {
            tracing::debug!("a record of the slow path is of another version");
            return;
        };
        match cause {
            Cause::EarlyOut | Cause::EarlyIn | Cause::EarlyHairpin => {
                self.early(head, cause, data, now, world);
            }
            Cause::FirstSeen => self.first_seen(&head, data, world),
            Cause::Refused => self.refused(head, data, now, world),
        }
    }

    /// The sweeper has gone through the table; it has removed so many sessions in all.
    pub fn swept(&mut self, removed: u64, now: Instant, world: &impl World) {
        self.removed = removed;
        for held in self.queue.take() {
            if removed == held.removed || !self.retry(&held, world) {
                self.answer_held(&held, now, world);
            }
        }
    }

    /// Ends what has waited long enough.
    pub fn expire(&mut self, now: Instant, world: &impl World) {
        self.counts.expired += self.lot.expire(now) as u64;
        for held in self.queue.take_overdue(now) {
            self.answer_held(&held, now, world);
        }
    }

    /// When [`Handler::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.lot.deadline().into_iter().chain(self.queue.deadline()).min()
    }

    /// What has been done so far, and what waits.
    pub fn counts(&self) -> SlowPath {
        SlowPath {
            parked: self.lot.fragments() as u64,
            parked_bytes: self.lot.bytes() as u64,
            held: self.queue.len() as u64,
            ..self.counts
        }
    }

    /// A fragment that has overtaken the first one of its datagram.
    fn early(&mut self, head: Head, cause: Cause, data: &[u8], now: Instant, world: &impl World) {
        let packet = Packet::parse(data, head.length as usize)
            .filter(|packet| packet.is_whole() && packet.is_later_fragment())
            // Before the kernel has routed it, it has not looked at the options either, and
            // nobody would if it was sent on from here.
            .filter(|packet| cause == Cause::EarlyOut || packet.header().options().is_empty());
        let Some(packet) = packet else {
            self.counts.unusable += 1;
            return;
        };
        let datagram = packet.datagram();
        let parked = Parked { head, packet: packet.bytes().to_vec() };
        // The first one may have passed before the daemon has got here.
        match translation(&datagram, &head, world) {
            Some(translation) => self.send_fragment(parked, &translation, world),
            None => self.counts.refused += u64::from(self.lot.park(now, datagram, parked).is_err()),
        }
    }

    /// The first fragment of a datagram has passed.
    fn first_seen(&mut self, head: &Head, data: &[u8], world: &impl World) {
        let Ok(datagram) = bytemuck::try_pod_read_unaligned::<Datagram>(data) else { return };
        // It may be forgotten already; then the others expire.
        let Some(translation) = translation(&datagram, head, world) else { return };
        for parked in self.lot.take(&datagram) {
            self.send_fragment(parked, &translation, world);
        }
    }

    /// Sends a fragment the way of the first one of its datagram.
    fn send_fragment(&mut self, parked: Parked, to: &Translation, world: &impl World) {
        let Parked { head, mut packet } = parked;
        let (hop, interface, may_leave) = match Cause::from_number(head.cause) {
            // Nothing else than the address of the WAN may leave by it.
            Some(Cause::EarlyOut) => {
                (Hop::Counted, head.ifindex, world.external(head.wan) == Some(to.source))
            }
            // One that stays as it is, is the router's own, which has got it already.
            Some(Cause::EarlyIn) => (Hop::Due, 0, to.destination != to.datagram.destination),
            Some(Cause::EarlyHairpin) => (Hop::Due, 0, world.flags(to.source) & EXTERNAL != 0),
            _ => return,
        };
        if !may_leave || fragment::rewrite(&mut packet, to, hop).is_err() {
            self.counts.unusable += 1;
            return;
        }
        let sent = self.send(&packet, interface, world);
        self.counts.reinjected += u64::from(sent);
    }

    /// A first packet from the inside for which there was no room, or which is over a limit.
    fn refused(&mut self, head: Head, data: &[u8], now: Instant, world: &impl World) {
        let full = Reason::from_number(head.reason).is_some_and(Reason::is_refusal);
        if full {
            world.wake_sweeper();
        }
        let Some(packet) = Packet::parse(data, head.length as usize) else {
            self.counts.icmp_suppressed += 1;
            return;
        };
        // One that the router itself has made has been here before: each is tried once more only.
        if full && head.ingress != 0 && is_inside(&packet, world) && self.queue.has_room() {
            let (packet, removed) = (packet.bytes().to_vec(), self.removed);
            self.queue.hold(now, Held { head, packet, removed });
        } else {
            self.answer(&head, &packet, now, world);
        }
    }

    /// Sends a first packet once more, now that there may be room; whether that was possible. It
    /// has the source of a LAN host, so it is sent only where the kernel side translates what has
    /// such a source.
    fn retry(&mut self, held: &Held, world: &impl World) -> bool {
        let Head { wan, ifindex, length, .. } = held.head;
        let Some(packet) = Packet::parse(&held.packet, length as usize) else { return false };
        // The kernel would give a first fragment without identification one of its own.
        let may_be_sent = packet.is_whole()
            && !(packet.header().is_fragmenting_payload() && packet.header().identification() == 0)
            && is_inside(&packet, world)
            && world.translates(wan, ifindex);
        let mut packet = held.packet.clone();
        complete_checksum(&mut packet);
        let sent = may_be_sent && self.send(&packet, ifindex, world);
        self.counts.retried += u64::from(sent);
        sent
    }

    fn answer_held(&mut self, held: &Held, now: Instant, world: &impl World) {
        if let Some(packet) = Packet::parse(&held.packet, held.head.length as usize) {
            self.answer(&held.head, &packet, now, world);
        }
    }

    /// Tells the sender that its packet was refused.
    fn answer(&mut self, head: &Head, packet: &Packet<'_>, now: Instant, world: &impl World) {
        let host = packet.source();
        // Of one that was tried twice it is not known any more where it came in. The kernel finds
        // the way to a LAN host and the address to send from.
        let router = match head.ingress {
            0 if is_inside(packet, world) => Some(Addr::NONE),
            0 => None,
            ingress => Some(world.router(ingress, host)),
        };
        let answer = router
            .and_then(|router| icmp::answer(packet, router, self.icmp))
            .filter(|_| self.rate.allows(now, host));
        match answer {
            Some(answer) => {
                let sent = self.send(&answer, head.ingress, world);
                self.counts.icmp_sent += u64::from(sent);
            }
            None => self.counts.icmp_suppressed += 1,
        }
    }

    fn send(&mut self, packet: &[u8], interface: u32, world: &impl World) -> bool {
        let sent = world.send(packet, interface);
        if let Err(error) = &sent {
            tracing::debug!(interface, "the slow path cannot send a packet: {error}");
            self.counts.failed += 1;
        }
        sent.is_ok()
    }
}

/// Whether a packet comes from a LAN host, as its source says.
fn is_inside(packet: &Packet<'_>, world: &impl World) -> bool {
    world.flags(packet.source()) & (INSIDE | ROUTER) == INSIDE
}

/// What was done to the first fragment of a datagram, if it holds at the time of `head`.
fn translation(datagram: &Datagram, head: &Head, world: &impl World) -> Option<Translation> {
    let found = world.translation(datagram)?;
    let age = Tick::from_nanos(head.nanos).since(found.seen);
    (found.datagram == *datagram && age <= MEMORY).then_some(found)
}

#[cfg(test)]
mod tests;
