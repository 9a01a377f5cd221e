//! The program in the drivers of ports: attaching it, and what a port has to be set to for it.
//!
//! A port may serve several interfaces, and is attached to once. What it is used for is the business of
//! [`crate::topology`].

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use aya::programs::{
    ProgramError, XdpMode,
    links::Link as _,
    xdp::{XdpError, XdpLink},
};
use nix::net::if_::if_indextoname;

use super::{Attacher, Hook, keep};
use crate::{
    ethtool,
    netlink::Snapshot,
    plan::{Fast, Port},
    survival::pins::link_name,
};

/// The features of a device that take tags off the frames before XDP sees them: of 802.1Q, of 802.1ad.
const TAGS_OFF: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// A feature that masq has turned off: of the device with this index, which may have another name by
/// now.
pub type Off = (u32, String);

/// The ports, with the program or without.
pub struct Ports {
    ports: BTreeMap<u32, Attached>,
    /// What was turned off so that tags stay in the frames.
    tags: BTreeSet<Off>,
    /// What an earlier daemon has turned off for programs that may still be there.
    inherited: BTreeSet<Off>,
}

/// A port that has been tried.
struct Attached {
    /// As it was wanted.
    port: Port,
    /// The program; taken off when dropped.
    link: Option<XdpLink>,
    /// Why it is there, or is not.
    why: String,
    /// Whether it has to be tried again: it failed, and that was told.
    again: bool,
    /// Whether tags are taken off its frames although they have to stay in them.
    strips: bool,
}

impl Ports {
    /// None yet, but what an earlier daemon has set.
    pub fn new(attacher: &Attacher) -> Self {
        Self { ports: BTreeMap::new(), tags: BTreeSet::new(), inherited: attacher.own_tags.clone() }
    }

    /// Whether the program is in the driver of the port, and why or why not.
    pub fn state(&self, index: u32) -> (bool, &str) {
        match self.ports.get(&index) {
            Some(attached) => (attached.link.is_some(), &attached.why),
            None => (false, "nothing attached"),
        }
    }

    /// Whether a program of masq is attached to the port, be it in use or not.
    pub fn is_ours(&self, index: u32) -> bool {
        let attached = self.ports.get(&index);
        attached.is_some_and(|attached| attached.link.is_some() || attached.again)
    }

    /// Whether the program is in the driver of the port.
    pub fn in_driver(&self, index: u32) -> bool {
        self.state(index).0
    }

    /// Those that have the program and are not `wanted`, as far as they are there still.
    pub fn idle(&self, wanted: &[Port], snapshot: &Snapshot) -> Vec<Port> {
        let idle = self.ports.values().filter(|attached| {
            let index = attached.port.index;
            attached.link.is_some()
                && wanted.iter().all(|port| port.index != index)
                && snapshot.link_of(index).is_some()
        });
        idle.map(|attached| attached.port.clone()).collect()
    }

    /// Whether the program is in the driver of the port, and is to stay there.
    pub fn stays(&self, index: u32, wanted: &[Port]) -> bool {
        let attached = self.ports.get(&index);
        attached.is_some_and(|attached| attached.link.is_some() && attached.fits(wanted))
    }

    /// Lets go of the ports that are not wanted any more, or not in this way.
    pub fn let_go(&mut self, attacher: &Attacher, wanted: &[Port]) {
        let gone = self.ports.values().filter(|attached| !attached.fits(wanted));
        let gone: Vec<_> = gone.map(|attached| attached.port.index).collect();
        for index in gone {
            self.detach(attacher, index);
        }
    }

    /// Whether it has been tried to attach to the port.
    pub fn has_tried(&self, index: u32) -> bool {
        self.ports.contains_key(&index)
    }

    /// Has the devices that have the program already leave tags in the frames, where that is needed by
    /// now: a first VLAN has come on top, or somebody has changed it back. A port that does not let it be
    /// changed is not to stay ([`Ports::stays`]), so that nobody sends to it any more by the time that
    /// [`Ports::let_go`] takes the program off it.
    pub fn keep_all_tags(&mut self, wanted: &[Port]) {
        for port in wanted.iter().filter(|port| port.tagged) {
            if !self.in_driver(port.index) {
                continue;
            }
            let kept = self.keep_tags(port);
            if let (Err(why), Some(attached)) = (kept, self.ports.get_mut(&port.index)) {
                tracing::debug!(port = port.name, "leaves the driver: {why}");
                attached.strips = true;
            }
        }
    }

    /// Attaches to a port, if that has not been tried.
    ///
    /// # Errors
    /// If the port has to have it and cannot; it is not tried again then, unless something about the
    /// port changes.
    pub fn attach(&mut self, attacher: &Attacher, port: &Port) -> Result<()> {
        if self.ports.get(&port.index).is_some_and(|attached| !attached.again) {
            return Ok(());
        }
        let result = match &port.fast {
            Fast::Tc(why) => Err(why.clone()),
            Fast::TryXdp | Fast::ForceXdp => self.attach_to(attacher, port),
        };
        let forced = port.fast == Fast::ForceXdp;
        let (link, why) = match result {
            Ok(link) if forced => (Some(link), "asked for".to_owned()),
            Ok(link) => (Some(link), "network card whose driver can".to_owned()),
            Err(why) if port.is_wanted() => (None, format!("native XDP is not possible: {why}")),
            Err(why) => (None, why),
        };
        let failure = (forced && link.is_none())
            .then(|| anyhow!("{}: {why}; use --mode auto or --mode tc", port.name));
        let again = failure.is_some();
        let attached = Attached { port: port.clone(), link, why, again, strips: false };
        self.ports.insert(port.index, attached);
        failure.map_or(Ok(()), Err)
    }

    fn attach_to(&mut self, attacher: &Attacher, port: &Port) -> Result<XdpLink, String> {
        let kept = if port.tagged { self.keep_tags(port) } else { Ok(()) };
        let result = kept.and_then(|()| attacher.attach_xdp(port.index));
        if result.is_err() {
            self.put_tags_back(port.index);
        }
        result
    }

    /// Has a device leave the tags in the frames. After an error some of the features may be off.
    fn keep_tags(&mut self, port: &Port) -> Result<(), String> {
        let name = &port.name;
        for feature in strips(name) {
            if !ethtool::set_feature(name, feature, false) {
                return Err(format!(
                    "it takes the VLAN tags off the frames, and does not let that be turned off \
                     ({feature})"
                ));
            }
            tracing::info!("{name} leaves VLAN tags in the frames ({feature} off) while masq runs");
            self.tags.insert((port.index, feature.to_owned()));
        }
        Ok(())
    }

    fn put_tags_back(&mut self, index: u32) {
        let (back, kept) =
            std::mem::take(&mut self.tags).into_iter().partition(|off| off.0 == index);
        self.tags = kept;
        put_tags_back(&back);
    }

    /// Gives all ports that have the program the one that the plane has now, from one packet to the
    /// next. A port that it fails for has the one before, and is tried at the next [`Ports::attach`].
    ///
    /// # Errors
    /// The first failure.
    pub fn exchange(&mut self, attacher: &Attacher) -> Result<()> {
        let mut result = Ok(());
        for attached in self.ports.values_mut().filter(|attached| attached.link.is_some()) {
            let held = &mut attached.link;
            let exchanged = attacher.plane.with_fast_xdp(|program| {
                let Some(link) = held.take() else { return Ok(()) };
                let id = program.attach_to_link(link)?;
                *held = Some(program.take_link(id)?);
                Ok(())
            });
            if let Err(error) = exchanged {
                attached.again = true;
                let name = &attached.port.name;
                let error = error.context(format!("cannot exchange the program on {name}"));
                result = result.and(Err(error));
            }
        }
        result
    }

    /// Takes the program off one port.
    fn detach(&mut self, attacher: &Attacher, index: u32) {
        let Some(Attached { port, link, .. }) = self.ports.remove(&index) else { return };
        if let Some(link) = link {
            if let Some(pins) = &attacher.pins {
                pins.drop_link(&link_name(Hook::Fast, index));
            }
            if let Err(error) = link.detach() {
                tracing::debug!(port = port.name, %error, "program was off already");
            }
        }
        self.put_tags_back(index);
    }

    /// Takes the program off all ports, and sets them as they were.
    pub fn detach_all(&mut self, attacher: &Attacher) {
        self.let_go(attacher, &[]);
        put_tags_back(&std::mem::take(&mut self.tags));
    }

    /// What is turned off at devices so that tags stay in the frames.
    pub fn own_tags(&self) -> BTreeSet<Off> {
        self.tags.union(&self.inherited).cloned().collect()
    }

    /// The programs of earlier daemons are gone, or are ours by now: what was turned off for them is ours
    /// to put back. Before, it would take the tags from them.
    pub fn inherit(&mut self) {
        self.tags.append(&mut self.inherited);
    }

    /// What there will be of it, once these ports have been attached to: to be written down before it
    /// is done.
    pub fn foreseen_tags(&self, wanted: &[Port]) -> BTreeSet<Off> {
        let tagged = wanted.iter().filter(|port| port.tagged && port.is_wanted());
        let off = |port: &Port| {
            let index = port.index;
            strips(&port.name).map(move |feature| (index, feature.to_owned())).collect::<Vec<_>>()
        };
        self.own_tags().into_iter().chain(tagged.flat_map(off)).collect()
    }

    /// Sets back what an earlier daemon has set and this one does not need. To be called when all ports
    /// have been tried.
    pub fn put_other_tags_back(&mut self) {
        let (kept, others): (BTreeSet<_>, BTreeSet<_>) =
            self.tags.iter().cloned().partition(|(index, _)| self.in_driver(*index));
        self.tags = kept;
        put_tags_back(&others);
    }
}

impl Attached {
    /// Whether the port is wanted as it was when it was tried, and can be.
    fn fits(&self, wanted: &[Port]) -> bool {
        let Port { index, fast, .. } = &self.port;
        !self.strips && wanted.iter().any(|port| (port.index, &port.fast) == (*index, fast))
    }
}

impl Port {
    /// Whether the program should be in its driver.
    pub const fn is_wanted(&self) -> bool {
        !matches!(self.fast, Fast::Tc(_))
    }
}

/// The features by which a device takes tags off frames now.
fn strips(name: &str) -> impl Iterator<Item = &'static str> {
    let features = TAGS_OFF.into_iter();
    features.filter(move |feature| ethtool::feature(name, feature) == Some(true))
}

/// Has devices take tags off the frames again.
pub fn put_tags_back(off: &BTreeSet<Off>) {
    for (index, feature) in off {
        let name = if_indextoname(*index).ok().and_then(|name| name.into_string().ok());
        // It has gone, or somebody has changed it meanwhile.
        if !name.is_some_and(|name| ethtool::set_feature(&name, feature, true)) {
            tracing::debug!(index, "{feature} not turned on again");
        }
    }
}

impl Attacher {
    /// Whether an earlier daemon has left the program in the driver of a port.
    pub fn is_port_left(&self, port: &Port) -> bool {
        port.is_wanted() && self.has_left(Hook::Fast, port.index)
    }

    fn attach_xdp(&self, index: u32) -> Result<XdpLink, String> {
        let attached = self.plane.with_fast_xdp(|program| {
            if let Some(left) = self.pinned(Hook::Fast, index) {
                match program.attach_to_link(left.try_into()?) {
                    Ok(id) => return Ok(Ok(program.take_link(id)?)),
                    Err(error) => self.useless(Hook::Fast, index, &error),
                }
            }
            // Driver mode only: generic XDP is slower than TC and breaks up GSO packets.
            let link = match program.attach_to_if_index(index, XdpMode::Driver) {
                Ok(id) => program.take_link(id)?,
                Err(error) => return Ok(Err(explain(&error))),
            };
            match &self.pins {
                Some(pins) => Ok(Ok(keep(pins, Hook::Fast, index, link.try_into()?)?.try_into()?)),
                None => Ok(Ok(link)),
            }
        });
        attached.unwrap_or_else(|error| Err(format!("{error:#}")))
    }
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
