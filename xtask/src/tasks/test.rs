//! `cargo xtask test`: everything that must hold, in stages; what CI runs.

use std::{env, ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    build::{self, MASQ},
    lint,
};
use crate::{
    console, object,
    process::{self, Finished},
    setup::{self, Intent, Scope},
    workspace,
};

/// The package with the suites that load programs and build networks.
const SUITES: &str = "masq-tests";

/// Names of the stages that are not suites.
const LINT: &str = "lint";
const UNIT: &str = "unit";
/// Whether docs/rfc-compliance.md is up to date.
const COMPLIANCE: &str = "compliance";
const STAGES: [&str; 3] = [LINT, UNIT, COMPLIANCE];
/// The last one: whether what was built can be packed, installed, run by systemd and removed again.
const PACKAGE: &str = "package";

/// Part of the suite `netns` once more, over other networks in the router: what hosts see has to be the
/// same whatever lies below its interfaces.
struct Again {
    /// Name of the stage.
    name: &'static str,
    /// The network, as `MASQ_TEST_LAYOUT` names it.
    layout: &'static str,
}

const SUITE: &str = "netns";
/// Only bridges: many kernels, those of CI among them, have no VLANs (`cargo xtask vm --suite netns` has).
const AGAIN: [Again; 1] = [Again { name: "bridge", layout: "bridge" }];
/// The part: modules of the suite.
const MODULES: [&str; 9] = [
    "accounting::",
    "filtering::",
    "fragments::",
    "hairpin::",
    "icmp::",
    "mtu::",
    "tcp::",
    "timeouts::",
    "udp::",
];

/// Runs the named stages, or all of them; `arguments` go to the test programs.
pub fn test(names: &[String], arguments: &[OsString]) -> Result<()> {
    let suites = suites()?;
    let wanted = choose(names, &suites)?;
    let needs_root = wanted.iter().any(|stage| !STAGES.contains(&stage.as_str()));
    if needs_root && !setup::is_root() {
        bail!(
            "the suites {} load programs into the kernel and build networks, and the stage {PACKAGE} \
             installs a package: run as root, or only `cargo xtask test {}`",
            suites.join(", "),
            STAGES.join(" ")
        );
    }
    setup::setup(if needs_root { Scope::Everything } else { Scope::Lint }, Intent::Install)?;
    let mut summary = Summary::default();
    if needs_root {
        console::heading("Building masq");
        build::release(&[("masq-user", MASQ)])?;
    }
    for stage in &wanted {
        console::heading(stage);
        match stage.as_str() {
            LINT => lint_stage(&mut summary)?,
            UNIT => unit_stage(&mut summary, arguments),
            COMPLIANCE => compliance_stage(&mut summary)?,
            PACKAGE => package_stage(&mut summary)?,
            name => match AGAIN.iter().find(|again| again.name == name) {
                Some(again) => again_stage(&mut summary, again, arguments)?,
                None => suite_stage(&mut summary, name, arguments)?,
            },
        }
    }
    summary.tell()
}

/// The stages that `names` ask for, in the usual order.
fn choose(names: &[String], suites: &[String]) -> Result<Vec<String>> {
    let again = AGAIN.iter().map(|again| again.name.to_owned());
    let last = again.chain(std::iter::once(PACKAGE.to_owned()));
    let all: Vec<_> =
        STAGES.map(str::to_owned).into_iter().chain(suites.to_vec()).chain(last).collect();
    for name in names {
        ensure!(all.contains(name), "there is no suite `{name}`; there are: {}", all.join(", "));
    }
    Ok(all.into_iter().filter(|stage| names.is_empty() || names.contains(stage)).collect())
}

/// The test programs of the suites' package, as cargo knows them.
fn suites() -> Result<Vec<String>> {
    let metadata = build::metadata()?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages
        .filter(|package| package["name"] == SUITES)
        .flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let tests = targets.filter(|target| target["kind"][0] == "test");
    Ok(tests.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}

fn lint_stage(summary: &mut Summary) -> Result<()> {
    for check in lint::checks()? {
        summary.run(check.title, check.log, check.command);
    }
    Ok(())
}

fn unit_stage(summary: &mut Summary, arguments: &[OsString]) {
    let mut crates = process::cargo(&["test", "--workspace"]);
    crates.args(["--exclude", object::PACKAGE, "--exclude", SUITES, "--"]).args(arguments);
    summary.run("unit and property tests", "test-unit", crates);
    let mut library = process::cargo(&["test", "--package", SUITES, "--lib", "--bins", "--"]);
    library.args(arguments);
    summary.run("unit tests of the laboratory", "test-laboratory", library);
}

fn compliance_stage(summary: &mut Summary) -> Result<()> {
    let mut check = Command::new(env::current_exe().context("cannot find this program")?);
    check.current_dir(workspace::root()).args(["rfc", "--check"]);
    summary.run("docs/rfc-compliance.md", "test-compliance", check);
    Ok(())
}

fn package_stage(summary: &mut Summary) -> Result<()> {
    let target = build::target_folder()?;
    let mut check = Command::new(env::current_exe().context("cannot find this program")?);
    // Not the static program, which is minutes of compiling away: `cargo xtask dist --check`.
    check.current_dir(workspace::root()).args(["dist", "--check=quick", "--program"]);
    check.arg(target.join("release").join(MASQ)).arg("--to").arg(target.join("xtask/package"));
    summary.run("archive and Debian package", "test-package", check);
    Ok(())
}

fn suite_stage(summary: &mut Summary, suite: &str, arguments: &[OsString]) -> Result<()> {
    let mut command = process::cargo(&["test", "--package", SUITES, "--test", suite, "--"]);
    command.args(arguments).env("MASQ_BIN", build::target_folder()?.join("release").join(MASQ));
    summary.run(&format!("suite {suite}"), &format!("test-{suite}"), command);
    Ok(())
}

fn again_stage(summary: &mut Summary, again: &Again, arguments: &[OsString]) -> Result<()> {
    let mut command = process::cargo(&["test", "--package", SUITES, "--test", SUITE, "--"]);
    // In TC nothing looks below the interfaces.
    command.args(MODULES).args(["--skip", "::tc"]).args(arguments);
    command.env("MASQ_TEST_LAYOUT", again.layout);
    command.env("MASQ_BIN", build::target_folder()?.join("release").join(MASQ));
    let Again { name, layout } = again;
    summary.run(&format!("suite {SUITE} over a {layout}"), &format!("test-{name}"), command);
    Ok(())
}

/// What ran, and how it went.
#[derive(Default)]
struct Summary {
    stages: Vec<Stage>,
}

struct Stage {
    title: String,
    log: PathBuf,
    /// Nothing if it failed.
    success: Option<Finished>,
}

impl Summary {
    /// Runs one stage; a failure is noted, so that the others still run.
    fn run(&mut self, title: &str, log: &str, command: Command) {
        let log = workspace::log(log);
        let remark = |output: &str| Counts::of(output).to_string();
        let success = process::quietly(title, command, &log, remark).ok();
        self.stages.push(Stage { title: title.to_owned(), log, success });
    }

    fn tell(&self) -> Result<()> {
        console::heading("Summary");
        for Stage { title, log, success } in &self.stages {
            match success {
                Some(Finished { output, time }) => console::good(&format!(
                    "{title:<32} {:>12}  {}",
                    console::duration(*time),
                    Counts::of(output)
                )),
                None => console::bad(&format!("{title:<32} {:>12}  {}", "failed", log.display())),
            }
        }
        let failed = self.stages.iter().filter(|stage| stage.success.is_none()).count();
        ensure!(failed == 0, "{failed} of {} stages failed", self.stages.len());
        Ok(())
    }
}

/// How many tests ran, from the lines that the test programs end with.
#[derive(Default)]
struct Counts {
    passed: u32,
    ignored: u32,
}

impl Counts {
    fn of(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines().filter(|line| line.starts_with("test result: ")) {
            counts.passed += number_before(line, " passed");
            counts.ignored += number_before(line, " ignored");
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.passed + self.ignored == 0 {
            return Ok(());
        }
        write!(f, "{} tests", self.passed)?;
        if self.ignored > 0 { write!(f, ", {} not run", self.ignored) } else { Ok(()) }
    }
}

fn number_before(line: &str, word: &str) -> u32 {
    let before = line.split(word).next().filter(|before| before.len() < line.len());
    before.and_then(|before| before.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Counts, choose};

    const OUTPUT: &str = "running 2 tests\n\
        test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn counts_add_up_over_programs() {
        assert_eq!(Counts::of(OUTPUT).to_string(), "15 tests, 1 not run");
        assert_eq!(Counts::of("Compiling").to_string(), "");
    }

    #[test]
    fn stages_run_in_their_order_and_unknown_ones_are_refused() {
        let suites = ["netns".to_owned(), "prog".to_owned()];
        let names = ["prog".to_owned(), "lint".to_owned()];
        assert_eq!(choose(&names, &suites).expect("known"), ["lint", "prog"]);
        assert_eq!(
            choose(&[], &suites).expect("all"),
            ["lint", "unit", "compliance", "netns", "prog", "bridge", "package"]
        );
        assert!(choose(&["nets".to_owned()], &suites).is_err());
    }
}
