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

/// Holds a port for one more session: that of the inside endpoint's mapping, which is made if need
/// be, or one for this session alone (`apart`).
#[inline(never)]
pub fn acquire(request: &Request<'_>, apart: bool) -> Step<Held> {
    let key = key(request.owner(), request.key.protocol, request.wan);
    if !apart && let Some(port) = join(request, &key)? {
        return Ok(Held { port, flags: 0 });
    }
    let host = request.key.tuple.source;
    if !apart && !hosts::claim(host, request.settings) {
        return Err(Reason::HostMappings);
    }
    let mut search = search(request);
    let found = ports::claim(&mut search);
    let held = Held { port: search.port, flags: 0 };
    if apart {
        return if found { Ok(held) } else { Err(Reason::PortsExhausted) };
    }
    let made =
        if found { make(&key, held, search.generation) } else { Err(Reason::PortsExhausted) };
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

/// The search for a free port: the inside one, a random one, or whichever is left.
#[inline(always)]
fn search<'a>(request: &'a Request<'a>) -> Search<'a> {
    let pool = pool(request);
    // The privileged ports are few; better an unprivileged one than none.
    let rest = if request.key.protocol == ICMP || pool == request.settings.ports {
        Pool::EMPTY
    } else {
        request.settings.ports
    };
    let port = Port { wan: request.wan, protocol: request.key.protocol, id: Id::ZERO };
    Search::new(request, port, [pool, rest])
}

/// No port is free: share one with other remote endpoints (RFC 7857 section 3), as netfilter does.
/// Which of them is really unused towards this remote one shows when the pair is inserted.
#[inline(never)]
pub fn share(request: &Request<'_>) -> Step<Held> {
    if request.settings.switches & switches::NO_OVERLAP != 0 {
        return Err(Reason::PortsExhausted);
    }
    let id = Id::new(pool(request).at(request.shared));
    let port = Port { wan: request.wan, protocol: request.key.protocol, id };
    if port.is_closed() || own_sockets::own_port(request, id) {
        return Err(Reason::PortsExhausted);
    }
    Ok(Held { port, flags: flags::OVERLAP })
}

/// No port, of a protocol that has none.
#[inline(always)]
pub const fn without(request: &Request<'_>) -> Held {
    let port = Port { wan: request.wan, protocol: request.key.protocol, id: Id::ZERO };
    Held { port, flags: flags::ADDRESS_ONLY }
}

/// A random word.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: the helper has no arguments and cannot fail.
    unsafe { bpf_get_prandom_u32() }
}
