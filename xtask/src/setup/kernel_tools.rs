//! Decides what has to be installed for an eBPF toolchain, and installs the linker.
//!
//! A nightly with rust-src that only lacks a linker gets one. Without it, Debian's compiler is the
//! way: rustup's `rust-src` is not offered to be downloaded behind the user's back.

use std::{env, path::Path};

use anyhow::Result;

use super::apt;
use crate::{
    console, process,
    toolchain::{
        self, Compiler, DEBIAN_RUSTC, LINKER_VARIABLE, Lack, RUSTC_VARIABLE, Rejected, Survey,
    },
    workspace,
};

/// The LLVM of Debian's `rustc-web`: the linker must be built with one that is as new.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const LLVM_FEATURE: &str = "llvm-22";

/// The release of bpf-linker that the project is tested with.
const LINKER_RELEASE: &str = "0.13.0";

const COMPILER_PACKAGES: [(&str, &str); 2] = [
    ("rustc-web", "a Rust compiler whose core exists for eBPF"),
    ("libstd-rust-web-dev-bpf", "that core"),
];

const CLIPPY_PACKAGE: (&str, &str) = ("rust-web-clippy", "its clippy, for `cargo xtask lint`");

const LLVM_PACKAGES: [(&str, &str); 4] = [
    ("llvm-22-dev", "the LLVM that bpf-linker is built with"),
    ("libpolly-22-dev", "part of it"),
    ("zlib1g-dev", "compression that it uses"),
    ("libzstd-dev", "compression that it uses"),
];

/// Where a new linker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewLinker {
    /// There is none yet: where `cargo install` puts it, for every checkout to find.
    ForUser,
    /// There is one that does not fit the compiler, and it may be needed elsewhere: leave it alone.
    ForCheckout,
}

/// The next thing to install for a toolchain. After that it is worth looking again: whether a
/// linker fits a compiler shows only when both are there.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// Debian packages.
    pub packages: Vec<&'static str>,
    linker: Option<NewLinker>,
    /// What only the user can do.
    by_hand: Vec<String>,
}

impl Plan {
    /// Compares what was found with what is needed.
    pub fn make(survey: &Survey, lint: bool) -> Self {
        let mut plan = Self { packages: Vec::new(), linker: None, by_hand: Vec::new() };
        match &survey.found {
            Some(toolchain) if lint => plan.add_clippy(&toolchain.compiler),
            Some(_) => {}
            None if is_overridden() => plan.by_hand.push(format!(
                "{RUSTC_VARIABLE} or {LINKER_VARIABLE} is set and does not work; correct or unset \
                 it:\n{}",
                survey.explain()
            )),
            None => plan.add_toolchain(survey, lint),
        }
        plan
    }

    /// Whether the machine has it all.
    pub fn is_nothing(&self) -> bool {
        self.packages.is_empty() && self.linker.is_none() && self.by_hand.is_empty()
    }

    /// Whether only the user can go on.
    pub fn is_by_hand(&self) -> bool {
        !self.by_hand.is_empty()
    }

    /// Each package with its purpose.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let known = COMPILER_PACKAGES.into_iter().chain([CLIPPY_PACKAGE]).chain(LLVM_PACKAGES);
        known.filter(|(package, _)| self.packages.contains(package))
    }

    /// What a person would do, apart from installing the packages.
    pub fn advice(&self) -> Vec<String> {
        let mut lines = self.by_hand.clone();
        if let Some(place) = self.linker {
            let arguments = linker_arguments(place).join(" ");
            lines.push(format!("LLVM_PREFIX={LLVM_PREFIX} cargo {arguments}"));
        }
        lines
    }

    /// Builds and installs bpf-linker, if the plan says so. The packages must be there already.
    pub fn install_linker(&self) -> Result<()> {
        let Some(place) = self.linker else { return Ok(()) };
        console::heading("Installing bpf-linker");
        console::say("it links the kernel programs and writes their type information (BTF)");
        let arguments = linker_arguments(place);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut command = process::cargo(&arguments);
        command.env("LLVM_PREFIX", LLVM_PREFIX);
        let log = workspace::log("bpf-linker");
        process::quietly("cargo install bpf-linker", command, &log, process::no_remark)?;
        Ok(())
    }

    fn add_toolchain(&mut self, survey: &Survey, lint: bool) {
        let has_compiler = |it: &Rejected| !matches!(it.lack, Lack::Compiler(_));
        let lacks_linker = survey.rejected.iter().any(|it| matches!(it.lack, Lack::Linker(_)));
        let debian = survey.rejected.iter().find(|it| it.place.contains(DEBIAN_RUSTC));
        if lacks_linker {
            self.add_linker(NewLinker::ForUser);
        } else if debian.is_some_and(has_compiler) {
            self.add_linker(NewLinker::ForCheckout);
        } else {
            self.packages.extend(COMPILER_PACKAGES.map(|(package, _)| package));
            if lint {
                self.packages.push(CLIPPY_PACKAGE.0);
            }
            if !toolchain::has_linker() {
                self.add_linker(NewLinker::ForUser);
            }
        }
    }

    fn add_linker(&mut self, place: NewLinker) {
        self.linker = Some(place);
        let packages = LLVM_PACKAGES.map(|(package, _)| package);
        self.packages.extend(packages.into_iter().filter(|package| !apt::has(package)));
    }

    fn add_clippy(&mut self, compiler: &Compiler) {
        if compiler.clippy().is_some() {
            return;
        }
        if compiler.rustc == Path::new(DEBIAN_RUSTC) {
            self.packages.push(CLIPPY_PACKAGE.0);
        } else {
            let rustc = compiler.rustc.display();
            self.by_hand.push(format!(
                "add clippy to the toolchain of {rustc}, as in `rustup \
                component add clippy --toolchain nightly`"
            ));
        }
    }
}

fn linker_arguments(place: NewLinker) -> Vec<String> {
    let mut arguments: Vec<_> =
        ["install", "bpf-linker", "--locked", "--no-default-features"].map(str::to_owned).into();
    arguments.push(format!("--version={LINKER_RELEASE}"));
    arguments.push(format!("--features={LLVM_FEATURE}"));
    if place == NewLinker::ForCheckout {
        arguments.push(format!("--root={}", workspace::tools().display()));
    }
    arguments
}

fn is_overridden() -> bool {
    [RUSTC_VARIABLE, LINKER_VARIABLE].iter().any(|name| env::var_os(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::{NewLinker, Plan};
    use crate::toolchain::{Lack, Rejected, Survey};

    fn survey(nightly: Lack, debian: Lack) -> Survey {
        let place = |place: &str, lack| Rejected { place: place.to_owned(), lack };
        let rejected = vec![
            place("rustup toolchain nightly", nightly),
            place("Debian's /usr/bin/rustc", debian),
        ];
        Survey { found: None, rejected }
    }

    fn lack() -> String {
        "for a reason".to_owned()
    }

    #[test]
    fn no_compiler_anywhere_means_debians() {
        let plan = Plan::make(&survey(Lack::Compiler(lack()), Lack::Compiler(lack())), false);
        assert!(plan.packages.contains(&"rustc-web"));
        assert!(!plan.packages.contains(&"rust-web-clippy"));
    }

    #[test]
    fn a_nightly_that_lacks_only_a_linker_gets_one_and_no_other_compiler() {
        let plan = Plan::make(&survey(Lack::Linker(lack()), Lack::Compiler(lack())), true);
        assert_eq!(plan.linker, Some(NewLinker::ForUser));
        assert!(!plan.packages.contains(&"rustc-web"));
    }

    #[test]
    fn a_linker_that_does_not_fit_stays_where_it_is() {
        let plan = Plan::make(&survey(Lack::Compiler(lack()), Lack::Mismatch(lack())), true);
        assert_eq!(plan.linker, Some(NewLinker::ForCheckout));
        assert!(plan.advice()[0].contains("--root="));
    }

    #[test]
    fn a_nightly_too_new_for_the_linker_gives_way_to_debian() {
        let plan = Plan::make(&survey(Lack::Mismatch(lack()), Lack::Compiler(lack())), true);
        assert!(plan.packages.contains(&"rustc-web") && plan.packages.contains(&"rust-web-clippy"));
    }
}
