//! Who sends most: looks at the session table for `masq top`, for as long as it watches.
//!
//! A session knows how many bytes it has sent, not how many a second. Rates are what it has sent
//! since the look before, so the daemon remembers each half from look to look ([`memory`]), and sums
//! up and ranks as it goes through the table once ([`board`]). Both are bounded, and so is the time: looks
//! are taken [aside](super::aside), and far enough apart that a watcher costs a quarter of one CPU at most.

mod board;
mod memory;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use masq_common::{
    session::SessionHalf,
    settings::Settings,
    time::{Span, TICK_SHIFT},
};
use tokio::time::{Instant, sleep_until};

use self::{board::Board, memory::Memory};
use super::{
    aside::{Aside, Teller},
    filter::Filter,
    proto::{Answer, Top, TopQuery, TopSession},
    server::{Reply, Subject},
    session,
};
use crate::{clock, maps::Sessions};

/// Halves that are read in one go.
const BATCH: usize = 4096;

/// Part of the time that a watcher may cost, as a divisor.
const SHARE: u32 = 4;

/// Looks are not closer than this, nor further apart unless they have to be.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// From the first look, which knows no rates, to the second.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);

/// Sessions and hosts by each order, at most.
const MAX_LIMIT: u32 = 500;

/// How many may watch at once: each has a memory of some megabytes.
const MAX_WATCHERS: usize = 4;

static WATCHERS: AtomicUsize = AtomicUsize::new(0);

/// One who watches; counted while it lives.
struct Watcher;

impl Watcher {
    fn new() -> Result<Self> {
        let watcher = Self;
        if WATCHERS.fetch_add(1, Ordering::Relaxed) >= MAX_WATCHERS {
            bail!("{MAX_WATCHERS} are watching this masq already, which is as many as may");
        }
        Ok(watcher)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        WATCHERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Looks until the client hangs up, which shows when the next answer is sent.
pub async fn watch(subject: &Subject, query: &TopQuery, reply: &mut Reply) -> Result<()> {
    let _watcher = Watcher::new()?;
    let limit = query.limit.clamp(1, MAX_LIMIT) as usize;
    let wanted = Duration::from_millis(query.interval_ms.into()).clamp(INTERVAL.0, INTERVAL.1);
    let mut memory = Memory::new();
    let mut before = None;
    loop {
        let began = Instant::now();
        let look = Look {
            sessions: Arc::clone(&subject.plane.sessions),
            settings: subject.plane.policy.borrow().settings.get()?,
            wans: subject.config.get().wans.clone(),
            filter: query.filter.clone(),
            limit,
            elapsed: before.map(|before| began - before),
        };
        let aside = Aside::begin(move |teller| Ok((look.take(&mut memory, &teller)?, memory)));
        let (top, remembered) = aside.outcome().await?;
        memory = remembered;
        let spent = began.elapsed();
        reply.send(&Answer::Top(Box::new(top))).await?;
        let interval = if before.is_none() { FIRST_INTERVAL } else { wanted };
        before = Some(began);
        sleep_until(began + interval.max(spent * SHARE)).await;
    }
}

/// A look at the table, and all that it takes.
struct Look {
    sessions: Arc<Sessions>,
    settings: Settings,
    wans: Vec<String>,
    filter: Filter,
    limit: usize,
    /// Since the look before.
    elapsed: Option<Duration>,
}

impl Look {
    /// Goes through the table once; takes long.
    fn take(&self, memory: &mut Memory, teller: &Teller<()>) -> Result<Top> {
        let Self { sessions, settings, filter, .. } = self;
        let mut board = Board::new(self.limit);
        memory.begin(self.elapsed.map(ticks));
        let mut batches = sessions.batches(BATCH);
        while let Some(halves) = batches.next_batch() {
            let now = clock::now(settings.clock_offset)?;
            for half in halves {
                let sent = memory.sent(half, now);
                board.count(half, sent);
                let ends = session::ends_of(half);
                if !filter.matches_ends(&ends) {
                    continue;
                }
                // The only condition that takes both halves.
                if filter.phase.is_none() || self.is_in_phase(half) {
                    board.rank(half, &ends, sent, now);
                }
            }
            teller.check()?;
        }
        let not_remembered = memory.end();
        let shown = self.candidates(&board, memory)?;
        Ok(Top {
            elapsed_ms: self.elapsed.map(|elapsed| elapsed.as_millis() as u64),
            not_remembered,
            ..board.finish(shown, PerSecond(self.elapsed))
        })
    }

    /// Whether a session, told by either half, is in the phase that is looked for.
    fn is_in_phase(&self, half: &SessionHalf) -> bool {
        let other = self.sessions.partner(half);
        other.is_some_and(|other| {
            let (outbound, inbound) =
                if half.is_outbound() { (half, &other) } else { (&other, half) };
            self.filter.matches_phase(session::phase(outbound, inbound))
        })
    }

    /// The sessions that may be at the top.
    fn candidates(&self, board: &Board, memory: &Memory) -> Result<Vec<TopSession>> {
        let Self { sessions, settings, wans, .. } = self;
        let now = clock::now(settings.clock_offset)?;
        let per_second = PerSecond(self.elapsed);
        let mut found = Vec::new();
        for key in board.candidates() {
            // They may have gone since.
            let Some(outbound) = sessions.get(&key) else { continue };
            let Some(inbound) = sessions.get(&outbound.partner()) else { continue };
            let ends = session::ends(&outbound);
            let shown = session::session(&outbound, &inbound, &ends, &settings.timeouts, now, wans);
            found.extend(shown.map(|session| TopSession {
                session,
                rate_out: per_second.of(memory.last_sent(&key)),
                rate_in: per_second.of(memory.last_sent(&inbound.key())),
            }));
        }
        Ok(found)
    }
}

/// Bytes a second, from the bytes between two looks.
#[derive(Clone, Copy, Debug)]
struct PerSecond(Option<Duration>);

impl PerSecond {
    fn of(self, bytes: u64) -> u64 {
        let Some(elapsed) = self.0 else { return 0 };
        (bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64
    }
}

/// In ticks of the data plane, rounded up.
fn ticks(elapsed: Duration) -> Span {
    let ticks = elapsed.as_nanos() >> TICK_SHIFT;
    Span(u32::try_from(ticks).unwrap_or(u32::MAX / 2).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_few_may_watch() {
        let watchers: Vec<_> = (0..MAX_WATCHERS).map(|_| Watcher::new().unwrap()).collect();
        assert!(Watcher::new().is_err());
        drop(watchers);
        assert!(Watcher::new().is_ok());
    }

    #[test]
    fn a_rate_is_by_the_second_and_unknown_at_first() {
        assert_eq!(PerSecond(Some(Duration::from_millis(500))).of(1_000), 2_000);
        assert_eq!(PerSecond(None).of(1_000), 0);
        assert_eq!(ticks(Duration::from_millis(1)), Span(1));
        assert!(ticks(Duration::from_secs(1)).as_millis() > 1_000);
    }
}
