//! Lets sessions remember their next hops: tells the programs where the kernel counts the changes of
//! its routes, and attaches some of them to the places in its neighbour and bridge code where every
//! change ends.
//!
//! What they do with it stands in `masq_common::hop`. Where the kernel does not let us, every packet
//! asks the routing, which is slower and never wrong either.

use std::fs;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, RawTracePoint, links::FdLink},
};
use masq_common::abi::programs;

use crate::{kernel_types::Types, survival::pins::Pins};

/// The tracepoints behind which a neighbour may be another one than before.
const NEIGHBOUR_TRACEPOINTS: [&str; 3] =
    ["neigh_update_done", "neigh_timer_handler", "neigh_cleanup_and_release"];

/// The tracepoints at which a station may come to be behind another port of a bridge.
const STATION_TRACEPOINTS: [&str; 3] = ["br_fdb_update", "br_fdb_add", "br_fdb_external_learn_add"];

/// The tracepoint at which a bridge forgets a station.
const FORGETTING_TRACEPOINTS: [&str; 1] = ["fdb_delete"];

/// Where in the kernel's structures the programs find what they need: the names of their global
/// variables, and the values.
pub struct Offsets([(&'static str, u32); 6]);

impl Offsets {
    /// Those of the running kernel. That of stations is 0 if the kernel does not describe its bridge.
    ///
    /// # Errors
    /// If the kernel does not describe its types, or is locked down so that they are of no use.
    pub fn of_the_kernel() -> Result<Self> {
        const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
        if fs::read_to_string(LOCKDOWN).is_ok_and(|mode| mode.contains("[confidentiality]")) {
            bail!("the kernel is locked down, so its memory cannot be read ({LOCKDOWN})");
        }
        let types = Types::of_the_kernel()?;
        let routes = types.offset("net", "ipv4")? + types.offset("netns_ipv4", "rt_genid")?;
        let key = types.offset("net_bridge_fdb_entry", "key");
        let address = types.offset("net_bridge_fdb_key", "addr");
        let station = key.and_then(|key| Ok(key + address?)).unwrap_or(0);
        Ok(Self([
            ("NEIGHBOUR_ADDRESS", types.offset("neighbour", "primary_key")?),
            ("XDP_QUEUE", types.offset("xdp_buff", "rxq")?),
            ("QUEUE_DEVICE", types.offset("xdp_rxq_info", "dev")?),
            ("DEVICE_NET", types.offset("net_device", "nd_net")?),
            ("NET_ROUTES", routes),
            (STATION, station),
        ]))
    }

    /// Has the programs loaded with them.
    pub fn tell<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        for (name, offset) in &self.0 {
            loader.override_global(name, offset, true);
        }
    }

    fn has_stations(&self) -> bool {
        self.0.iter().any(|(name, offset)| *name == STATION && *offset != 0)
    }
}

/// Where an entry of a bridge's table has the address of the station.
const STATION: &str = "STATION_ADDRESS";

/// Attaches the program that counts the changes of neighbours. It stays for as long as `ebpf` lives, or
/// until its pins are removed: the sessions of a data plane that outlives its daemon remember next hops
/// too.
///
/// # Errors
/// If the kernel refuses the program, or has no such tracepoint.
pub fn watch_neighbours(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<()> {
    watch(ebpf, pins, &programs::NEIGHBOUR_CHANGED, &NEIGHBOUR_TRACEPOINTS)
        .context("cannot watch the kernel's neighbours")
}

/// The same for the stations of bridges. Without it no frame may be sent to a port of a bridge past the
/// kernel.
///
/// # Errors
/// As above, or if the kernel does not describe its bridge.
pub fn watch_stations(ebpf: &mut Ebpf, offsets: &Offsets, pins: Option<&Pins>) -> Result<()> {
    let mut watched = || {
        if !offsets.has_stations() {
            bail!("it does not describe its bridge (BTF)");
        }
        watch(ebpf, pins, &programs::STATION_CHANGED, &STATION_TRACEPOINTS)?;
        watch(ebpf, pins, &programs::STATION_GONE, &FORGETTING_TRACEPOINTS)
    };
    watched().context("the kernel does not tell what its bridges learn")
}

/// Attaches each of the programs to each of the tracepoints.
fn watch(
    ebpf: &mut Ebpf,
    pins: Option<&Pins>,
    programs: &[&str],
    tracepoints: &[&str],
) -> Result<()> {
    for &name in programs {
        let program = ebpf.program_mut(name);
        let program: Option<&mut RawTracePoint> =
            program.and_then(|program: &mut Program| program.try_into().ok());
        let program = program.ok_or_else(|| anyhow!("the kernel object lacks {name}"))?;
        program.load()?;
        for tracepoint in tracepoints {
            let link = program.attach(tracepoint);
            let link = link.with_context(|| format!("no tracepoint {tracepoint}"))?;
            if let Some(pins) = pins {
                let link: FdLink = program.take_link(link)?.into();
                pins.keep(&format!("{name}-{tracepoint}"), link)?;
            }
        }
    }
    Ok(())
}
