//! Where the checkout is. Nothing else knows how to find a file of the repository.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The top of the checkout: the folder of the workspace's `Cargo.toml`.
///
/// Works in a build script and under `cargo run` (cargo names the package's folder in the
/// environment at run time, which stays right when a checkout is moved), else falls back to the
/// place where this crate was compiled.
pub fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    package
        .as_deref()
        .and_then(Path::parent)
        .filter(|top| top.join("xtask/Cargo.toml").is_file())
        .map_or_else(compiled_at, Path::to_path_buf)
}

/// Where the tools go that are installed for this checkout alone.
pub fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Where a task leaves everything that a program wrote.
pub fn log(task: &str) -> PathBuf {
    root().join("target/xtask").join(format!("{task}.log"))
}

fn compiled_at() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::root;

    #[test]
    fn root_holds_the_workspace() {
        assert!(root().join("masq-ebpf/Cargo.toml").is_file());
    }
}
