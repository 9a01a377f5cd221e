//! Endpoint-independent mappings (RFC 4787 REQ-1): one external port for each inside endpoint,
//! whatever it talks to.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{Array, HashMap},
    helpers::{bpf_get_prandom_u32, bpf_loop},
    macros::btf_map,
};
use masq_common::{
    be::Id,
    flow::ICMP,
    mapping::{Making, Mapping, MappingKey, Owner},
    ports::Pool,
    reason::Reason,
    session::flags,
    settings::switches,
};

use crate::{
    atomic, config, counters,
    create::{Held, Request, hosts, own_sockets},
    ports::{self, Holder, Port},
    retire,
};

/// Mappings that do not [preserve](Owner::PRESERVED) the inside port. Read when a session is created or removed,
/// never for an established packet. Full: the first packet of a new inside endpoint is dropped with
/// [`Reason::MappingTableFull`].
#[btf_map]
static MAPPINGS: HashMap<MappingKey, Mapping, 262_144, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Of the inside endpoints, by [`Making::index`].
#[btf_map]
static ENDPOINTS: Array<u64, { Making::WORDS as usize }> = Array::new();

/// How often somebody tries to get a lock: some times as long as an entry of a hash takes.
const PATIENCE: u32 = 512;

const EEXIST: i32 = -17;

/// Holds a port for one more session: that of the inside endpoint's mapping, which is made if need
/// be, or one for this session alone (`apart`).
#[inline(never)]
pub fn acquire(request: &Request<'_>, apart: bool) -> Answer {
    let host = request.key.tuple.source;
    if !apart {
        let joined = join(request);
        if !joined.is_none() {
            return joined;
        }
        if !hosts::claim(host, request.settings) {
            return Answer::refused(Reason::HostMappings);
        }
    }
    let made = make(request, apart);
    if !apart {
        match made.refusal() {
            None => counters::bump(Reason::MappingOpened),
            Some(_) => hosts::let_go(host, request.settings),
        }
    }
    made
}

/// A port that is held, or why there is none: in one word, because of larger answers the compiler makes
/// code that reads what was never written, which the verifier refuses.
#[derive(Clone, Copy)]
pub struct Answer(u32);

impl Answer {
    const HELD: u32 = 1 << 31;

    /// There is nothing to be said of a port.
    const NONE: Self = Self(0);

    /// A port that is held.
    #[inline(always)]
    const fn of(id: Id, flags: u8) -> Self {
        Self(Self::HELD | (flags as u32) << 16 | id.raw() as u32)
    }

    /// Why there is none.
    #[inline(always)]
    const fn refused(reason: Reason) -> Self {
        Self(reason as u32)
    }

    #[inline(always)]
    const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Why there is no port: the number of a reason.
    #[inline(always)]
    pub const fn refusal(self) -> Option<u8> {
        if self.0 & Self::HELD == 0 { Some(self.0 as u8) } else { None }
    }

    /// The port, if there is one.
    #[inline(always)]
    pub const fn held(self, request: &Request<'_>) -> Held {
        let id = Id::from_raw(self.0 as u16);
        let port = Port { wan: request.wan, protocol: request.key.protocol, id };
        Held { port, flags: (self.0 >> 16) as u8 }
    }
}

/// Finds a port that is free, for a mapping that is made or for one session alone.
#[inline(always)]
fn make(request: &Request<'_>, apart: bool) -> Answer {
    if !apart {
        let preserved = preserve(request);
        if !preserved.is_none() {
            return preserved;
        }
    }
    let Some(found) = ports::claim(request) else {
        return Answer::refused(Reason::PortsExhausted);
    };
    if !apart {
        let refusal = enter(request, found.id, found.generation);
        if !refusal.is_none() {
            let port = Port { id: found.id, ..same_port(request) };
            retire::let_go(Held { port, flags: 0 });
            return refusal;
        }
    }
    Answer::of(found.id, Held::NEW)
}

/// Makes a mapping with the inside endpoint's own port, if that is to be had (RFC 4787 section 4.2.1, port
/// preservation). Refused as in [`enter`].
#[inline(never)]
fn preserve(request: &Request<'_>) -> Answer {
    let port = same_port(request);
    // The cheap questions first.
    if !pool(request).contains(port.id.get())
        || !port.is_free()
        || port.rests(ports::quarantine(request), request.now)
        || own_sockets::own_port(request, port.id)
    {
        return Answer::NONE;
    }
    let key = key(request);
    if !lock(&key) {
        return Answer::refused(Reason::MappingRetiring);
    }
    let answer = if may_be_listed(&key) && MAPPINGS.get_ptr(key).is_some() {
        Answer::refused(Reason::MappingRetiring)
    } else if port.claim(request.owner().pack() | Owner::PRESERVED).is_some() {
        Answer::of(port.id, Held::NEW)
    } else {
        Answer::NONE
    };
    unlock(&key);
    answer
}

/// Enters the mapping of a port that was just claimed into the hash. Refused with [`Reason::MappingRetiring`] if
/// another CPU is making a mapping of the inside endpoint, or has made one.
#[inline(never)]
fn enter(request: &Request<'_>, external: Id, generation: u32) -> Answer {
    let key = key(request);
    let mapping = Mapping { generation, external, zero: 0 };
    let code = if lock(&key) {
        let code = match same_port(request).preserved_by(request.owner()) {
            Some(_) => EEXIST,
            None => insert(&key, mapping),
        };
        unlock(&key);
        code
    } else {
        EEXIST
    };
    match code {
        0 => Answer::NONE,
        EEXIST => Answer::refused(Reason::MappingRetiring),
        _ => Answer::refused(Reason::MappingTableFull),
    }
}

/// The port outside that the inside endpoint has inside.
#[inline(always)]
const fn same_port(request: &Request<'_>) -> Port {
    let id = request.key.tuple.source_id;
    Port { wan: request.wan, protocol: request.key.protocol, id }
}

/// Enters a mapping into the hash; an error of the kernel, or 0.
#[inline(always)]
fn insert(key: &MappingKey, mapping: Mapping) -> i32 {
    add(key, Making::LISTED);
    match MAPPINGS.insert(key, mapping, u64::from(BPF_NOEXIST)) {
        Ok(()) => 0,
        Err(code) => {
            add(key, Making::LISTED.wrapping_neg());
            code
        }
    }
}

/// Keeps other CPUs from making a mapping of an inside endpoint; false if one does so for too long.
#[inline(always)]
fn lock(key: &MappingKey) -> bool {
    let mut lock = Lock { index: Making::index(key), done: 0 };
    // SAFETY: the callback has the signature that the helper calls; `lock` outlives the call.
    unsafe { bpf_loop(PATIENCE, try_to_lock as *mut _, (&raw mut lock).cast(), 0) };
    lock.done != 0
}

/// What the loop of [`lock`] carries.
struct Lock {
    index: u32,
    done: u32,
}

/// One step of [`lock`]: 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn try_to_lock(_: u32, lock: *mut Lock) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `lock` has passed.
    let lock = unsafe { &mut *lock };
    let Some(word) = ENDPOINTS.get_ptr_mut(lock.index) else { return 1 };
    // SAFETY: an element of an array; a single aligned word, so it is never torn.
    let there = Making(unsafe { ptr::read_volatile(word) });
    let Some(locked) = there.locked() else { return 0 };
    // SAFETY: as above, and changed atomically only.
    let done = unsafe { atomic::swap(word, there.0, locked.0) };
    if done {
        lock.done = 1;
    }
    done.into()
}

/// Ends what [`lock`] has begun.
#[inline(always)]
fn unlock(key: &MappingKey) {
    add(key, Making::LOCKED.wrapping_neg());
}

/// Adds to the word of an endpoint. A full barrier.
#[inline(always)]
fn add(key: &MappingKey, what: u64) {
    if let Some(word) = ENDPOINTS.get_ptr_mut(Making::index(key)) {
        // SAFETY: as above.
        unsafe { atomic::fetch_add(word, what) };
    }
}

/// Whether there may be an entry for an endpoint in the hash. So most endpoints need not be looked for there,
/// where the CPU would wait for memory each time.
#[inline(always)]
fn may_be_listed(key: &MappingKey) -> bool {
    // SAFETY: as above.
    let word =
        ENDPOINTS.get_ptr(Making::index(key)).map(|word| unsafe { ptr::read_volatile(word) });
    word.is_none_or(|word| Making(word).is_listed())
}

/// Removes the mapping of `holder`, if it still is the one of this generation.
#[inline(always)]
pub fn remove(port: Port, holder: Holder) {
    let owner = holder.owner;
    if !holder.preserved {
        let key = key_of(owner, port.protocol, port.wan);
        let listed = find(&key).is_some_and(|mapping| {
            mapping.external == port.id && mapping.generation == holder.generation
        });
        if !listed || MAPPINGS.remove(key).is_err() {
            return;
        }
        add(&key, Making::LISTED.wrapping_neg());
    }
    counters::bump(Reason::MappingClosed);
    if let Ok(settings) = config::settings() {
        hosts::let_go(owner.address, settings);
    }
}

#[inline(always)]
const fn key(request: &Request<'_>) -> MappingKey {
    key_of(request.owner(), request.key.protocol, request.wan)
}

#[inline(always)]
const fn key_of(owner: Owner, protocol: u8, wan: u8) -> MappingKey {
    MappingKey { address: owner.address, id: owner.id, protocol, wan }
}

#[inline(always)]
fn find(key: &MappingKey) -> Option<Mapping> {
    if !may_be_listed(key) {
        return None;
    }
    let mapping = MAPPINGS.get_ptr(key)?.cast::<u64>();
    // SAFETY: a value of eight aligned bytes, read at once. The entry may have been given to
    // another mapping: whoever joins its port checks the owner.
    let word = unsafe { ptr::read_volatile(mapping) }.to_ne_bytes();
    Some(Mapping {
        generation: u32::from_ne_bytes([word[0], word[1], word[2], word[3]]),
        external: Id::from_raw(u16::from_ne_bytes([word[4], word[5]])),
        zero: 0,
    })
}

/// Holds the port of an existing mapping. One that just ends refuses with [`Reason::MappingRetiring`]: in a moment
/// the inside endpoint may have the same port again.
#[inline(never)]
fn join(request: &Request<'_>) -> Answer {
    let mut port = same_port(request);
    let generation = match port.preserved_by(request.owner()) {
        Some(state) if !state.is_held() => return Answer::refused(Reason::MappingRetiring),
        Some(state) => state.generation(),
        None => {
            let Some(mapping) = find(&key(request)) else { return Answer::NONE };
            port.id = mapping.external;
            match port.holder() {
                // The entry may just have been given to another mapping: so its owner is asked for. Who then
                // joins this generation has joined his.
                Some(holder)
                    if holder.owner == request.owner()
                        && holder.generation == mapping.generation =>
                {
                    mapping.generation
                }
                _ => return Answer::refused(Reason::MappingRetiring),
            }
        }
    };
    match port.join(generation) {
        true => Answer::of(port.id, 0),
        false => Answer::refused(Reason::MappingRetiring),
    }
}

/// The pool that the external port comes from: ICMP identifiers, or ports of the same class as the
/// inside one (RFC 4787 REQ-3a).
#[inline(always)]
fn pool(request: &Request<'_>) -> Pool {
    let settings = request.settings;
    if request.key.protocol == ICMP {
        settings.identifiers
    } else if request.key.tuple.source_id.get() < 1024 && !settings.privileged.is_empty() {
        settings.privileged
    } else {
        settings.ports
    }
}

/// The pools to search for a free port.
#[inline(always)]
pub fn pools(request: &Request<'_>) -> [Pool; 2] {
    let pool = pool(request);
    // The privileged ports are few; better an unprivileged one than none.
    let rest = if request.key.protocol == ICMP || pool == request.settings.ports {
        Pool::EMPTY
    } else {
        request.settings.ports
    };
    [pool, rest]
}

/// No port is free: share one with other remote endpoints (RFC 7857 section 3), as netfilter does.
/// Which of them is really unused towards this remote one shows when the pair is inserted.
#[inline(never)]
pub fn share(request: &Request<'_>) -> Answer {
    if request.settings.switches & switches::NO_OVERLAP != 0 {
        return Answer::refused(Reason::PortsExhausted);
    }
    let id = Id::new(pool(request).at(request.progress.shared));
    let port = Port { wan: request.wan, protocol: request.key.protocol, id };
    if port.is_closed() || own_sockets::own_port(request, id) {
        return Answer::refused(Reason::PortsExhausted);
    }
    Answer::of(id, flags::OVERLAP)
}

/// No port, of a protocol that has none.
#[inline(always)]
pub const fn without() -> Answer {
    Answer::of(Id::ZERO, flags::ADDRESS_ONLY)
}

/// A random word.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: the helper has no arguments and cannot fail.
    unsafe { bpf_get_prandom_u32() }
}
