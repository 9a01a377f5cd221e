//! `masq-bench`: how masq does next to plain forwarding and to the kernel's masquerade, in one run.
//! How and why: `docs/benchmarks.md`.
//!
//! Measurements of all contenders alternate, round after round, so that a change of the machine's
//! mood meets all of them; what counts is the median. Progress goes to standard error, tables to
//! standard output.

mod compare;
mod effort;
mod goals;
mod metric;
mod plots;
mod record;
mod sections;
mod tables;

use std::{
    any::Any,
    fs,
    num::NonZero,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use effort::Effort;
use masq_tests::{
    console::Progress,
    measure::{conntrack::Limits, contender::Contender, stream::Profile},
    supervised,
};
use record::{Failure, Record};
use sections::{Run, Section, topology::Choice};

/// Measures masq next to plain forwarding, to bare XDP forwarding and to nftables masquerade.
#[derive(Parser, Debug)]
#[command(name = "masq-bench", version)]
struct Options {
    /// Fewer and shorter rounds and smaller tables: about two minutes, and less exact
    #[arg(long)]
    quick: bool,

    /// Sections to measure, separated by commas; all but `topology` without it
    #[arg(long, value_name = "SECTIONS", value_enum, value_delimiter = ',')]
    only: Vec<Section>,

    /// Measure XDP, TC and nftables where the router's interfaces stand on these, next to plain Ethernet
    /// in the same run. Other sections are measured then only if --only names them
    #[arg(long, value_name = "TOPOLOGIES", value_enum, value_delimiter = ',')]
    topology: Vec<Choice>,

    /// `full`: tables of four million sessions too, which take 8 GB and some minutes
    #[arg(long, value_name = "SIZE", value_enum, default_value_t = Scale::Usual)]
    scale: Scale,

    /// Write all measurements to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the tables to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Draw the main results as SVG into this folder
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,

    /// Compare with measurements written by --json: fail if masq has become worse by more than
    /// a fifth, relative to nftables in the same run
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,

    /// Measure nothing: show, draw and compare what --json has written to this file
    #[arg(long, value_name = "FILE")]
    show: Option<PathBuf>,

    /// Number of established flows
    #[arg(long, value_name = "N", default_value = "50000", value_parser = flows)]
    flows: NonZero<u32>,

    /// How often each measurement is made
    #[arg(long, value_name = "N")]
    rounds: Option<NonZero<usize>>,

    /// Measure this contender only: alone, forward, nftables, xdp_forward, masq_tc, masq_xdp or, for
    /// TCP, masq_auto. Repeat for more
    #[arg(long, value_name = "NAME", value_parser = contender)]
    contender: Vec<Contender>,
}

/// How large tables get.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Scale {
    /// Up to a million sessions.
    Usual,
    /// Up to four millions.
    Full,
}

fn flows(text: &str) -> Result<NonZero<u32>, String> {
    let flows = text.parse().map_err(|_| format!("{text} is no number of flows"))?;
    // Answers can be generated only while a flow keeps its port.
    match NonZero::new(flows) {
        Some(flows) if flows.get() <= u32::from(Profile::PORTS) => Ok(flows),
        _ => Err(format!("1 to {} flows", Profile::PORTS)),
    }
}

/// All that can be asked for.
fn contenders() -> Vec<Contender> {
    Contender::ALL.into_iter().chain([Contender::Auto]).collect()
}

fn contender(text: &str) -> Result<Contender, String> {
    let found = contenders().into_iter().find(|contender| contender.key() == text);
    found.ok_or_else(|| {
        let known: Vec<_> = contenders().into_iter().map(Contender::key).collect();
        format!("{text} is none of {}", known.join(", "))
    })
}

impl Options {
    fn effort(&self) -> Effort {
        let contenders = match self.contender.as_slice() {
            [] => contenders(),
            some => some.to_vec(),
        };
        let effort = if self.quick { Effort::quick } else { Effort::full };
        let mut effort = effort(contenders, self.flows.get());
        if self.scale == Scale::Full {
            effort = effort.with_largest();
        }
        effort.topologies = match self.topology.as_slice() {
            [] => vec![Choice::All],
            some => some.to_vec(),
        };
        if let Some(rounds) = self.rounds {
            (effort.rounds, effort.long_rounds) = (rounds.get(), rounds.get());
            effort.few_rounds = rounds.get();
        }
        effort
    }

    fn sections(&self) -> Vec<Section> {
        let wanted = |section: &Section| match section {
            Section::Topology => !self.topology.is_empty() || self.only.contains(section),
            _ if self.only.is_empty() => self.topology.is_empty(),
            _ => self.only.contains(section),
        };
        Section::ALL.into_iter().filter(wanted).collect()
    }
}

fn main() -> ExitCode {
    // Usage errors and --help need neither root nor a second process.
    Options::parse();
    // The worker may be killed while the limits of connection tracking are raised; its supervisor
    // puts them back.
    let _limits = Limits::now();
    supervised::run(work)
}

fn work() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; `false` if something could not be measured, or if masq has become worse
/// than the comparison allows.
fn run(options: &Options) -> Result<bool, String> {
    // Read first: it would be a pity to measure for minutes and then not find the file.
    let earlier = options.compare.as_deref().map(Record::read).transpose()?;
    let record = match &options.show {
        Some(path) => Record::read(path)?,
        None => measure(options),
    };
    tables::print(&record);
    if let Some(path) = &options.json {
        record.write(path)?;
    }
    if let Some(path) = &options.markdown {
        fs::write(path, tables::markdown(&record))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    if let Some(folder) = &options.plots {
        plots::draw(&record, folder)?;
    }
    let kept = earlier.is_none_or(|earlier| compare::compare(&record, &earlier));
    Ok(kept && record.failures.is_empty())
}

/// Measures section after section; one that fails does not keep the others from being measured.
fn measure(options: &Options) -> Record {
    masq_tests::netns::require_root();
    supervised::go_first();
    let effort = options.effort();
    let mut record = Record::new();
    let progress = Progress::start("starting");
    for section in options.sections() {
        let mut run = Run { effort: &effort, progress: &progress, record: &mut record, section };
        // What goes wrong in the laboratory panics, and says where; the namespaces go with the stack.
        let result = panic::catch_unwind(AssertUnwindSafe(|| section.measure(&mut run)));
        let reason = match result {
            Ok(Ok(())) => continue,
            Ok(Err(reason)) => reason,
            Err(panic) => message(&*panic),
        };
        eprintln!("\n{}: {reason}", section.title());
        record.failures.push(Failure { section, reason });
    }
    record
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn sections_are_chosen_by_name_and_measured_in_their_order() {
        let options = Options::parse_from(["masq-bench", "--only", "tcp,rate"]);
        assert_eq!(options.sections(), [Section::Rate, Section::Tcp]);
        let usual = Options::parse_from(["masq-bench"]).sections();
        assert_eq!(usual.len(), Section::ALL.len() - 1);
        assert!(!usual.contains(&Section::Topology));
        assert!(Options::try_parse_from(["masq-bench", "--only", "none"]).is_err());
    }

    #[test]
    fn topologies_are_measured_alone_or_with_what_is_named() {
        let options = |more: &[&str]| Options::parse_from(["masq-bench"].iter().chain(more));
        let alone = options(&["--topology", "bridge,vlan", "--topology", "plain"]);
        assert_eq!(alone.sections(), [Section::Topology]);
        let named = [Choice::Bridge, Choice::Vlan, Choice::Plain];
        assert_eq!(alone.effort().topologies, named);
        let both = options(&["--only", "rate", "--topology", "all"]);
        assert_eq!(both.sections(), [Section::Rate, Section::Topology]);
        let by_section = options(&["--only", "topology"]);
        assert_eq!(by_section.sections(), [Section::Topology]);
        assert_eq!(by_section.effort().topologies, [Choice::All]);
    }
}
