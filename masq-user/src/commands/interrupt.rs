//! Ends a command that follows something when a signal asks for it, so that it can still write what it
//! has got and say how much that was. Not for commands that have nothing to say then.

use std::{
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};

use crate::{control::client::Client, error::Result};

/// Whether a signal has asked for the end.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From here on the first SIGINT or SIGTERM ends the answers of `client` after what has come
    /// already. A second one ends the process, which may hang at a reader that does not read.
    ///
    /// # Errors
    /// If the system has no thread or descriptor left.
    pub fn ends(client: &Client) -> Result<Self> {
        let stream = client.handle().context("cannot duplicate the connection")?;
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        // In every thread, so that the one that waits for them gets them.
        signals.thread_block().context("cannot block signals")?;
        let asked = Arc::new(AtomicBool::new(false));
        let ask = Arc::clone(&asked);
        let wait = move || {
            if signals.wait().is_err() {
                return;
            }
            ask.store(true, Ordering::SeqCst);
            // The daemon may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
            // The next one does what signals usually do.
            let _ = signals.thread_unblock();
            loop {
                thread::park();
            }
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(wait)
            .context("cannot start a thread")?;
        Ok(Self(asked))
    }

    /// Whether it was asked for. A line that has come in part only is no fault then.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
