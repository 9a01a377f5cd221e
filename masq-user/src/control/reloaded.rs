//! The answer to `masq reload`: part of [`super::proto`], and what `--json` prints.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a reload has done.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Reloaded {
    /// The file.
    pub file: String,
    /// What it has changed.
    pub changes: Vec<Change>,
}

/// An option of `masq run` with another value. Values are strings, numbers, booleans or arrays; null if
/// there is none.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Change {
    /// Its long name.
    pub option: String,
    /// The value before.
    pub old: Value,
    /// The value now.
    pub new: Value,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn text(value: &Value) -> String {
            match value {
                Value::Null => "not set".to_owned(),
                Value::String(text) => text.clone(),
                Value::Array(values) if values.is_empty() => "not set".to_owned(),
                Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
                other => other.to_string(),
            }
        }
        write!(f, "{}: {} → {}", self.option, text(&self.old), text(&self.new))
    }
}
