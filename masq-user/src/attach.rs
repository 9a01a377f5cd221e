//! Attaching the programs to interfaces and taking them off again: which program belongs to which
//! hook, and in which order. Knows nothing of addresses and sessions.
//!
//! The order matters. WAN egress comes first and goes last: it is what keeps packets with an
//! inside source from leaving. XDP comes last and goes first: it only makes faster what works
//! without it.

use std::{collections::BTreeMap, io, rc::Rc};

use anyhow::{Context as _, Result, anyhow};
use aya::programs::{
    LinkOrder, ProgramError, TcAttachType, XdpMode,
    links::Link as _,
    tc::{
        NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_add_clsact,
        qdisc_detach_program,
    },
    xdp::{XdpError, XdpLink},
};
use masq_common::abi::programs;

use crate::{
    cli::TcAttach,
    plan::{Fast, Hooks, Interface, Present, Role},
    plane::Plane,
    preflight::Release,
};

/// A point where a program of masq can be, in the order of attaching.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hook {
    /// Packets that leave through a WAN.
    WanOut,
    /// Packets that come in through a WAN.
    WanIn,
    /// Packets that come in through a LAN.
    LanIn,
    /// Packets of both kinds of interface, before the kernel makes a socket buffer of them.
    Fast,
}

impl Hook {
    /// All hooks, in the order of attaching.
    pub const ALL: [Self; 4] = [Self::WanOut, Self::WanIn, Self::LanIn, Self::Fast];

    /// Whether an interface of this role has this hook.
    const fn belongs_to(self, role: Role) -> bool {
        match self {
            Self::WanOut | Self::WanIn => matches!(role, Role::Wan(_)),
            Self::LanIn => matches!(role, Role::Lan),
            Self::Fast => true,
        }
    }

    const fn program(self, ethernet: bool) -> &'static str {
        match (self, ethernet) {
            (Self::WanOut, true) => programs::WAN_OUT_ETHER,
            (Self::WanOut, false) => programs::WAN_OUT_RAW,
            (Self::WanIn, true) => programs::WAN_IN_ETHER,
            (Self::WanIn, false) => programs::WAN_IN_RAW,
            (Self::LanIn, true) => programs::LAN_IN_ETHER,
            (Self::LanIn, false) => programs::LAN_IN_RAW,
            (Self::Fast, _) => programs::FAST_XDP,
        }
    }

    const fn direction(self) -> TcAttachType {
        match self {
            Self::WanOut => TcAttachType::Egress,
            Self::WanIn | Self::LanIn | Self::Fast => TcAttachType::Ingress,
        }
    }
}

/// How TC programs are attached on this kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcKind {
    /// tcx links: gone with the process that holds them.
    Tcx,
    /// Filters of a clsact qdisc: stay until removed.
    Clsact,
}

impl TcKind {
    /// By the wish of the user or else by the version of the kernel.
    pub fn choose(wish: TcAttach, release: Release) -> Self {
        match wish {
            TcAttach::Tcx => Self::Tcx,
            TcAttach::Clsact => Self::Clsact,
            // tcx came with 6.6 (kernel e420bed02507).
            TcAttach::Auto if release >= Release::new(6, 6) => Self::Tcx,
            TcAttach::Auto => Self::Clsact,
        }
    }
}

/// A program that is attached; taken off when dropped.
enum Link {
    Tc(SchedClassifierLink),
    Xdp(XdpLink),
}

/// The programs on one interface.
pub struct Attached {
    /// Name of the interface.
    pub name: String,
    links: BTreeMap<Hook, Link>,
    /// Whether the clsact qdisc is ours to remove.
    pub owns_clsact: bool,
    /// Why the fast path is where it is.
    pub why: String,
}

impl Attached {
    /// Whether the fast path is in the driver.
    pub fn is_xdp(&self) -> bool {
        self.links.contains_key(&Hook::Fast)
    }

    /// What of it the device table tells.
    pub fn hooks(&self) -> Hooks {
        Hooks { xdp: self.is_xdp(), wan_out: self.links.contains_key(&Hook::WanOut) }
    }

    /// Takes the program off one hook, if there is one. What has vanished with its interface is
    /// off already, so failure means nothing to the caller.
    pub fn detach(&mut self, hook: Hook) {
        let result = match self.links.remove(&hook) {
            Some(Link::Tc(link)) => link.detach(),
            Some(Link::Xdp(link)) => link.detach(),
            None => Ok(()),
        };
        if let Err(error) = result {
            tracing::debug!(?hook, %error, "program was off already");
        }
    }

    /// Takes everything off, in the reverse order of attaching.
    pub fn detach_all(&mut self) {
        Hook::ALL.iter().rev().for_each(|&hook| self.detach(hook));
    }
}

/// Attaches programs.
pub struct Attacher {
    plane: Rc<Plane>,
    kind: TcKind,
}

impl Attacher {
    /// With the programs of `plane`.
    pub const fn new(plane: Rc<Plane>, kind: TcKind) -> Self {
        Self { plane, kind }
    }

    /// Loads the programs that an interface needs or may need: one that is not there yet may turn
    /// out to be of either kind, and nothing must leave through it while the verifier works.
    pub fn load(&self, interface: &Interface) -> Result<()> {
        let kinds = match &interface.present {
            Some(present) => vec![present.ethernet],
            None => vec![true, false],
        };
        for hook in Hook::ALL.into_iter().filter(|hook| hook.belongs_to(interface.role)) {
            for &ethernet in kinds.iter().filter(|_| hook != Hook::Fast) {
                self.plane.load_classifier(hook.program(ethernet))?;
            }
        }
        Ok(())
    }

    /// Prepares an interface; nothing is attached to it yet.
    pub fn prepare(&self, interface: &Interface) -> Result<Attached> {
        let owns_clsact = match self.kind {
            TcKind::Tcx => false,
            TcKind::Clsact => add_clsact(&interface.name)? || remove_stale(&interface.name),
        };
        let name = interface.name.clone();
        Ok(Attached { name, links: BTreeMap::new(), owns_clsact, why: String::new() })
    }

    /// Attaches one hook of an interface, if the interface has it.
    pub fn attach(
        &self,
        hook: Hook,
        interface: &Interface,
        present: &Present,
        attached: &mut Attached,
    ) -> Result<()> {
        if !hook.belongs_to(interface.role) {
            return Ok(());
        }
        if hook == Hook::Fast {
            return self.attach_fast(interface, present, attached);
        }
        let link = self.attach_tc(hook, &interface.name, present.ethernet)?;
        attached.links.insert(hook, Link::Tc(link));
        Ok(())
    }

    fn attach_tc(&self, hook: Hook, name: &str, ethernet: bool) -> Result<SchedClassifierLink> {
        let program = hook.program(ethernet);
        let options = match self.kind {
            // Before all others: a program that ends the chain with "pass" must not let packets
            // leave untranslated.
            TcKind::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
            TcKind::Clsact => {
                TcAttachOptions::Netlink(NlOptions { priority: 1, ..NlOptions::default() })
            }
        };
        self.plane
            .with_classifier(program, |program| {
                let id = program.attach_with_options(name, hook.direction(), options)?;
                Ok(program.take_link(id)?)
            })
            .with_context(|| format!("cannot attach {program} to {name}"))
    }

    fn attach_fast(
        &self,
        interface: &Interface,
        present: &Present,
        attached: &mut Attached,
    ) -> Result<()> {
        let forced = match &present.fast {
            Fast::Tc(why) => {
                attached.why.clone_from(why);
                return Ok(());
            }
            Fast::TryXdp => false,
            Fast::ForceXdp => true,
        };
        match self.attach_xdp(present.index) {
            Ok(link) => {
                attached.links.insert(Hook::Fast, Link::Xdp(link));
                let why = if forced { "asked for" } else { "network card whose driver can" };
                attached.why = why.to_owned();
                Ok(())
            }
            Err(why) if forced => Err(anyhow!(
                "cannot attach native XDP to {}: {why}; use --mode auto or --mode tc",
                interface.name
            )),
            Err(why) => {
                attached.why = format!("native XDP is not possible: {why}");
                Ok(())
            }
        }
    }

    fn attach_xdp(&self, index: u32) -> Result<XdpLink, String> {
        let attached = self.plane.with_fast_xdp(|program| {
            // Driver mode only: generic XDP is slower than TC and breaks up GSO packets.
            match program.attach_to_if_index(index, XdpMode::Driver) {
                Ok(id) => Ok(Ok(program.take_link(id)?)),
                Err(error) => Ok(Err(explain(&error))),
            }
        });
        attached.unwrap_or_else(|error| Err(format!("{error:#}")))
    }
}

/// Adds a clsact qdisc; whether it was not there before.
fn add_clsact(name: &str) -> Result<bool> {
    match qdisc_add_clsact(name) {
        Ok(()) => Ok(true),
        Err(TcError::AlreadyAttached) => Ok(false),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("cannot add a clsact qdisc to {name}")),
    }
}

/// Removes the filters that a killed masq has left in a clsact qdisc, which was then its own;
/// whether there were any. The claim on the interface says that nobody needs them any more.
fn remove_stale(name: &str) -> bool {
    let mut any = false;
    for hook in [Hook::WanOut, Hook::WanIn, Hook::LanIn] {
        for ethernet in [true, false] {
            let program = hook.program(ethernet);
            match qdisc_detach_program(name, hook.direction(), program) {
                Ok(()) => {
                    tracing::warn!("removed {program} from {name}, left there by a killed masq");
                    any = true;
                }
                Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!("cannot look for old filters on {name}: {error}"),
            }
        }
    }
    any
}

/// Why a driver did not take an XDP program.
fn explain(error: &ProgramError) -> String {
    let code = match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    };
    match code {
        Some(libc::EOPNOTSUPP) => "the driver does not support it".to_owned(),
        Some(libc::EBUSY | libc::EEXIST) => "another XDP program is attached".to_owned(),
        Some(libc::EINVAL | libc::ERANGE) => {
            "the driver refused it (the MTU may be too large, or LRO may be on)".to_owned()
        }
        Some(libc::ENOMEM | libc::ENOSPC) => {
            "the driver has too few queues or too little memory for it".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wan_egress_is_the_first_to_come_and_fast_the_last() {
        assert!(Hook::ALL.is_sorted());
        assert_eq!((Hook::ALL[0], Hook::ALL[3]), (Hook::WanOut, Hook::Fast));
    }

    #[test]
    fn each_role_has_its_hooks() {
        let hooks = |role| Hook::ALL.into_iter().filter(move |hook| hook.belongs_to(role));
        assert!(hooks(Role::Lan).eq([Hook::LanIn, Hook::Fast]));
        assert!(hooks(Role::Wan(1)).eq([Hook::WanOut, Hook::WanIn, Hook::Fast]));
    }

    #[test]
    fn tcx_is_for_kernels_that_have_it() {
        assert_eq!(TcKind::choose(TcAttach::Auto, Release::new(6, 5)), TcKind::Clsact);
        assert_eq!(TcKind::choose(TcAttach::Auto, Release::new(6, 6)), TcKind::Tcx);
        assert_eq!(TcKind::choose(TcAttach::Clsact, Release::new(6, 18)), TcKind::Clsact);
    }
}
