//! `masq stats`: interfaces, tables and counters.

use anyhow::{Context as _, anyhow};

use super::Output;
use crate::{
    cli::StatsArgs,
    control::{
        client,
        proto::{Answer, Ask, InterfaceInfo, Stats, Survival},
    },
    duration::Secs,
    error::Result,
};

/// Shows them.
pub fn execute(args: &StatsArgs) -> Result<()> {
    let mut client = client::ask(args.instance.instance.as_deref(), Ask::Stats)?;
    let Answer::Stats(stats) = client.answer()? else {
        return Err(anyhow!("the running masq gave an unexpected answer").into());
    };
    let mut output = Output::new();
    if args.json {
        output.line(serde_json::to_string(&stats).context("cannot write JSON")?)?;
    } else {
        write(&mut output, &stats, args.all)?;
    }
    output.finish()
}

fn write(output: &mut Output, stats: &Stats, all: bool) -> Result<()> {
    let instance = &stats.instance;
    output.line(format_args!(
        "{} (pid {}, masq {}), up {}",
        instance.instance,
        instance.pid.unwrap_or_default(),
        instance.version,
        Secs(instance.uptime_secs)
    ))?;
    output.line(survival(&instance.survival))?;
    output.heading("\nInterfaces")?;
    for interface in &instance.interfaces {
        output.line(format_args!("  {}", describe(interface)))?;
    }
    output.heading("\nTables")?;
    let tables = &stats.tables;
    output.line(occupancy("sessions", tables.sessions.used, tables.sessions.max))?;
    output.line(occupancy("mappings", tables.mappings.used, tables.mappings.max))?;
    for ports in &tables.ports {
        let name = format!("{} ports of {}", ports.protocol, ports.wan);
        output.line(occupancy(&name, ports.used, ports.max))?;
    }
    for (class, title) in [
        ("translated", "Packets translated"),
        ("untouched", "Packets left to the kernel, by hook"),
        ("dropped", "Packets dropped"),
        ("event", "Events"),
    ] {
        let shown = stats.counters.iter().filter(|c| c.class == class && (all || c.count > 0));
        let mut shown = shown.peekable();
        if shown.peek().is_some() {
            output.heading(format_args!("\n{title}"))?;
        }
        for counter in shown {
            output.line(row(&counter.reason, counter.count, &counter.text))?;
        }
    }
    let rows = stats.slow_path.rows();
    let mut shown = rows.iter().filter(|(_, count, _)| all || *count > 0).peekable();
    if shown.peek().is_some() {
        output.heading("\nSlow path")?;
    }
    for (name, count, text) in shown {
        output.line(row(name, *count, text))?;
    }
    Ok(())
}

fn row(name: &str, count: u64, text: &str) -> String {
    format!("  {name:<22} {count:>14}  {text}")
}

/// What becomes of the sessions, in one line.
pub fn survival(survival: &Survival) -> String {
    match &survival.pins {
        Some(pins) => {
            let adopted = if survival.adopted { ", and have survived one" } else { "" };
            format!("sessions survive the end of the daemon{adopted}: pinned in {pins}")
        }
        None => format!("sessions end with the daemon: {}", survival.why),
    }
}

/// An interface in one line.
pub fn describe(interface: &InterfaceInfo) -> String {
    let InterfaceInfo { role, name, why, .. } = interface;
    let state = match (interface.index, interface.mode) {
        (None, _) => "does not exist at present".to_owned(),
        (_, None) => "nothing attached".to_owned(),
        (_, Some(mode)) => format!("{}: {why}", mode.as_str()),
    };
    let address = match (interface.is_wan(), interface.address) {
        (false, _) => String::new(),
        (true, Some(address)) => format!(" {address}"),
        (true, None) => " (no address)".to_owned(),
    };
    let mss = interface.mss.map_or_else(String::new, |mss| format!(", TCP segments up to {mss}"));
    format!("{role} {name}{address}, {state}{mss}")
}

fn occupancy(name: &str, used: u64, max: u64) -> String {
    let percent = 100.0 * used as f64 / max.max(1) as f64;
    format!("  {name:<22} {used:>14} of {max} ({percent:.1} %)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::proto::Mode;

    #[test]
    fn interfaces_are_described_in_every_state() {
        let wan = InterfaceInfo {
            name: "ppp0".into(),
            role: "wan".into(),
            index: Some(4),
            mode: Some(Mode::Tc),
            why: "asked for".into(),
            address: Some([203, 0, 113, 5].into()),
            mss: None,
            ports: Vec::new(),
        };
        assert_eq!(describe(&wan), "wan ppp0 203.0.113.5, tc: asked for");
        let gone = InterfaceInfo { index: None, mode: None, address: None, ..wan.clone() };
        assert_eq!(describe(&gone), "wan ppp0 (no address), does not exist at present");
        let lan = InterfaceInfo { role: "lan".into(), address: None, mode: Some(Mode::Xdp), ..wan };
        assert_eq!(describe(&lan), "lan ppp0, xdp: asked for");
    }

    #[test]
    fn survival_is_told_with_its_reason() {
        let none = Survival { why: "no bpffs".into(), ..Survival::default() };
        assert_eq!(survival(&none), "sessions end with the daemon: no bpffs");
        let pinned = Survival { pins: Some("/p".into()), adopted: true, ..Survival::default() };
        assert!(survival(&pinned).ends_with("and have survived one: pinned in /p"));
    }

    #[test]
    fn occupancy_of_nothing_is_no_division_by_zero() {
        assert!(occupancy("sessions", 0, 0).ends_with("0 of 0 (0.0 %)"));
        assert!(occupancy("sessions", 1, 8).ends_with("1 of 8 (12.5 %)"));
    }
}
