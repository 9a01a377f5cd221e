//! Which tests exist: asked from the test programs themselves, after building them.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{object, process};

/// Names of tests, each with the name of its program in front: `prog::wan_out::…` is a test of the
/// suite `prog`, `masq_common::tcp::tests::…` one of the library. Tests that are not run by default
/// are no proof of anything and are left out.
#[derive(Debug, Default)]
pub struct Tests(BTreeSet<String>);

impl Tests {
    /// Whether there is a test or a module with tests of this name.
    pub fn has(&self, name: &str) -> bool {
        let below = format!("{name}::");
        self.0.contains(name)
            || self.0.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
    }

    /// Tests in the module of a row, at any depth below the module of its chapter.
    pub fn of_row(&self, suite: &str, (chapter, row): &(String, String)) -> Vec<String> {
        let chapter = format!("{suite}::{chapter}::");
        let of_chapter = self.0.iter().filter(|name| name.starts_with(&chapter));
        let of_row = of_chapter.filter(|name| {
            let modules =
                name[chapter.len()..].rsplit_once("::").map_or("", |(modules, _)| modules);
            modules.split("::").any(|module| module == row)
        });
        of_row.cloned().collect()
    }

    /// All tests of a suite.
    pub fn of_suite(&self, suite: &str) -> impl Iterator<Item = &String> {
        let start = format!("{suite}::");
        self.0.iter().filter(move |name| name.starts_with(&start))
    }

    /// Adds tests.
    pub fn extend(&mut self, names: &[String]) {
        self.0.extend(names.iter().cloned());
    }
}

#[cfg(test)]
impl<'a, I: IntoIterator<Item = &'a str>> From<I> for Tests {
    fn from(names: I) -> Self {
        Self(names.into_iter().map(str::to_owned).collect())
    }
}

/// Builds all test programs as the stages of `cargo xtask test` do, and asks them.
pub fn all() -> Result<Tests> {
    let mut crates = process::cargo(&["test", "--workspace", "--exclude", object::PACKAGE]);
    crates.args(["--exclude", "masq-tests"]);
    let mut suites = process::cargo(&["test", "--package", "masq-tests"]);
    suites.args(["--lib", "--tests"]);
    let mut names = BTreeSet::new();
    for mut command in [crates, suites] {
        command.args(["--no-run", "--message-format=json-render-diagnostics"]);
        for (program, path) in programs(command)? {
            let ignored: BTreeSet<_> = list(&path, &["--ignored"])?.into_iter().collect();
            let tests = list(&path, &[])?.into_iter().filter(|name| !ignored.contains(name));
            names.extend(tests.map(|name| format!("{program}::{name}")));
        }
    }
    Ok(Tests(names))
}

/// The names and paths of the test programs that a call of cargo builds.
fn programs(mut command: Command) -> Result<Vec<(String, String)>> {
    command.stderr(std::process::Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let output = String::from_utf8(output.stdout).context("cargo speaks no UTF-8")?;
    let messages = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = |message: Value| {
        let is_test = message["profile"]["test"] == true;
        let name = message["target"]["name"].as_str().filter(|_| is_test)?;
        Some((name.replace('-', "_"), message["executable"].as_str()?.to_owned()))
    };
    Ok(messages.filter_map(program).collect())
}

/// The tests of a program.
fn list(path: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new(path);
    command.args(["--list", "--format", "terse"]).args(arguments);
    let output = command.output().with_context(|| format!("cannot start {path}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| Some(line.strip_suffix(": test")?.to_owned())).collect())
}
