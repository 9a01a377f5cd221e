//! The first packet of a flow: mapping, port, pair of halves. Runs in TC, once a session; nothing
//! in here is on the way of an established packet.
//!
//! A session is made in attempts ([`attempt`]), each of which holds a port and tries to insert the
//! pair with it; whatever fails gives back what was held. The first attempt uses the mapping of
//! the inside endpoint ([`mapping`]). If the port of that is taken towards this very remote
//! endpoint, the session gets a port of its own; if none is free, it shares one.

pub mod admission;
pub mod exhausted;
pub mod hosts;
pub mod mapping;
pub mod own_sockets;
pub mod pair;
pub mod permits;

use aya_ebpf::{bindings::__sk_buff, btf_maps::PerCpuArray, helpers::bpf_loop, macros::btf_map};
use aya_log_ebpf::debug;
use masq_common::{
    be::Addr,
    flow::{FlowKey, has_ids},
    mapping::Owner,
    reason::Reason,
    session::flags,
    settings::Settings,
    time::Tick,
};

use crate::{events, ports::Port, retire, verdict::Step};

/// What the parts of the creation need to know.
pub struct Request<'a> {
    /// The context, for socket lookups.
    pub skb: *mut __sk_buff,
    /// The settings.
    pub settings: &'static Settings,
    /// The outbound packet as received from the inside.
    pub key: &'a FlowKey,
    /// Address of the WAN.
    pub external: Addr,
    /// The current tick.
    pub now: Tick,
    /// Index of the WAN.
    pub wan: u8,
    /// Flags of the new session ([`masq_common::session::flags`]).
    pub flags: u8,
    /// How the attempts get on.
    progress: &'static mut Progress,
}

/// How the attempts get on. Not on the stack but in a map, of whose values the verifier knows nothing:
/// otherwise it would go through an attempt for every way that the earlier ones may have ended.
#[repr(C)]
pub struct Progress {
    /// The next port to share, as an offset into the pool.
    shared: u32,
    /// How the next attempt gets its port: a [`Stage`].
    stage: u8,
    /// Why the last attempt has failed: a [`Reason`]; of [`Reason::SessionOpened`], it has not.
    failure: u8,
    /// How often it was tried anew because another CPU made or removed the mapping at the same moment.
    again: u8,
    /// Whether a port was shared in vain.
    shares: u8,
}

/// One for each CPU: sessions are created at TC hooks only, which do not interrupt each other.
#[btf_map]
static PROGRESS: PerCpuArray<Progress, 1> = PerCpuArray::new();

/// Where the next [`Request`] of this CPU keeps its progress.
#[inline(always)]
pub fn progress() -> Step<&'static mut Progress> {
    let progress = PROGRESS.get_ptr_mut(0).ok_or(Reason::SessionTableFull)?;
    // SAFETY: this CPU's own element, see above.
    Ok(unsafe { &mut *progress })
}

/// Whose session it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// Ours.
    New,
    /// Another CPU's.
    Adopted,
}

/// How an attempt gets a port.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// From the inside endpoint's mapping, which is made if need be.
    Mapping,
    /// A free one for this session alone.
    Apart,
    /// One that others use towards other remote endpoints.
    Shared,
    /// None: the protocol has no ports.
    Without,
    /// Not any more: another CPU has made the session.
    Adopted,
}

const MAPPING: u8 = Stage::Mapping as u8;
const APART: u8 = Stage::Apart as u8;
const WITHOUT: u8 = Stage::Without as u8;
const ADOPTED: u8 = Stage::Adopted as u8;

/// A port that is held for a session that does not exist yet.
#[derive(Clone, Copy)]
pub struct Held {
    /// The port.
    pub port: Port,
    /// [`masq_common::session::flags::OVERLAP`] if it is not held but shared,
    /// [`masq_common::session::flags::ADDRESS_ONLY`] if there is none, or 0; and [`Held::NEW`].
    pub flags: u8,
}

impl Held {
    /// The port was found for this session, and not before.
    pub const NEW: u8 = 1 << 7;

    /// Whether the port was found for this session.
    #[inline(always)]
    pub const fn is_new(self) -> bool {
        self.flags & Self::NEW != 0
    }
}

/// Attempts in all: one with the mapping and [`AGAIN`] repeated, one apart, one after room was made, and shared
/// ports in turn from a random one on.
const ATTEMPTS: u32 = 64;

/// How often it is tried anew because another CPU made or removed the mapping at the same moment.
const AGAIN: u8 = 4;

impl<'a> Request<'a> {
    /// A request for the session of an outbound packet with `key`.
    #[inline(always)]
    pub fn new(
        skb: *mut __sk_buff,
        settings: &'static Settings,
        key: &'a FlowKey,
        (external, wan): (Addr, u8),
        now: Tick,
        flags: u8,
        progress: &'static mut Progress,
    ) -> Self {
        let stage = if has_ids(key.protocol) { Stage::Mapping } else { Stage::Without };
        *progress = Progress {
            shared: mapping::random() >> 1,
            stage: stage as u8,
            failure: Reason::SessionOpened as u8,
            again: 0,
            shares: 0,
        };
        Self { skb, settings, key, external, now, wan, flags, progress }
    }

    /// The inside endpoint.
    #[inline(always)]
    pub const fn owner(&self) -> Owner {
        Owner { address: self.key.tuple.source, id: self.key.tuple.source_id }
    }

    /// Creates the session, or finds that another CPU has just done so.
    #[inline(always)]
    pub fn create(&mut self) -> Step<()> {
        let host = self.key.tuple.source;
        // The router itself has no limit.
        let counted = self.flags & flags::OWN == 0
            && hosts::admit(host, self.settings).inspect_err(|&reason| self.refuse(reason))?;
        if counted {
            self.flags |= flags::COUNTED;
        }
        let created = self.try_all();
        if counted && !matches!(created, Ok(Made::New)) {
            hosts::release(host);
        }
        created.map(|_| ())
    }

    /// Says that a first packet is dropped.
    #[inline(always)]
    fn refuse(&self, reason: Reason) {
        events::refused(self.settings, self.key, reason);
    }

    /// One attempt after the other.
    #[inline(always)]
    fn try_all(&mut self) -> Step<Made> {
        self.progress.failure = Reason::PortsExhausted as u8;
        // SAFETY: the callback has the signature that the helper calls; `self` outlives the call.
        unsafe {
            bpf_loop(ATTEMPTS, attempt as *mut _, (&raw mut *self).cast(), 0);
        }
        // Compiled away by the verifier unless the daemon was told to log (AYA_LOG_LEVEL).
        debug!(
            (),
            "session {:i}:{} -> {:i}:{} protocol {}: reason {}",
            core::net::Ipv4Addr::from(self.key.tuple.source),
            self.key.tuple.source_id.get(),
            core::net::Ipv4Addr::from(self.key.tuple.destination),
            self.key.tuple.destination_id.get(),
            self.key.protocol,
            self.progress.failure
        );
        if self.progress.failure == Reason::SessionOpened as u8 {
            return Ok(if self.progress.stage == ADOPTED { Made::Adopted } else { Made::New });
        }
        let reason = Reason::from_number(self.progress.failure).unwrap_or(Reason::PortsExhausted);
        if self.progress.shares != 0 && matches!(reason, Reason::PortsExhausted) {
            exhausted::note(self);
        }
        self.refuse(reason);
        Err(reason)
    }

    /// What follows from a port being taken towards the remote endpoint.
    #[inline(always)]
    fn step_aside(&mut self) {
        let progress = &mut *self.progress;
        match progress.stage {
            MAPPING => progress.stage = Stage::Apart as u8,
            WITHOUT => progress.failure = Reason::ProtocolConflict as u8,
            _ => progress.stage = Stage::Shared as u8,
        }
    }
}

/// One attempt: 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn attempt(_step: u32, request: *mut Request<'_>) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `create` has passed.
    let request = unsafe { &mut *request };
    let stage = request.progress.stage;
    let answer = match stage {
        MAPPING | APART => mapping::acquire(request, stage == APART),
        WITHOUT => mapping::without(),
        _ => {
            if request.progress.shares == 0 && exhausted::is_known(request) {
                request.progress.failure = Reason::PortsExhausted as u8;
                return 1;
            }
            request.progress.shares = 1;
            request.progress.shared += 1;
            mapping::share(request)
        }
    };
    if let Some(reason) = answer.refusal() {
        if reason == Reason::PortsExhausted as u8 && stage != Stage::Shared as u8 {
            request.progress.stage = Stage::Shared as u8;
            return 0;
        }
        if reason == Reason::MappingRetiring as u8 && request.progress.again < AGAIN {
            request.progress.again += 1;
            return 0;
        }
        request.progress.failure = reason;
        // A shared port that one of the router's sockets uses: another one may do.
        return i64::from(reason != Reason::PortsExhausted as u8);
    }
    let held = answer.held(request);
    let mut insertion = pair::insert(request, held);
    if insertion == pair::Insertion::InTheWay {
        insertion = pair::make_room(request);
    }
    match insertion {
        pair::Insertion::Done => {
            request.progress.failure = Reason::SessionOpened as u8;
            return 1;
        }
        pair::Insertion::RoomMade => {}
        pair::Insertion::Taken | pair::Insertion::InTheWay => request.step_aside(),
        pair::Insertion::Adopted => {
            request.progress.failure = Reason::SessionOpened as u8;
            request.progress.stage = ADOPTED;
        }
        pair::Insertion::Full => request.progress.failure = Reason::SessionTableFull as u8,
        pair::Insertion::Busy => request.progress.failure = Reason::MappingRetiring as u8,
    }
    retire::let_go(held);
    let ended = request.progress.failure != Reason::PortsExhausted as u8;
    i64::from(ended)
}

/// Whether a session shares its port.
#[inline(always)]
pub const fn is_shared(held: Held) -> bool {
    held.flags & flags::OVERLAP != 0
}
