//! What lies below the interfaces: having the program in the drivers of the ports, and telling the
//! programs how frames come in and go out there.
//!
//! What is not true any more goes before the program leaves a driver, and what is new comes after it
//! is there: nobody redirects to a device whose driver is just being reset.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Gateway;
use crate::{
    attach::Attached,
    cli,
    control::proto::{InterfaceInfo, Mode, PortInfo},
    maps::Links,
    netlink::{
        Snapshot,
        pppoe::{self, Session},
    },
    plan::{Fast, Hooks, Interface, Plan, Port, Present, Role},
    stations::Served,
    topology::{self, Kind, Lane, Tables, Topology},
};

/// The PPPoE sessions that the tables are true of.
#[derive(PartialEq, Eq)]
pub(super) struct Heard {
    sessions: Vec<Session>,
    /// Since when they are these.
    since: Instant,
    /// Whether they were taken for true by then.
    settled: bool,
    /// As was heard of them before they were read.
    discoveries: u32,
}

/// So long a session has to be there before it is used: pppd lists it before it has a PPP interface, and
/// until then it could be taken for another interface's.
const SETTLES: Duration = Duration::from_millis(900);

impl Gateway {
    /// The machine without what masq itself has attached to it.
    pub fn foreign(&self, snapshot: Snapshot) -> Snapshot {
        snapshot.without_xdp_on(|index| self.ports.is_ours(index))
    }

    /// Whether PPPoE sessions have changed without any change of interfaces, as when pppd dials again in
    /// place: no message tells of that.
    pub fn sessions_have_changed(&self) -> bool {
        let Some(heard) = &self.heard else { return false };
        let discoveries = self.plane.next_hops.discoveries();
        !heard.settled
            || discoveries.is_ok_and(|now| now != heard.discoveries)
            || pppoe::sessions() != heard.sessions
    }

    /// Whether [`Gateway::sessions_have_changed`] has to be asked now and then.
    pub const fn follows_sessions(&self) -> bool {
        self.heard.is_some()
    }

    /// What the device table tells of an interface's hooks.
    pub(super) fn hooks(&self, present: &Present, ports: &[Port]) -> Hooks {
        let attached = self.attached.get(&present.index);
        Hooks {
            xdp: present.is_port() && self.ports.stays(present.index, ports),
            wan_out: attached.is_some_and(Attached::has_wan_out),
        }
    }

    /// Keeps the port below a PPPoE session while its interface is away or has no session.
    pub(super) fn keep_idle_ports(&mut self, plan: &mut Plan, snapshot: &Snapshot) {
        self.dialled.follow(&plan.interfaces);
        let idle = self.ports.idle(&plan.ports, snapshot).into_iter();
        plan.ports.extend(idle.filter(|port| self.dialled.ports().any(|of| of == port.index)));
    }

    /// Has the program in the drivers of the ports. The first failure is returned.
    pub(super) fn attach_ports(&mut self, plan: &Plan) -> Option<anyhow::Error> {
        let mut failure = None;
        for port in &plan.ports {
            // Once it is there it stays, whatever becomes of the other side: a line may go with it.
            let waits = port.fast == Fast::TryXdp
                && !self.ports.has_tried(port.index)
                && !plan.has_partner(port.index, |other| self.may_have(other));
            if !waits && let Err(error) = self.ports.attach(&self.attacher, port) {
                failure = failure.or(Some(error));
            }
        }
        failure
    }

    /// Whether the program is in the driver of a port, or it has not been tried.
    fn may_have(&self, port: u32) -> bool {
        !self.ports.has_tried(port) || self.ports.in_driver(port)
    }

    /// Gives the drivers that an earlier daemon's program is in the new one. Some of them serve an
    /// interface that is away.
    pub(super) fn adopt_ports(&mut self, plan: &mut Plan, snapshot: &Snapshot) -> Result<()> {
        self.dialled.follow(&plan.interfaces);
        let away = |index: &u32| plan.ports.iter().all(|port| port.index != *index);
        let away: Vec<_> = self.dialled.ports().filter(away).collect();
        let mode = self.config.mode;
        plan.ports.extend(away.iter().filter_map(|index| Port::below(mode, *index, snapshot)));
        for port in plan.ports.iter().filter(|port| self.attacher.is_port_left(port)) {
            match self.ports.attach(&self.attacher, port) {
                // Nothing needs it at present.
                Err(error) if away.contains(&port.index) => tracing::debug!("{error:#}"),
                attached => attached?,
            }
        }
        Ok(())
    }

    /// Has the programs in the drivers try nothing while they could send nothing. They stay there, since
    /// it may be a redial that they wait for.
    pub(super) fn rest_drivers(&mut self, plan: &Plan) -> Result<()> {
        let reached = |lan: bool| {
            let mut side = plan.interfaces.iter().filter(|i| (i.role == Role::Lan) == lan);
            side.any(|interface| self.is_reached(interface, &plan.ports))
        };
        self.reached = Reached { lan: reached(true), wan: reached(false) };
        let rest = !(self.reached.lan && self.reached.wan);
        self.plane.policy.borrow_mut().settings.idle(rest)
    }

    /// Whether a program in a driver could send to an interface.
    fn is_reached(&self, interface: &Interface, ports: &[Port]) -> bool {
        let below = interface.present.as_ref().and_then(|present| present.below.as_ref().ok());
        let is_barred = below.is_some_and(|topology| self.bars(topology));
        let reaches = |lane: &Lane| lane.idle.is_none() && self.ports.stays(lane.port, ports);
        !is_barred && interface.lanes().any(reaches)
    }

    /// Whether nothing may be sent past the kernel to this.
    fn bars(&self, topology: &Topology) -> bool {
        topology.kind == Kind::Bridge && self.plane.bridges_untold.is_some()
    }

    /// Writes legs and exits, for those ports that the program is in and is to stay in.
    pub(super) fn write_tables(&mut self, plan: &Plan, snapshot: &Snapshot) -> Result<()> {
        let mut wanted = self.tables(plan);
        // The end of a session has to be heard of before the session is read, or it would be missed.
        for (arrival, leg) in wanted.discovery() {
            if self.tables.legs.get(&arrival) != Some(&leg) {
                self.plane.policy.borrow_mut().links.legs.set(arrival, leg)?;
                self.tables.legs.insert(arrival, leg);
            }
        }
        let before = self.heard.take();
        if matches!(self.config.mode, cli::Mode::Auto | cli::Mode::Xdp) && plan.dials(snapshot) {
            let discoveries = self.plane.next_hops.discoveries()?;
            let sessions = pppoe::sessions();
            let before = before.filter(|before| before.sessions == sessions);
            let since = before.map_or_else(Instant::now, |before| before.since);
            let settled = since.elapsed() >= SETTLES && sessions == snapshot.sessions;
            if !settled {
                wanted.drop_sessions();
            }
            wanted.hold_for(discoveries);
            self.heard = Some(Heard { sessions, since, settled, discoveries });
        }
        self.write_difference(wanted)?;
        self.serve_bridges(plan);
        Ok(())
    }

    fn write_difference(&mut self, wanted: Tables) -> Result<()> {
        let mut policy = self.plane.policy.borrow_mut();
        let Links { legs, exits, .. } = &mut policy.links;
        let before = &mut self.tables;
        if wanted != *before {
            self.outdated = true;
        }
        for arrival in before.legs.keys().copied().collect::<Vec<_>>() {
            if !wanted.legs.contains_key(&arrival) {
                legs.remove(&arrival)?;
                before.legs.remove(&arrival);
            }
        }
        for index in before.exits.keys().copied().collect::<Vec<_>>() {
            if !wanted.exits.contains_key(&index) {
                exits.remove(&index)?;
                before.exits.remove(&index);
            }
        }
        for (index, exit) in wanted.exits {
            if before.exits.get(&index) != Some(&exit) {
                exits.set(index, exit)?;
                before.exits.insert(index, exit);
            }
        }
        for (arrival, leg) in wanted.legs {
            if before.legs.get(&arrival) != Some(&leg) {
                legs.set(arrival, leg)?;
                before.legs.insert(arrival, leg);
            }
        }
        Ok(())
    }

    fn tables(&self, plan: &Plan) -> Tables {
        let mut tables = Tables::default();
        for interface in &plan.interfaces {
            let Some(present) = &interface.present else { continue };
            let Ok(topology) = &present.below else { continue };
            let in_driver = |port| !self.bars(topology) && self.ports.stays(port, &plan.ports);
            tables.add((present.index, present.mac), topology, in_driver);
        }
        tables
    }

    /// Has the stations of those bridges followed whose ports are in use.
    fn serve_bridges(&self, plan: &Plan) {
        let served = plan.interfaces.iter().filter_map(|interface| {
            let index = interface.index().filter(|index| self.tables.exits.contains_key(index))?;
            let used =
                |lane: &Lane| lane.bridge_port.filter(|port| self.tables.exits.contains_key(port));
            let ports: Vec<_> = interface.lanes().filter_map(used).collect();
            (!ports.is_empty()).then_some(Served { bridge: index, ports })
        });
        let served: Vec<_> = served.collect();
        self.bridges.send_if_modified(|before| {
            let changed = *before != served;
            *before = served;
            changed
        });
    }

    /// Lets nobody send by ports below the interfaces any more.
    pub(super) fn close_exits(&mut self) {
        let mut policy = self.plane.policy.borrow_mut();
        for (index, _) in self.tables.exits.drain() {
            let _ = policy.links.exits.remove(&index);
        }
        self.bridges.send_replace(Vec::new());
    }

    /// Where the fast path of an interface is, and why.
    pub(super) fn place(&self, interface: &Interface) -> (bool, String, Vec<PortInfo>) {
        let Some(present) = &interface.present else { return (false, String::new(), Vec::new()) };
        let topology = match &present.below {
            Ok(topology) => topology,
            Err(why) => return (false, why.clone(), Vec::new()),
        };
        let untold = self.plane.bridges_untold.as_deref();
        let untold = untold.filter(|_| topology.kind == Kind::Bridge);
        let alone = self.reached.alone(interface.role);
        let state = |port| match (untold, alone, self.ports.state(port)) {
            (Some(why), ..) => (false, why),
            (None, Some(why), (true, _)) => (false, why),
            (None, Some(why), _) if !self.ports.has_tried(port) => (false, why),
            (None, _, state) => state,
        };
        let port = |lane: &Lane| {
            let (there, why) = state(lane.port);
            let fast = there && lane.idle.is_none();
            PortInfo {
                name: lane.name.clone(),
                index: lane.port,
                vlan: (lane.vlan != 0).then_some(lane.vlan),
                mode: if fast { Mode::Xdp } else { Mode::Tc },
                why: lane.idle.unwrap_or(why).to_owned(),
            }
        };
        let ports: Vec<_> = topology.lanes.iter().map(port).collect();
        let fast = ports.iter().any(|port| port.mode == Mode::Xdp);
        (fast, topology::describe(topology, state), ports)
    }

    /// The state of an interface, for users.
    pub(super) fn info(&self, interface: &Interface) -> InterfaceInfo {
        let attached = interface.index().is_some_and(|index| self.attached.contains_key(&index));
        let (fast, why, ports) = self.place(interface);
        let mode = match (fast, self.config.mode) {
            (true, _) => Mode::Xdp,
            (false, cli::Mode::Kernel) => Mode::Kernel,
            (false, _) => Mode::Tc,
        };
        let present = interface.present.as_ref();
        InterfaceInfo {
            name: interface.name.clone(),
            role: interface.role.as_str().to_owned(),
            index: interface.index(),
            mode: attached.then_some(mode),
            why: if attached { why } else { String::new() },
            address: present.and_then(|present| present.address),
            mss: present.map(|present| present.mss).filter(|size| *size != 0),
            ports: if attached { ports } else { Vec::new() },
        }
    }
}

/// Which sides programs in drivers could send to.
#[derive(Clone, Copy, Default)]
pub(super) struct Reached {
    lan: bool,
    wan: bool,
}

impl Reached {
    /// Why the programs of an interface's ports do nothing, or do not come there.
    const fn alone(self, role: Role) -> Option<&'static str> {
        match role {
            Role::Lan if !self.wan => Some("there is no WAN at present that XDP could send to"),
            Role::Wan(_) if !self.lan => Some("there is no LAN at present that XDP could send to"),
            _ => None,
        }
    }
}

impl Plan {
    /// Whether a PPPoE session may be below one of the interfaces.
    fn dials(&self, snapshot: &Snapshot) -> bool {
        let ppp = |interface: &Interface| {
            let link = snapshot.link(&interface.name);
            link.is_some_and(|link| link.kind.as_deref() == Some("ppp"))
        };
        self.interfaces.iter().any(ppp)
    }
}
