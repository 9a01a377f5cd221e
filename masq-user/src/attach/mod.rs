//! Attaching the programs to interfaces and taking them off again: which program belongs to which
//! hook, and in which order. Knows nothing of addresses and sessions.
//!
//! The order matters. WAN egress comes first and goes last: it is what keeps packets with an
//! inside source from leaving. XDP comes last and goes first: it only makes faster what works
//! without it.
//!
//! The programs of TC are on the interfaces that were named ([`Attached`]), the one of XDP on the ports
//! below them ([`Ports`]).
//!
//! Where the data plane is pinned ([`crate::survival`]), a hook that an earlier daemon has left on an
//! interface is not attached to again: its link gets the new program, from one packet to the next.

mod clsact;
mod hook;
mod ports;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use anyhow::{Context as _, Result};
use aya::programs::{
    LinkOrder, ProgramError, TcAttachType,
    links::{FdLink, Link as _},
    tc::{SchedClassifierLink, TcAttachOptions},
};

pub use self::{
    clsact::remove_filters,
    hook::{Hook, TcKind},
    ports::{Off, Ports, put_tags_back},
};

use crate::{
    plan::{Interface, Present, Role},
    plane::Plane,
    survival::{
        estate::Estate,
        pins::{Pins, link_name},
    },
};

/// The programs of TC on one interface; taken off when dropped.
pub struct Attached {
    /// Name of the interface.
    pub name: String,
    index: u32,
    ethernet: bool,
    links: BTreeMap<Hook, SchedClassifierLink>,
    /// Hooks that have another program than they should, and translate all the same.
    outdated: BTreeSet<Hook>,
    /// Whether all hooks have been tried.
    pub complete: bool,
    pins: Option<Rc<Pins>>,
    /// Whether the clsact qdisc is ours to remove.
    pub owns_clsact: bool,
}

impl Attached {
    /// Whether what leaves by it is translated.
    pub fn has_wan_out(&self) -> bool {
        self.links.contains_key(&Hook::WanOut)
    }

    /// Whether a hook has another program than it should, since an exchange has failed.
    pub fn is_outdated(&self, hook: Hook) -> bool {
        self.outdated.contains(&hook)
    }

    /// Takes the program off one hook, if there is one. What has vanished with its interface is
    /// off already, so failure means nothing to the caller.
    pub fn detach(&mut self, hook: Hook) {
        let link = self.links.remove(&hook);
        if let (Some(_), Some(pins)) = (&link, &self.pins) {
            pins.drop_link(&link_name(hook, self.index));
        }
        if let Some(Err(error)) = link.map(SchedClassifierLink::detach) {
            tracing::debug!(?hook, %error, "program was off already");
        }
    }

    /// Takes everything off, in the reverse order of attaching.
    pub fn detach_all(&mut self) {
        Hook::TC.iter().rev().for_each(|&hook| self.detach(hook));
    }
}

/// Attaches programs.
pub struct Attacher {
    plane: Rc<Plane>,
    kind: TcKind,
    /// Where links are kept.
    pins: Option<Rc<Pins>>,
    /// Interfaces whose clsact qdisc an earlier daemon has added. If that is not known, one with
    /// filters of masq is taken for its own.
    own_qdiscs: Option<Vec<String>>,
    /// What an earlier daemon has turned off at devices.
    own_tags: BTreeSet<Off>,
}

impl Attacher {
    /// With the programs of `plane`. Links are pinned where `estate` says, and those that are there
    /// are used on.
    pub fn new(plane: Rc<Plane>, estate: &Estate) -> Self {
        let (pins, own_qdiscs) = (estate.pins.clone(), estate.known_qdiscs.clone());
        let own_tags = estate.manifest.tags.clone();
        Self { plane, kind: estate.manifest.tc, pins, own_qdiscs, own_tags }
    }

    /// How TC programs are attached.
    pub const fn kind(&self) -> TcKind {
        self.kind
    }

    /// Loads the programs that an interface needs or may need: one that is not there yet may turn
    /// out to be of either kind, and nothing must leave through it while the verifier works.
    pub fn load(&self, interface: &Interface) -> Result<()> {
        let kinds = match &interface.present {
            Some(present) => vec![present.ethernet],
            None => vec![true, false],
        };
        for hook in Hook::TC.into_iter().filter(|hook| hook.belongs_to(interface.role)) {
            for &ethernet in &kinds {
                self.plane.load_classifier(hook.program(ethernet))?;
            }
        }
        Ok(())
    }

    /// Prepares an interface; nothing is attached to it yet.
    pub fn prepare(&self, interface: &Interface, index: u32) -> Result<Attached> {
        let name = interface.name.clone();
        let owns_clsact = match self.kind {
            TcKind::Tcx => false,
            TcKind::Clsact => {
                if interface.role == Role::Lan {
                    // Of a time when it was a WAN.
                    remove_filters(&name, Some(TcAttachType::Egress));
                }
                let known = self.own_qdiscs.as_ref().is_some_and(|names| names.contains(&name));
                clsact::add_qdisc(&name)? || known
            }
        };
        Ok(Attached {
            name,
            index,
            ethernet: interface.present.as_ref().is_some_and(|present| present.ethernet),
            links: BTreeMap::new(),
            outdated: BTreeSet::new(),
            complete: false,
            pins: self.pins.clone(),
            owns_clsact,
        })
    }

    /// Whether an earlier daemon has left a link at a hook that the interface is to have.
    pub fn is_left(&self, hook: Hook, interface: &Interface, present: &Present) -> bool {
        // Filters need no pin; attaching finds out whether they are there.
        let filter = self.kind == TcKind::Clsact;
        hook.belongs_to(interface.role) && (filter || self.has_left(hook, present.index))
    }

    /// Takes off what earlier daemons have left and nobody uses.
    pub fn drop_others(&self) {
        if let Some(pins) = &self.pins {
            pins.drop_others();
        }
    }

    /// Attaches one hook of an interface, if the interface has it and it is not attached yet.
    pub fn attach(
        &self,
        hook: Hook,
        interface: &Interface,
        present: &Present,
        attached: &mut Attached,
    ) -> Result<()> {
        if !hook.belongs_to(interface.role) || attached.links.contains_key(&hook) {
            return Ok(());
        }
        let program = hook.program(present.ethernet);
        let link = match self.kind {
            TcKind::Tcx => self.attach_tcx(hook, program, attached),
            TcKind::Clsact => self.attach_filter(hook, program, attached),
        };
        let link =
            link.with_context(|| format!("cannot attach {program} to {}", interface.name))?;
        attached.links.insert(hook, link);
        Ok(())
    }

    /// Gives a hook the program that the plane has now, from one packet to the next. After an error
    /// the hook has the one before and is outdated. If the kernel refuses a second time, the link is
    /// perhaps no more: then `attached` has to be completed by [`Attacher::attach`].
    pub fn exchange(&self, hook: Hook, attached: &mut Attached) -> Result<()> {
        let name = hook.program(attached.ethernet);
        let links = &mut attached.links;
        // A link is taken only when its program is there: a filter goes with its link.
        let exchanged = if links.contains_key(&hook) {
            self.plane.with_classifier(name, |program| {
                let Some(link) = links.remove(&hook) else { return Ok(()) };
                let id = program.attach_to_link(link)?;
                links.insert(hook, program.take_link(id)?);
                Ok(())
            })
        } else {
            Ok(())
        };
        let Err(error) = exchanged else {
            attached.outdated.remove(&hook);
            return Ok(());
        };
        let first = attached.outdated.insert(hook);
        if !attached.links.contains_key(&hook) {
            match self.again(hook, attached) {
                Ok(link) if first => drop(attached.links.insert(hook, link)),
                _ => {
                    attached.outdated.remove(&hook);
                    attached.complete = false;
                }
            }
        }
        Err(error.context(format!("cannot exchange {name} on {}", attached.name)))
    }

    /// The link of a hook once more, after the kernel has refused to change it.
    fn again(&self, hook: Hook, attached: &Attached) -> Result<SchedClassifierLink> {
        Ok(match self.kind {
            TcKind::Tcx => {
                let pinned = self.pinned(hook, attached.index);
                pinned.context("the link is not pinned")?.try_into()?
            }
            TcKind::Clsact => clsact::link(&attached.name, hook)?,
        })
    }

    fn attach_tcx(
        &self,
        hook: Hook,
        program: &str,
        attached: &Attached,
    ) -> Result<SchedClassifierLink> {
        self.plane.with_classifier(program, |program| {
            if let Some(left) = self.pinned(hook, attached.index) {
                match program.attach_to_link(left.try_into()?) {
                    Ok(id) => return Ok(program.take_link(id)?),
                    Err(error) => self.useless(hook, attached.index, &error),
                }
            }
            // Before all others: a program that ends the chain with "pass" must not let packets
            // leave untranslated.
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            let id = program.attach_with_options(&attached.name, hook.direction(), options)?;
            let link = program.take_link(id)?;
            match &self.pins {
                Some(pins) => Ok(keep(pins, hook, attached.index, link.try_into()?)?.try_into()?),
                None => Ok(link),
            }
        })
    }

    fn attach_filter(
        &self,
        hook: Hook,
        program: &str,
        attached: &mut Attached,
    ) -> Result<SchedClassifierLink> {
        self.plane.with_classifier(program, |program| {
            let (id, replaced) = clsact::attach(program, &attached.name, hook)?;
            attached.owns_clsact |= replaced && self.own_qdiscs.is_none();
            Ok(program.take_link(id)?)
        })
    }

    /// Whether an earlier daemon has left a link at a hook of an interface. It goes with
    /// [`Attacher::drop_others`], unless it is attached to.
    fn has_left(&self, hook: Hook, index: u32) -> bool {
        self.pins.as_ref().is_some_and(|pins| pins.has_link(&link_name(hook, index)))
    }

    /// The link that an earlier daemon has left at a hook of an interface, to be used on.
    fn pinned(&self, hook: Hook, index: u32) -> Option<FdLink> {
        self.pins.as_ref()?.link(&link_name(hook, index))
    }

    /// Removes a link that has lost its interface.
    fn useless(&self, hook: Hook, index: u32, error: &ProgramError) {
        tracing::debug!(?hook, index, %error, "a link of an earlier daemon is of no use");
        if let Some(pins) = &self.pins {
            pins.drop_link(&link_name(hook, index));
        }
    }
}

fn keep(pins: &Pins, hook: Hook, index: u32, link: FdLink) -> Result<FdLink> {
    pins.keep(&link_name(hook, index), link)
}
