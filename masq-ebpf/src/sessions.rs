//! The session table: find a half, refresh it, insert and remove pairs.

use core::ptr;

use masq_common::{
    flow::{FlowKey, TCP, Tuple},
    hop::Ticket,
    session::{SessionHalf, flags, phase_of, remaining},
    settings::Settings,
    tcp::{self, Phase},
    time::Tick,
};

use crate::{atomic, table};

/// A half as it was found: a copy to act on, and where it lives, to be refreshed.
pub struct Found {
    entry: *mut SessionHalf,
    /// The copy; it belongs to the key that was asked for. Without its counters.
    pub half: SessionHalf,
}

/// Looks a packet up.
#[inline(always)]
pub fn find(tuple: &Tuple, protocol: u8) -> Option<Found> {
    let entry = table::get(&tuple.key(protocol))?;
    // Whole when its key is seen to be there, and still the same when all has been copied.
    let generation = table::generation(entry);
    let half = copy(entry);
    let whole = half.belongs_to(&tuple.key(protocol)) && table::generation(entry) == generation;
    whole.then_some(Found { entry, half })
}

/// Copies what a packet needs. The entry may be given to another session at any moment: who has found a
/// half and copies it has to ask before and after whether it is still the same one, see [`find`].
#[inline(always)]
fn copy(entry: *const SessionHalf) -> SessionHalf {
    macro_rules! read {
        ($field:ident) => {
            // SAFETY: `entry` comes from a successful lookup, so it is a part of the table. Volatile,
            // because the order of the reads matters.
            unsafe { ptr::read_volatile(&raw const (*entry).$field) }
        };
    }
    // First, since it is written last: what is read after it is not half written.
    let protocol = read!(protocol);
    SessionHalf {
        from: read!(from),
        address: read!(address),
        id: read!(id),
        sequence: read!(sequence),
        last_seen: read!(last_seen),
        ticket: read!(ticket),
        packets: 0,
        bytes: 0,
        created: read!(created),
        tcp_seen: read!(tcp_seen),
        flags: read!(flags),
        protocol,
        wan: read!(wan),
    }
}

impl Found {
    /// Whether the session is alive for certain, judged by this half alone.
    #[inline(always)]
    pub fn is_fresh(&self, settings: &Settings, now: Tick) -> bool {
        self.half.last_seen == now
            || now.since(self.half.last_seen) <= settings.timeouts.certain(self.half.protocol)
    }

    /// Remembers the next hop, if the entry still is this session's and nobody else has.
    #[inline(always)]
    pub fn remember(&self, ticket: Ticket) {
        // SAFETY: the entry is readable and writable until the program ends, and a `Ticket` is one
        // aligned word. If the entry was given to another session at this very moment, the ticket,
        // which was not for that one, is taken back.
        unsafe {
            let word = (&raw mut (*self.entry).ticket).cast::<u64>();
            if atomic::swap(word, self.half.ticket.0, ticket.0) {
                let now = copy(self.entry);
                let old = &self.half;
                let same = now.from == old.from
                    && (now.address, now.id, now.flags) == (old.address, old.id, old.flags)
                    && (now.wan, now.created) == (old.wan, old.created);
                if !same {
                    ptr::write_volatile(word, Ticket::NONE.0);
                }
            }
        }
    }

    /// Notes what has passed. Writes no more than has changed; TCP resets do not keep a session
    /// alive.
    #[inline(always)]
    pub fn touch(&self, now: Tick, passed: &Passed) {
        let half = &self.half;
        let (flags, sequence) =
            tcp::believed(half.tcp_seen, half.sequence, passed.tcp_flags, passed.sequence);
        // The first reset starts the timer of a closing session; further ones do not move it, and
        // neither do those that nobody believes.
        let reset = half.protocol == TCP
            && passed.tcp_flags & tcp::RST != 0
            && flags & !half.tcp_seen & tcp::RST == 0;
        // SAFETY: the entry is readable and writable until the program ends. If it was given to
        // another session since it was copied, that one gets a packet too many and a time stamp
        // that is not wrong, but nothing of what the old one has seen. Counters are added to
        // atomically: both CPUs may see one direction.
        unsafe {
            if half.last_seen != now && !reset {
                ptr::write_volatile(&raw mut (*self.entry).last_seen, now);
            }
            let there = &raw const *self.entry;
            if half.protocol == TCP
                && ptr::read_volatile(&raw const (*there).from) == half.from
                && ptr::read_volatile(&raw const (*there).created) == half.created
            {
                let seen = tcp::observe(half.tcp_seen, flags);
                if seen != half.tcp_seen {
                    ptr::write_volatile(&raw mut (*self.entry).tcp_seen, seen);
                }
                if sequence != half.sequence {
                    ptr::write_volatile(&raw mut (*self.entry).sequence, sequence);
                }
            }
            atomic::add(&raw mut (*self.entry).packets, passed.packets);
            atomic::add(&raw mut (*self.entry).bytes, passed.bytes);
        }
    }
}

/// Counts packets that have no ports of their own for the half of `key`, and does nothing else to it: a
/// packet that has some was there just before them. If it is there, `key` becomes what they leave with.
#[inline(always)]
pub fn count(key: &mut FlowKey, packets: u64, bytes: u64) -> bool {
    let Some(entry) = table::get(key) else { return false };
    // SAFETY: as in `entry`, and as in `touch`.
    unsafe {
        if !(*entry).belongs_to(key) {
            return false;
        }
        atomic::add(&raw mut (*entry).packets, packets);
        atomic::add(&raw mut (*entry).bytes, bytes);
        *key = (*entry).to().key(key.protocol);
    }
    true
}

/// What passes a half with one packet.
pub struct Passed {
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// Upper half of the sequence number of a TCP segment, host byte order.
    pub sequence: u16,
    /// Number of packets that this one is on the wire.
    pub packets: u64,
    /// Their bytes from the IP header on.
    pub bytes: u64,
}

/// The entry of a key, for whoever ends the session: nothing is copied. `None` if there is none,
/// or if it has just been given to another key.
#[inline(always)]
pub fn entry(key: &FlowKey) -> Option<&'static SessionHalf> {
    // SAFETY: a part of the table. Fields may change under our hands if the entry is given to another
    // session; see `retire` for what follows from that.
    let half = unsafe { &*table::get(key)? };
    half.belongs_to(key).then_some(half)
}

/// Whether the session of a half is alive; looks at the other half if this one does not tell.
#[inline(always)]
pub fn is_alive(half: &SessionHalf, settings: &Settings, now: Tick) -> bool {
    let certain = settings.timeouts.certain(half.protocol);
    if half.flags & flags::FROM_OUTSIDE == 0 && now.since(half.last_seen) <= certain {
        return true;
    }
    match entry(&half.partner()) {
        Some(other) => remaining(half, other, &settings.timeouts, now).is_some(),
        None => false,
    }
}

/// Lets a connection that is closing begin anew: what both directions have sent is forgotten.
#[inline(always)]
pub fn reopen(key: &FlowKey) {
    let Some(half) = table::get(key) else { return };
    // SAFETY: as in `entry`.
    let partner = unsafe { (*half).partner() };
    let Some(other) = table::get(&partner) else { return };
    // SAFETY: as in `entry`. Of one and the same session, or one that follows it and is as young.
    unsafe {
        if (*half).belongs_to(key)
            && (*other).belongs_to(&partner)
            && matches!(phase_of(&*half, &*other), Phase::Closing | Phase::Reset)
        {
            ptr::write_volatile(&raw mut (*half).tcp_seen, 0);
            ptr::write_volatile(&raw mut (*other).tcp_seen, 0);
        }
    }
}
