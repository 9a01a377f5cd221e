//! Signs of life in an answer that takes long: every half second, after the first.

use std::time::{Duration, Instant};

/// Until the first sign, and between two.
const PAUSE: Duration = Duration::from_millis(500);

/// When the next one is due.
pub struct Pulse {
    due: Option<Instant>,
}

impl Pulse {
    /// For a client that wants signs of life, or does not.
    pub fn new(wanted: bool) -> Self {
        Self { due: wanted.then(|| Instant::now() + PAUSE) }
    }

    /// Whether it is time for one, which is then to be given.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.due.is_some_and(|due| now >= due);
        if is_due {
            self.due = Some(now + PAUSE);
        }
        is_due
    }
}
