//! Compiles one kernel object with the toolchain that was found.
//!
//! The eBPF crate is built by a cargo call of its own: in one build with the host's crates, cargo
//! would unify features and pull `std` into it. The caller is often itself a child of cargo, whose
//! settings must not reach the inner call.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

use crate::{
    toolchain::{self, Core, TARGET, Toolchain},
    workspace,
};

/// Names a folder with finished objects: who packages masq may compile them elsewhere.
pub const OBJECTS_VARIABLE: &str = "MASQ_EBPF_OBJECTS";

/// The package that holds the kernel programs.
pub const PACKAGE: &str = "masq-ebpf";

/// Variables that an outer cargo (or its user) sets for the host's build. By prefix.
const FOREIGN: [&str; 6] =
    ["CARGO_BUILD_", "CARGO_CFG_", "CARGO_ENCODED_", "CARGO_PROFILE_", "CARGO_TARGET_", "RUSTC"];

/// Variables of the same kind, by name.
const FOREIGN_NAMES: [&str; 3] = ["RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_UNSTABLE_BUILD_STD"];

/// Compiles the binary `bin` of the eBPF package and puts the object at `out_dir/bin`.
///
/// Intermediate results stay in [`workshop`], so that a second call is quick. With
/// [`OBJECTS_VARIABLE`] set nothing is compiled, and the object comes from there.
pub fn build_object(bin: &str, out_dir: &Path) -> Result<PathBuf> {
    let built = match env::var_os(OBJECTS_VARIABLE) {
        Some(folder) => PathBuf::from(folder).join(bin),
        None => compile(bin, &workshop(out_dir))?,
    };
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    if !has_btf(&bytes)? {
        bail!(
            "{} has no .BTF section, and the kernel needs it; is bpf-linker built without it?",
            built.display()
        );
    }
    let wanted = out_dir.join(bin);
    fs::write(&wanted, bytes).with_context(|| format!("cannot write {}", wanted.display()))?;
    Ok(wanted)
}

/// Where the inner cargo works for a build that puts its results into `out_dir`: one folder in the
/// target directory of the outer cargo, for every profile and every package that embeds an object.
/// It is not that target directory itself, which the outer cargo has locked.
pub fn workshop(out_dir: &Path) -> PathBuf {
    // cargo marks the top of a target directory as a cache.
    let target = out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap_or(out_dir).join("ebpf")
}

fn compile(bin: &str, target_dir: &Path) -> Result<PathBuf> {
    let mut command = cargo(&toolchain::find()?, "build", target_dir);
    command.args(["--bin", bin]);
    run(command, bin)?;
    Ok(target_dir.join(TARGET).join("release").join(bin))
}

/// What a build script that calls [`build_object`] prints for cargo, so that the object is built
/// again when, and only when, something that goes into it has changed.
pub fn rerun_instructions() -> Result<Vec<String>> {
    let inputs = match env::var_os(OBJECTS_VARIABLE) {
        Some(folder) => vec![PathBuf::from(folder)],
        None => compiled_from()?,
    };
    let variables = [
        OBJECTS_VARIABLE,
        toolchain::RUSTC_VARIABLE,
        toolchain::LINKER_VARIABLE,
        "CARGO_HOME",
        "RUSTUP_HOME",
    ];
    let changed = inputs.iter().map(|path| format!("cargo::rerun-if-changed={}", path.display()));
    let environment = variables.iter().map(|name| format!("cargo::rerun-if-env-changed={name}"));
    Ok(changed.chain(environment).collect())
}

/// The sources and the tools.
fn compiled_from() -> Result<Vec<PathBuf>> {
    let root = workspace::root();
    let toolchain = toolchain::find()?;
    let sources = [PACKAGE, "masq-common", "Cargo.toml", "Cargo.lock"];
    let mut inputs: Vec<_> = sources.iter().map(|name| root.join(name)).collect();
    inputs.extend([toolchain.compiler.rustc, toolchain.linker]);
    Ok(inputs)
}

/// Whether an ELF file holds BPF type information.
pub fn has_btf(elf: &[u8]) -> Result<bool> {
    let file = object::File::parse(elf).context("not an ELF file")?;
    Ok(file.section_by_name(".BTF").is_some_and(|section| section.size() > 0))
}

/// A call of cargo (`build`, `check`) on the eBPF package.
pub fn cargo(toolchain: &Toolchain, verb: &str, target_dir: &Path) -> Command {
    let compiler = &toolchain.compiler;
    let outer = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let program = compiler.own_cargo().map_or(outer, Into::into);
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    clean_environment(&mut command);
    command
        .args([verb, "--release", "--locked", "--package", PACKAGE])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .env("RUSTC", &compiler.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&toolchain.linker));
    if compiler.core == Core::FromSource {
        command.args(["-Z", "build-std=core"]);
    }
    if !compiler.is_nightly() {
        // aya-ebpf needs unstable features, which a released compiler has and hides.
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    command
}

/// Flags for every crate of the object. The linker makes BTF out of the debug information; the
/// architecture is the one whose kernel will run the programs (`pt_regs` differ).
fn rustflags(linker: &Path) -> String {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(),
        format!("-Clinker={}", linker.display()),
        "-Clink-arg=--btf".to_owned(),
    ]
    .join("\x1f")
}

fn clean_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let foreign = FOREIGN.iter().any(|prefix| text.starts_with(prefix))
            || FOREIGN_NAMES.contains(&text.as_ref());
        if foreign {
            command.env_remove(&name);
        }
    }
}

/// Runs cargo; keeps its output and shows it only on failure, where it is the reason.
fn run(mut command: Command, bin: &str) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "the kernel object `{bin}` does not compile ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{has_btf, workshop};

    #[test]
    fn every_build_in_a_target_directory_shares_a_workshop() {
        // This program lies somewhere in a target directory.
        let here = std::env::current_exe().expect("the path of this program");
        let of_another = here.with_file_name("build").join("masq-user-1234/out");
        let shared = workshop(&here);
        assert_eq!(shared, workshop(&of_another));
        assert!(here.starts_with(shared.parent().expect("a folder")) && shared.ends_with("ebpf"));
        assert_eq!(workshop(Path::new("/nowhere")), Path::new("/nowhere/ebpf"));
    }

    #[test]
    fn a_host_program_has_no_btf() {
        let this = std::env::current_exe().and_then(std::fs::read).expect("the test reads itself");
        assert!(!has_btf(&this).expect("an ELF file"));
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        assert!(has_btf(b"#!/bin/sh\n").is_err());
    }
}
