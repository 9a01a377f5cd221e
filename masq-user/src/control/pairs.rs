//! From halves to sessions: the two halves of each session, brought together on one walk through the
//! table. Pure, but for a function that looks a half up.
//!
//! The halves of a session stand anywhere in the table. Looking the second one up by its key is a
//! system call, and there may be a million of them. So whichever half comes first waits, by what the
//! other one does not know of it, until the other one comes. Half of all sessions wait when half of
//! the table has been read, so their number is bounded, and so is the memory (some 50 MB at most).
//! Beyond the bound, halves are looked up.

use std::collections::HashMap;

use anyhow::Result;
use masq_common::{
    flow::FlowKey,
    session::{SessionHalf, SessionPair, flags},
    tcp,
    time::Tick,
};

/// Tables that those who wait are spread over: one that grows is copied, which has to be done in
/// less than a slice of time.
const SHARDS: usize = 64;

/// Halves that wait at most.
const ROOM: usize = (1 << 20) / 8 * 7;

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
    shards: Vec<HashMap<FlowKey, Waiting>>,
    waiting: usize,
    room: usize,
    look_up: LookUp<'a>,
}

impl<'a> Pairs<'a> {
    /// For one walk.
    pub fn new(look_up: LookUp<'a>) -> Self {
        Self { shards: vec![HashMap::new(); SHARDS], waiting: 0, room: ROOM, look_up }
    }

    /// Takes the next half of the walk. Returns its session if this is the second half of it, or if
    /// there is no room to wait.
    ///
    /// # Errors
    /// What looking a half up says.
    pub fn meet(&mut self, half: &SessionHalf) -> Result<Option<SessionPair>> {
        let partner = half.partner();
        if let Some(waited) = self.shards[shard(&partner)].remove(&partner) {
            self.waiting -= 1;
            // Otherwise it was half of an earlier session with the same ends.
            if waited.created == half.created {
                return Ok(Some(pair(*half, waited.wake(half))));
            }
        }
        if self.waiting < self.room {
            let SessionHalf { packets, bytes, last_seen, created, tcp_seen, .. } = *half;
            let is_outbound = half.is_outbound();
            let waiting = Waiting { packets, bytes, last_seen, created, tcp_seen, is_outbound };
            let key = half.key();
            self.waiting += usize::from(self.shards[shard(&key)].insert(key, waiting).is_none());
            return Ok(None);
        }
        // An inbound half needs nothing: its outbound one will be looked at, or was.
        if half.is_outbound() { self.whole(half) } else { Ok(None) }
    }

    /// The walk is over: the keys of the outbound halves that still wait. The inbound ones either had no
    /// room, or one half was there when its place was read, and the other was not.
    ///
    /// Inbound halves that wait are of sessions that have just come or gone, or whose outbound half was
    /// looked at when there was no room.
    pub fn into_rest(self) -> impl Iterator<Item = FlowKey> {
        let waiting = self.shards.into_iter().flatten();
        waiting.filter(|(_, waiting)| waiting.is_outbound).map(|(key, _)| key)
    }

    fn whole(&self, half: &SessionHalf) -> Result<Option<SessionPair>> {
        Ok((self.look_up)(&half.partner())?.map(|other| pair(*half, other)))
    }
}

impl Waiting {
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

/// Where a key has its place; any spread will do.
const fn shard(key: &FlowKey) -> usize {
    let tuple = key.tuple;
    let ids = (tuple.source_id.raw() as u32) << 16 | tuple.destination_id.raw() as u32;
    let mixed = (tuple.source.raw() ^ tuple.destination.raw().rotate_left(9) ^ ids)
        .wrapping_mul(0x9e37_79b1);
    mixed as usize >> (u32::BITS - SHARDS.trailing_zeros())
}

#[cfg(test)]
mod tests;
