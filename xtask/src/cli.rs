//! The subcommands.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    console,
    setup::{self, Intent, Scope},
    tasks::{self, dist::check::Thoroughness},
};

/// What `cargo xtask help` says. Written by hand for the grouping; a test compares it with the
/// subcommands that exist.
const OVERVIEW: &str = "\
The tasks of this checkout. Everything that a task needs it sets up by itself.

To see it work (as root):
  demo       Build a network of namespaces, run masq in it and show it at work; ends in a minute
  run        Build and run the gateway here: cargo xtask run --lan eth1 --wan ppp0

To build:
  setup      Find the eBPF toolchain and programs, install what is missing (--check: only look)
  build      Build target/release/masq, the program that gets installed
  dist       Make what is published: a static program, an archive, a Debian package (--check: try it)

To change it:
  lint       Check the format and run clippy, on the host's crates and on the kernel programs
  test       Run everything that must hold: lint, unit tests and, as root, the suites
  rfc        Write docs/rfc-compliance.md from the rows and the tests that exist (--check: compare)
  vm         Run masq on other kernels and on a real ppp0, in an emulated machine (as root; --list)
  verifier   Compare what the kernel's verifier says of each program with the baseline (as root)
  fuzz       Look for packets and messages that do harm, for long (--seconds N)
  bench      Measure speed, latency and memory beside plain forwarding and nftables (as root)

  help       This text; `cargo xtask help TASK` for one of them

Environment:
  MASQ_EBPF_RUSTC     rustc for the kernel programs, instead of the one that is found
  MASQ_BPF_LINKER     bpf-linker, likewise
  MASQ_EBPF_OBJECTS   folder with finished kernel objects: nothing is compiled for eBPF
";

/// `cargo xtask`.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", override_help = OVERVIEW, disable_version_flag = true)]
pub struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build a network of namespaces, run masq in it and show it at work; --help lists its options
    #[command(disable_help_flag = true)]
    Demo {
        /// Options of the demonstration
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Build and run the gateway in the foreground; every argument, --help too, is one of `masq run`
    #[command(disable_help_flag = true)]
    Run {
        /// Options of `masq run`, such as --lan eth1 --wan ppp0
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Find the eBPF toolchain and the programs that tests and demo call; install what is missing
    Setup {
        /// Only look; what is missing is an error
        #[arg(long)]
        check: bool,
    },
    /// Build target/release/masq, the program that gets installed
    Build,
    /// Make what is published: a static program with manual pages, completion scripts and units, as
    /// an archive and as a Debian package, in target/dist
    Dist {
        /// Try what was made: `quick` installs, updates, removes and purges the package in a folder, and
        /// under a systemd in namespaces with the service at work; `full`, also without a word, runs
        /// suites with the installed program too (as root)
        #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "full", require_equals = true)]
        check: Option<Thoroughness>,
        /// Pack this program, instead of building a static one
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
        /// Where to put it, instead of target/dist
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
    },
    /// Check the format and run clippy, on the host's crates and on the kernel programs
    Lint,
    /// Run everything that must hold: lint, unit tests and, as root, the suites
    Test {
        /// Stages to run, in their usual order: lint, unit, compliance, a suite, package; all without
        /// any. Other kernels are not among them: see `cargo xtask vm`
        suites: Vec<String>,
        /// For the test programs, after `--`: a filter, --nocapture
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Write docs/rfc-compliance.md from the table of rows and the tests that exist
    Rfc {
        /// Only compare; that it is out of date is an error
        #[arg(long)]
        check: bool,
    },
    /// Compare what the kernel's verifier says of each program with baselines/verifier.txt
    Verifier {
        /// Record the present state as the new baseline
        #[arg(long)]
        update: bool,
    },
    /// Run masq on other kernels and on a real PPPoE uplink, in an emulated machine
    Vm(tasks::vm::Options),
    /// Look for packets and messages that do harm, for long
    Fuzz {
        /// How long each fuzzer runs
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
        /// `kernel` for the kernel programs, or the name of a parser; all without any
        fuzzers: Vec<String>,
    },
    /// Measure speed, latency and memory beside plain forwarding and nftables; --help lists its options
    #[command(disable_help_flag = true)]
    Bench {
        /// Options of the measurement
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

impl Cli {
    /// Does what was asked; the reason of a failure is the last line.
    pub fn run(self) -> ExitCode {
        match self.task.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                console::error(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        }
    }
}

impl Task {
    fn run(self) -> Result<()> {
        match self {
            Self::Demo { arguments } => tasks::demo::demo(arguments),
            Self::Run { arguments } => tasks::run::run(arguments),
            Self::Setup { check } => {
                let intent = if check { Intent::Check } else { Intent::Install };
                setup::setup(Scope::Everything, intent)
            }
            Self::Build => tasks::build::build(),
            Self::Dist { check, program, to } => tasks::dist::dist(check, program, to),
            Self::Lint => tasks::lint::lint(),
            Self::Test { suites, arguments } => tasks::test::test(&suites, &arguments),
            Self::Rfc { check } => tasks::rfc::rfc(check),
            Self::Verifier { update } => tasks::verifier::verifier(update),
            Self::Vm(options) => tasks::vm::vm(&options),
            Self::Fuzz { seconds, fuzzers } => tasks::fuzz::fuzz(seconds, &fuzzers),
            Self::Bench { arguments } => tasks::bench::bench(arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Cli, OVERVIEW};
    use crate::{object, toolchain};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_overview_names_every_task_once() {
        for task in Cli::command().get_subcommands() {
            let start = format!("  {} ", task.get_name());
            let lines = OVERVIEW.lines().filter(|line| line.starts_with(&start));
            assert_eq!(lines.count(), 1, "{}", task.get_name());
        }
    }

    #[test]
    fn the_overview_names_every_variable() {
        let variables =
            [toolchain::RUSTC_VARIABLE, toolchain::LINKER_VARIABLE, object::OBJECTS_VARIABLE];
        for variable in variables {
            assert!(OVERVIEW.contains(variable), "{variable}");
        }
    }
}
