//! The session table: find a half, refresh it, insert and remove pairs.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::HashMap,
    macros::btf_map,
};
use masq_common::{
    flow::{FlowKey, TCP, Tuple},
    hop::Ticket,
    session::{SessionHalf, SessionPair, flags, phase_of, remaining},
    settings::Settings,
    tcp::{self, Phase},
    time::Tick,
};

use crate::atomic;

/// Two entries a session. Never an LRU map: that would end living sessions under load. Without
/// preallocation, so that an empty table costs little. Full: the first packet of a new session is
/// dropped with [`Reason::SessionTableFull`]; established ones do not notice.
#[btf_map]
static SESSIONS: HashMap<FlowKey, SessionHalf, 524_288, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// A half as it was found: a copy to act on, and where it lives, to be refreshed.
pub struct Found {
    entry: *mut SessionHalf,
    /// The copy; it belongs to the key that was asked for. Without its counters.
    pub half: SessionHalf,
}

/// Looks a packet up.
#[inline(always)]
pub fn find(tuple: &Tuple, protocol: u8) -> Option<Found> {
    // Word by word: the compiler would call a function to clear the three bytes of padding.
    let words: [u32; 4] = [
        tuple.source.raw(),
        tuple.destination.raw(),
        u32::from(tuple.source_id.raw()) | u32::from(tuple.destination_id.raw()) << 16,
        u32::from(protocol),
    ];
    // SAFETY: the words have the size, the alignment and (on a little-endian machine, as all that
    // this is built for) the bytes of the key.
    let key: &FlowKey = unsafe { &*words.as_ptr().cast() };
    let entry = SESSIONS.get_ptr_mut(key)?;
    let half = copy(entry);
    (half.from == *tuple && half.protocol == protocol).then_some(Found { entry, half })
}

/// Copies what a packet needs, the key last. The entry may be given to another session at any
/// moment; the kernel then writes the new value in ascending order, so that a rewrite of the new
/// session is only ever read together with its key (see [`masq_common::session`]).
#[inline(always)]
fn copy(entry: *const SessionHalf) -> SessionHalf {
    macro_rules! read {
        ($field:ident) => {
            // SAFETY: `entry` comes from a successful lookup: the kernel keeps the memory readable
            // until the program ends. Volatile, because the order of the reads matters.
            unsafe { ptr::read_volatile(&raw const (*entry).$field) }
        };
    }
    let (created, tcp_seen, flags) = (read!(created), read!(tcp_seen), read!(flags));
    let (protocol, wan, last_seen) = (read!(protocol), read!(wan), read!(last_seen));
    let (ticket, sequence) = (read!(ticket), read!(sequence));
    let (id, address) = (read!(id), read!(address));
    let from = read!(from);
    SessionHalf {
        from,
        address,
        id,
        sequence,
        last_seen,
        ticket,
        packets: 0,
        bytes: 0,
        created,
        tcp_seen,
        flags,
        protocol,
        wan,
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
        // that is not wrong. Counters are added to atomically: both CPUs may see one direction.
        unsafe {
            if half.last_seen != now && !reset {
                ptr::write_volatile(&raw mut (*self.entry).last_seen, now);
            }
            if half.protocol == TCP {
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
    let Some(entry) = SESSIONS.get_ptr_mut(*key) else { return false };
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
    // SAFETY: the kernel keeps the memory readable until the program ends. Fields may change under
    // our hands if the entry is given to another session; see `retire` for what follows from that.
    let half = unsafe { &*SESSIONS.get_ptr(key)? };
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
    let Some(half) = SESSIONS.get_ptr_mut(key) else { return };
    // SAFETY: as in `entry`.
    let Some(other) = SESSIONS.get_ptr_mut(unsafe { (*half).partner() }) else { return };
    // SAFETY: as in `entry`; at worst another session's phase falls back to "opening".
    unsafe {
        if matches!(phase_of(&*half, &*other), Phase::Closing | Phase::Reset) {
            ptr::write_volatile(&raw mut (*half).tcp_seen, 0);
            ptr::write_volatile(&raw mut (*other).tcp_seen, 0);
        }
    }
}

/// Why a pair was not inserted.
#[derive(Clone, Copy)]
pub enum Refusal {
    /// Something answers to the inbound key already.
    InboundTaken,
    /// Another CPU has just created a session for the outbound key.
    OutboundTaken,
    /// The table is full, or the kernel has no memory.
    Full,
}

const EEXIST: i32 = -17;

/// Inserts both halves or none. The inbound half first: it is what makes an external endpoint
/// unique towards this remote one, and without it no answer would come back.
#[inline(never)]
pub fn insert(pair: &SessionPair) -> Result<(), Refusal> {
    let inbound = pair.inbound.key();
    match SESSIONS.insert(inbound, pair.inbound, u64::from(BPF_NOEXIST)) {
        Ok(()) => {}
        Err(EEXIST) => return Err(Refusal::InboundTaken),
        Err(_) => return Err(Refusal::Full),
    }
    match SESSIONS.insert(pair.outbound.key(), pair.outbound, u64::from(BPF_NOEXIST)) {
        Ok(()) => Ok(()),
        Err(code) => {
            remove(&inbound);
            Err(if code == EEXIST { Refusal::OutboundTaken } else { Refusal::Full })
        }
    }
}

/// Removes one half; true for exactly one of those that try at the same time.
#[inline(always)]
pub fn remove(key: &FlowKey) -> bool {
    SESSIONS.remove(key).is_ok()
}
