//! Who reads the event stream (`masq events`). Each reader has a queue of its own; one that is too slow
//! loses records and holds nobody up.
//!
//! The programs report sessions only if the settings say so: while there is a reader, this has them
//! do it, and not a moment longer.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use anyhow::{Result, bail};
use masq_common::{
    event::Event,
    reason::{Class, Reason},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    queue::{Item, Queue},
    record::ends,
};
use crate::{
    clock,
    control::record::{Fate, Place, Watch},
    plane::Plane,
};

/// Readers at once. Fewer than there are control connections, so that other commands are answered.
const READERS: usize = 8;

/// Records that wait for a reader: about 4 MB, and a storm of a third of a second.
pub const WAITING: usize = 32 * 1024;

/// How long after the last event its record is read at the latest, unless there is a storm.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// How long the daemon waits for readers to hear that it ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// All readers.
pub struct Listeners {
    plane: Rc<Plane>,
    readers: RefCell<BTreeMap<u64, Rc<Reader>>>,
    next: Cell<u64>,
    /// Whether the daemon ends.
    over: Cell<bool>,
    gone: Notify,
}

/// One reader.
struct Reader {
    watch: Watch,
    queue: RefCell<Queue>,
    arrived: Notify,
    /// Up to where the drops of each reason have been told.
    told: RefCell<BTreeMap<u8, u64>>,
}

impl Listeners {
    /// Nobody yet.
    pub fn new(plane: Rc<Plane>) -> Self {
        Self {
            plane,
            readers: RefCell::default(),
            next: Cell::new(0),
            over: Cell::new(false),
            gone: Notify::new(),
        }
    }

    /// Whether nobody reads.
    pub fn is_empty(&self) -> bool {
        self.readers.borrow().is_empty()
    }

    /// Begins to listen, until the listener is dropped.
    ///
    /// # Errors
    /// If there are too many already, or the daemon ends, or the programs cannot be told.
    pub fn listen(self: &Rc<Self>, watch: Watch) -> Result<Listener> {
        if self.over.get() {
            bail!("masq is about to end");
        }
        if self.readers.borrow().len() >= READERS {
            bail!("{READERS} commands `masq events` are listening already; end one of them");
        }
        let mut told = BTreeMap::new();
        if watch.drops {
            for &reason in Reason::ALL.iter().filter(|reason| reason.class() == Class::Dropped) {
                told.insert(reason as u8, self.plane.counters.get(reason)?);
            }
        }
        if self.is_empty() {
            self.plane.policy.borrow_mut().settings.listen(true)?;
        }
        let reader = Rc::new(Reader {
            watch,
            queue: RefCell::new(Queue::new(WAITING)),
            arrived: Notify::new(),
            told: RefCell::new(told),
        });
        let number = self.next.replace(self.next.get() + 1);
        self.readers.borrow_mut().insert(number, Rc::clone(&reader));
        Ok(Listener { listeners: Rc::clone(self), number, reader })
    }

    /// Tells those who want it of a session that was opened or closed.
    pub fn session(&self, time: i64, event: &Event) {
        let ends = ends(event);
        for reader in self.readers.borrow().values() {
            if reader.watch.filter.matches_ends(&ends) {
                reader.tell(Item::Session { time, event: *event });
            }
        }
    }

    /// Tells those who want it of dropped first packets, of which `event` is one.
    pub fn dropped(&self, time: i64, event: &Event, reason: Reason) -> Result<()> {
        let ends = ends(event);
        let readers = self.readers.borrow();
        let wants =
            |reader: &&Rc<Reader>| reader.watch.drops && reader.watch.filter.matches_ends(&ends);
        let mut counter = None;
        for reader in readers.values().filter(wants) {
            let now = match counter {
                Some(now) => now,
                None => *counter.insert(self.plane.counters.get(reason)?),
            };
            let count = reader.count(reason, now);
            reader.tell(Item::Dropped { time, event: *event, reason, count });
        }
        Ok(())
    }

    /// Tells everybody that the kernel has lost events.
    pub fn lost(&self, time: i64, count: u64) {
        for reader in self.readers.borrow().values() {
            reader.tell(Item::Lost { time, count, place: Place::Kernel });
        }
    }

    /// Tells everybody that the daemon ends, and waits a moment until they have heard it.
    pub async fn end(&self, fate: Fate) {
        self.over.set(true);
        if !self.is_empty() {
            // What has been reported until now is still read.
            sleep(LAST_WORDS).await;
        }
        // A clock that cannot be read is no reason to be silent.
        let time = clock::wall().unwrap_or_default();
        for reader in self.readers.borrow().values() {
            reader.queue.borrow_mut().push_last(Item::Ended { time, fate });
            reader.arrived.notify_one();
        }
        let all_gone = async {
            while !self.is_empty() {
                self.gone.notified().await;
            }
        };
        if timeout(FAREWELL, all_gone).await.is_err() {
            tracing::debug!("a reader of events does not read");
            self.report(false);
        }
    }

    fn leave(&self, number: u64) {
        self.readers.borrow_mut().remove(&number);
        if self.is_empty() {
            self.report(false);
        }
        self.gone.notify_one();
    }

    fn report(&self, wanted: bool) {
        if let Err(error) = self.plane.policy.borrow_mut().settings.listen(wanted) {
            tracing::warn!("{error:#}");
        }
    }
}

impl Reader {
    fn tell(&self, item: Item) {
        self.queue.borrow_mut().push(item);
        self.arrived.notify_one();
    }

    /// How many drops the reader has not heard of, given the counter. A packet is reported before it is
    /// counted, so it is at least one.
    fn count(&self, reason: Reason, now: u64) -> u64 {
        let mut told = self.told.borrow_mut();
        let told = told.entry(reason as u8).or_default();
        let count = now.saturating_sub(*told).max(1);
        *told = told.saturating_add(count);
        count
    }
}

/// The right to listen.
pub struct Listener {
    listeners: Rc<Listeners>,
    number: u64,
    reader: Rc<Reader>,
}

impl Listener {
    /// The next item, if there is one.
    pub fn try_next(&self) -> Option<Item> {
        self.reader.queue.borrow_mut().pop()
    }

    /// Waits for the next item. May be dropped without losing any.
    pub async fn next(&self) -> Item {
        loop {
            if let Some(item) = self.try_next() {
                return item;
            }
            self.reader.arrived.notified().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_counted_once_for_each_reader() {
        let reader = Reader {
            watch: Watch::default(),
            queue: RefCell::new(Queue::new(1)),
            arrived: Notify::new(),
            told: RefCell::new(BTreeMap::from([(Reason::PortsExhausted as u8, 10)])),
        };
        let count = |now| reader.count(Reason::PortsExhausted, now);
        assert_eq!(count(10), 1, "reported before it was counted");
        assert_eq!(count(15), 4, "and not once more");
        assert_eq!(count(15), 1);
        assert_eq!(reader.count(Reason::SessionTableFull, 3), 3);
    }
}
