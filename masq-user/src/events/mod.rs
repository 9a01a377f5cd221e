//! What the programs report through the ring buffer: to the log, and to whoever listens. The only
//! reader of that buffer.

mod listeners;
mod log;
mod queue;
mod record;

use std::{rc::Rc, time::Duration};

use anyhow::Result;
use aya::maps::{MapData, RingBuf};
use masq_common::{
    event::Event,
    reason::{Class, Reason},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
    time::Instant,
};

use self::{listeners::WAITING, log::Log};
pub use self::{
    listeners::{Listener, Listeners},
    queue::Item,
    record::{record, timestamp},
};
use crate::{clock, options::current::Current, plane::Plane};

/// How long records are read before the other services get their turn. Longer than the sweeper
/// works at once: it makes records faster than they can be logged.
const SLICE: Duration = Duration::from_millis(20);

/// How many are read before that, at most: those who listen have to keep up.
const TURN: usize = WAITING / 4;

/// Reads events for ever.
pub async fn run(
    config: Rc<Current>,
    plane: Rc<Plane>,
    listeners: Rc<Listeners>,
    ring: RingBuf<MapData>,
) -> Result<()> {
    // SAFETY: the ring buffer owns the descriptor of its map and always returns that one.
    let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    let mut ring = ring.map_err(|error| error.into_parts().1)?;
    let mut reporter = Reporter::new(config, plane, listeners)?;
    loop {
        let mut guard = ring.readable_mut().await?;
        let buffer = guard.get_inner_mut();
        reporter.begin()?;
        let began = Instant::now();
        let mut read = 0;
        let empty = loop {
            if read == TURN || began.elapsed() > SLICE {
                break false;
            }
            match buffer.next() {
                Some(record) => reporter.report(Event::from_bytes(&record))?,
                None => break true,
            }
            read += 1;
        };
        reporter.tell_lost()?;
        if empty {
            guard.clear_ready();
            reporter.log_lost();
        }
        yield_now().await;
    }
}

struct Reporter {
    config: Rc<Current>,
    plane: Rc<Plane>,
    listeners: Rc<Listeners>,
    log: Log,
    /// Whether each session is logged.
    verbose: bool,
    /// What makes the time of day of an event's time, while somebody listens.
    epoch: i64,
    /// Events that are lost, of which the log knows, and those who listen.
    logged: u64,
    told: u64,
}

impl Reporter {
    fn new(config: Rc<Current>, plane: Rc<Plane>, listeners: Rc<Listeners>) -> Result<Self> {
        // What was lost while no daemon ran is none of this one's gaps.
        let lost = plane.counters.get(Reason::EventLost)?;
        // WANs do not change.
        let log = Log::new(config.get(), Rc::clone(&plane));
        let (logged, told) = (lost, lost);
        Ok(Self { config, plane, listeners, log, verbose: false, epoch: 0, logged, told })
    }

    /// Before some events: the clock may have been set since the last ones, or masq been told to log.
    fn begin(&mut self) -> Result<()> {
        self.verbose = self.config.get().verbose > 0;
        if !self.listeners.is_empty() {
            let settings = self.plane.policy.borrow().settings.get()?;
            self.epoch = clock::epoch(settings.clock_offset)?;
        }
        Ok(())
    }

    fn report(&mut self, event: Option<Event>) -> Result<()> {
        let Some((event, reason)) = event.and_then(|event| Some((event, event.reason()?))) else {
            tracing::debug!("a record of the ring buffer is of another version");
            return Ok(());
        };
        let time = self.epoch.wrapping_add(event.nanos as i64);
        match reason {
            Reason::SessionOpened | Reason::SessionClosed => {
                self.listeners.session(time, &event);
                match reason {
                    _ if !self.verbose => {}
                    Reason::SessionOpened => self.log.opened(&event),
                    _ => self.log.closed(&event),
                }
            }
            _ if reason.class() == Class::Dropped => {
                self.listeners.dropped(time, &event, reason)?;
                self.log.refused(&event, reason);
            }
            _ => tracing::debug!(reason = reason.label(), "event"),
        }
        Ok(())
    }

    /// Tells those who listen that something is missing.
    fn tell_lost(&mut self) -> Result<()> {
        let lost = self.plane.counters.get(Reason::EventLost)?;
        if lost > self.told && !self.listeners.is_empty() {
            self.listeners.lost(clock::wall()?, lost - self.told);
        }
        self.told = lost;
        Ok(())
    }

    /// Tells that the log has gaps.
    fn log_lost(&mut self) {
        if self.told > self.logged && self.verbose {
            let lost = self.told - self.logged;
            tracing::warn!(lost, "the log has gaps: events came too fast");
        }
        self.logged = self.told;
    }
}
