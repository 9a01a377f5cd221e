//! The table of rows: one TOML file a chapter, in `tests/rfc/rows`.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::workspace;

/// The chapters, in the order of the document.
const CHAPTERS: [&str; 11] = [
    "rfc4787", "rfc5382", "rfc5508", "rfc7857", "rfc6888", "rfc3022", "rfc6864", "rfc1812",
    "rfc6056", "rfc5780", "beyond",
];

/// One RFC.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chapter {
    /// Its heading.
    pub title: String,
    /// What a reader should know of the whole chapter.
    pub note: Option<String>,
    /// Its requirements, in the order of the RFC.
    pub rows: Vec<Row>,
}

/// One requirement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Number of the RFC and of the requirement, as in `4787-REQ-9a`.
    pub id: String,
    /// The RFC's word: MUST, SHOULD and so on; `rule` or `note` where it has none.
    pub level: String,
    /// What is asked, in a sentence.
    pub requirement: String,
    /// Whether masq does it.
    pub verdict: Verdict,
    /// How, or why not, in one line.
    pub decision: String,
    /// Tests outside of the module that is named after the row, with the name of their program
    /// in front. The name of a module stands for all tests in it.
    #[serde(default)]
    pub tests: Vec<String>,
}

/// Whether masq does what a row asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Verdict {
    /// Yes, and a test proves it.
    #[serde(rename = "comply")]
    Complies,
    /// Not yet.
    #[serde(rename = "open")]
    Open,
    /// No, on purpose.
    #[serde(rename = "refused")]
    Refused,
    /// Nothing that masq could do or not do.
    #[serde(rename = "n.a.")]
    NotApplicable,
}

impl Verdict {
    /// All of them, in the order of the document.
    pub const ALL: [Self; 4] = [Self::Complies, Self::Open, Self::Refused, Self::NotApplicable];

    /// The verdict in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complies => "complies",
            Self::Open => "open",
            Self::Refused => "refused",
            Self::NotApplicable => "n.a.",
        }
    }
}

/// How much weight an RFC gives to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// MUST and MUST NOT.
    Must,
    /// SHOULD, SHOULD NOT, RECOMMENDED.
    Should,
    /// MAY, and what has no key word.
    Other,
}

impl Row {
    /// The weight of the strongest word of its level.
    pub fn weight(&self) -> Weight {
        match &self.level {
            level if level.contains("MUST") => Weight::Must,
            level if level.contains("SHOULD") || level.contains("RECOMMENDED") => Weight::Should,
            _ => Weight::Other,
        }
    }

    /// The modules that its own tests are in: that of the RFC, and that of the row below it. The
    /// row's is its id after the first hyphen in lower case, with `_` for whatever cannot be part
    /// of a name: `5508-S7.1.1-a` becomes `rfc5508` and `s7_1_1_a`, `5382-REQ-5 (established)`
    /// becomes `rfc5382` and `req_5_established`. `B-12` becomes `beyond` and `b_12`.
    pub fn modules(&self) -> (String, String) {
        let (chapter, rest) = match self.id.split_once('-') {
            Some(("B", _)) => ("beyond".to_owned(), self.id.as_str()),
            Some((number, rest)) => (format!("rfc{number}"), rest),
            None => (String::new(), self.id.as_str()),
        };
        let lower = rest.to_ascii_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        (chapter, words.join("_"))
    }
}

/// Reads the table.
pub fn read() -> Result<Vec<Chapter>> {
    let folder = workspace::root().join("tests/rfc/rows");
    let read = |name: &&str| {
        let path = folder.join(name).with_extension("toml");
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let chapter: Chapter =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        for row in &chapter.rows {
            ensure!(row.modules().0 == **name, "{} does not belong into {name}.toml", row.id);
            for text in [&row.requirement, &row.decision] {
                ensure!(text.ends_with('.') && !text.contains('\n'), "{}: `{text}`", row.id);
            }
        }
        Ok(chapter)
    };
    CHAPTERS.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, level: &str) -> Row {
        Row {
            id: id.into(),
            level: level.into(),
            requirement: String::new(),
            verdict: Verdict::Open,
            decision: String::new(),
            tests: Vec::new(),
        }
    }

    #[test]
    fn modules_are_named_after_rows() {
        for (id, chapter, module) in [
            ("4787-REQ-9a", "rfc4787", "req_9a"),
            ("5508-S7.1.1-a", "rfc5508", "s7_1_1_a"),
            ("5508-REQ-10a2, S7.2", "rfc5508", "req_10a2_s7_2"),
            ("5382-REQ-5 (established)", "rfc5382", "req_5_established"),
            ("B-12", "beyond", "b_12"),
        ] {
            assert_eq!(row(id, "MUST").modules(), (chapter.to_owned(), module.to_owned()));
        }
    }

    #[test]
    fn the_strongest_word_counts() {
        assert_eq!(row("1-a", "SHOULD, MUST").weight(), Weight::Must);
        assert_eq!(row("1-a", "MAY; SHOULD NOT").weight(), Weight::Should);
        assert_eq!(row("1-a", "RECOMMENDED").weight(), Weight::Should);
        assert_eq!(row("1-a", "rule").weight(), Weight::Other);
    }

    #[test]
    fn the_table_can_be_read() {
        let chapters = read().expect("the table of rows");
        assert!(chapters.iter().all(|chapter| !chapter.rows.is_empty()));
    }
}
