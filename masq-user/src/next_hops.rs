//! Lets sessions remember their next hops: tells the programs where the kernel counts the changes of
//! its routes, and attaches one of them to the places in its neighbour code where every change ends.
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

/// Where in the kernel's structures the programs find what they need: the names of their global
/// variables, and the values.
pub struct Offsets([(&'static str, u32); 5]);

impl Offsets {
    /// Those of the running kernel.
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
        Ok(Self([
            ("NEIGHBOUR_ADDRESS", types.offset("neighbour", "primary_key")?),
            ("XDP_QUEUE", types.offset("xdp_buff", "rxq")?),
            ("QUEUE_DEVICE", types.offset("xdp_rxq_info", "dev")?),
            ("DEVICE_NET", types.offset("net_device", "nd_net")?),
            ("NET_ROUTES", routes),
        ]))
    }

    /// Has the programs loaded with them.
    pub fn tell<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        for (name, offset) in &self.0 {
            loader.override_global(name, offset, true);
        }
    }
}

/// Attaches the program that counts the changes of neighbours. It stays for as long as `ebpf` lives, or
/// until its pins are removed: the sessions of a data plane that outlives its daemon remember next hops
/// too.
///
/// # Errors
/// If the kernel refuses the program, or has no such tracepoint.
pub fn watch_neighbours(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<()> {
    for name in programs::NEIGHBOUR_CHANGED {
        let program = ebpf.program_mut(name);
        let program: Option<&mut RawTracePoint> =
            program.and_then(|program: &mut Program| program.try_into().ok());
        let program = program.ok_or_else(|| anyhow!("the kernel object lacks {name}"))?;
        program.load().context("cannot watch the kernel's neighbours")?;
        for tracepoint in NEIGHBOUR_TRACEPOINTS {
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
