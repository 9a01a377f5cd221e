//! Judges one `rustc`: is it new enough, and has it a way to a `core` for eBPF?

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The target that the kernel programs are compiled for.
pub const TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// Where Debian's package `rustc-web` puts its compiler.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The oldest release that compiles this workspace: `rust-version` of the workspace.
pub const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// Where a compiler gets its `core` from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    /// Somebody compiled it for the eBPF target and installed it beside the compiler.
    Prebuilt,
    /// cargo compiles it from the source in the sysroot (`-Z build-std=core`).
    FromSource,
}

/// A `rustc` that can compile for eBPF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub rustc: PathBuf,
    /// Its folder of libraries.
    pub sysroot: PathBuf,
    /// As in `rustc --version`, without the program's name.
    pub release: String,
    /// Where its `core` comes from.
    pub core: Core,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = match self.core {
            Core::Prebuilt => "with a compiled core",
            Core::FromSource => "with rust-src",
        };
        write!(f, "rustc {} ({}) {core}", self.release, self.rustc.display())
    }
}

impl Compiler {
    /// Asks `rustc` for its release and sysroot and looks for a `core`; says what is missing.
    pub fn inspect(rustc: &Path) -> Result<Self, String> {
        let answer = ask(rustc, &["-vV"])?;
        let release = answer
            .lines()
            .find_map(|line| line.strip_prefix("release: "))
            .ok_or("`rustc -vV` names no release")?
            .to_owned();
        if version(&release) < version(MINIMUM) {
            return Err(format!("rustc {release} is older than {MINIMUM}"));
        }
        let sysroot = PathBuf::from(ask(rustc, &["--print", "sysroot"])?.trim_end());
        let core = core_in(&sysroot)?;
        Ok(Self { rustc: rustc.to_path_buf(), sysroot, release, core })
    }

    /// Whether unstable features are on without being asked for.
    pub fn is_nightly(&self) -> bool {
        self.release.contains("nightly") || self.release.contains("dev")
    }

    /// The clippy of the same release, if it is installed. No other one can read this compiler's
    /// `core`.
    pub fn clippy(&self) -> Option<PathBuf> {
        let driver = self.sysroot.join("bin/clippy-driver");
        let answer = ask(&driver, &["--version"]).ok()?;
        let wanted = format!("0.1.{}", version(&self.release).1);
        (answer.split_whitespace().nth(1) == Some(&wanted)).then_some(driver)
    }

    /// The cargo that belongs to this compiler, if it came with one. `core` from source wants that
    /// one: the workspace of the standard library is written for it.
    pub fn own_cargo(&self) -> Option<PathBuf> {
        let cargo = self.sysroot.join("bin/cargo");
        (self.core == Core::FromSource && cargo.is_file()).then_some(cargo)
    }
}

/// Every nightly that rustup has installed here: name and `rustc`, the plain `nightly` first, then
/// the dated ones, newest first. With none installed, where the plain one would be: a place to
/// report as empty.
///
/// Reads rustup's folder instead of asking rustup, which might start a download.
pub fn nightlies() -> Vec<(String, PathBuf)> {
    let Some(toolchains) = rustup_home().map(|home| home.join("toolchains")) else {
        return Vec::new();
    };
    let entries = fs::read_dir(&toolchains).into_iter().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("nightly"))
        .collect();
    if names.is_empty() {
        names.push("nightly".to_owned());
    }
    let dated = |name: &str| name.starts_with("nightly-2");
    names.sort_by(|a, b| dated(a).cmp(&dated(b)).then_with(|| b.cmp(a)));
    names.into_iter().map(|name| (name.clone(), toolchains.join(name).join("bin/rustc"))).collect()
}

fn rustup_home() -> Option<PathBuf> {
    env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".rustup")))
}

fn core_in(sysroot: &Path) -> Result<Core, String> {
    let libraries = sysroot.join("lib/rustlib");
    if holds_core(&libraries.join(TARGET).join("lib")) {
        return Ok(Core::Prebuilt);
    }
    if libraries.join("src/rust/library/core/Cargo.toml").is_file() {
        return Ok(Core::FromSource);
    }
    Err(format!("has neither the rust-src component nor a core for {TARGET}"))
}

fn holds_core(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

fn ask(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "not installed".to_owned(),
            _ => format!("cannot be started: {error}"),
        })?;
    if !output.status.success() {
        return Err(format!("`{} {}` failed", program.display(), arguments.join(" ")));
    }
    String::from_utf8(output.stdout).map_err(|_| "answers in something that is not text".to_owned())
}

/// The numbers of `1.95`, `1.96.0` or `1.97.0-nightly`; what cannot be read counts as oldest.
fn version(release: &str) -> (u32, u32) {
    let mut parts = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{MINIMUM, version};

    #[test]
    fn releases_compare_as_numbers() {
        assert!(version("1.100.0") > version("1.99.1"));
        assert!(version("1.97.0-nightly") > version("1.96.0"));
        assert!(version("1.63.0") < version(MINIMUM));
        assert_eq!(version("nonsense"), (0, 0));
    }
}
