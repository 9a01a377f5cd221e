//! What the programs report through the ring buffer, turned into log lines: the NAT log with
//! `-v`, and warnings about what could not be done, which are always logged but not often.

use std::{collections::BTreeMap, net::Ipv4Addr, rc::Rc, time::Duration};

use anyhow::Result;
use aya::maps::{MapData, RingBuf};
use masq_common::{
    event::{CloseCause, Event},
    flow::{ICMP, Tuple},
    reason::{Class, Reason},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
    time::Instant,
};

use crate::{config::Config, control::proto::protocol_name, plane::Plane};

/// How long records are read before the other services get their turn. Longer than the sweeper
/// works at once: it makes records faster than they can be logged.
const SLICE: Duration = Duration::from_millis(20);

/// Pause between two warnings about the same thing.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// Logs events for ever.
pub async fn run(config: Rc<Config>, plane: Rc<Plane>, ring: RingBuf<MapData>) -> Result<()> {
    // SAFETY: the ring buffer owns the descriptor of its map and always returns that one.
    let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    let mut ring = ring.map_err(|error| error.into_parts().1)?;
    // What was lost while no daemon ran is none of this one's gaps.
    let lost = plane.counters.get(Reason::EventLost)?;
    let mut reporter = Reporter { config, plane, warnings: Warnings::default(), lost };
    loop {
        let mut guard = ring.readable_mut().await?;
        let buffer = guard.get_inner_mut();
        let began = Instant::now();
        let empty = loop {
            if began.elapsed() > SLICE {
                break false;
            }
            match buffer.next() {
                Some(record) => reporter.report(Event::from_bytes(&record)),
                None => break true,
            }
        };
        if empty {
            guard.clear_ready();
            reporter.report_lost();
        }
        yield_now().await;
    }
}

struct Reporter {
    config: Rc<Config>,
    plane: Rc<Plane>,
    warnings: Warnings,
    /// Events that are known to be lost.
    lost: u64,
}

impl Reporter {
    fn report(&mut self, event: Option<Event>) {
        let Some((event, reason)) = event.and_then(|event| Some((event, event.reason()?))) else {
            tracing::debug!("a record of the ring buffer is of another version");
            return;
        };
        match reason {
            Reason::SessionOpened => self.opened(&event),
            Reason::SessionClosed => self.closed(&event),
            _ if reason.class() == Class::Dropped => self.refused(&event, reason),
            _ => tracing::debug!(reason = reason.label(), "event"),
        }
    }

    fn opened(&self, event: &Event) {
        let ends = Ends::of(event);
        tracing::info!(
            protocol = %protocol_name(event.protocol),
            inside = %ends.inside,
            external = %ends.external,
            remote = %ends.remote,
            wan = %self.wan(event),
            "session opened"
        );
    }

    fn closed(&self, event: &Event) {
        let ends = Ends::of(event);
        tracing::info!(
            protocol = %protocol_name(event.protocol),
            inside = %ends.inside,
            external = %ends.external,
            remote = %ends.remote,
            wan = %self.wan(event),
            packets_out = event.packets_out,
            bytes_out = event.bytes_out,
            packets_in = event.packets_in,
            bytes_in = event.bytes_in,
            duration_ms = event.age_ms,
            cause = %CloseCause::from_number(event.cause).as_str(),
            "session closed"
        );
    }

    /// A first packet that was dropped. The programs report only a few of them; how many it were
    /// is told by the counter.
    fn refused(&mut self, event: &Event, reason: Reason) {
        let count = || self.plane.counters.get(reason).unwrap_or_default();
        let Some(dropped) = self.warnings.due(reason, Instant::now(), count) else { return };
        let ends = Ends::of(event);
        tracing::warn!(
            reason = %reason.label(),
            dropped,
            protocol = %protocol_name(event.protocol),
            inside = %ends.inside,
            remote = %ends.remote,
            "packets dropped: {}{}",
            reason.text(),
            advice(reason),
        );
    }

    /// Tells that the log has gaps.
    fn report_lost(&mut self) {
        let lost = self.plane.counters.get(Reason::EventLost).unwrap_or(self.lost);
        if lost > self.lost {
            tracing::warn!(lost = lost - self.lost, "the log has gaps: events came too fast");
            self.lost = lost;
        }
    }

    fn wan(&self, event: &Event) -> &str {
        self.config.wans.get(usize::from(event.wan)).map_or("", String::as_str)
    }
}

/// Keeps warnings about the same thing apart.
#[derive(Default)]
struct Warnings {
    /// When each reason was warned about last, and its counter then.
    last: BTreeMap<u8, (Instant, u64)>,
}

impl Warnings {
    /// Whether it is time for a warning, and by how much the counter has grown since the last one.
    fn due(&mut self, reason: Reason, now: Instant, count: impl FnOnce() -> u64) -> Option<u64> {
        let last = self.last.get(&(reason as u8)).copied();
        if last.is_some_and(|(when, _)| now - when < WARNING_PAUSE) {
            return None;
        }
        let count = count();
        self.last.insert(reason as u8, (now, count));
        Some(count.saturating_sub(last.map_or(0, |(_, count)| count)))
    }
}

/// What the user can do about it.
const fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::PortsExhausted => " Allow more with --ports, or sharing with --port-overlap.",
        Reason::SessionTableFull | Reason::MappingTableFull => {
            " Restart with a larger --max-sessions."
        }
        Reason::SourceExcluded => " Add the source to --source if it is to be translated.",
        _ => "",
    }
}

/// The ends of the session that an event is about.
struct Ends {
    inside: String,
    external: String,
    remote: String,
}

impl Ends {
    fn of(event: &Event) -> Self {
        let Tuple { source, destination, source_id, destination_id } = event.inside;
        let end = |address, id: u16| format!("{}:{id}", Ipv4Addr::from(address));
        if event.protocol == ICMP {
            // One identifier, on whichever side it stands.
            let external = event.outside.source_id.get() | event.outside.destination_id.get();
            return Self {
                inside: end(source, source_id.get() | destination_id.get()),
                external: end(event.outside.source, external),
                remote: Ipv4Addr::from(destination).to_string(),
            };
        }
        Self {
            inside: end(source, source_id.get()),
            external: end(event.outside.source, event.outside.source_id.get()),
            remote: end(destination, destination_id.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use masq_common::be::{Addr, Id};

    use super::*;

    #[test]
    fn a_warning_is_repeated_after_a_pause_with_what_came_since() {
        let mut warnings = Warnings::default();
        let begin = Instant::now();
        let mut due =
            |reason, secs, count| warnings.due(reason, begin + Duration::from_secs(secs), || count);
        assert_eq!(due(Reason::PortsExhausted, 0, 5), Some(5));
        assert_eq!(due(Reason::PortsExhausted, 9, 50), None);
        assert_eq!(due(Reason::SessionTableFull, 9, 3), Some(3), "another reason");
        assert_eq!(due(Reason::PortsExhausted, 10, 105), Some(100));
    }

    #[test]
    fn the_ends_of_an_event_are_those_of_its_tuples() {
        let inside = Tuple {
            source: Addr::from_octets([192, 168, 1, 10]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(7),
            destination_id: Id::new(53),
        };
        let external = Addr::from_octets([203, 0, 113, 5]);
        let outside = Tuple { source: external, source_id: Id::new(9), ..inside };
        let ends = Ends::of(&Event { inside, outside, protocol: 17, ..Event::default() });
        assert_eq!(ends.inside, "192.168.1.10:7");
        assert_eq!(ends.external, "203.0.113.5:9");
        assert_eq!(ends.remote, "198.51.100.1:53");
    }
}
