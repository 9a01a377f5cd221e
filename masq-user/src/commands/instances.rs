//! `masq instances`: what runs on this machine, with a daemon or without.

use anyhow::Context as _;

use super::{Output, stats};
use crate::{
    claims::{Claims, Netns},
    cli::InstancesArgs,
    control::{
        client::{self, Found},
        proto::{Instance, Survival},
    },
    duration::Secs,
    error::Result,
    survival,
};

/// Lists them.
pub fn execute(args: &InstancesArgs) -> Result<()> {
    let Found { mut instances, silent: hung } = client::find()?;
    let alone = survival::alone().into_iter();
    let alone = alone.filter(|a| instances.iter().all(|i| i.instance != a.instance));
    let mut silent: Vec<_> = alone.collect();
    let claimed = Claims::names().into_iter();
    let claimed = claimed.filter(|(name, _)| instances.iter().all(|i| i.instance != *name));
    claimed.for_each(|(name, pid)| mark_busy(&mut silent, name, pid));
    instances.extend(silent);
    let mut output = Output::new();
    if args.json {
        output.line(serde_json::to_string(&instances).context("cannot write JSON")?)?;
        return output.finish();
    }
    if instances.is_empty() {
        output.line("no masq is running")?;
    }
    let here = Netns::own()?;
    for instance in &instances {
        let place = if instance.netns == here.0 {
            "in this network namespace".to_owned()
        } else {
            format!("in network namespace {}", instance.netns)
        };
        let name = &instance.instance;
        output.heading(match instance.pid {
            Some(pid) if hung.contains(name) => {
                format!("{name} (pid {pid}), {place}: translates, and its daemon does not answer")
            }
            Some(pid) if instance.busy => {
                format!("{name} (pid {pid}), {place}: does not answer, it is starting or stopping")
            }
            Some(pid) => {
                format!("{name} (pid {pid}), up {}, {place}", Secs(instance.uptime_secs))
            }
            None if hung.contains(name) => {
                format!("{name}, {place}: translates, and its daemon does not answer")
            }
            None => format!("{name}, {place}: translates without a daemon"),
        })?;
        for interface in &instance.interfaces {
            output.line(match instance.pid {
                Some(_) if !instance.busy => format!("  {}", stats::describe(interface)),
                _ => format!("  {} {}", interface.role, interface.name),
            })?;
        }
        if hung.contains(name) {
            output.line(
                "  it hangs or was stopped by a signal: continue it, or kill it and `masq run`",
            )?;
        } else if instance.pid.is_none() {
            output.line("  `masq run` takes it over, `masq stop` removes it")?;
        }
    }
    output.finish()
}

/// Marks an instance that has a process, though it does not answer: it has just begun, or is about to
/// end. Nothing may be written down about it yet.
fn mark_busy(silent: &mut Vec<Instance>, name: String, pid: u32) {
    // The process may have gone meanwhile.
    let Ok(netns) = Netns::of_process(pid) else { return };
    match silent.iter_mut().find(|instance| instance.instance == name) {
        Some(instance) => (instance.pid, instance.busy) = (Some(pid), true),
        None => silent.push(Instance {
            instance: name,
            pid: Some(pid),
            busy: true,
            netns: netns.0,
            uptime_secs: 0,
            version: String::new(),
            interfaces: Vec::new(),
            survival: Survival::default(),
        }),
    }
}
