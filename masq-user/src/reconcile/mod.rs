//! Bringing about what [`crate::plan`] wants: writes the difference to the tables, attaches to
//! interfaces that have appeared, lets go of those that have vanished.

mod adopt;
mod below;
mod dialled;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use anyhow::Result;
use masq_common::settings::Device;
use tokio::sync::watch;

use self::{
    below::{Heard, Reached},
    dialled::Dialled,
};
use crate::{
    attach::{Attached, Attacher, Hook, Ports},
    config::Config,
    netlink::{Netlink, Snapshot, remove_clsact},
    plan::{self, Interface, Plan, Present, Role},
    plane::Plane,
    prefixes::Prefixes,
    stations::Served,
    status::{self, Status},
    survival::{estate::Belongings, leftover::Leftover},
    sweep,
    topology::Tables,
};

/// The data plane as it is, and how to change it.
pub struct Gateway {
    config: Rc<Config>,
    plane: Rc<Plane>,
    attacher: Attacher,
    netlink: Rc<Netlink>,
    status: Rc<RefCell<Status>>,
    /// Programs by interface index.
    attached: BTreeMap<u32, Attached>,
    /// The ports below them.
    ports: Ports,
    /// Legs and exits as written.
    tables: Tables,
    /// The PPPoE sessions that those are true of, while there may be any.
    heard: Option<Heard>,
    /// The ports below the PPPoE sessions that the interfaces had last.
    dialled: Dialled,
    /// Which sides the programs in drivers could send to.
    reached: Reached,
    /// The bridges whose stations have to be followed.
    bridges: watch::Sender<Vec<Served>>,
    /// The device table as written.
    devices: BTreeMap<u32, Device>,
    /// The prefix table as written.
    prefixes: Prefixes,
    /// Warnings that the user has seen.
    warnings: Vec<String>,
    /// Data planes of earlier daemons that go as soon as ours translates.
    leftovers: Vec<Leftover>,
    /// Whether something of an earlier daemon has yet to be compared with what is wanted.
    adopting: bool,
    /// Whether sessions may remember next hops that are not what they were.
    outdated: bool,
}

impl Gateway {
    /// A data plane that is loaded but not attached to anything. `leftovers` are removed when it is.
    pub fn new(
        config: Rc<Config>,
        plane: Rc<Plane>,
        attacher: Attacher,
        netlink: Rc<Netlink>,
        status: Rc<RefCell<Status>>,
        leftovers: Vec<Leftover>,
    ) -> Self {
        let ports = Ports::new(&attacher);
        Self {
            config,
            plane,
            attacher,
            netlink,
            status,
            attached: BTreeMap::new(),
            ports,
            tables: Tables::default(),
            heard: None,
            dialled: Dialled::default(),
            reached: Reached::default(),
            bridges: watch::Sender::new(Vec::new()),
            devices: BTreeMap::new(),
            prefixes: Prefixes::new(),
            warnings: Vec::new(),
            leftovers,
            adopting: false,
            outdated: false,
        }
    }

    /// Tells which bridges' stations have to be followed.
    pub fn bridges(&self) -> watch::Receiver<Vec<Served>> {
        self.bridges.subscribe()
    }

    /// Takes another configuration, with the same WANs. [`Gateway::apply`] brings it about.
    pub fn configure(&mut self, config: Rc<Config>) {
        self.config = config;
        self.outdated = true;
    }

    /// Loads the programs for all configured interfaces. Takes a second or two.
    pub fn load(&self, snapshot: &Snapshot) -> Result<()> {
        let plan = plan::plan(&self.config, snapshot);
        plan.interfaces.iter().try_for_each(|interface| self.attacher.load(interface))
    }

    /// Makes the data plane fit the machine. What cannot be done for one interface is an error
    /// after everything else has been done; trying again later is safe.
    pub async fn apply(&mut self, snapshot: &Snapshot) -> Result<()> {
        let snapshot = &self.foreign(snapshot.clone());
        let mut plan = plan::plan(&self.config, snapshot);
        self.keep_idle_ports(&mut plan, snapshot);
        self.warn(&plan.warnings);
        let lost = self.note_addresses(&plan);
        self.status.borrow_mut().local.clone_from(&snapshot.addresses);
        self.ports.keep_all_tags(&plan.ports);
        self.let_go(&plan).await;
        self.write_prefixes(&plan.prefixes)?;
        self.forget_devices(&plan)?;
        self.write_devices(&plan)?;
        let failure = self.write_tables(&plan, snapshot).err();
        self.renew_next_hops()?;
        self.ports.let_go(&self.attacher, &plan.ports);
        let failure = failure.or(self.attach(&plan).await);
        let failure = failure.or(self.attach_ports(&plan));
        // Only now is it known who has native XDP, and what may leave by a WAN.
        let failure = failure.or(self.write_devices(&plan).err());
        let failure = failure.or(self.write_others(&plan).err());
        let failure = failure.or(self.write_tables(&plan, snapshot).err());
        let failure = failure.or(self.renew_next_hops().err());
        let failure = failure.or(self.rest_drivers(&plan).err());
        if failure.is_none() {
            if std::mem::take(&mut self.adopting) {
                self.attacher.drop_others();
            }
            self.ports.put_other_tags_back();
        }
        self.publish(&plan);
        if lost {
            let addresses = self.status.borrow().addresses.clone();
            sweep::drop_lost(&self.plane, &addresses).await?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Gives every hook the program that the plane has now, WAN egress first. Those that it fails for
    /// go on with the one before, and get it at the next [`Gateway::apply`].
    ///
    /// # Errors
    /// The first failure.
    pub fn exchange(&mut self) -> Result<()> {
        let mut result = Ok(());
        for hook in Hook::TC {
            for attached in self.attached.values_mut() {
                result = result.and(self.attacher.exchange(hook, attached));
            }
        }
        result.and(self.ports.exchange(&self.attacher))
    }

    /// Does what [`Gateway::exchange`] has failed to do.
    fn exchange_rest(&mut self) -> Result<()> {
        let mut result = Ok(());
        for hook in Hook::TC {
            for attached in self.attached.values_mut().filter(|a| a.is_outdated(hook)) {
                result = result.and(self.attacher.exchange(hook, attached));
            }
        }
        result
    }

    /// What is there because of masq, besides programs.
    pub fn belongings(&self) -> Belongings {
        let own = self.attached.values().filter(|attached| attached.owns_clsact);
        Belongings {
            qdiscs: own.map(|attached| attached.name.clone()).collect(),
            tags: self.ports.own_tags(),
            dialled: self.dialled.to_note(),
        }
    }

    /// What will be, after [`Gateway::apply`].
    pub fn foreseen(&self, snapshot: &Snapshot) -> Belongings {
        let plan = plan::plan(&self.config, &self.foreign(snapshot.clone()));
        Belongings { tags: self.ports.foreseen_tags(&plan.ports), ..self.belongings() }
    }

    /// Takes everything off. The tables go with the process, or with their pins.
    pub async fn stop(&mut self) {
        // Nobody redirects to a device whose driver is just being reset.
        let caps_off = |device: &Device| Device {
            caps: device.caps & !masq_common::settings::caps::XDP_TRANSMIT,
            ..*device
        };
        for (index, device) in &self.devices {
            let _ = self.plane.policy.borrow_mut().devices.set(*index, &caps_off(device));
        }
        self.close_exits();
        let _ = self.plane.forget_next_hops();
        self.ports.detach_all(&self.attacher);
        for hook in Hook::TC.into_iter().rev() {
            self.attached.values_mut().for_each(|attached| attached.detach(hook));
        }
        for (index, attached) in std::mem::take(&mut self.attached) {
            self.remove_qdisc(index, &attached).await;
        }
    }

    /// Notes the addresses of the WANs; whether one of them has lost the one it had.
    fn note_addresses(&self, plan: &Plan) -> bool {
        let wans = plan.interfaces.iter().filter(|interface| interface.role != Role::Lan);
        let address = |wan: &Interface| wan.present.as_ref().and_then(|present| present.address);
        let now = wans.map(address).collect();
        let before = std::mem::replace(&mut self.status.borrow_mut().addresses, now);
        let now = &self.status.borrow().addresses;
        before.iter().zip(now).any(|(before, now)| before.is_some() && before != now)
    }

    fn warn(&mut self, warnings: &[String]) {
        for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.warnings = warnings.to_vec();
    }

    /// Lets go of interfaces that have vanished, or that the plan has no use for.
    async fn let_go(&mut self, plan: &Plan) {
        let wanted = |index: &u32| plan.has(*index);
        let gone: Vec<u32> = self.attached.keys().copied().filter(|i| !wanted(i)).collect();
        for index in gone {
            if let Some(mut attached) = self.attached.remove(&index) {
                attached.detach_all();
                self.remove_qdisc(index, &attached).await;
            }
        }
    }

    async fn remove_qdisc(&self, index: u32, attached: &Attached) {
        if !attached.owns_clsact {
            return;
        }
        match remove_clsact(self.netlink.handle(), index).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "the clsact qdisc of {} stays: somebody else has put filters into it meanwhile",
                attached.name
            ),
            // The interface has vanished with its qdisc.
            Err(error) => tracing::debug!("clsact of {} not removed: {error}", attached.name),
        }
    }

    /// New and changed prefixes first, so that none is missing in between.
    fn write_prefixes(&mut self, wanted: &Prefixes) -> Result<()> {
        let mut policy = self.plane.policy.borrow_mut();
        for (net, flags) in wanted {
            if self.prefixes.get(net) != Some(flags) {
                policy.prefixes.set(*net, *flags)?;
                self.prefixes.insert(*net, *flags);
            }
        }
        let surplus: Vec<_> =
            self.prefixes.keys().filter(|net| !wanted.contains_key(net)).copied().collect();
        for net in surplus {
            policy.prefixes.remove(net)?;
            self.prefixes.remove(&net);
        }
        Ok(())
    }

    fn forget_devices(&mut self, plan: &Plan) -> Result<()> {
        let wanted = |index| plan.others.contains(&index) || plan.has(index);
        let gone: Vec<_> = self.devices.keys().copied().filter(|&index| !wanted(index)).collect();
        for index in gone {
            self.outdated = true;
            self.plane.policy.borrow_mut().devices.remove(index)?;
            self.devices.remove(&index);
        }
        Ok(())
    }

    fn write_devices(&mut self, plan: &Plan) -> Result<()> {
        for interface in &plan.interfaces {
            let Some(present) = &interface.present else { continue };
            let hooks = self.hooks(present, &plan.ports);
            self.write_device(present.index, present.device(interface.role, hooks))?;
        }
        Ok(())
    }

    /// Lets packets from a LAN go to the interfaces that are none of ours.
    fn write_others(&mut self, plan: &Plan) -> Result<()> {
        plan.others.iter().try_for_each(|&index| self.write_device(index, plan::other_device()))
    }

    fn write_device(&mut self, index: u32, device: Device) -> Result<()> {
        if self.devices.get(&index) != Some(&device) {
            self.outdated = true;
            self.plane.policy.borrow_mut().devices.set(index, &device)?;
            self.devices.insert(index, device);
        }
        Ok(())
    }

    /// Has all sessions ask for their next hops anew, the next time that devices have been written.
    pub fn outdate_next_hops(&mut self) {
        self.outdated = true;
    }

    /// Has all sessions ask for their next hops anew, if something has changed that they imply.
    fn renew_next_hops(&mut self) -> Result<()> {
        if self.outdated {
            self.plane.forget_next_hops()?;
            self.outdated = false;
        }
        Ok(())
    }

    /// Attaches to interfaces that are new, hook by hook over all. The first failure is returned;
    /// an interface that a TC program fails on gets nothing, the others get all.
    async fn attach(&mut self, plan: &Plan) -> Option<anyhow::Error> {
        let mut failure = self.exchange_rest().err();
        let mut new: Vec<(&Interface, &Present, Attached)> = Vec::new();
        for interface in &plan.interfaces {
            let Some(present) = &interface.present else { continue };
            let attached = match self.attached.remove(&present.index) {
                Some(attached) if attached.complete => {
                    self.attached.insert(present.index, attached);
                    continue;
                }
                Some(attached) => Ok(attached),
                None => self.attacher.prepare(interface, present.index),
            };
            match attached {
                Ok(attached) => new.push((interface, present, attached)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        for hook in Hook::TC {
            let mut kept = Vec::with_capacity(new.len());
            for (interface, present, mut attached) in new {
                match self.attacher.attach(hook, interface, present, &mut attached) {
                    Ok(()) => kept.push((interface, present, attached)),
                    Err(error) => {
                        attached.detach_all();
                        self.remove_qdisc(present.index, &attached).await;
                        failure = failure.or(Some(error));
                    }
                }
            }
            new = kept;
        }
        for (_, present, mut attached) in new {
            attached.complete = true;
            self.attached.insert(present.index, attached);
        }
        // What is there goes on until all of the new is.
        if failure.is_none() {
            // Nothing leaves untranslated any more, and a driver has room for one program.
            failure = self.remove_leftovers().await.err();
        }
        if failure.is_none() {
            self.ports.inherit();
        }
        failure
    }

    /// Tells the log and the control socket what has changed.
    fn publish(&self, plan: &Plan) {
        let now: Vec<_> = plan.interfaces.iter().map(|interface| self.info(interface)).collect();
        let mut status = self.status.borrow_mut();
        for line in status::changes(&status.interfaces, &now) {
            tracing::info!("{line}");
        }
        status.interfaces = now;
    }
}

impl Plan {
    /// Whether the interface with this index is one of ours.
    fn has(&self, index: u32) -> bool {
        self.interfaces.iter().any(|interface| interface.index() == Some(index))
    }
}

impl Interface {
    fn index(&self) -> Option<u32> {
        self.present.as_ref().map(|present| present.index)
    }
}
