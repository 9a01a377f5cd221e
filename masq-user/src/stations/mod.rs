//! Tells the programs behind which port of a bridge each station is, while the fast path serves the
//! ports of a bridge; does nothing otherwise.
//!
//! The kernel's bridge learns that from the frames that it sees. The programs hear of each change as
//! it happens, and take nothing for true any more that was written before it ([`masq_common::link`]):
//! the frames of that station go to the bridge itself until its table has been read here once more.
//! So what is late here makes slower and never wrong. Netlink's messages only wake.
//!
//! ([`table`] is what follows from a look at the table; pure.)

mod table;

use std::{collections::HashMap, rc::Rc, time::Duration};

use anyhow::Result;
use masq_common::link::{Place, Station};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

pub use self::table::Sighting;
use self::table::{Change, is_true, update};
use crate::{
    netlink::fdb::{self, Reader},
    plane::Plane,
    vitals::Pulse,
};

/// A bridge whose stations have to be known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
    /// Its index.
    pub bridge: u32,
    /// Indices of those of its ports that the fast path serves.
    pub ports: Vec<u32>,
}

/// At least so long between two looks: a bridge with thousands of stations takes milliseconds to read.
const PAUSE: Duration = Duration::from_millis(100);

/// So long, what was written is compared with what the programs have heard: some changes come without
/// a message.
const TICK: Duration = Duration::from_secs(1);

/// How long a look takes at most, with much to spare.
pub const PROGRESS: Duration = Duration::from_secs(60);

/// Follows the stations of the bridges that `served` names, for ever.
pub async fn run(plane: Rc<Plane>, mut served: watch::Receiver<Vec<Served>>, pulse: Pulse) {
    let mut follower = Follower { plane, written: HashMap::new(), said: None };
    follower.adopt();
    loop {
        pulse.beat();
        let bridges = served.borrow_and_update().clone();
        let ended = if bridges.is_empty() {
            follower.clear();
            tokio::select! {
                changed = served.changed() => changed.is_err(),
                () = sleep_until(Instant::now() + PROGRESS / 2) => false,
            }
        } else {
            tokio::select! {
                changed = served.changed() => changed.is_err(),
                error = follower.follow(&bridges, &pulse) => {
                    follower.trouble(&error);
                    sleep_until(Instant::now() + TICK).await;
                    false
                }
            }
        };
        if ended {
            // The gateway goes, and with it whoever would send there.
            std::future::pending::<()>().await;
        }
    }
}

struct Follower {
    plane: Rc<Plane>,
    /// The table as written.
    written: HashMap<Station, Place>,
    /// The trouble that the log was told last.
    said: Option<String>,
}

impl Follower {
    /// Learns what an earlier daemon has written, which may be true still.
    fn adopt(&mut self) {
        match self.plane.policy.borrow().links.stations.all() {
            Ok(all) => self.written = all,
            Err(error) => tracing::debug!("{error:#}"),
        }
    }

    /// Follows these bridges until something fails.
    async fn follow(&mut self, bridges: &[Served], pulse: &Pulse) -> anyhow::Error {
        match self.follow_on(bridges, pulse).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn follow_on(
        &mut self,
        bridges: &[Served],
        pulse: &Pulse,
    ) -> Result<std::convert::Infallible> {
        // Before the first look, so that no change falls in between.
        let mut events = fdb::subscribe(bridges.iter().map(|served| served.bridge).collect())?;
        let reader = Reader::open()?;
        loop {
            pulse.beat();
            let began = Instant::now();
            self.look(&reader, bridges).await?;
            loop {
                tokio::select! {
                    event = events.next() => {
                        event?;
                        break;
                    }
                    () = sleep_until(Instant::now() + TICK) => {
                        pulse.beat();
                        if self.is_outdated()? {
                            break;
                        }
                    }
                }
            }
            // Those that come together are one.
            sleep_until(began + PAUSE).await;
            events.skip().await?;
        }
    }

    /// Reads the tables of the bridges and writes the difference.
    async fn look(&mut self, reader: &Reader, bridges: &[Served]) -> Result<()> {
        let counts = self.plane.next_hops.stations()?;
        let mut seen = Vec::new();
        for Served { bridge, ports } in bridges {
            for port in ports {
                seen.extend(reader.stations(*bridge, *port).await?);
            }
        }
        let Change { set, remove, moved } = update(&self.written, &seen, &counts);
        let mut result = Ok(());
        {
            let mut policy = self.plane.policy.borrow_mut();
            let stations = &mut policy.links.stations;
            for station in remove {
                stations.remove(&station)?;
                self.written.remove(&station);
            }
            // Those that are known first: there is room for them whatever comes.
            let (known, new): (Vec<_>, Vec<_>) =
                set.into_iter().partition(|(station, _)| self.written.contains_key(station));
            for (station, place) in known.into_iter().chain(new) {
                match stations.set(station, place) {
                    Ok(()) => _ = self.written.insert(station, place),
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
        }
        if moved {
            // The programs have heard of it by themselves, or this is how they do.
            self.plane.forget_next_hops()?;
        }
        result?;
        self.said = None;
        Ok(())
    }

    /// Whether the programs take something that was written for no longer true.
    fn is_outdated(&self) -> Result<bool> {
        let counts = self.plane.next_hops.stations()?;
        Ok(self.written.iter().any(|(station, place)| !is_true(station, place, &counts)))
    }

    /// Forgets all, when no bridge is served any more.
    fn clear(&mut self) {
        let mut policy = self.plane.policy.borrow_mut();
        for (station, _) in self.written.drain() {
            if let Err(error) = policy.links.stations.remove(&station) {
                tracing::debug!("{error:#}");
            }
        }
    }

    fn trouble(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        if self.said.as_ref() != Some(&text) {
            tracing::warn!(
                "bridges are served more slowly, the kernel forwards to some of their hosts: {text}; \
                 trying again until it works"
            );
            self.said = Some(text);
        }
    }
}
