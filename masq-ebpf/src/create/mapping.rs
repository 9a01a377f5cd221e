//! Endpoint-independent mappings (RFC 4787 REQ-1): one external port for each inside endpoint,
//! whatever it talks to.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::HashMap,
    helpers::bpf_get_prandom_u32,
    macros::btf_map,
};
use masq_common::{
    be::Id,
    flow::ICMP,
    mapping::{Mapping, MappingKey, Owner},
    ports::Pool,
    reason::Reason,
    session::flags,
    settings::switches,
};

use crate::{
    config, counters,
    create::{Held, Request, hosts, own_sockets},
    ports::{self, Port},
    retire,
    verdict::Step,
};

/// Read when a session is created or removed, never for an established packet. Full: the first
/// packet of a new inside endpoint is dropped with [`Reason::MappingTableFull`].
#[btf_map]
static MAPPINGS: HashMap<MappingKey, Mapping, 262_144, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

const EEXIST: i32 = -17;

/// Holds a port for one more session: that of the inside endpoint's mapping, which is made if need
/// be, or one for this session alone (`apart`).
#[inline(never)]
pub fn acquire(request: &Request<'_>, apart: bool) -> Answer {
    Answer::of(find_or_make(request, apart))
}

/// A port that is held, or why there is none: in one word, because of larger answers the compiler makes
/// code that reads what was never written, which the verifier refuses.
#[derive(Clone, Copy)]
pub struct Answer(u32);

impl Answer {
    const HELD: u32 = 1 << 31;

    #[inline(always)]
    fn of(step: Step<Held>) -> Self {
        match step {
            Ok(held) => {
                let id = u32::from(held.port.id.raw());
                Self(Self::HELD | u32::from(held.flags) << 16 | id)
            }
            Err(reason) => Self(reason as u32),
        }
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

#[inline(always)]
fn find_or_make(request: &Request<'_>, apart: bool) -> Step<Held> {
    let key = key(request.owner(), request.key.protocol, request.wan);
    if !apart && let Some(port) = join(request, &key)? {
        return Ok(Held { port, flags: 0 });
    }
    let host = request.key.tuple.source;
    if !apart && !hosts::claim(host, request.settings) {
        return Err(Reason::HostMappings);
    }
    let found = ports::claim(request);
    let id = found.map_or(Id::ZERO, |search| search.id);
    let port = Port { wan: request.wan, protocol: request.key.protocol, id };
    let held = Held { port, flags: Held::NEW };
    if apart {
        return if found.is_some() { Ok(held) } else { Err(Reason::PortsExhausted) };
    }
    let made = match found {
        Some(search) => make(&key, held, search.generation),
        None => Err(Reason::PortsExhausted),
    };
    let Err(reason) = made else { return Ok(held) };
    hosts::let_go(host, request.settings);
    if !matches!(reason, Reason::MappingRetiring) {
        return Err(reason);
    }
    // Another CPU was faster with a packet of the same endpoint: use its mapping.
    let port = join(request, &key)?.ok_or(Reason::MappingRetiring)?;
    Ok(Held { port, flags: 0 })
}

/// Makes the mapping of a port that was just claimed, or lets go of that. It is
/// [`Reason::MappingRetiring`] if there is one already.
#[inline(always)]
fn make(key: &MappingKey, held: Held, generation: u32) -> Step<()> {
    let mapping = Mapping { generation, external: held.port.id, zero: 0 };
    match MAPPINGS.insert(key, mapping, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            counters::bump(Reason::MappingOpened);
            Ok(())
        }
        Err(code) => {
            retire::let_go(held);
            Err(if code == EEXIST { Reason::MappingRetiring } else { Reason::MappingTableFull })
        }
    }
}

/// Removes the mapping of `owner`, if it still is the one of this generation.
#[inline(always)]
pub fn remove(port: Port, owner: Owner, generation: u32) {
    let key = key(owner, port.protocol, port.wan);
    if let Some(mapping) = find(&key)
        && mapping.external == port.id
        && mapping.generation == generation
        && MAPPINGS.remove(key).is_ok()
    {
        counters::bump(Reason::MappingClosed);
        if let Ok(settings) = config::settings() {
            hosts::let_go(owner.address, settings);
        }
    }
}

#[inline(always)]
const fn key(owner: Owner, protocol: u8, wan: u8) -> MappingKey {
    MappingKey { address: owner.address, id: owner.id, protocol, wan }
}

#[inline(always)]
fn find(key: &MappingKey) -> Option<Mapping> {
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

/// Holds the port of an existing mapping.
#[inline(always)]
fn join(request: &Request<'_>, key: &MappingKey) -> Step<Option<Port>> {
    let Some(mapping) = find(key) else { return Ok(None) };
    let port = Port { wan: key.wan, protocol: key.protocol, id: mapping.external };
    if !port.join(mapping.generation) {
        return Err(Reason::MappingRetiring);
    }
    match port.holder() {
        Some(holder) if holder.owner == request.owner() => Ok(Some(port)),
        _ => {
            retire::let_go(Held { port, flags: 0 });
            Err(Reason::MappingRetiring)
        }
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
        return Answer::of(Err(Reason::PortsExhausted));
    }
    let id = Id::new(pool(request).at(request.progress.shared));
    let port = Port { wan: request.wan, protocol: request.key.protocol, id };
    if port.is_closed() || own_sockets::own_port(request, id) {
        return Answer::of(Err(Reason::PortsExhausted));
    }
    Answer::of(Ok(Held { port, flags: flags::OVERLAP }))
}

/// No port, of a protocol that has none.
#[inline(always)]
pub const fn without() -> Answer {
    Answer(Answer::HELD | (flags::ADDRESS_ONLY as u32) << 16)
}

/// A random word.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: the helper has no arguments and cannot fail.
    unsafe { bpf_get_prandom_u32() }
}
