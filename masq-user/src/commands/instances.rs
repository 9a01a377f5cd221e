//! `masq instances`: what runs on this machine, with a daemon or without.

use anyhow::Context as _;

use super::{Output, stats};
use crate::{
    claims::Netns,
    cli::InstancesArgs,
    control::client::{self, Found},
    duration::Secs,
    error::Result,
    survival,
};

/// Lists them.
pub fn execute(args: &InstancesArgs) -> Result<()> {
    let Found { mut instances, silent } = client::find()?;
    let alone = survival::alone().into_iter();
    let alone = alone.filter(|a| instances.iter().all(|i| i.instance != a.instance));
    let alone: Vec<_> = alone.collect();
    instances.extend(alone);
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
            Some(pid) => {
                format!("{name} (pid {pid}), up {}, {place}", Secs(instance.uptime_secs))
            }
            None if silent.contains(name) => {
                format!("{name}, {place}: translates, and its daemon does not answer")
            }
            None => format!("{name}, {place}: translates without a daemon"),
        })?;
        for interface in &instance.interfaces {
            output.line(match instance.pid {
                Some(_) => format!("  {}", stats::describe(interface)),
                None => format!("  {} {}", interface.role, interface.name),
            })?;
        }
        if silent.contains(name) {
            output.line(
                "  it hangs or was stopped by a signal: continue it, or kill it and `masq run`",
            )?;
        } else if instance.pid.is_none() {
            output.line("  `masq run` takes it over, `masq stop` removes it")?;
        }
    }
    output.finish()
}
