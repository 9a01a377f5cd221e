//! `cargo xtask rfc`: what the RFCs ask of a NAT, row by row, with masq's decision and the tests
//! that prove it, as `docs/rfc-compliance.md`.
//!
//! The document is made of two things that cannot drift apart from it: the table of rows
//! ([`rows`], written by people) and the list of tests that exist ([`tests`], asked from the test
//! programs). Whether the tests pass is the business of the suites.

mod document;
mod rows;
mod tests;

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use self::{
    document::document,
    rows::{Chapter, Verdict},
    tests::Tests,
};
use crate::{
    console,
    setup::{self, Scope},
    workspace,
};

/// The suite whose modules are named after rows.
const SUITE: &str = "rfc";

/// Writes the document, or with `check` compares it with the one that is there.
pub fn rfc(check: bool) -> Result<()> {
    setup::ensure(Scope::Build)?;
    let chapters = rows::read()?;
    let tests = tests::all()?;
    let proofs = match prove(&chapters, &tests) {
        Ok(proofs) => proofs,
        Err(faults) => {
            faults.iter().for_each(|fault| console::bad(fault));
            anyhow::bail!("rows and tests do not fit together in {} places", faults.len());
        }
    };
    let (path, text) = (path(), document(&chapters, &proofs));
    if check {
        let found = fs::read_to_string(&path).unwrap_or_default();
        ensure!(
            found == text,
            "{} is out of date: run `cargo xtask rfc` and commit it",
            path.display()
        );
        console::good(&format!("{} is up to date", path.display()));
    } else {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        console::good(&path.display().to_string());
    }
    Ok(())
}

fn path() -> PathBuf {
    workspace::root().join("docs/rfc-compliance.md")
}

/// The tests of each row, by its id.
type Proofs = BTreeMap<String, Vec<String>>;

/// Finds the tests of each row: those in the module that is named after it, and those that the
/// table names. All that does not fit together is a fault.
fn prove(chapters: &[Chapter], tests: &Tests) -> Result<Proofs, Vec<String>> {
    let mut faults = Vec::new();
    let mut proofs = Proofs::new();
    let mut claimed = Tests::default();
    for row in chapters.iter().flat_map(|chapter| &chapter.rows) {
        let mut found = tests.of_row(SUITE, &row.modules());
        claimed.extend(&found);
        for name in &row.tests {
            if !tests.has(name) {
                faults.push(format!("{}: there is no test {name}", row.id));
            }
            found.push(name.clone());
        }
        if row.verdict == Verdict::Complies && found.is_empty() {
            faults.push(format!("{}: complies, but no test proves it", row.id));
        }
        if proofs.insert(row.id.clone(), found).is_some() {
            faults.push(format!("{}: is there twice", row.id));
        }
    }
    let strays = tests.of_suite(SUITE).filter(|name| !claimed.has(name));
    faults.extend(strays.map(|name| format!("{name}: is in no module that is named after a row")));
    if faults.is_empty() { Ok(proofs) } else { Err(faults) }
}

#[cfg(test)]
mod unit {
    use super::{
        prove,
        rows::{Chapter, Row, Verdict},
        tests::Tests,
    };

    fn chapters(verdict: Verdict, tests: &[&str]) -> Vec<Chapter> {
        let row = Row {
            id: "4787-REQ-1".into(),
            level: "MUST".into(),
            requirement: "One.".into(),
            verdict,
            decision: "Two.".into(),
            tests: tests.iter().map(|name| (*name).to_owned()).collect(),
        };
        vec![Chapter { title: "RFC 4787".into(), note: None, rows: vec![row] }]
    }

    #[test]
    fn a_row_is_proved_by_its_module_and_by_what_it_names() {
        let tests = Tests::from(["rfc::rfc4787::ports::req_1::a", "prog::b::c", "prog::b::d::tc"]);
        let proofs = prove(&chapters(Verdict::Complies, &["prog::b::d"]), &tests).expect("fits");
        assert_eq!(proofs["4787-REQ-1"], ["rfc::rfc4787::ports::req_1::a", "prog::b::d"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let fault = |verdict, named: &[&str], tests: &[&str]| {
            let tests = Tests::from(tests.iter().copied());
            prove(&chapters(verdict, named), &tests).expect_err("does not fit").join("; ")
        };
        assert!(fault(Verdict::Complies, &[], &[]).contains("no test proves it"));
        assert!(fault(Verdict::Open, &["prog::x"], &["prog::xy"]).contains("no test prog::x"));
        for stray in ["rfc::rfc4787::req_2::a", "rfc::rfc4787::a", "rfc::beyond::req_1::a"] {
            assert!(fault(Verdict::Open, &[], &[stray]).contains(stray), "{stray}");
        }
    }
}
