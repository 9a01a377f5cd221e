//! What belongs to a version, and where each part goes in an archive and in a Debian package.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    licences,
    staging::{self, Entry, Folder},
};
use crate::workspace;

/// Everything, each part once.
pub struct Parts {
    program: Vec<u8>,
    /// Name and text each.
    units: [(&'static str, String); 2],
    pages: Vec<(String, String)>,
    completions: Vec<(&'static str, String)>,
    sample: Vec<u8>,
    third_party: String,
}

/// The unit, and what is made of it for instances beside each other.
const UNIT: &str = "masq.service";
const UNITS: &str = "masq@.service";

/// What a unit says of its only instance, and what of each.
const ONE_AND_MANY: [(&str, &str); 3] =
    [("masq.toml", "%i.toml"), ("--instance masq", "--instance %i"), ("(masq)", "(masq, %i)")];

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

impl Parts {
    /// Reads them from the checkout, or lets the program make them.
    pub fn gather(program: &Path) -> Result<Self> {
        let completion = |shell: &&'static str| {
            let script = staging::output(Command::new(program).args(["completions", shell]))?;
            Ok((*shell, script))
        };
        let unit = String::from_utf8(read(&format!("packaging/{UNIT}"))?)?;
        Ok(Self {
            program: fs::read(program)
                .with_context(|| format!("cannot read {}", program.display()))?,
            units: [(UNIT, without_remark(&unit)), (UNITS, for_many(&without_remark(&unit)))],
            pages: pages(program)?,
            completions: SHELLS.iter().map(completion).collect::<Result<_>>()?,
            sample: read("masq-user/masq.toml")?,
            third_party: licences::third_party()?,
        })
    }

    /// As in an archive that people copy from.
    pub fn for_archive(&self) -> Result<Vec<Entry>> {
        let mut entries = vec![
            Entry::executable("masq", self.program.clone()),
            Entry::new("masq.toml", self.sample.clone()),
            Entry::new("licences/third-party.txt", self.third_party.clone()),
        ];
        entries.extend(self.units.iter().map(|(name, text)| Entry::new(*name, text.as_str())));
        entries.extend(
            self.pages
                .iter()
                .map(|(name, text)| Entry::new(format!("man/man1/{name}"), text.as_str())),
        );
        entries.extend(self.completions.iter().map(|(shell, text)| {
            Entry::new(format!("completions/{}", script_name(shell)), text.as_str())
        }));
        for document in DOCUMENTS {
            entries.push(Entry::new(document, read(document)?));
        }
        for licence in LICENCES {
            entries.push(Entry::new(format!("licences/{licence}"), read(licence)?));
        }
        Ok(entries)
    }

    /// As Debian has it. What it wants compressed is not yet; see [`compressed`].
    pub fn for_debian(&self) -> Vec<Entry> {
        let mut entries = vec![
            Entry::executable("usr/bin/masq", self.program.clone()),
            Entry::new("etc/masq/masq.toml", self.sample.clone()),
            Entry::new("usr/share/doc/masq/third-party", self.third_party.clone()),
        ];
        entries.extend(self.units.iter().map(|(name, text)| {
            Entry::new(format!("usr/lib/systemd/system/{name}"), text.as_str())
        }));
        entries.extend(
            self.pages.iter().map(|(name, text)| {
                Entry::new(format!("usr/share/man/man1/{name}"), text.as_str())
            }),
        );
        entries.extend(self.completions.iter().map(|(shell, text)| {
            let folder = match *shell {
                "bash" => "usr/share/bash-completion/completions",
                "zsh" => "usr/share/zsh/vendor-completions",
                _ => "usr/share/fish/vendor_completions.d",
            };
            Entry::new(format!("{folder}/{}", script_name(shell)), text.as_str())
        }));
        entries
    }
}

/// Whether Debian wants a file compressed.
pub fn compressed(path: &str) -> bool {
    let documents = ["changelog", "third-party"];
    path.starts_with("usr/share/man/")
        || documents.iter().any(|name| path == format!("usr/share/doc/masq/{name}"))
}

/// How the script for a shell has to be called.
fn script_name(shell: &str) -> &'static str {
    match shell {
        "bash" => "masq",
        "zsh" => "_masq",
        _ => "masq.fish",
    }
}

/// The documents of the checkout that are published, by their place in it.
pub const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CHANGELOG.md",
    "ARCHITECTURE.md",
    "docs/operations.md",
    "docs/observe/alerts.yml",
    "docs/observe/dashboard.json",
];

/// The terms of masq itself.
const LICENCES: [&str; 3] = ["LICENSE-MIT", "LICENSE-APACHE", "LICENSE-GPL-2.0"];

/// A file of the checkout.
pub fn read(path: &str) -> Result<Vec<u8>> {
    let path = workspace::root().join(path);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn pages(program: &Path) -> Result<Vec<(String, String)>> {
    let folder = Folder::new(&std::env::temp_dir(), &format!("masq-{}", std::process::id()))?;
    staging::output(Command::new(program).arg("manual").arg(folder.path()))?;
    let mut pages = Vec::new();
    for file in fs::read_dir(folder.path()).context("cannot list the manual pages")? {
        let file = file?;
        let text = fs::read_to_string(file.path()).context("cannot read a manual page")?;
        pages.push((file.file_name().to_string_lossy().into_owned(), text));
    }
    pages.sort();
    Ok(pages)
}

/// Without what the first lines say about the file in the checkout.
fn without_remark(unit: &str) -> String {
    let lines = unit.lines().skip_while(|line| line.starts_with('#') || line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn for_many(unit: &str) -> String {
    let one_by_one = |text: String, (one, many): (&str, &str)| text.replace(one, many);
    ONE_AND_MANY.into_iter().fold(unit.to_owned(), one_by_one)
}

#[cfg(test)]
mod tests {
    use super::{ONE_AND_MANY, UNIT, for_many, read, without_remark};

    #[test]
    fn the_unit_for_instances_names_none() {
        let unit = read(&format!("packaging/{UNIT}")).expect("the unit");
        let unit = without_remark(&String::from_utf8(unit).expect("a text"));
        assert!(unit.starts_with("[Unit]\n"), "{unit}");
        let many = for_many(&unit);
        for (one, many_of_it) in ONE_AND_MANY {
            assert!(unit.contains(one) && !many.contains(one) && many.contains(many_of_it));
        }
        // What the rules above do not know would be shared by all instances.
        let named = |line: &&str| line.ends_with("masq") && *line != "RuntimeDirectory=masq";
        assert_eq!(many.lines().find(named), None);
    }
}
