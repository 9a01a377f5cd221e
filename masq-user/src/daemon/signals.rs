//! The signals that end masq, and in which way: SIGUSR2 leaves the data plane to the next daemon, the
//! others take it along. SIGHUP does not end it ([`super::reload`]).

use std::{cell::RefCell, future::pending};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Ending, manager};
use crate::status::Status;

/// SIGHUP, caught from the moment this is called.
pub(super) fn hangup() -> Result<Signal> {
    catch(SignalKind::hangup())
}

fn catch(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("cannot catch signals")
}

/// The signals, caught from the moment this exists.
pub(super) struct StopSignals {
    remove: [Signal; 2],
    keep: Signal,
}

impl StopSignals {
    pub(super) fn new() -> Result<Self> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(catch);
        let keep = catch(SignalKind::user_defined2())?;
        Ok(Self { remove: [interrupt?, terminate?], keep })
    }

    /// Waits for one that ends masq. One that cannot be followed is ignored, but for a service
    /// manager's: that restarts masq, and would kill it after a while.
    pub(super) async fn wait(&mut self, status: &RefCell<Status>) -> Ending {
        let Self { remove: [interrupt, terminate], keep } = self;
        loop {
            let (got, ending) = tokio::select! {
                got = interrupt.recv() => (got, Ending::Remove),
                got = terminate.recv() => (got, Ending::Remove),
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
            if manager::listens() {
                tracing::warn!(
                    "SIGUSR2 removes everything: the data plane cannot go on without this process: {}",
                    survival.why
                );
                return Ending::Remove;
            }
            tracing::warn!(
                "SIGUSR2 ignored: the data plane cannot go on without this process: {}",
                survival.why
            );
        }
    }
}
