//! The sweeper: finds sessions whose time is over and has them removed.
//!
//! Correctness never waits for it: the programs treat an expired session as absent. It gives
//! memory and ports back. It goes through the table in slices, so that the other services get
//! their turn, and does so more often the fuller the tables are.

use std::{cell::RefCell, net::Ipv4Addr, rc::Rc, time::Duration};

use anyhow::Result;
use masq_common::{
    be::Addr,
    event::{CloseCause, RetireRequest},
    flow::FlowKey,
    reason::Reason,
    session::{SessionHalf, UNANSWERED, flags},
    settings::Timeouts,
    time::Tick,
};
use tokio::{
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    clock,
    config::{Config, PROTOCOLS},
    options::current::Current,
    plane::Plane,
    status::Status,
    vitals::Pulse,
};

/// Halves that are read at once.
const BATCH: usize = 2048;

/// How long the sweeper works before the others get their turn.
const SLICE: Duration = Duration::from_millis(2);

/// Shortest and longest pause between two passes.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How long the sweeper takes at most, with much to spare, from one sign of life to the next: it pauses
/// for some seconds, and on its way through the table it gives one with each batch.
pub const PROGRESS: Duration = Duration::from_secs(30);

/// How the sweeper gets on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Walks through the whole table.
    pub passes: u64,
    /// Sessions that were removed on them.
    pub removed: u64,
}

/// Sweeps for ever. `urgent` is notified when something could not be created for lack of room;
/// `swept` is told after each pass, `pulse` at least every [`PROGRESS`].
pub async fn run(
    config: Rc<Current>,
    plane: Rc<Plane>,
    status: Rc<RefCell<Status>>,
    urgent: Rc<Notify>,
    swept: watch::Sender<Swept>,
    pulse: Pulse,
) {
    let mut passes = 0;
    let mut ended = Instant::now();
    loop {
        pulse.beat();
        let pressure = pressure(&config.get(), &plane).unwrap_or(0.0);
        let pace = Pace::of(pressure);
        if timeout(pace.pause, urgent.notified()).await.is_ok() {
            // However loud the calls are, the passes keep a distance.
            sleep_until(ended + PAUSE.0).await;
        }
        let pass = Pass { plane: &plane, status: &status, pulse: &pulse };
        let removed = match pass.run(pace.rest).await {
            Ok(removed) => removed,
            Err(error) => {
                tracing::warn!("cannot sweep the session table: {error:#}");
                0
            }
        };
        if let Err(error) = plane.renew_next_hops() {
            tracing::warn!("{error:#}");
        }
        if removed > 0 {
            tracing::debug!(removed, pressure, "sessions swept");
        }
        passes += 1;
        ended = Instant::now();
        swept.send_modify(|swept| *swept = Swept { passes, removed: swept.removed + removed });
    }
}

/// Removes the sessions whose external address is not the one their WAN has now. Without breaks
/// but for the other services' turn.
pub async fn drop_lost(plane: &Plane, addresses: &[Option<Ipv4Addr>]) -> Result<u64> {
    let mut work = Work::new(plane, Duration::ZERO);
    let mut batches = plane.sessions.batches(BATCH);
    while let Some(halves) = batches.next_batch() {
        for half in halves.filter(|half| is_lost(half, addresses)) {
            work.lost.push(half.key());
        }
        work.go_on().await?;
    }
    work.finish()?;
    if work.removed > 0 {
        tracing::info!(sessions = work.removed, "removed the sessions of a lost address");
    }
    Ok(work.removed)
}

/// How full the fullest table is, from 0 to 1: sessions, or ports of any WAN and protocol.
fn pressure(config: &Config, plane: &Plane) -> Result<f64> {
    let live = plane.counters.live(Reason::SessionOpened, Reason::SessionClosed)?;
    let mut pressure = live as f64 / f64::from(config.max_sessions);
    for wan in 0..config.wans.len() as u8 {
        for protocol in PROTOCOLS {
            let held = plane.ports_held.get(wan, protocol)?;
            let ports = config.external_ports(protocol).max(1);
            pressure = pressure.max(held as f64 / f64::from(ports));
        }
    }
    Ok(pressure)
}

/// How hard to work.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Pace {
    /// Between two passes.
    pause: Duration,
    /// Between two slices of a pass.
    rest: Duration,
}

impl Pace {
    /// A quarter of one CPU at most while there is room; all of it when there is hardly any.
    fn of(pressure: f64) -> Self {
        let part = (1.0 - pressure / 0.75).clamp(0.0, 1.0);
        let (shortest, longest) = PAUSE;
        Self { pause: shortest + (longest - shortest).mul_f64(part), rest: SLICE * 3 }.hurried(part)
    }

    fn hurried(self, part: f64) -> Self {
        if part > 0.0 { self } else { Self { rest: Duration::ZERO, ..self } }
    }
}

/// One walk through the table.
struct Pass<'a> {
    plane: &'a Plane,
    status: &'a RefCell<Status>,
    pulse: &'a Pulse,
}

impl Pass<'_> {
    /// Returns the number of sessions that were removed.
    async fn run(&self, rest: Duration) -> Result<u64> {
        let settings = self.plane.policy.borrow().settings.get()?;
        let mut work = Work::new(self.plane, rest);
        let mut batches = self.plane.sessions.batches(BATCH);
        while let Some(halves) = batches.next_batch() {
            let now = clock::now(settings.clock_offset)?;
            self.pick(halves, &settings.timeouts, now, &mut work);
            work.go_on().await?;
            self.pulse.beat();
        }
        work.finish()?;
        Ok(work.removed)
    }

    fn pick<'h>(
        &self,
        halves: impl Iterator<Item = &'h SessionHalf>,
        timeouts: &Timeouts,
        now: Tick,
        work: &mut Work<'_>,
    ) {
        // Read for each batch: a session of a new address must not count as lost because the pass
        // began before the change.
        let addresses = &self.status.borrow().addresses;
        for half in halves {
            if is_lost(half, addresses) {
                // Created by a program that had read the old address just before it changed.
                work.lost.push(half.key());
            } else if half.is_outbound() && may_be_over(half, timeouts, now) {
                work.expired.push(half.key());
            }
        }
    }
}

/// Whether a session may have expired, judged by one half; the program that removes it looks at
/// both.
pub fn may_be_over(half: &SessionHalf, timeouts: &Timeouts, now: Tick) -> bool {
    let certain = timeouts.certain(half.protocol);
    // One that was opened from outside and not answered goes sooner.
    let from_outside = half.flags & flags::FROM_OUTSIDE != 0;
    now.since(half.last_seen) > if from_outside { certain.min(UNANSWERED) } else { certain }
}

/// Whether a session translates to an address that its WAN does not have. Told by the outbound
/// half alone.
fn is_lost(half: &SessionHalf, addresses: &[Option<Ipv4Addr>]) -> bool {
    let current = addresses.get(usize::from(half.wan)).copied().flatten();
    half.is_outbound() && current.map(Addr::from) != Some(half.address)
}

/// What a walk has found so far, and its share of the CPU.
struct Work<'a> {
    plane: &'a Plane,
    expired: Vec<FlowKey>,
    lost: Vec<FlowKey>,
    removed: u64,
    slice_began: Instant,
    rest: Duration,
}

impl<'a> Work<'a> {
    fn new(plane: &'a Plane, rest: Duration) -> Self {
        Self {
            plane,
            expired: Vec::new(),
            lost: Vec::new(),
            removed: 0,
            slice_began: Instant::now(),
            rest,
        }
    }

    /// Removes what makes up whole requests, and lets the others have their turn if it is time.
    async fn go_on(&mut self) -> Result<()> {
        self.retire(RetireRequest::MAX_KEYS)?;
        if self.slice_began.elapsed() >= SLICE {
            if self.rest.is_zero() {
                yield_now().await
            } else {
                sleep(self.rest).await
            }
            self.slice_began = Instant::now();
        }
        Ok(())
    }

    /// Removes all that is left.
    fn finish(&mut self) -> Result<()> {
        self.retire(1)
    }

    fn retire(&mut self, at_least: usize) -> Result<()> {
        let found =
            [(CloseCause::Expired, &mut self.expired), (CloseCause::AddressLost, &mut self.lost)];
        for (cause, keys) in found {
            if keys.len() >= at_least {
                self.removed += self.plane.retire(cause, keys)?;
                keys.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use masq_common::{
        be::Id,
        flow::{TCP, Tuple, UDP},
        session::SessionPair,
        time::Span,
    };

    use super::*;

    const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

    fn pair(protocol: u8, wan: u8) -> SessionPair {
        let key = Tuple {
            source: Addr::from_octets([192, 168, 1, 10]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(40000),
            destination_id: Id::new(53),
        }
        .key(protocol);
        SessionPair::masquerade(key, EXTERNAL.into(), Id::new(61001), 0, wan, Tick(100))
    }

    #[test]
    fn the_pace_rises_with_the_pressure() {
        let relaxed = Pace::of(0.0);
        assert_eq!(relaxed.pause, PAUSE.1);
        assert!(!relaxed.rest.is_zero());
        assert!(Pace::of(0.4).pause < relaxed.pause);
        for pressure in [0.75, 1.0, 2.0] {
            assert_eq!(Pace::of(pressure), Pace { pause: PAUSE.0, rest: Duration::ZERO });
        }
    }

    #[test]
    fn a_half_is_a_candidate_only_after_the_time_that_is_certain() {
        let timeouts = Timeouts::DEFAULT;
        for (protocol, certain) in [(UDP, timeouts.udp), (TCP, timeouts.tcp_opening)] {
            let half = pair(protocol, 0).outbound;
            let Span(ticks) = certain;
            assert!(!may_be_over(&half, &timeouts, Tick(100 + ticks)));
            assert!(may_be_over(&half, &timeouts, Tick(101 + ticks)));
        }
    }

    #[test]
    fn sessions_of_another_address_are_lost_and_those_of_another_wan_are_not() {
        let SessionPair { outbound, inbound } = pair(UDP, 1);
        let other = Some(Ipv4Addr::new(203, 0, 113, 9));
        assert!(!is_lost(&outbound, &[None, Some(EXTERNAL)]));
        assert!(is_lost(&outbound, &[Some(EXTERNAL), other]));
        assert!(is_lost(&outbound, &[Some(EXTERNAL), None]));
        assert!(!is_lost(&inbound, &[Some(EXTERNAL), None]), "its outbound half tells");
    }
}
