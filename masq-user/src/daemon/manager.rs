//! Telling the service manager (systemd, by the protocol of sd_notify(3)) that masq is ready, what it
//! does, that it is alive, and that it stops. Without a manager that listens, nothing of this is done.
//!
//! *Ready* means that everything has been attached that is there to be attached to, and that masq
//! follows the rest. A WAN without a line may be brought up by a unit that waits for this one; so it is
//! not waited for, and the status says that it is missing.

use std::{cell::RefCell, env, rc::Rc, time::Duration, time::Instant};

use masq_common::reason::Reason;
use sd_notify::NotifyState;
use tokio::{sync::Notify, time::timeout};

use super::Ending;
use crate::{
    plane::Plane,
    status::{self, Readiness, Status},
    vitals::Vitals,
};

/// The number of sessions in the status is not older than this.
const FRESH: Duration = Duration::from_secs(10);

/// Signs of life within the time that the manager waits for one: two may be late.
const SIGNS: u32 = 3;

/// A service manager that listens.
#[derive(Debug)]
pub(super) struct Manager {
    /// How long it waits for a sign of life before it ends masq, if it does.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that has started masq, if it wants to hear of it.
    pub(super) fn find() -> Option<Self> {
        if !listens() {
            return None;
        }
        Some(Self { watchdog: sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) })
    }

    /// Says that masq is ready, and from then on how it is, whenever that has `changed` and now and
    /// then besides. For ever; the signs of life end when something is wrong with the services.
    pub(super) async fn run(
        self,
        status: Rc<RefCell<Status>>,
        plane: Rc<Plane>,
        vitals: Vitals,
        changed: Rc<Notify>,
    ) {
        let pause = self.watchdog.map_or(FRESH, |time| (time / SIGNS).min(FRESH));
        tell(&[NotifyState::Ready]);
        let mut complained = false;
        loop {
            let trouble = vitals.trouble(Instant::now()).filter(|_| self.watchdog.is_some());
            match &trouble {
                None => {
                    let line = line(&status.borrow(), &plane);
                    tell(&[NotifyState::Status(&line), NotifyState::Watchdog]);
                    complained = false;
                }
                Some(trouble) => {
                    tell(&[NotifyState::Status(trouble)]);
                    if !complained {
                        tracing::error!(
                            "{trouble}: the service manager gets no more signs of life, so that it \
                             starts masq again"
                        );
                    }
                    complained = true;
                }
            }
            // Either will do.
            let _ = timeout(pause, changed.notified()).await;
        }
    }
}

/// Whether a service manager has started masq and wants to hear of it.
pub(super) fn listens() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// What masq is doing before it is ready.
pub(super) fn starting(what: &str) {
    tell(&[NotifyState::Status(what)]);
}

/// That masq ends, and what with it.
pub(super) fn stopping(ending: Ending) {
    let status = match ending {
        Ending::Remove => "stopping: removing everything",
        Ending::Keep => "stopping: the data plane stays for the next masq",
    };
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// The state in one line.
fn line(status: &Status, plane: &Plane) -> String {
    let (Readiness::Ready(line) | Readiness::Waiting(line)) = status::readiness(&status.interfaces);
    match plane.counters.live(Reason::SessionOpened, Reason::SessionClosed) {
        Ok(1) => format!("{line}; 1 session"),
        Ok(sessions) => format!("{line}; {sessions} sessions"),
        Err(_) => line,
    }
}

/// A manager that does not hear is no reason to stop; it will say itself what it misses.
fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("cannot tell the service manager: {error}");
    }
}
