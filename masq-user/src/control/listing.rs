//! The list of sessions: from halves in the table to lines of the answer.
//!
//! The table is read once, in batches; to an outbound half that is wanted the other one is looked up. To
//! count sessions, most times one half is enough.

use std::sync::Arc;

use anyhow::{Result, bail};
use masq_common::{
    session::{SessionPair, remaining},
    settings::Settings,
    time::{Span, Tick},
};

use super::{
    lines::Lines,
    proto::{Answer, End, Query},
    ranking::{MOST, Ranking, Sort},
    server::{Reply, Subject},
    session::{Judge, Verdict, ends, phase, session},
};
use crate::{clock, maps::Sessions};

/// Halves that are read at once.
const BATCH: usize = 4096;

/// Answers a query.
pub async fn list(subject: &Subject, query: Query, reply: &mut Reply) -> Result<()> {
    match (query.sort, query.limit) {
        (None, _) | (Some(_), Some(1..=MOST)) => {}
        (Some(_), _) => bail!("a limit is needed to sort, of {MOST} at most"),
    }
    let sessions = Arc::clone(&subject.plane.sessions);
    let settings = subject.plane.policy.borrow().settings.get()?;
    let wans = subject.config.get().wans.clone();
    let progress = query.progress;
    let work = move |mut lines: Lines| {
        let end = if query.count && query.filter.phase.is_none() {
            count(&sessions, &settings, &query, &mut lines)?
        } else {
            let mut list = List::new(&query, &wans, &settings, &mut lines);
            list.walk(&sessions)?;
            list.finish()?
        };
        lines.finish(&Answer::End(end))
    };
    reply.relay(progress, work).await
}

/// Counts sessions. Whether one lives is asked of its second half only if the first leaves it open.
fn count(
    sessions: &Sessions,
    settings: &Settings,
    query: &Query,
    lines: &mut Lines,
) -> Result<End> {
    let mut end = End::default();
    let mut batches = sessions.batches(BATCH);
    while let Some(halves) = batches.next_batch() {
        let now = clock::now(settings.clock_offset)?;
        let judge = Judge { sessions, timeouts: &settings.timeouts, now };
        for half in halves.filter(|half| half.is_outbound()) {
            match judge.one(half, &query.filter) {
                Verdict::Matches if query.limit == Some(end.matched) => return Ok(end),
                Verdict::Matches => end.matched += 1,
                Verdict::Expired => end.expired += 1,
                Verdict::Other => {}
            }
        }
        lines.beat(end.matched)?;
    }
    Ok(end)
}

/// Sessions on their way to the client.
struct List<'a> {
    query: &'a Query,
    wans: &'a [String],
    settings: &'a Settings,
    lines: &'a mut Lines,
    /// The first ones, with the time at which they were seen, if an order is wanted.
    first: Option<(Sort, Ranking<(SessionPair, Tick)>)>,
    end: End,
    now: Tick,
}

impl<'a> List<'a> {
    fn new(
        query: &'a Query,
        wans: &'a [String],
        settings: &'a Settings,
        lines: &'a mut Lines,
    ) -> Self {
        let limit = query.limit.unwrap_or(MOST) as usize;
        let first = query
            .sort
            .filter(|_| !query.count)
            .map(|sort| (sort, Ranking::new(limit, query.reverse)));
        Self { query, wans, settings, lines, first, end: End::default(), now: Tick(0) }
    }

    /// Goes through the table once.
    fn walk(&mut self, sessions: &Sessions) -> Result<()> {
        let offset = self.settings.clock_offset;
        let mut batches = sessions.batches(BATCH);
        while let Some(halves) = batches.next_batch() {
            self.now = clock::now(offset)?;
            for half in halves.filter(|half| half.is_outbound()) {
                if self.query.filter.matches_ends(&ends(half))
                    && let Some(inbound) = sessions.partner(half)
                    && self.is_enough(&SessionPair { outbound: *half, inbound })?
                {
                    return Ok(());
                }
            }
            self.lines.beat(self.end.matched)?;
        }
        Ok(())
    }

    /// Shows, ranks or counts a session; whether no more of them are wanted.
    fn is_enough(&mut self, pair: &SessionPair) -> Result<bool> {
        let SessionPair { outbound, inbound } = pair;
        let Some(remaining) = remaining(outbound, inbound, &self.settings.timeouts, self.now)
        else {
            self.end.expired += 1;
            return Ok(false);
        };
        if !self.query.filter.matches_phase(phase(outbound, inbound)) {
            return Ok(false);
        }
        self.end.matched += 1;
        if let Some((sort, ranking)) = &mut self.first {
            ranking.offer(number(*sort, pair, remaining, self.now), (*pair, self.now));
            return Ok(false);
        }
        if !self.query.count {
            self.show(pair, self.now)?;
        }
        Ok(self.query.limit == Some(self.end.matched))
    }

    fn show(&mut self, pair: &SessionPair, now: Tick) -> Result<()> {
        let SessionPair { outbound, inbound } = pair;
        let ends = ends(outbound);
        // It lived at that time.
        match session(outbound, inbound, &ends, &self.settings.timeouts, now, self.wans) {
            Some(session) => self.lines.add(&Answer::Session(Box::new(session))),
            None => Ok(()),
        }
    }

    /// Shows those that come first, if an order is wanted.
    fn finish(mut self) -> Result<End> {
        let first = self.first.take().into_iter().flat_map(|(_, ranking)| ranking.into_sorted());
        for (pair, now) in first {
            self.show(&pair, now)?;
        }
        Ok(self.end)
    }
}

/// What sessions are sorted by, without making one: [`Sort::of`].
fn number(sort: Sort, pair: &SessionPair, remaining: Span, now: Tick) -> u64 {
    let SessionPair { outbound, inbound } = pair;
    match sort {
        Sort::Bytes => outbound.bytes.saturating_add(inbound.bytes),
        Sort::Packets => outbound.packets.saturating_add(inbound.packets),
        Sort::Age => now.since(outbound.created).as_millis(),
        Sort::Idle => now.since(outbound.last_seen.later(inbound.last_seen)).as_millis(),
        Sort::Remaining => remaining.as_millis(),
    }
}

#[cfg(test)]
mod tests {
    use masq_common::{
        be::{Addr, Id},
        flow::{TCP, Tuple},
        settings::Timeouts,
        tcp,
    };

    use super::*;

    #[test]
    fn numbers_are_those_of_the_session_that_is_shown() {
        let key = Tuple {
            source: Addr::from_octets([192, 168, 1, 10]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(40_000),
            destination_id: Id::new(443),
        }
        .key(TCP);
        let external = Addr::from_octets([203, 0, 113, 5]);
        let mut pair = SessionPair::masquerade(key, external, Id::new(61_001), 0, 0, Tick(1000));
        pair.outbound.tcp_seen = tcp::SYN | tcp::ACK;
        pair.inbound.tcp_seen = tcp::SYN | tcp::ACK;
        (pair.outbound.bytes, pair.inbound.bytes) = (10, 300);
        (pair.outbound.packets, pair.inbound.packets) = (1, 2);
        (pair.outbound.last_seen, pair.inbound.last_seen) = (Tick(1150), Tick(1100));
        let now = Tick(1200);
        let left = remaining(&pair.outbound, &pair.inbound, &Timeouts::DEFAULT, now).unwrap();
        let ends = ends(&pair.outbound);
        let shown = session(&pair.outbound, &pair.inbound, &ends, &Timeouts::DEFAULT, now, &[]);
        let shown = shown.unwrap();
        let mut numbers = std::collections::BTreeSet::new();
        for sort in [Sort::Bytes, Sort::Packets, Sort::Age, Sort::Idle, Sort::Remaining] {
            let number = number(sort, &pair, left, now);
            assert_eq!(number, sort.of(&shown), "{sort:?}");
            numbers.insert(number);
        }
        assert_eq!(numbers.len(), 5, "each sorts by something else");
    }
}
