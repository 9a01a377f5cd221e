//! Who sends most: looks at the session table for `masq top`, for as long as it watches.
//!
//! A session knows how many bytes it has sent, not how many a second. Rates are what it has sent
//! since the look before, so the daemon remembers each half from look to look ([`memory`]), and sums
//! up and ranks as it goes through the table once ([`board`]). Both are bounded, and so is the time:
//! a look is taken in slices with a rest after each, and the looks are far enough apart that a
//! watcher costs a quarter of one CPU at most.

mod board;
mod memory;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use masq_common::{
    flow::TCP,
    session::{SessionHalf, flags, phase_of},
    time::{Span, TICK_SHIFT},
};
use tokio::time::{Instant, sleep, sleep_until};

use self::{board::Board, memory::Memory};
use super::{
    filter::{Ends, Filter},
    listing,
    proto::{Answer, Top, TopQuery, TopSession},
    server::{Reply, Subject},
};
use crate::clock;

/// Halves that are read in one go.
const BATCH: usize = 512;

/// How long the table is read before the other services get their turn.
const SLICE: Duration = Duration::from_millis(2);

/// How long they get it.
const REST: Duration = Duration::from_millis(2);

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
        let elapsed = before.map(|before| began - before);
        let (top, busy) = look(subject, &query.filter, limit, elapsed, &mut memory).await?;
        reply.send(&Answer::Top(Box::new(top))).await?;
        let interval = if before.is_none() { FIRST_INTERVAL } else { wanted };
        before = Some(began);
        sleep_until(began + interval.max(busy * SHARE)).await;
    }
}

/// Goes through the table once; also says how long that has kept the CPU busy.
async fn look(
    subject: &Subject,
    filter: &Filter,
    limit: usize,
    elapsed: Option<Duration>,
    memory: &mut Memory,
) -> Result<(Top, Duration)> {
    let Subject { config, plane, .. } = subject;
    let config = config.get();
    let settings = plane.policy.borrow().settings.get()?;
    let mut board = Board::new(limit);
    let mut busy = Duration::ZERO;
    memory.begin(elapsed.map(ticks));
    let mut batches = plane.sessions.batches(BATCH);
    let mut slice_began = Instant::now();
    while let Some(halves) = batches.next_batch().context("cannot read the session table")? {
        let now = clock::now(settings.clock_offset)?;
        for half in halves {
            let sent = memory.sent(half, now);
            board.count(half, sent);
            let ends = ends(half);
            if !filter.matches_ends(&ends) {
                continue;
            }
            if filter.phase.is_some() {
                // The only condition that takes both halves; a session that has gone has none.
                let Some(other) = plane.sessions.get(&half.partner())? else { continue };
                let phase = phase_of(half, &other).as_str();
                if !filter.matches_phase((half.protocol == TCP).then_some(phase)) {
                    continue;
                }
            }
            board.rank(half, &ends, sent, now);
        }
        let spent = slice_began.elapsed();
        if spent >= SLICE {
            busy += spent;
            sleep(REST).await;
            slice_began = Instant::now();
        }
    }
    busy += slice_began.elapsed();
    let not_remembered = memory.end();
    let now = clock::now(settings.clock_offset)?;
    let per_second = PerSecond(elapsed);
    let mut sessions = Vec::new();
    for key in board.candidates() {
        // They may have gone since.
        let Some(outbound) = plane.sessions.get(&key)? else { continue };
        let Some(inbound) = plane.sessions.get(&outbound.partner())? else { continue };
        let ends = listing::ends(&outbound);
        let timeouts = &settings.timeouts;
        let shown = listing::session(&outbound, &inbound, &ends, timeouts, now, &config.wans);
        sessions.extend(shown.map(|session| TopSession {
            session,
            rate_out: per_second.of(memory.last_sent(&key)),
            rate_in: per_second.of(memory.last_sent(&inbound.key())),
        }));
    }
    let top = Top {
        elapsed_ms: elapsed.map(|elapsed| elapsed.as_millis() as u64),
        not_remembered,
        ..board.finish(sessions, per_second)
    };
    Ok((top, busy))
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

/// The ends of a session, told by either half.
fn ends(half: &SessionHalf) -> Ends {
    if half.is_outbound() {
        return listing::ends(half);
    }
    let external = (half.from.destination, half.from.destination_id);
    let flags = half.flags | flags::OUTBOUND;
    listing::ends(&SessionHalf::new(half.partner(), external, flags, half.wan, half.created))
}

#[cfg(test)]
mod tests {
    use masq_common::{
        be::{Addr, Id},
        flow::{ICMP, Tuple, UDP},
        session::SessionPair,
        time::Tick,
    };

    use super::*;

    #[test]
    fn both_halves_tell_the_same_ends() {
        for (protocol, remote) in [(TCP, 443), (UDP, 53), (ICMP, 0)] {
            let key = Tuple {
                source: Addr::from_octets([192, 168, 1, 10]),
                destination: Addr::from_octets([198, 51, 100, 1]),
                source_id: Id::new(40_000),
                destination_id: Id::new(remote),
            }
            .key(protocol);
            let external = Addr::from_octets([203, 0, 113, 5]);
            let pair = SessionPair::masquerade(key, external, Id::new(61_001), 0, 0, Tick(1));
            assert_eq!(ends(&pair.outbound), ends(&pair.inbound), "protocol {protocol}");
            assert_eq!(ends(&pair.inbound).external.port, 61_001);
        }
    }

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
