//! The licences of the libraries that are linked into the program: who hands out the program has to
//! hand out these texts, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::staging;
use crate::{object, process};

/// What the name of a file with terms begins with.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

const HEAD: &str = "\
Libraries that are part of the program masq, with their licences: first a list, then each text once,
with those that bring it along. The program also contains the standard library of Rust (MIT OR
Apache-2.0) and musl (MIT), which it is linked with.

";

/// Reads them from where cargo has the sources.
pub fn third_party() -> Result<String> {
    let linked = linked()?;
    let mut text = HEAD.to_owned();
    let mut terms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages()? {
        let Some(found) = Library::of(&package).filter(|found| linked.contains(&found.id())) else {
            continue;
        };
        writeln!(text, "{:<36} {}", found.id(), found.licence)?;
        for file in found.files()? {
            let terms_of_file = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            terms.entry(terms_of_file.trim().to_owned()).or_default().push(found.id());
        }
    }
    for (terms, libraries) in terms {
        write!(text, "\n{}\n{}\n\n{terms}\n", "=".repeat(78), libraries.join(", "))?;
    }
    Ok(text)
}

/// A crate that somebody else has written.
struct Library {
    name: String,
    version: String,
    licence: String,
    folder: PathBuf,
}

impl Library {
    /// From what cargo says of a package; `None` for our own.
    fn of(package: &Value) -> Option<Self> {
        package["source"].as_str()?;
        let field = |name: &str| package[name].as_str().map(str::to_owned);
        Some(Self {
            name: field("name")?,
            version: field("version")?,
            licence: field("license").unwrap_or_else(|| "see its text".to_owned()),
            folder: Path::new(&field("manifest_path")?).parent()?.to_owned(),
        })
    }

    fn id(&self) -> String {
        format!("{} v{}", self.name, self.version)
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let folder = &self.folder;
        let files =
            fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let is_terms = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin))
        };
        let mut files: Vec<_> =
            files.filter_map(|file| Some(file.ok()?.path())).filter(is_terms).collect();
        files.sort();
        Ok(files)
    }
}

/// Name and version of all that goes into the daemon and into the kernel programs.
fn linked() -> Result<BTreeSet<String>> {
    let mut command = process::cargo(&["tree", "--locked", "--edges=normal", "--prefix=none"]);
    command.args(["--format={p}", "--package=masq-user", "--package", object::PACKAGE]);
    let tree = staging::output(&mut command)?;
    let id = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(tree.lines().map(id).collect())
}

fn packages() -> Result<Vec<Value>> {
    let metadata =
        staging::output(&mut process::cargo(&["metadata", "--locked", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cannot read cargo's answer")?;
    let Value::Array(mut packages) = metadata["packages"].clone() else {
        anyhow::bail!("`cargo metadata` names no packages");
    };
    packages.sort_by_key(|package| package["name"].to_string());
    Ok(packages)
}
