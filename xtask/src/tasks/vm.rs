//! `cargo xtask vm`: masq on other kernels, and on a real ppp0, in an emulated machine.
//!
//! What network namespaces on the running kernel cannot show. The scripts of `tests/vm` fetch kernels,
//! boot them and check; this builds what they run, calls them behind progress lines and puts what came
//! of it into a table. It is no stage of `cargo xtask test`: it downloads kernels, and takes minutes
//! for each.

mod choice;
pub mod outcome;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};

use super::build::{self, MASQ};
use crate::{
    console, process,
    setup::{self, Intent, Scope},
    workspace,
};
use outcome::Outcome;

/// Names a finished masq, as for the suites of the `tests` crate.
const PROGRAM_VARIABLE: &str = "MASQ_BIN";
/// Names another network for the suite `netns`.
const LAYOUT_VARIABLE: &str = "MASQ_TEST_LAYOUT";
/// Says who translates in the checks; see `tests/vm/ppp/gateway.sh` and the suite `netns`.
const GATEWAY_VARIABLE: &str = "MASQ_TEST_GATEWAY";
/// Stretches the limits of the tests (`masq_tests::patience`), unless the user has chosen another factor.
const PATIENCE_VARIABLE: &str = "MASQ_TEST_PATIENCE";
/// By how much: loading the programs alone has taken two minutes where a minute is the limit.
const PATIENCE: &str = "10";

/// The options.
#[derive(Debug, Args)]
pub struct Options {
    /// Kernels: a release (6.1.0-56-amd64), or the start of one (6.12) for the newest that Debian has.
    /// `newest` is the newest of all
    #[arg(long = "kernel", value_name = "LIST", value_delimiter = ',', default_value = "6.1,6.12")]
    kernels: Vec<String>,
    /// What to run on each
    #[arg(long, value_enum, default_value_t = Suite::Ppp)]
    suite: Suite,
    /// Print the kernels that there are, with the size of their download, and do nothing else
    #[arg(long)]
    list: bool,
    /// Keep the logs and captures of what passed, too
    #[arg(long)]
    keep: bool,
    /// For the tests of `netns`, after `--`: a filter
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What is run in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// masq on ppp0: traffic both ways, redials, reload, SIGKILL; some minutes
    Ppp,
    /// The same with the fast path in the drivers of the LAN and of the device under the PPPoE session
    PppXdp,
    /// The same with a bridge as LAN and the session over a VLAN
    PppBelow,
    /// The tests of `netns` whose outcome may depend on the kernel; half an hour or so
    Kernel,
    /// The whole suite `netns` of `cargo xtask test`, or what a filter leaves of it; some hours
    Netns,
    /// All of them; `kernel` is a part of `netns`
    All,
}

impl Suite {
    fn each(self) -> &'static [Self] {
        match self {
            Self::Ppp => &[Self::Ppp],
            Self::PppXdp => &[Self::PppXdp],
            Self::PppBelow => &[Self::PppBelow],
            Self::Kernel => &[Self::Kernel],
            Self::Netns => &[Self::Netns],
            Self::All => &[Self::Ppp, Self::PppXdp, Self::PppBelow, Self::Netns],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ppp => "ppp",
            Self::PppXdp => "ppp-xdp",
            Self::PppBelow => "ppp-below",
            Self::Kernel => "kernel",
            Self::Netns => "netns",
            Self::All => "all",
        }
    }

    /// What the interfaces of the checks of ppp0 stand on; see `tests/vm/ppp/network.sh`.
    fn topology(self) -> &'static str {
        match self {
            Self::PppXdp => "xdp",
            Self::PppBelow => "below",
            Self::Ppp | Self::Kernel | Self::Netns | Self::All => "plain",
        }
    }

    /// Seconds after which it is ended, on the slowest host: a processor is emulated at a twentieth
    /// of the speed of a real one.
    fn limit(self) -> u32 {
        match self {
            Self::Ppp | Self::PppXdp | Self::PppBelow => 1_800,
            Self::Kernel => 3_600,
            Self::Netns | Self::All => 4 * 3_600,
        }
    }
}

/// What runs in the machines: files of this one, which they see under the same paths.
struct Programs {
    masq: PathBuf,
    /// The suite `netns`, if it is wanted.
    netns: Option<PathBuf>,
}

/// Runs the suites on the kernels, or lists those.
pub fn vm(options: &Options) -> Result<()> {
    ensure!(
        setup::is_root(),
        "the machines see this one's file system as this user does: run this task as root"
    );
    setup::setup(Scope::Machine, Intent::Install)?;
    console::heading("Kernels");
    script("kernel.sh", "kernels that Debian has", "vm-kernels", &["update"])?;
    if options.list {
        return list();
    }
    let kernels = fetch(&options.kernels)?;
    console::heading("Building");
    let programs = Programs::build(options.suite)?;
    let mut outcomes = Vec::new();
    for kernel in &kernels {
        console::heading(&release_of(kernel));
        for suite in options.suite.each() {
            outcomes.push(run(kernel, *suite, &programs, options)?);
        }
    }
    tell(&outcomes)
}

/// Where kernels and their package lists are kept.
fn store() -> Result<PathBuf> {
    Ok(build::target_folder()?.join("vm"))
}

/// A script of `tests/vm`, behind a progress line: its task, the store, and what else it takes.
/// Returns what it printed.
fn script(name: &str, title: &str, log: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(scripts().join(name));
    command.arg(arguments[0]).arg(store()?).args(&arguments[1..]);
    Ok(process::quietly(title, command, &workspace::log(log), process::no_remark)?.output)
}

fn scripts() -> PathBuf {
    workspace::root().join("tests/vm")
}

fn list() -> Result<()> {
    let mut command = Command::new(scripts().join("kernel.sh"));
    command.arg("list").arg(store()?);
    process::visibly(command)
}

/// Makes sure that the kernels are here; returns their folders, each once, in the order asked for.
fn fetch(kernels: &[String]) -> Result<Vec<PathBuf>> {
    let mut seen = BTreeSet::new();
    let mut folders = Vec::new();
    for kernel in kernels {
        let output =
            script("kernel.sh", &format!("kernel {kernel}"), "vm-kernel", &["get", kernel])?;
        let folder = PathBuf::from(output.lines().last().context("kernel.sh has said nothing")?);
        ensure!(folder.join("vmlinux").is_file(), "{} has no kernel", folder.display());
        if seen.insert(folder.clone()) {
            folders.push(folder);
        }
    }
    Ok(folders)
}

fn release_of(kernel: &Path) -> String {
    kernel.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Programs {
    fn build(suite: Suite) -> Result<Self> {
        let masq = match env::var_os(PROGRAM_VARIABLE) {
            Some(path) => fs::canonicalize(&path).with_context(|| {
                format!("{PROGRAM_VARIABLE} names {}, which is no file", path.display())
            })?,
            None => build::release(&[("masq-user", MASQ)])?.remove(0),
        };
        console::good(&masq.display().to_string());
        let netns = match suite {
            Suite::Ppp | Suite::PppXdp | Suite::PppBelow => None,
            Suite::Kernel | Suite::Netns | Suite::All => {
                Some(build::test_program("masq-tests", "netns")?)
            }
        };
        if let (Suite::Kernel, Some(program)) = (suite, &netns) {
            choice::check(program)?;
        }
        Ok(Self { masq, netns })
    }

    /// The command that is `suite`, as the machine runs it.
    fn command(&self, suite: Suite, arguments: &[String]) -> Vec<String> {
        let given = |variable, usual: &str| env::var(variable).unwrap_or_else(|_| usual.to_owned());
        let gateway = given(GATEWAY_VARIABLE, "masq");
        let patience = given(PATIENCE_VARIABLE, PATIENCE);
        let mut command = vec![
            "env".to_owned(),
            format!("{PROGRAM_VARIABLE}={}", self.masq.display()),
            format!("{GATEWAY_VARIABLE}={gateway}"),
            format!("{PATIENCE_VARIABLE}={patience}"),
            format!("VM_TOPOLOGY={}", suite.topology()),
        ];
        match (suite, &self.netns) {
            (Suite::Kernel | Suite::Netns, Some(program)) => {
                let layout = env::var(LAYOUT_VARIABLE).ok();
                command.extend(layout.map(|layout| format!("{LAYOUT_VARIABLE}={layout}")));
                command.extend([program.display().to_string(), "--test-threads=2".to_owned()]);
                if suite == Suite::Kernel {
                    command.push("--exact".to_owned());
                    command.extend(choice::TESTS.iter().map(|&name| name.to_owned()));
                }
                command.extend_from_slice(arguments);
            }
            _ => command.push(scripts().join("ppp/main.sh").display().to_string()),
        }
        command
    }
}

/// One suite on one kernel. That it fails is an outcome; an error is that it could not be tried.
fn run(kernel: &Path, suite: Suite, programs: &Programs, options: &Options) -> Result<Outcome> {
    let name = format!("{}-{}", release_of(kernel), suite.name());
    let out = store()?.join("out").join(&name);
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    let mut command = Command::new(scripts().join("machine.sh"));
    // Tests look for their data from the folder of their crate, as cargo has them do.
    command.current_dir(workspace::root().join("tests"));
    command.arg(kernel).arg(suite.limit().to_string()).arg(&out);
    command.args(programs.command(suite, &options.arguments));
    let log = workspace::log(&format!("vm-{name}"));
    let remark = |output: &str| Outcome::remark(output);
    let success =
        process::quietly(&format!("suite {}", suite.name()), command, &log, remark).is_ok();
    let output = fs::read_to_string(&log).with_context(|| {
        format!("the machine did not start, or {} cannot be read", log.display())
    })?;
    if success && !options.keep {
        fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
    } else {
        console::say(&format!("logs and captures: {}", out.display()));
    }
    Ok(Outcome::new(&release_of(kernel), suite.name(), success, &output))
}

fn tell(outcomes: &[Outcome]) -> Result<()> {
    console::heading("Summary");
    for outcome in outcomes {
        let line = outcome.to_string();
        if outcome.success {
            console::good(&line);
        } else {
            console::bad(&line);
            outcome.failed.iter().for_each(|name| console::say(&format!("    {name}")));
        }
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.success).count();
    if failed > 0 {
        bail!("{failed} of {} failed", outcomes.len());
    }
    Ok(())
}
