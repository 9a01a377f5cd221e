//! `masq-bench`: packet rates and TCP throughput of masq, next to plain forwarding and to the
//! kernel's masquerade, in one run. How and why: `docs/benchmarks.md`.
//!
//! Measurements of all contenders alternate, round after round, so that a change of the machine's
//! mood meets all of them; what counts is the median. Progress goes to standard error, tables to
//! standard output.

mod packets;
mod record;
mod tables;
mod tcp;

use std::{num::NonZero, panic, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use masq_tests::{
    console::Progress,
    measure::{contender::Contender, frames::MAX_INBOUND_FLOWS},
    supervised,
};
use record::Record;

/// Measures packets a second and TCP throughput of masq, next to plain forwarding and to nftables
/// masquerade.
#[derive(Parser, Debug)]
#[command(name = "masq-bench", version)]
struct Options {
    /// Fewer and shorter rounds: about a minute, and less exact
    #[arg(long)]
    quick: bool,

    /// Write all measurements to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Compare with measurements written by --json: fail if masq has become slower by more than
    /// a fifth, relative to nftables in the same run
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,

    /// Number of established flows
    #[arg(long, value_name = "N", default_value = "50000", value_parser = flows)]
    flows: NonZero<u32>,

    /// How often each measurement is made
    #[arg(long, value_name = "N")]
    rounds: Option<NonZero<usize>>,

    /// Measure this contender only: alone, forward, nftables, xdp_forward, masq_tc or masq_xdp.
    /// Repeat for more
    #[arg(long, value_name = "NAME", value_parser = contender)]
    contender: Vec<Contender>,

    /// Measure packet rates only
    #[arg(long, conflicts_with = "only_tcp")]
    only_packets: bool,

    /// Measure TCP only
    #[arg(long)]
    only_tcp: bool,
}

fn flows(text: &str) -> Result<NonZero<u32>, String> {
    let flows = text.parse().map_err(|_| format!("{text} is no number of flows"))?;
    match NonZero::new(flows) {
        Some(flows) if flows.get() <= MAX_INBOUND_FLOWS => Ok(flows),
        _ => Err(format!("1 to {MAX_INBOUND_FLOWS} flows")),
    }
}

fn contender(text: &str) -> Result<Contender, String> {
    let found = Contender::ALL.into_iter().find(|contender| contender.key() == text);
    found.ok_or_else(|| {
        format!("{text} is none of {}", Contender::ALL.map(Contender::key).join(", "))
    })
}

/// What is measured, and how much of it.
#[derive(Clone, Debug)]
struct Effort {
    contenders: Vec<Contender>,
    flows: NonZero<u32>,
    packet_rounds: usize,
    packet_time: Duration,
    tcp_rounds: usize,
    tcp_time: Duration,
    imix: bool,
}

impl Options {
    fn effort(&self) -> Effort {
        let rounds = |default| self.rounds.map_or(default, NonZero::get);
        let ms = Duration::from_millis;
        let contenders = match self.contender.as_slice() {
            [] => Contender::ALL.to_vec(),
            some => some.to_vec(),
        };
        if self.quick {
            Effort {
                contenders,
                flows: self.flows,
                packet_rounds: rounds(3),
                packet_time: ms(300),
                tcp_rounds: rounds(1),
                tcp_time: ms(700),
                imix: false,
            }
        } else {
            Effort {
                contenders,
                flows: self.flows,
                packet_rounds: rounds(7),
                packet_time: ms(1000),
                tcp_rounds: rounds(5),
                tcp_time: ms(1500),
                imix: true,
            }
        }
    }
}

fn main() -> ExitCode {
    // Usage errors and --help need neither root nor a second process.
    Options::parse();
    supervised::run(work)
}

fn work() -> ExitCode {
    let options = Options::parse();
    // What goes wrong in the laboratory panics, and says where; the namespaces go with the stack.
    match panic::catch_unwind(|| run(&options)) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Measures and prints; `false` if masq has become slower than the comparison allows.
fn run(options: &Options) -> Result<bool, String> {
    masq_tests::netns::require_root();
    // Read first: it would be a pity to measure for minutes and then not find the file.
    let earlier = options.compare.as_deref().map(Record::read).transpose()?;
    supervised::go_first();
    let effort = options.effort();
    let mut record = Record::new();
    let progress = Progress::start("starting");
    if !options.only_tcp {
        packets::measure(&effort, &progress, &mut record)?;
    }
    if !options.only_packets {
        tcp::measure(&effort, &progress, &mut record)?;
    }
    drop(progress);
    tables::print(&record);
    if let Some(path) = &options.json {
        record.write(path)?;
    }
    Ok(earlier.is_none_or(|earlier| tables::compare(&record, &earlier)))
}
