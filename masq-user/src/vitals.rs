//! Whether the services of the daemon get on: each gives a sign of life whenever it has made
//! progress, and somebody compares that with the time it may take. Who is told what comes of it is
//! the business of [`crate::daemon`].
//!
//! Services that only answer, such as the control socket, may have nothing to do for ever. They give
//! no sign; that they have ended is noted.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

/// What is known of all services. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Vitals(Rc<RefCell<Known>>);

#[derive(Debug, Default)]
struct Known {
    pulses: Vec<Expected>,
    ended: Option<&'static str>,
}

#[derive(Debug)]
struct Expected {
    service: &'static str,
    within: Duration,
    last: Rc<Cell<Instant>>,
}

/// The sign of life of one service.
#[derive(Debug)]
pub struct Pulse(Rc<Cell<Instant>>);

impl Pulse {
    /// The service has made progress.
    pub fn beat(&self) {
        self.0.set(Instant::now());
    }
}

impl Vitals {
    /// A service that makes progress at least so often, from now on.
    pub fn expect(&self, service: &'static str, within: Duration) -> Pulse {
        let last = Rc::new(Cell::new(Instant::now()));
        self.0.borrow_mut().pulses.push(Expected { service, within, last: Rc::clone(&last) });
        Pulse(last)
    }

    /// A service has ended that should have gone on for ever.
    pub fn has_ended(&self, service: &'static str) {
        self.0.borrow_mut().ended.get_or_insert(service);
    }

    /// What is wrong, if anything is.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        let known = self.0.borrow();
        if let Some(service) = known.ended {
            return Some(format!("the {service} has ended"));
        }
        let silent = |expected: &&Expected| {
            now.saturating_duration_since(expected.last.get()) > expected.within
        };
        let Expected { service, last, .. } = known.pulses.iter().find(silent)?;
        let since = now.saturating_duration_since(last.get()).as_secs();
        Some(format!("the {service} has made no progress for {since} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_service_that_is_silent_for_too_long_is_named() {
        let vitals = Vitals::default();
        let quick = vitals.expect("sweeper", 10 * SECOND);
        let _slow = vitals.expect("follower", 100 * SECOND);
        let now = Instant::now();
        assert_eq!(vitals.trouble(now), None);
        assert_eq!(vitals.trouble(now + 9 * SECOND), None);
        let trouble = vitals.trouble(now + 20 * SECOND).expect("the sweeper is silent");
        assert_eq!(trouble, "the sweeper has made no progress for 20 s");
        quick.beat();
        assert_eq!(vitals.trouble(Instant::now()), None, "it is alive again");
    }

    #[test]
    fn a_service_that_has_ended_does_not_come_back() {
        let vitals = Vitals::default();
        let pulse = vitals.expect("sweeper", SECOND);
        vitals.clone().has_ended("slow path");
        pulse.beat();
        assert_eq!(vitals.trouble(Instant::now()).as_deref(), Some("the slow path has ended"));
    }
}
