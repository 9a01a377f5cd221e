//! `masq check`: gathers the facts, has them judged, and shows the findings.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::{runtime, task::LocalSet};

use super::Output;
use crate::{
    check::{
        self, Facts, Finding, Severity,
        facts::{Kernel, own_xdp_programs},
    },
    claims::Netns,
    cli::{MachineArgs, Mode},
    config::Config,
    control::{
        client,
        proto::{self, Instance},
    },
    error::{Error, Result},
    netlink::Netlink,
    options::Source,
    survival,
};

/// How long tasks that are not over may keep the command from ending.
const FAREWELL: Duration = Duration::from_millis(100);

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    interfaces: Vec<Interface<'a>>,
    findings: &'a [Finding],
    fatal: usize,
    warnings: usize,
    notes: usize,
}

#[derive(Serialize)]
struct Interface<'a> {
    name: &'a str,
    role: &'static str,
}

/// Checks. Fails if something is found that is fatal, or is to count as such.
pub fn execute(args: &MachineArgs) -> Result<()> {
    let config = config(args)?;
    let findings = look(&config)?;
    let number = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let lans = config.lans.iter().map(|name| Interface { name, role: "lan" });
    let wans = config.wans.iter().map(|name| Interface { name, role: "wan" });
    let report = Report {
        interfaces: lans.chain(wans).collect(),
        findings: &findings,
        fatal: number(Severity::Fatal),
        warnings: number(Severity::Warning),
        notes: number(Severity::Note),
    };
    let mut output = Output::new();
    if args.json {
        output.line(serde_json::to_string(&report).context("cannot write JSON")?)?;
    } else {
        write(&mut output, &report, args.verbose)?;
    }
    output.finish()?;
    verdict(&report, args.strict)
}

fn verdict(report: &Report<'_>, strict: bool) -> Result<()> {
    let refused = |text: &str| Err(Error::Refused(text.to_owned()));
    match (report.fatal, report.warnings) {
        (1.., _) => refused("masq cannot run here as it is; see what is fatal"),
        (0, 1..) if strict => refused("there are warnings, which count as failure with --strict"),
        _ => Ok(()),
    }
}

/// What is to be checked: what the command line and its file say, or what runs.
fn config(args: &MachineArgs) -> Result<Config> {
    let read = |lans: &[String], wans: &[String]| -> Result<Config> {
        Ok(Source::new(args.words(lans, wans), args.config.as_deref()).read()?.config)
    };
    if args.config.is_some() || !args.lan.is_empty() || !args.wan.is_empty() {
        return read(&args.lan, &args.wan);
    }
    let instance = running(args.instance.as_deref())?;
    let of = |role: &str| -> Vec<String> {
        let interfaces = instance.interfaces.iter().filter(|interface| interface.role == role);
        interfaces.map(|interface| interface.name.clone()).collect()
    };
    let mut config = read(&of("lan"), &of("wan"))?;
    // It waits for those that are not there.
    config.wait_interfaces = true;
    let modes: Vec<_> = instance.interfaces.iter().filter_map(|interface| interface.mode).collect();
    let all = |mode| !modes.is_empty() && modes.iter().all(|its| *its == mode);
    // All in XDP was asked for, or is as good as that.
    let known = [
        (proto::Mode::Kernel, Mode::Kernel),
        (proto::Mode::Tc, Mode::Tc),
        (proto::Mode::Xdp, Mode::Xdp),
    ];
    let known = known.into_iter().find(|(mode, _)| all(*mode)).map(|(_, mode)| mode);
    if let (None, Some(mode)) = (args.mode, known) {
        config.mode = mode;
    }
    Ok(config)
}

/// The instance in this network namespace, with a daemon or without.
fn running(name: Option<&str>) -> Result<Instance> {
    let here = Netns::own()?;
    let mut found = client::instances()?;
    let alone = survival::alone().into_iter();
    let alone: Vec<_> =
        alone.filter(|one| found.iter().all(|other| other.instance != one.instance)).collect();
    found.extend(alone);
    found.retain(|instance| instance.netns == here.0);
    if let Some(name) = name {
        found.retain(|instance| instance.instance == name);
    }
    match (found.len(), name) {
        (1, _) => Ok(found.remove(0)),
        (0, Some(name)) => Err(Error::Refused(format!(
            "no masq named {name} runs in this network namespace; see `masq instances`, or name the \
             interfaces with --lan and --wan"
        ))),
        (0, None) => Err(Error::Usage(
            "no masq is running in this network namespace; say which interfaces to check: \
             `masq check --lan IF --wan IF`"
                .into(),
        )),
        _ => {
            let names: Vec<_> = found.iter().map(|instance| instance.instance.as_str()).collect();
            Err(Error::Usage(format!(
                "several instances are running; choose one with --instance: {}",
                names.join(", ")
            )))
        }
    }
}

fn look(config: &Config) -> Result<Vec<Finding>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let findings = LocalSet::new().block_on(&runtime, async {
        let kernel = Kernel::gather()?;
        let netlink = Netlink::open()?;
        let snapshot = netlink.snapshot().await?;
        let snapshot = match own_xdp_programs(&snapshot) {
            own if own.is_empty() => snapshot,
            own => snapshot.without_xdp(&own),
        };
        let facts = Facts::gather(config, kernel, &netlink, snapshot).await?;
        Ok(check::judge(config, &facts))
    });
    runtime.shutdown_timeout(FAREWELL);
    findings
}

fn write(output: &mut Output, report: &Report<'_>, verbose: bool) -> Result<()> {
    // The worst last: there people look first.
    let mut shown: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| verbose || finding.severity > Severity::Ok)
        .collect();
    shown.sort_by_key(|finding| finding.severity);
    for finding in shown {
        let word = output.coloured(colour(finding.severity), finding.severity.as_str());
        // Written out: the codes of the colour would count as width.
        let blanks = " ".repeat(9 - finding.severity.as_str().len());
        output.line(format_args!("{word}{blanks}{} [{}]", finding.text, finding.check))?;
        if !finding.advice.is_empty() {
            let colon = if finding.commands.is_empty() { "" } else { ":" };
            output.line(format_args!("         -> {}{colon}", finding.advice))?;
        }
        for command in &finding.commands {
            output.line(format_args!("            {command}"))?;
        }
    }
    let names: Vec<_> =
        report.interfaces.iter().map(|one| format!("{} {}", one.role, one.name)).collect();
    let Report { fatal, warnings, notes, .. } = report;
    output.heading(format_args!(
        "{}: {fatal} fatal, {warnings} {}, {notes} {}",
        names.join(", "),
        if *warnings == 1 { "warning" } else { "warnings" },
        if *notes == 1 { "note" } else { "notes" },
    ))?;
    Ok(())
}

/// The code of a colour.
const fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "32",
        Severity::Note => "36",
        Severity::Warning => "33",
        Severity::Fatal => "1;31",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_fatal_fails_unless_it_is_meant_strictly() {
        let report = |fatal, warnings| Report {
            interfaces: Vec::new(),
            findings: &[],
            fatal,
            warnings,
            notes: 3,
        };
        assert!(verdict(&report(0, 0), true).is_ok());
        assert!(verdict(&report(0, 2), false).is_ok());
        assert_eq!(verdict(&report(0, 2), true).unwrap_err().exit_code(), 1);
        assert_eq!(verdict(&report(1, 0), false).unwrap_err().exit_code(), 1);
    }
}
