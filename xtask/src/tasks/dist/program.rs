//! The program that is published: linked statically against musl, without symbols, so that it is one
//! file for every distribution, and free of the terms that linking glibc statically would bring.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use object::{
    Endianness,
    elf::{FileHeader64, PT_INTERP},
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use super::staging;
use crate::{
    process,
    tasks::build::{self, MASQ},
    workspace,
};

/// Builds it and returns its path.
pub fn build() -> Result<PathBuf> {
    let target = target();
    add(&target)?;
    let mut command = process::cargo(&["build", "--release", "--locked", "--target", &target]);
    command
        .args(["--package", "masq-user", "--bin", MASQ])
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env(flags_variable(&target), nameless_paths()?);
    process::visibly(command)?;
    let program = build::target_folder()?.join(target).join("release").join(MASQ);
    let bytes = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    ensure!(is_static(&bytes)?, "{} needs libraries of the machine", program.display());
    Ok(program)
}

/// What it runs on.
pub fn target() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

/// Whether the compiler has a standard library for the target.
pub fn has_library(target: &str) -> Result<bool> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = staging::output(Command::new(rustc).args([
        "--print",
        "target-libdir",
        "--target",
        target,
    ]))?;
    Ok(fs::read_dir(libraries.trim()).is_ok_and(|mut files| files.next().is_some()))
}

/// Sees that it has one.
fn add(target: &str) -> Result<()> {
    if has_library(target)? {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.current_dir(workspace::root()).args(["target", "add", target]);
    let title = format!("rustup target add {target}");
    process::quietly(&title, rustup, &workspace::log("dist-target"), process::no_remark)
        .with_context(|| format!("the compiler has no standard library for {target}"))?;
    Ok(())
}

/// The variable with the compiler's flags for what runs on `target`. Build scripts do not get them.
fn flags_variable(target: &str) -> String {
    format!("CARGO_TARGET_{}_RUSTFLAGS", target.replace('-', "_").to_uppercase())
}

/// Flags that leave the place of checkout and crates out of panic messages.
fn nameless_paths() -> Result<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(Path::new(&home).join(".cargo"))
    });
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok([remap(&home, "/cargo"), remap(&workspace::root(), "/masq")].join(" "))
}

/// Whether a program asks for no loader, and so for no library.
fn is_static(elf: &[u8]) -> Result<bool> {
    let header = FileHeader64::<Endianness>::parse(elf).context("not a 64-bit ELF file")?;
    let endian = header.endian().context("not an ELF file")?;
    let segments = header.program_headers(endian, elf).context("a broken ELF file")?;
    Ok(segments.iter().all(|segment| segment.p_type(endian) != PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::{flags_variable, is_static};

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        let this = std::env::current_exe().and_then(std::fs::read).expect("the test reads itself");
        assert!(!is_static(&this).expect("an ELF file"));
        assert!(is_static(b"#!/bin/sh").is_err());
    }

    #[test]
    fn flags_are_for_one_target() {
        assert_eq!(
            flags_variable("x86_64-unknown-linux-musl"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS"
        );
    }
}
