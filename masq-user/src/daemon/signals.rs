//! The signals that end masq, and in which way: SIGUSR2 leaves the data plane to the next daemon, all
//! others take it along.

use std::{cell::RefCell, future::pending};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Ending;
use crate::status::Status;

/// The signals, caught from the moment this exists.
pub(super) struct StopSignals {
    remove: [Signal; 3],
    keep: Signal,
}

impl StopSignals {
    pub(super) fn new() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(catch);
        let keep = catch(SignalKind::user_defined2())?;
        Ok(Self { remove: [interrupt?, terminate?, hangup?], keep })
    }

    /// Waits for one that ends masq.
    pub(super) async fn wait(&mut self, status: &RefCell<Status>) -> Ending {
        let Self { remove: [interrupt, terminate, hangup], keep } = self;
        loop {
            let (got, ending) = tokio::select! {
                got = interrupt.recv() => (got, Ending::Remove),
                got = terminate.recv() => (got, Ending::Remove),
                got = hangup.recv() => (got, Ending::Remove),
                got = keep.recv() => (got, Ending::Keep),
            };
            if got.is_none() {
                // The runtime is going down with the signals.
                pending::<()>().await;
            }
            let survival = status.borrow().survival.clone();
            if ending == Ending::Remove || survival.pins.is_some() {
                return ending;
            }
            tracing::warn!(
                "SIGUSR2 ignored: the data plane cannot go on without this process: {}",
                survival.why
            );
        }
    }
}
