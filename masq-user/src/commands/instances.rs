//! `masq instances`: what runs on this machine.

use anyhow::Context as _;

use super::{Output, stats};
use crate::{claims::Netns, cli::InstancesArgs, control::client, duration::Secs, error::Result};

/// Lists them.
pub fn execute(args: &InstancesArgs) -> Result<()> {
    let instances = client::instances()?;
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
        output.heading(format_args!(
            "{} (pid {}), up {}, {place}",
            instance.instance,
            instance.pid,
            Secs(instance.uptime_secs)
        ))?;
        for interface in &instance.interfaces {
            output.line(format_args!("  {}", stats::describe(interface)))?;
        }
    }
    output.finish()
}
