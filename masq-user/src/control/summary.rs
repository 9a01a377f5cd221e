//! The answers to "who are you" and "how are you": instance, counters, tables.

use anyhow::Result;
use masq_common::reason::Reason;

use super::proto::{Counter, Instance, Occupancy, Ports, Stats, Tables, protocol_name};
use crate::{
    config::{Config, PROTOCOLS},
    plane::Plane,
    status::Status,
};

/// The instance.
pub fn instance(status: &Status) -> Instance {
    Instance {
        instance: status.instance.clone(),
        pid: Some(std::process::id()),
        busy: false,
        netns: status.netns.0,
        uptime_secs: status.started.elapsed().as_secs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        interfaces: status.interfaces.clone(),
        survival: status.survival.clone(),
    }
}

/// Counters and tables.
pub fn stats(config: &Config, plane: &Plane, status: &Status) -> Result<Stats> {
    let live = |opened, closed, max: u32| -> Result<_> {
        Ok(Occupancy { used: plane.counters.live(opened, closed)?, max: u64::from(max) })
    };
    let tables = Tables {
        sessions: live(Reason::SessionOpened, Reason::SessionClosed, config.max_sessions)?,
        mappings: live(Reason::MappingOpened, Reason::MappingClosed, config.mapping_entries())?,
        ports: ports(config, plane)?,
    };
    let counter = |&reason: &Reason| -> Result<_> {
        Ok(Counter {
            reason: reason.label().to_owned(),
            class: reason.class().as_str().to_owned(),
            count: plane.counters.get(reason)?,
            text: reason.text().to_owned(),
        })
    };
    let counters = Reason::ALL.iter().map(counter).collect::<Result<_>>()?;
    Ok(Stats { instance: instance(status), tables, slow_path: status.slow_path, counters })
}

fn ports(config: &Config, plane: &Plane) -> Result<Vec<Ports>> {
    let mut ports = Vec::new();
    for (wan, name) in (0_u8..).zip(&config.wans) {
        for protocol in PROTOCOLS {
            ports.push(Ports {
                wan: name.clone(),
                protocol: protocol_name(protocol).into_owned(),
                used: plane.ports_held.get(wan, protocol)?,
                max: u64::from(config.external_ports(protocol)),
            });
        }
    }
    Ok(ports)
}
