//! The text of `docs/rfc-compliance.md`.

use std::fmt::Write as _;

use super::{
    Proofs,
    rows::{Chapter, Row, Verdict, Weight},
};

const HEAD: &str = "\
# What the RFCs ask of a NAT, and what masq does

<!-- Written by `cargo xtask rfc` from tests/rfc/rows and from the tests that exist; do not edit. -->

One row for each requirement of the RFCs on address translation, and for what users rely on without
any RFC. *Complies* always means that a test proves it; its name is in the last column, with the
test program in front, and `cargo xtask test` runs them all:

    cargo test --package masq-tests --test rfc -- hairpin::req_9a   # those of one row, as root

`cargo xtask test` fails when this document is out of date, when a row that complies has no test,
or when a test names no row. Not in this list: RFC 6886 (NAT-PMP) and RFC 6887 (PCP), since masq has
no server for port mappings.

## Summary

";

/// The document.
pub fn document(chapters: &[Chapter], proofs: &Proofs) -> String {
    let mut text = HEAD.to_owned();
    summary(&mut text, chapters);
    for chapter in chapters {
        let _ = writeln!(text, "\n## {}\n", chapter.title);
        if let Some(note) = &chapter.note {
            let _ = writeln!(text, "{note}\n");
        }
        text += "| row | level | requirement | verdict | how, or why not | proof |\n";
        text += "|---|---|---|---|---|---|\n";
        for row in &chapter.rows {
            let proof = proofs.get(&row.id).map(|tests| proof(tests)).unwrap_or_default();
            let Row { id, level, requirement, decision, verdict, .. } = row;
            let verdict = verdict.as_str();
            let cells = [id, level, requirement, verdict, decision, &proof].map(cell);
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    text
}

/// How many rows of which weight have which verdict, and every row with weight that is not met.
fn summary(text: &mut String, chapters: &[Chapter]) {
    let rows = || chapters.iter().flat_map(|chapter| &chapter.rows);
    let verdicts = Verdict::ALL.map(Verdict::as_str).join(" | ");
    let _ = writeln!(text, "| | {verdicts} |\n|---|---|---|---|---|");
    let weights = [
        ("MUST, MUST NOT", Weight::Must),
        ("SHOULD, SHOULD NOT, RECOMMENDED", Weight::Should),
        ("MAY, and what has no key word", Weight::Other),
    ];
    for (name, weight) in weights {
        let counts = Verdict::ALL.map(|verdict| {
            rows().filter(|row| row.weight() == weight && row.verdict == verdict).count()
        });
        let counts = counts.map(|count| count.to_string()).join(" | ");
        let _ = writeln!(text, "| {name} | {counts} |");
    }
    for (title, verdict) in [("Refused", Verdict::Refused), ("Open", Verdict::Open)] {
        let weighty = |row: &&Row| row.verdict == verdict && row.weight() != Weight::Other;
        let mut rows = rows().filter(weighty).peekable();
        if rows.peek().is_some() {
            let _ = writeln!(text, "\n{title}, of what is a MUST or a SHOULD:\n");
        }
        for Row { id, level, requirement, decision, .. } in rows {
            let _ = writeln!(text, "- **{id}** ({level}): {requirement} *{decision}*");
        }
    }
}

fn proof(tests: &[String]) -> String {
    tests.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join("<br>")
}

/// Text as the cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_listed_and_proved() {
        let row = |id: &str, level: &str, verdict| Row {
            id: id.into(),
            level: level.into(),
            requirement: "What is asked.".into(),
            verdict,
            decision: "So it is | done.".into(),
            tests: Vec::new(),
        };
        let rows = vec![
            row("1-a", "MUST", Verdict::Complies),
            row("1-b", "SHOULD NOT", Verdict::Refused),
            row("1-c", "MAY", Verdict::Refused),
        ];
        let chapters = [Chapter { title: "RFC 1".into(), note: None, rows }];
        let proofs = Proofs::from([("1-a".into(), vec!["rfc::rfc1::a::test".into()])]);
        let text = document(&chapters, &proofs);
        assert!(text.contains("| MUST, MUST NOT | 1 | 0 | 0 | 0 |"), "{text}");
        assert!(text.contains("- **1-b** (SHOULD NOT): What is asked."), "{text}");
        assert!(!text.contains("**1-c**") && !text.contains("Open, of"), "{text}");
        let line = "| 1-a | MUST | What is asked. | complies | So it is \\| done. | \
                    `rfc::rfc1::a::test` |";
        assert!(text.contains(line), "{text}");
    }
}
