//! `cargo xtask setup`: what is missing on this machine, why it is needed, and how it gets there.
//!
//! Looks first and touches only what is missing, so that a second run does nothing. The other
//! tasks call it with the part that they need.

mod apt;
pub mod fuzzer;
mod kernel_tools;
mod programs;

use anyhow::{Result, bail};

pub use apt::is_root;

use crate::{
    console,
    toolchain::{self, Survey},
};
use kernel_tools::Plan;

/// What a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Compile masq.
    Build,
    /// Compile and lint masq.
    Lint,
    /// That, and what the demo, the tests and the benchmarks call.
    Everything,
    /// Compile masq, and run it in an emulated machine with another kernel.
    Machine,
    /// Compile masq, and run it as a service of systemd.
    Service,
}

impl Scope {
    fn lints(self) -> bool {
        matches!(self, Self::Lint | Self::Everything)
    }

    /// What is called besides the toolchain.
    fn programs(self) -> &'static [&'static [programs::Program]] {
        match self {
            Self::Build | Self::Lint => &[],
            Self::Everything => &[&programs::LABORATORY, &programs::TESTS],
            Self::Machine => &[&programs::LABORATORY, &programs::MACHINE],
            Self::Service => &[&programs::LABORATORY, &programs::SERVICE],
        }
    }
}

/// Whether to change the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Install what is missing.
    Install,
    /// Only report; what is missing is an error.
    Check,
}

/// How often to look and install. What is missing may show only after something else is there:
/// compiler, then a linker that fits it, then the compiler's clippy.
const ROUNDS: u32 = 3;

/// Brings the machine into the state that `scope` needs, reporting everything it looks at.
pub fn setup(scope: Scope, intent: Intent) -> Result<()> {
    report(scope);
    let mut missing = Missing::find(scope);
    if missing.is_nothing() {
        return Ok(());
    }
    if intent == Intent::Check {
        bail!("`cargo xtask setup`, run as root on Debian, does the rest:\n{}", missing.advice());
    }
    for _ in 0..ROUNDS {
        missing.install()?;
        missing = Missing::find(scope);
        if missing.is_nothing() {
            report(scope);
            return Ok(());
        }
    }
    bail!("after the installation this is still missing:\n{}", missing.advice())
}

/// As [`setup`], but says nothing as long as nothing is missing.
pub fn ensure(scope: Scope) -> Result<()> {
    if Missing::find(scope).is_nothing() {
        return Ok(());
    }
    setup(scope, Intent::Install)
}

/// What this machine lacks.
struct Missing {
    kernel_tools: Plan,
    programs: Vec<&'static programs::Program>,
}

impl Missing {
    fn find(scope: Scope) -> Self {
        let kernel_tools = Plan::make(&toolchain::survey(), scope.lints());
        let programs = scope.programs().iter().flat_map(|list| programs::missing(list)).collect();
        Self { kernel_tools, programs }
    }

    fn is_nothing(&self) -> bool {
        self.kernel_tools.is_nothing() && self.programs.is_empty()
    }

    fn packages(&self) -> Vec<&'static str> {
        let mut packages = self.kernel_tools.packages.clone();
        for program in &self.programs {
            if !packages.contains(&program.package) {
                packages.push(program.package);
            }
        }
        packages
    }

    fn install(&self) -> Result<()> {
        if self.kernel_tools.is_by_hand() {
            bail!("this needs you:\n{}", self.advice());
        }
        let packages = self.packages();
        if !packages.is_empty() {
            if let Err(why) = apt::usable() {
                bail!("{why}. What is missing:\n{}{}", self.advice(), self.other_systems());
            }
            console::heading("Installing Debian packages");
            for (package, why) in self.kernel_tools.reasons().chain(self.program_reasons()) {
                console::say(&format!("{package:<24} {why}"));
            }
            apt::install(&packages)?;
        }
        self.kernel_tools.install_linker()
    }

    fn program_reasons(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.programs.iter().map(|program| (program.package, program.why))
    }

    /// What a person would type to get it all, one command a line.
    fn advice(&self) -> String {
        let packages = self.packages();
        let verb = if apt::is_debian() {
            "apt-get install --no-install-recommends"
        } else {
            "what your system calls Debian's packages"
        };
        let packages = (!packages.is_empty()).then(|| format!("{verb} {}", packages.join(" ")));
        let lines = packages.into_iter().chain(self.kernel_tools.advice());
        lines.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Where there are no such packages, the toolchain comes from rustup.
    fn other_systems(&self) -> &'static str {
        if self.kernel_tools.is_nothing() || apt::is_debian() {
            return "";
        }
        "\nfor the compiler and the linker there is another way, without these packages:\n  \
         rustup component add rust-src clippy --toolchain nightly\n  \
         cargo install bpf-linker"
    }
}

fn report(scope: Scope) {
    console::heading("eBPF toolchain");
    let Survey { found, rejected } = toolchain::survey();
    for place in &rejected {
        console::say(&format!("· {}: {}", place.place, place.lack));
    }
    match &found {
        Some(toolchain) => console::good(&toolchain.to_string()),
        None if toolchain::has_linker() => console::bad("none that works"),
        None => console::bad("none that works, and no bpf-linker"),
    }
    if scope.lints()
        && let Some(toolchain) = found
    {
        match toolchain.compiler.clippy() {
            Some(path) => console::good(&format!("{} lints the kernel programs", path.display())),
            None => console::bad("clippy of the same release, to lint the kernel programs"),
        }
    }
    if !scope.programs().is_empty() {
        console::heading("Programs");
        scope.programs().iter().for_each(|list| programs::report(list));
    }
}
