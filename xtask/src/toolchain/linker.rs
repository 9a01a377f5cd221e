//! Finds `bpf-linker` and tries whether it reads what a compiler writes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{Compiler, LINKER_VARIABLE, compiler::TARGET};
use crate::{object::has_btf, workspace};

const PROGRAM: &str = "bpf-linker";

/// One function is enough to learn whether the two LLVMs understand each other.
const SAMPLE: &str = "#![no_std]\n#[unsafe(no_mangle)]\n\
    pub extern \"C\" fn sample(x: u32) -> u32 { x.wrapping_add(1) }\n";

/// Every `bpf-linker` to try, in order: only the one that the environment names, else the first on
/// PATH, where `cargo install` puts it (that folder need not be on PATH), and the checkout's own.
pub fn candidates() -> Result<Vec<PathBuf>, String> {
    if let Some(named) = env::var_os(LINKER_VARIABLE) {
        return which::which(&named)
            .map(|path| vec![path])
            .map_err(|_| format!("{LINKER_VARIABLE}={} is no program", named.display()));
    }
    let mut found: Vec<PathBuf> = which::which(PROGRAM).into_iter().collect();
    for path in install_folders().into_iter().map(|root| root.join("bin").join(PROGRAM)) {
        if path.is_file() && !found.contains(&path) {
            found.push(path);
        }
    }
    if found.is_empty() { Err(format!("{PROGRAM} is not installed")) } else { Ok(found) }
}

fn install_folders() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let root = env::var_os("CARGO_INSTALL_ROOT").map(PathBuf::from);
    [root, home, Some(workspace::tools())].into_iter().flatten().collect()
}

/// Compiles a sample to bitcode and links it. Bitcode of the host's target will do: this asks about
/// the format, and so needs no `core` for eBPF, which may still have to be compiled.
pub fn probe(compiler: &Compiler, linker: &Path) -> Result<(), String> {
    let folder = Scratch::create().map_err(|error| format!("cannot make a folder: {error}"))?;
    let (source, bitcode, object) =
        (folder.0.join("sample.rs"), folder.0.join("sample.bc"), folder.0.join("sample.o"));
    fs::write(&source, SAMPLE).map_err(|error| format!("cannot write a sample: {error}"))?;
    let compile = Command::new(&compiler.rustc)
        .args(["--edition=2024", "--crate-type=lib", "--emit=llvm-bc", "-Cdebuginfo=2"])
        .args(["-Cpanic=abort", "-o"])
        .args([&bitcode, &source])
        .output();
    succeeded("rustc", compile)?;
    let link = Command::new(linker)
        .args(["--btf", "--export=sample"])
        .arg(format!("--target={}", TARGET.split('-').next().unwrap_or(TARGET)))
        .arg("--output")
        .args([&object, &bitcode])
        .output();
    succeeded(PROGRAM, link)
        .map_err(|why| format!("{} cannot link what this rustc writes: {why}", linker.display()))?;
    match fs::read(&object).map(|bytes| has_btf(&bytes)) {
        Ok(Ok(true)) => Ok(()),
        _ => Err(format!("{} writes no BTF (type information)", linker.display())),
    }
}

fn succeeded(program: &str, output: std::io::Result<Output>) -> Result<(), String> {
    let output = output.map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(format!("{program}: {line} ({})", output.status))
}

/// A folder that goes away with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("masq-toolchain-{}-{number}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder left in the temporary directory is no reason to fail the search.
        let _: std::io::Result<()> = fs::remove_dir_all(&self.0);
    }
}
