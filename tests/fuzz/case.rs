//! What is run: frames at hooks, one after the other from a known state on; and the files that such
//! cases are kept in.
//!
//! A file has one line for each frame: the name of the hook, and the frame in hex. A line with
//! `filtering` and the name of a policy may stand before them; lines that begin with `#` say what
//! it is.

use std::{fmt, fs, path::Path};

use masq_common::settings::Filtering;
use masq_tests::program::Hook;

/// Hooks and their names in files.
const HOOKS: [(Hook, &str); 6] = [
    (Hook::LanXdp, "lan-xdp"),
    (Hook::WanXdp, "wan-xdp"),
    (Hook::LanIn, "lan-in"),
    (Hook::WanIn, "wan-in"),
    (Hook::WanOut, "wan-out"),
    (Hook::WanOutOwn, "wan-out-own"),
];

/// Filtering policies and their names in files.
pub const POLICIES: [(Filtering, &str); 3] = [
    (Filtering::AddressAndPortDependent, "address-and-port-dependent"),
    (Filtering::AddressDependent, "address-dependent"),
    (Filtering::EndpointIndependent, "endpoint-independent"),
];

/// A frame at a hook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where it is run.
    pub hook: Hook,
    /// The frame.
    pub frame: Vec<u8>,
}

/// Some steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Filtering of TCP and UDP.
    pub filtering: Filtering,
    /// In their order.
    pub steps: Vec<Step>,
}

impl Case {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut case = Self { filtering: Filtering::default(), steps: Vec::new() };
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) =
                line.split_once(' ').ok_or("a line is a word and what belongs to it")?;
            if word == "filtering" {
                let policy = POLICIES.iter().find(|(_, name)| *name == rest);
                case.filtering = policy.ok_or_else(|| format!("no policy is called {rest}"))?.0;
                continue;
            }
            let hook = HOOKS.iter().find(|(_, name)| *name == word);
            let hook = hook.ok_or_else(|| format!("no hook is called {word}"))?.0;
            case.steps.push(Step { hook, frame: bytes(rest).ok_or("not in hex")? });
        }
        Ok(case)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, name)) = POLICIES.iter().find(|(policy, _)| *policy == self.filtering) {
            writeln!(f, "filtering {name}")?;
        }
        for Step { hook, frame } in &self.steps {
            let name = HOOKS.iter().find(|(other, _)| other == hook).map_or("", |(_, name)| name);
            writeln!(f, "{name} {}", hex(frame))?;
        }
        Ok(())
    }
}

/// The cases in a folder beside this file, by name.
///
/// # Panics
/// If a file cannot be read, or is none.
pub fn corpus(folder: &str) -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut cases: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry of a folder").path();
            let text = fs::read_to_string(&path);
            let text = text.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let case = Case::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), case)
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
