//! Keeping the data plane in step with the machine, from one change to the next.

use std::{cell::RefCell, io::Write as _, rc::Rc, time::Duration};

use anyhow::{Result, anyhow};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until},
};

use super::reload::Reloader;
use crate::{
    config::Config,
    netlink::{Changes, Netlink, Snapshot},
    plane::Plane,
    reconcile::Gateway,
    status::{self, Readiness, Status},
    survival::estate::Estate,
    trace::{Exchange, Tracer},
    vitals::Pulse,
};

/// The machine is looked at again after this time even if nothing has been heard of it.
const BACKSTOP: Duration = Duration::from_secs(30);

/// How long the follower takes at most, with much to spare, from one look to the next.
pub(super) const PROGRESS: Duration = Duration::from_secs(3 * BACKSTOP.as_secs());

/// So often, while they matter, PPPoE sessions are looked at: they change without a message.
const SESSIONS: Duration = Duration::from_secs(1);

/// What has failed is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the data plane in step with the machine.
pub(super) struct Follower {
    pub(super) gateway: Gateway,
    pub(super) netlink: Rc<Netlink>,
    pub(super) changes: Changes,
    /// What standard output was told last.
    pub(super) said: Option<Readiness>,
    /// What did not work at the last look.
    pub(super) trouble: Option<String>,
    pub(super) pulse: Pulse,
    /// Notified when there may be something new to say.
    pub(super) looked: Rc<Notify>,
    /// What whoever traces wants of the hooks.
    pub(super) exchanges: mpsc::UnboundedReceiver<Exchange>,
    pub(super) tracer: Rc<Tracer>,
    pub(super) plane: Rc<Plane>,
}

impl Follower {
    /// Follows for ever.
    pub(super) async fn follow(
        &mut self,
        status: &RefCell<Status>,
        estate: &mut Estate,
        reloader: &mut Reloader<'_>,
    ) {
        let mut next_look = Instant::now() + BACKSTOP;
        loop {
            self.pulse.beat();
            let dials = self.gateway.follows_sessions();
            tokio::select! {
                () = self.changes.next() => {}
                () = sleep_until(next_look) => {}
                () = sleep(SESSIONS), if dials => {
                    if !self.gateway.sessions_have_changed() {
                        continue;
                    }
                }
                Some(exchange) = self.exchanges.recv() => {
                    if let Err(error) = self.exchange_programs(exchange) {
                        tracing::warn!("{error:#}; trying again until it works");
                        next_look = Instant::now();
                    }
                    continue;
                }
                asked = reloader.next() => {
                    reloader.serve(asked, self, estate).await;
                    self.say(status);
                    // What could not be put back is tried again.
                    next_look = Instant::now() + RETRY;
                    continue;
                }
            }
            next_look = Instant::now() + BACKSTOP;
            let trouble = self.look(estate).await.err().map(|error| format!("{error:#}"));
            if let Some(trouble) = &trouble {
                next_look = Instant::now() + RETRY;
                if self.trouble.as_ref() != Some(trouble) {
                    tracing::warn!("{trouble}; trying again until it works");
                }
            }
            self.trouble = trouble;
            self.say(status);
        }
    }

    /// Brings another configuration about. After an error only part of it may hold, but the programs'
    /// settings are the last one. With `strict` a trouble of before counts as one of this configuration.
    pub(super) async fn reconfigure(
        &mut self,
        config: &Rc<Config>,
        plane: &Plane,
        snapshot: &Snapshot,
        estate: &mut Estate,
        strict: bool,
    ) -> Result<()> {
        self.gateway.configure(Rc::clone(config));
        self.gateway.load(snapshot)?;
        estate.owns(self.gateway.foreseen(snapshot));
        let result = self.gateway.apply(snapshot).await;
        estate.owns(self.gateway.belongings());
        match result {
            // It was so before.
            Err(error) if !strict && self.trouble.as_ref() == Some(&format!("{error:#}")) => {}
            result => result?,
        }
        plane.change_settings(config)
    }

    /// Does what whoever traces wants. After an error some hooks have other programs
    /// than they should, until the next look.
    fn exchange_programs(&mut self, wanted: Exchange) -> Result<()> {
        match wanted {
            Exchange::Trace(answer) => {
                let result = self.gateway.exchange();
                let told = match &result {
                    Ok(()) => Ok(()),
                    Err(error) => Err(anyhow!("{error:#}")),
                };
                // After a failure whoever has asked gives up, which asks for the others again. So it
                // does if it has gone meanwhile.
                let _ = answer.send(told);
                result
            }
            Exchange::Untrace => self.untrace(),
        }
    }

    /// Sees to it that all hooks have programs that do not trace.
    pub(super) fn untrace(&mut self) -> Result<()> {
        let traced = self.plane.untrace();
        let result = if traced.is_some() { self.gateway.exchange() } else { Ok(()) };
        self.tracer.is_off();
        result
    }

    async fn look(&mut self, estate: &mut Estate) -> Result<()> {
        // What the kernel does not count among the changes of its routes.
        self.gateway.outdate_next_hops();
        let snapshot = self.netlink.snapshot().await?;
        // Whoever follows on a killed daemon puts back what that had begun to change.
        estate.owns(self.gateway.foreseen(&snapshot));
        let result = self.gateway.apply(&snapshot).await;
        estate.owns(self.gateway.belongings());
        result
    }

    /// Tells standard output whether packets are being translated, when that has changed.
    pub(super) fn say(&mut self, status: &RefCell<Status>) {
        let now = status::readiness(&status.borrow().interfaces);
        if !self.said.as_ref().is_some_and(|said| said.is_like(&now)) {
            let (Readiness::Ready(line) | Readiness::Waiting(line)) = &now;
            // Whoever started masq may have closed the pipe; that is no reason to stop.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        self.said = Some(now);
        self.looked.notify_one();
    }
}
