//! Signs of life in an answer that takes long: every half second, after the first.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::{proto::Answer, server::Reply};

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

    /// Tells that `done` sessions have been dealt with so far, if it is time.
    pub async fn beat(&mut self, done: u64, reply: &mut Reply) -> Result<()> {
        if self.due.is_some_and(|due| Instant::now() >= due) {
            self.due = Some(Instant::now() + PAUSE);
            reply.send(&Answer::Progress(done)).await?;
        }
        Ok(())
    }
}
