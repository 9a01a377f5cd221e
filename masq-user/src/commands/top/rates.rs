//! Rates from the counters of two answers. Pure.

use std::time::Duration;

use crate::control::proto::Stats;

/// What happens each second.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rates {
    /// Packets that were translated on their way out.
    pub packets_out: f64,
    /// Packets that were translated on their way in.
    pub packets_in: f64,
    /// New sessions.
    pub sessions: f64,
    /// Packets dropped.
    pub drops: f64,
    /// Drops by reason, with how many it were in all; the fastest first, then the most. None that has
    /// never happened.
    pub reasons: Vec<Drops>,
}

/// Drops of one reason.
#[derive(Clone, PartialEq, Debug)]
pub struct Drops {
    /// The reason.
    pub reason: String,
    /// Packets a second.
    pub rate: f64,
    /// Packets in all.
    pub count: u64,
}

/// Translated outwards. Fragments and hairpins have no direction in the counters.
const OUT: [&str; 4] = ["outbound_fast", "outbound_slow", "icmp_error_outbound", "own_translated"];

/// Translated inwards.
const IN: [&str; 3] = ["inbound_fast", "inbound_slow", "icmp_error_inbound"];

impl Rates {
    /// Between two answers.
    pub fn between(before: &Stats, now: &Stats, elapsed: Duration) -> Self {
        let secs = elapsed.as_secs_f64().max(0.001);
        let mut rates = Self::default();
        for counter in &now.counters {
            let earlier = before.counters.iter().find(|earlier| earlier.reason == counter.reason);
            // Counters begin anew after a cold start.
            let rate = earlier.map_or(0, |e| counter.count.saturating_sub(e.count)) as f64 / secs;
            let reason = counter.reason.as_str();
            if OUT.contains(&reason) {
                rates.packets_out += rate;
            } else if IN.contains(&reason) {
                rates.packets_in += rate;
            } else if reason == "session_opened" {
                rates.sessions = rate;
            } else if counter.class == "dropped" {
                rates.drops += rate;
                if counter.count > 0 {
                    rates.reasons.push(Drops { reason: reason.into(), rate, count: counter.count });
                }
            }
        }
        rates.reasons.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.count.cmp(&a.count)));
        rates
    }
}

#[cfg(test)]
mod tests {
    use masq_common::reason::{Class, Reason};

    use super::*;
    use crate::control::sample;

    fn counted(changes: &[(&str, u64)]) -> Stats {
        let mut stats = sample::stats();
        for counter in &mut stats.counters {
            let change = changes.iter().find(|(reason, _)| *reason == counter.reason);
            counter.count = change.map_or(0, |(_, count)| *count);
        }
        stats
    }

    #[test]
    fn counters_become_rates() {
        let before = counted(&[("outbound_fast", 100), ("malformed", 9), ("session_opened", 5)]);
        let now = counted(&[
            ("outbound_fast", 300),
            ("outbound_slow", 10),
            ("inbound_fast", 50),
            ("malformed", 9),
            ("ports_exhausted", 4),
            ("session_opened", 7),
        ]);
        let rates = Rates::between(&before, &now, Duration::from_secs(2));
        assert_eq!((rates.packets_out, rates.packets_in), (105.0, 25.0));
        assert_eq!((rates.sessions, rates.drops), (1.0, 2.0));
        let reasons: Vec<_> = rates.reasons.iter().map(|d| (d.reason.as_str(), d.count)).collect();
        assert_eq!(reasons, [("ports_exhausted", 4), ("malformed", 9)]);
    }

    #[test]
    fn counters_that_begin_anew_are_no_rate() {
        let (before, now) =
            (counted(&[("outbound_fast", 1_000)]), counted(&[("outbound_fast", 3)]));
        assert_eq!(Rates::between(&before, &now, Duration::from_secs(1)).packets_out, 0.0);
    }

    #[test]
    fn the_reasons_with_a_direction_exist() {
        for label in OUT.iter().chain(&IN) {
            let reason = Reason::ALL.iter().find(|reason| reason.label() == *label);
            assert_eq!(reason.map(|reason| reason.class()), Some(Class::Translated), "{label}");
        }
    }
}
