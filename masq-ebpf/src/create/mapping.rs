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
    counters,
    create::{Held, Request, own_sockets},
    ports::{self, Port, Search},
    retire,
    verdict::Step,
};

/// Read when a session is created or removed, never for an established packet. Full: the first
/// packet of a new inside endpoint is dropped with [`Reason::MappingTableFull`].
#[btf_map]
static MAPPINGS: HashMap<MappingKey, Mapping, 262_144, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

const EEXIST: i32 = -17;

/// Finds or makes the mapping of the request's inside endpoint and holds its port for one more
/// session.
#[inline(never)]
pub fn acquire(request: &Request<'_>) -> Step<Held> {
    let key = key(request.owner(), request.key.protocol, request.wan);
    if let Some(port) = join(request, &key)? {
        return Ok(Held { port, flags: 0 });
    }
    let (port, generation) = claim(request).ok_or(Reason::PortsExhausted)?;
    let mapping = Mapping { generation, external: port.id, zero: 0 };
    match MAPPINGS.insert(key, mapping, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            counters::bump(Reason::MappingOpened);
            Ok(Held { port, flags: 0 })
        }
        Err(EEXIST) => {
            // Another CPU was faster with a packet of the same endpoint: use its mapping.
            retire::let_go(Held { port, flags: 0 });
            let port = join(request, &key)?.ok_or(Reason::MappingRetiring)?;
            Ok(Held { port, flags: 0 })
        }
        Err(_) => {
            retire::let_go(Held { port, flags: 0 });
            Err(Reason::MappingTableFull)
        }
    }
}

/// Holds a port for this session alone.
#[inline(never)]
pub fn acquire_apart(request: &Request<'_>) -> Step<Held> {
    let (port, _) = claim(request).ok_or(Reason::PortsExhausted)?;
    Ok(Held { port, flags: 0 })
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

/// Takes a free port: the inside one, a random one, or whichever is left.
#[inline(always)]
fn claim(request: &Request<'_>) -> Option<(Port, u32)> {
    let pool = pool(request);
    // The privileged ports are few; better an unprivileged one than none.
    let rest = if request.key.protocol == ICMP || pool == request.settings.ports {
        Pool::EMPTY
    } else {
        request.settings.ports
    };
    let port = Port { wan: request.wan, protocol: request.key.protocol, id: Id::ZERO };
    let mut search = Search::new(request, port, [pool, rest]);
    ports::claim(&mut search).then_some((search.port, search.generation))
}

/// No port is free: share one with other remote endpoints (RFC 7857 section 3), as netfilter does.
/// Which of them is really unused towards this remote one shows when the pair is inserted.
#[inline(never)]
pub fn share(request: &Request<'_>) -> Step<Held> {
    if request.settings.switches & switches::NO_OVERLAP != 0 {
        return Err(Reason::PortsExhausted);
    }
    let id = Id::new(pool(request).at(request.shared));
    if own_sockets::own_port(request, id) {
        return Err(Reason::PortsExhausted);
    }
    let port = Port { wan: request.wan, protocol: request.key.protocol, id };
    Ok(Held { port, flags: flags::OVERLAP })
}

/// A random word.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: the helper has no arguments and cannot fail.
    unsafe { bpf_get_prandom_u32() }
}
