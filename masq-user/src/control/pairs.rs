//! From halves to sessions: the two halves of each session, brought together on one walk through the
//! table. Pure, but for a function that looks a half up.
//!
//! The halves of a session stand anywhere in the table. Looking the second one up by its key is a
//! system call, and there may be a million of them. So whichever half comes first waits, by what the
//! other one does not know of it, until the other one comes. Half of all sessions wait when half of
//! the table has been read, so their number is bounded, and so is the memory: some 50 MB at most for each of
//! a few walks at once, 200 MB for the daemon. Beyond the bounds, halves are looked up, which takes longer:
//! nobody has to wait for the walk of somebody else, whose pager may be open until tomorrow.

use std::collections::{HashMap, hash_map::Entry};

use anyhow::Result;
use masq_common::{
    flow::FlowKey,
    session::{SessionHalf, SessionPair, flags},
    tcp,
    time::Tick,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Halves that wait at most: what fits a hash table of 2^20 places.
const ROOM: usize = (1 << 20) / 8 * 7;

/// Walks at once on which halves wait.
const WALKS: usize = 4;

static PLACES: Semaphore = Semaphore::const_new(WALKS);

/// What a half knows that cannot be told from the other one.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    packets: u64,
    bytes: u64,
    last_seen: Tick,
    created: Tick,
    tcp_seen: tcp::Seen,
    is_outbound: bool,
}

/// Looks a half up by its key; `None` if there is none.
pub type LookUp<'a> = &'a dyn Fn(&FlowKey) -> Result<Option<SessionHalf>>;

/// See the module text.
pub struct Pairs<'a> {
    /// By the key of the outbound half, whichever half it is: so one place in the table is looked at.
    waiting: HashMap<FlowKey, Waiting>,
    room: usize,
    look_up: LookUp<'a>,
    /// Given back when the memory is.
    _place: Option<SemaphorePermit<'static>>,
}

impl<'a> Pairs<'a> {
    /// For one walk through a table of some number of `sessions`, for which room is made at once.
    pub fn new(sessions: usize, look_up: LookUp<'a>) -> Self {
        Self::at(PLACES.try_acquire().ok(), sessions, look_up)
    }

    /// At one of the places, or at none.
    fn at(place: Option<SemaphorePermit<'static>>, sessions: usize, look_up: LookUp<'a>) -> Self {
        let room = if place.is_some() { ROOM } else { 0 };
        let waiting = HashMap::with_capacity(room.min(sessions / 2));
        Self { waiting, room, look_up, _place: place }
    }

    /// Takes the next half of the walk. Returns its session if this is the second half of it, or if
    /// there is no room to wait.
    ///
    /// # Errors
    /// What looking a half up says.
    pub fn meet(&mut self, half: &SessionHalf) -> Result<Option<SessionPair>> {
        let is_outbound = half.is_outbound();
        let key = if is_outbound { half.key() } else { half.partner() };
        let has_room = self.waiting.len() < self.room;
        match self.waiting.entry(key) {
            Entry::Occupied(waited)
                if waited.get().created == half.created
                    && waited.get().is_outbound != is_outbound =>
            {
                return Ok(Some(pair(*half, waited.remove().wake(half))));
            }
            // One of the two is of an earlier session between the same ends. The outbound half stays: it will
            // at least be looked up.
            Entry::Occupied(mut waited) => {
                if is_outbound || !waited.get().is_outbound {
                    waited.insert(Waiting::of(half));
                }
                return Ok(None);
            }
            Entry::Vacant(place) if has_room => {
                place.insert(Waiting::of(half));
                return Ok(None);
            }
            Entry::Vacant(_) => {}
        }
        // An inbound half needs nothing: its outbound one will be looked at, or was.
        if is_outbound { self.whole(half) } else { Ok(None) }
    }

    /// The walk is over: the keys of the outbound halves that still wait. The inbound ones either had no
    /// room, or one half was there when its place was read, and the other was not.
    ///
    /// Inbound halves that wait are of sessions that have just come or gone, or whose outbound half was
    /// looked at when there was no room.
    pub fn into_rest(self) -> impl Iterator<Item = FlowKey> {
        let Self { waiting, _place: place, .. } = self;
        let rest = waiting.into_iter().filter(|(_, waiting)| waiting.is_outbound);
        rest.map(move |(key, _)| {
            // Kept as long as the memory is.
            let _ = &place;
            key
        })
    }

    fn whole(&self, half: &SessionHalf) -> Result<Option<SessionPair>> {
        Ok((self.look_up)(&half.partner())?.map(|other| pair(*half, other)))
    }
}

impl Waiting {
    const fn of(half: &SessionHalf) -> Self {
        let SessionHalf { packets, bytes, last_seen, created, tcp_seen, .. } = *half;
        Self { packets, bytes, last_seen, created, tcp_seen, is_outbound: half.is_outbound() }
    }

    /// The half itself, told with the help of the other one.
    fn wake(self, other: &SessionHalf) -> SessionHalf {
        let Self { packets, bytes, last_seen, tcp_seen, .. } = self;
        SessionHalf { packets, bytes, last_seen, tcp_seen, ..partner_of(other) }
    }
}

/// The session of a key that was left over, if it is whole.
///
/// # Errors
/// What looking a half up says.
pub fn left_over(key: &FlowKey, look_up: LookUp<'_>) -> Result<Option<SessionPair>> {
    let Some(half) = look_up(key)? else { return Ok(None) };
    Ok(look_up(&half.partner())?.map(|other| pair(half, other)))
}

/// The other half of a session, as it was when the session was opened.
pub fn partner_of(half: &SessionHalf) -> SessionHalf {
    let from = half.from;
    let (end, flags) = if half.is_outbound() {
        ((from.source, from.source_id), half.flags & !flags::OUTBOUND)
    } else {
        ((from.destination, from.destination_id), half.flags | flags::OUTBOUND)
    };
    SessionHalf::new(half.partner(), end, flags, half.wan, half.created)
}

const fn pair(one: SessionHalf, other: SessionHalf) -> SessionPair {
    if one.is_outbound() {
        SessionPair { outbound: one, inbound: other }
    } else {
        SessionPair { outbound: other, inbound: one }
    }
}

#[cfg(test)]
mod tests;
