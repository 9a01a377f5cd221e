//! Files on their way into an archive or a package.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// A file and where it goes.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Below the top of the archive or package.
    pub path: String,
    /// Whether it can be run.
    pub executable: bool,
    /// What is in it.
    pub content: Vec<u8>,
}

impl Entry {
    /// A file that is only read.
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), executable: false, content: content.into() }
    }

    /// A program or a script.
    pub fn executable(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { executable: true, ..Self::new(path, content) }
    }
}

/// A folder for them; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub fn new(parent: &Path, name: &str) -> Result<Self> {
        let path = parent.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot empty {}", path.display()))?;
        }
        make_folder(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes files into it, with modes that do not depend on who does it.
    pub fn fill(&self, entries: &[Entry]) -> Result<()> {
        for Entry { path, executable, content } in entries {
            let path = self.0.join(path);
            path.parent().map_or(Ok(()), make_folder)?;
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::write(&path, content)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Compresses files in it, each to one with `.gz` at the end.
    pub fn compress<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut gzip = Command::new("gzip");
        gzip.arg("-9n").args(paths).current_dir(&self.0);
        output(&mut gzip).map(|_| ())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn make_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), make_folder)?;
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot make {}", path.display()))
}

/// What a program prints that has to succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    ensure!(
        output.status.success(),
        "{name} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("{name} prints no UTF-8"))
}
