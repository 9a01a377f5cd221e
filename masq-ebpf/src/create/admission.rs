//! Sessions that begin outside: what the filtering (RFC 4787 section 5) lets in to a mapping.

use aya_ebpf::bindings::__sk_buff;
use masq_common::{
    flow::{FlowKey, Tuple},
    reason::Reason,
    session::flags,
    settings::{Filtering, Settings},
    time::Tick,
};

use crate::{
    create::{self, Held, Request, own_sockets, pair, permits},
    ports::{Holder, Port},
    retire,
    verdict::Step,
};

/// A first packet at an external endpoint.
pub struct Arrival<'a> {
    /// As it arrives there.
    pub key: &'a FlowKey,
    /// Index of the WAN.
    pub wan: u8,
}

impl Arrival<'_> {
    #[inline(always)]
    const fn port(&self) -> Port {
        Port { wan: self.wan, protocol: self.key.protocol, id: self.key.tuple.destination_id }
    }

    /// The mapping that it is let in to, if any.
    #[inline(always)]
    pub fn holder(&self, settings: &Settings) -> Option<Holder> {
        let port = self.port();
        let lets_in = match permits::filtering(settings, port.protocol) {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => permits::allows(port, self.key.tuple.source),
            Filtering::AddressAndPortDependent => false,
        };
        if lets_in { port.holder() } else { None }
    }

    /// Creates its session with the mapping of `holder`. The router's own services come first:
    /// then it is [`Reason::NoSession`].
    #[inline(always)]
    pub fn admit(
        &self,
        skb: *mut __sk_buff,
        holder: Holder,
        settings: &'static Settings,
        now: Tick,
    ) -> Step<()> {
        let arrival = &self.key.tuple;
        let port = self.port();
        if own_sockets::own(skb, port.protocol, arrival) || !port.join(holder.generation) {
            return Err(Reason::NoSession);
        }
        // The tuple of the packets that the inside endpoint will answer with.
        let key = Tuple {
            source: holder.owner.address,
            destination: arrival.source,
            source_id: holder.owner.id,
            destination_id: arrival.source_id,
        }
        .key(port.protocol);
        let outside = (arrival.destination, self.wan);
        let progress = create::progress()?;
        let flags = flags::FROM_OUTSIDE;
        let request = Request::new(skb, settings, &key, outside, now, flags, progress);
        let held = Held { port, flags: 0 };
        let mut insertion = pair::insert(&request, held);
        if insertion == pair::Insertion::InTheWay {
            insertion = pair::make_room(&request);
        }
        if insertion == pair::Insertion::RoomMade {
            insertion = pair::insert(&request, held);
        }
        if insertion != pair::Insertion::Done {
            retire::let_go(held);
        }
        match insertion {
            pair::Insertion::Done | pair::Insertion::Adopted => Ok(()),
            pair::Insertion::Full => Err(Reason::SessionTableFull),
            pair::Insertion::Busy => Err(Reason::MappingRetiring),
            pair::Insertion::InTheWay | pair::Insertion::RoomMade | pair::Insertion::Taken => {
                Err(Reason::NoSession)
            }
        }
    }
}
