//! From what the programs report to what users read. Pure.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use masq_common::{
    be::Id,
    event::{CloseCause, Event},
    flow::ICMP,
    reason::Reason,
};

use super::queue::Item;
use crate::control::{
    filter::Ends,
    proto::{Endpoint, protocol_name},
    record::{Record, Translation},
};

/// The ends of the session that an event is about.
pub fn ends(event: &Event) -> Ends {
    let (from, to) = (event.inside, event.outside);
    let end = |address: masq_common::be::Addr, id: Id| Endpoint {
        address: address.into(),
        port: id.get(),
    };
    let (inside, external, remote) = if event.protocol == ICMP {
        // One identifier, on whichever side it stands.
        let one = |a: Id, b: Id| Id::from_raw(a.raw() | b.raw());
        let inside = one(from.source_id, from.destination_id);
        (inside, one(to.source_id, to.destination_id), Id::ZERO)
    } else {
        (from.source_id, to.source_id, from.destination_id)
    };
    Ends {
        protocol: event.protocol,
        inside: end(from.source, inside),
        external: end(to.source, external),
        remote: end(from.destination, remote),
    }
}

/// The time of day, in whole milliseconds, from nanoseconds since 1970. The programs' clock is no more
/// exact: it moves with the kernel's timer interrupt.
///
/// # Errors
/// If the clock is set to a year that nobody will see.
pub fn timestamp(nanos: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(nanos.div_euclid(1_000_000))
        .context("the clock is set to no real time")
}

/// The record of an item, with the names of the WANs.
pub fn record(item: &Item, wans: &[String]) -> Result<Record> {
    Ok(match *item {
        Item::Session { time, ref event } => session(timestamp(time)?, event, wans),
        Item::Dropped { time, ref event, reason, count } => {
            let Ends { protocol, inside, remote, .. } = ends(event);
            Record::Dropped {
                time: timestamp(time)?,
                protocol: protocol_name(protocol).into_owned(),
                inside,
                remote,
                reason: reason.label().to_owned(),
                count,
            }
        }
        Item::Lost { time, count, place } => Record::Lost { time: timestamp(time)?, count, place },
        Item::Ended { time, fate } => Record::Ended { time: timestamp(time)?, data_plane: fate },
    })
}

fn session(time: Timestamp, event: &Event, wans: &[String]) -> Record {
    let Ends { protocol, inside, external, remote } = ends(event);
    let session = Translation {
        protocol: protocol_name(protocol).into_owned(),
        wan: wans.get(usize::from(event.wan)).cloned().unwrap_or_default(),
        inside,
        external,
        remote,
    };
    if event.reason() == Some(Reason::SessionOpened) {
        return Record::Opened { time, session };
    }
    Record::Closed {
        time,
        session,
        packets_out: event.packets_out,
        bytes_out: event.bytes_out,
        packets_in: event.packets_in,
        bytes_in: event.bytes_in,
        duration_ms: event.age_ms,
        cause: CloseCause::from_number(event.cause).as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use masq_common::{
        be::Addr,
        flow::{Tuple, UDP},
    };

    use super::*;

    fn event(protocol: u8, inside: (u16, u16), outside: (u16, u16)) -> Event {
        let tuple = |source, (source_id, destination_id)| Tuple {
            source: Addr::from_octets(source),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(source_id),
            destination_id: Id::new(destination_id),
        };
        Event {
            inside: tuple([192, 168, 1, 10], inside),
            outside: tuple([203, 0, 113, 5], outside),
            protocol,
            wan: 1,
            ..Event::default()
        }
    }

    fn shown(event: &Event) -> [String; 3] {
        let Ends { inside, external, remote, .. } = ends(event);
        [inside, external, remote].map(|end| end.to_string())
    }

    #[test]
    fn the_ends_of_an_event_are_those_of_its_tuples() {
        let udp = event(UDP, (7, 53), (9, 53));
        assert_eq!(shown(&udp), ["192.168.1.10:7", "203.0.113.5:9", "198.51.100.1:53"]);
    }

    #[test]
    fn a_query_has_its_identifier_on_the_inside_whichever_side_asks() {
        let wanted = ["192.168.1.10:7", "203.0.113.5:9", "198.51.100.1"];
        assert_eq!(shown(&event(ICMP, (7, 0), (9, 0))), wanted);
        assert_eq!(shown(&event(ICMP, (0, 7), (0, 9))), wanted);
    }

    #[test]
    fn an_opened_and_a_closed_session_are_told_apart() {
        let wans = ["ppp0".to_owned(), "ppp1".to_owned()];
        let told = |reason: Reason, cause: CloseCause| {
            let event = Event {
                reason: reason as u8,
                cause: cause as u8,
                packets_in: 3,
                ..event(UDP, (7, 53), (9, 53))
            };
            let time = 1_700_000_000_123_456_789;
            record(&Item::Session { time, event }, &wans).unwrap()
        };
        match told(Reason::SessionOpened, CloseCause::Expired) {
            Record::Opened { time, session } => {
                assert_eq!(time.to_string(), "2023-11-14T22:13:20.123Z");
                assert_eq!((session.wan.as_str(), session.external.port), ("ppp1", 9));
            }
            other => panic!("{other:?}"),
        }
        match told(Reason::SessionClosed, CloseCause::Flushed) {
            Record::Closed { packets_in: 3, cause, .. } => assert_eq!(cause, "flushed"),
            other => panic!("{other:?}"),
        }
    }
}
