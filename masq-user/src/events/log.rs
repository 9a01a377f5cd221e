//! Log lines about what the programs report: the NAT log with `-v`, and warnings about what could
//! not be done, which are always logged but not often.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use masq_common::{
    event::{CloseCause, Event},
    reason::Reason,
};
use tokio::time::Instant;

use super::record::ends;
use crate::{
    config::Config,
    control::{filter::Ends, proto::protocol_name},
    plane::Plane,
};

/// Pause between two warnings about the same thing.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// Writes the log.
pub struct Log {
    config: Rc<Config>,
    plane: Rc<Plane>,
    warnings: Warnings,
}

impl Log {
    /// Of an instance.
    pub fn new(config: Rc<Config>, plane: Rc<Plane>) -> Self {
        Self { config, plane, warnings: Warnings::default() }
    }

    /// A session was opened.
    pub fn opened(&self, event: &Event) {
        let Ends { protocol, inside, external, remote } = ends(event);
        tracing::info!(
            protocol = %protocol_name(protocol),
            %inside,
            %external,
            %remote,
            wan = %self.wan(event),
            "session opened"
        );
    }

    /// A session was closed.
    pub fn closed(&self, event: &Event) {
        let Ends { protocol, inside, external, remote } = ends(event);
        tracing::info!(
            protocol = %protocol_name(protocol),
            %inside,
            %external,
            %remote,
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

    /// A first packet was dropped. The programs report only a few of them; how many it were is told
    /// by the counter.
    pub fn refused(&mut self, event: &Event, reason: Reason) {
        let count = || self.plane.counters.get(reason).unwrap_or_default();
        let Some(dropped) = self.warnings.due(reason, Instant::now(), count) else { return };
        let Ends { protocol, inside, remote, .. } = ends(event);
        tracing::warn!(
            reason = %reason.label(),
            dropped,
            protocol = %protocol_name(protocol),
            %inside,
            %remote,
            "packets dropped: {}{}",
            reason.text(),
            advice(reason),
        );
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

#[cfg(test)]
mod tests {
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
}
