//! Taking over what an earlier daemon has left: the tables as they are, and every hook that is wanted
//! still. What is not gets its turn in [`Gateway::apply`], like any other change.

use std::collections::BTreeMap;

use anyhow::Result;
use masq_common::{reason::Reason, settings::role};

use super::{Gateway, dialled::Dialled};
use crate::{
    attach::{Hook, TcKind},
    netlink::Snapshot,
    plan, sweep,
};

impl Gateway {
    /// Learns the tables and gives the hooks that are there the new programs, WAN egress first.
    /// `dialled` is what it has noted of PPPoE sessions. After an error they have the old or the new
    /// ones, and translate.
    pub fn adopt(&mut self, snapshot: &Snapshot, dialled: BTreeMap<String, u32>) -> Result<()> {
        self.dialled = Dialled::noted(dialled);
        self.devices = self.plane.policy.borrow().devices.all()?;
        self.prefixes = self.plane.policy.borrow().prefixes.all()?;
        self.tables.legs = self.plane.policy.borrow().links.legs.all()?;
        self.tables.exits = self.plane.policy.borrow().links.exits.all()?;
        self.adopting = true;
        let mut plan = plan::plan(&self.config, snapshot);
        for hook in Hook::TC {
            for interface in &plan.interfaces {
                let Some(present) = &interface.present else { continue };
                if !self.attacher.is_left(hook, interface, present) {
                    continue;
                }
                let mut attached = match self.attached.remove(&present.index) {
                    Some(attached) => attached,
                    None => self.attacher.prepare(interface, present.index)?,
                };
                let result = self.attacher.attach(hook, interface, present, &mut attached);
                self.attached.insert(present.index, attached);
                result?;
            }
        }
        self.adopt_ports(&mut plan, snapshot)?;
        // What the WANs had when the earlier daemon wrote last.
        let mut addresses = vec![None; self.config.wans.len()];
        for device in self.devices.values().filter(|device| device.role == role::WAN) {
            if let Some(address) = addresses.get_mut(usize::from(device.wan)) {
                *address = (!device.address.is_none()).then(|| device.address.into());
            }
        }
        self.status.borrow_mut().addresses = addresses;
        Ok(())
    }

    /// Removes the sessions of addresses that went while no daemon ran, and of any that the earlier
    /// one had not come to. The sweeper would, too, later.
    pub async fn drop_lost(&self) -> Result<u64> {
        let addresses = self.status.borrow().addresses.clone();
        sweep::drop_lost(&self.plane, &addresses).await
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> Result<u64> {
        self.plane.counters.live(Reason::SessionOpened, Reason::SessionClosed)
    }

    /// Whether what earlier daemons have left is there still.
    pub fn has_leftovers(&self) -> bool {
        !self.leftovers.is_empty()
    }

    /// Removes what earlier daemons have left that could not be taken over.
    pub(super) async fn remove_leftovers(&mut self) -> Result<()> {
        // Filters replace filters; links do not.
        let ours: Vec<_> = match self.attacher.kind() {
            TcKind::Clsact => self.config.interfaces().map(str::to_owned).collect(),
            TcKind::Tcx => Vec::new(),
        };
        for leftover in std::mem::take(&mut self.leftovers) {
            leftover.remove(&self.netlink, &ours).await?;
        }
        Ok(())
    }
}
