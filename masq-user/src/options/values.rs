//! The value of every option of `masq run`, as one would write it into the file, with the place it
//! comes from. For `masq config check`, and for telling what a reload changes.

use std::fmt;

use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource};
use serde::Serialize;
use serde_json::Value as Json;

use super::file::{self, Entry};
use crate::control::proto::Change;

/// All options, in the order of `masq run --help`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Values(pub Vec<Value>);

/// One option.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Value {
    /// Its long name.
    pub option: String,
    /// Its value: a string, number, boolean or array; null if it has none.
    pub value: Json,
    /// Where that comes from.
    pub from: Origin,
    /// The line of the file, from 1 on, if it comes from there.
    pub line: Option<usize>,
    #[serde(skip)]
    hidden: bool,
}

/// Where a value comes from.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody has said anything else.
    Default,
    /// The file.
    File,
    /// The command line.
    CommandLine,
}

impl Values {
    /// `all` is what clap has made of file and command line, `given` of the command line alone.
    pub fn new(all: &ArgMatches, given: &ArgMatches, entries: &[Entry]) -> Self {
        let value = |arg: &Arg| {
            let id = arg.get_id().as_str();
            let entry = entries.iter().find(|entry| entry.id == id);
            let from = match (given.value_source(id), entry) {
                (Some(ValueSource::CommandLine), _) => Origin::CommandLine,
                (_, Some(_)) => Origin::File,
                _ => Origin::Default,
            };
            Value {
                option: arg.get_long().unwrap_or_default().to_owned(),
                value: value(arg, all),
                from,
                line: entry.filter(|_| from == Origin::File).map(|entry| entry.line),
                hidden: arg.is_hide_set(),
            }
        };
        Self(file::options(&file::command()).map(value).collect())
    }

    /// What differs, from `before` to this.
    pub fn changes(&self, before: &Self) -> Vec<Change> {
        let both = before.0.iter().zip(&self.0).filter(|(old, new)| old.value != new.value);
        let change = |(old, new): (&Value, &Value)| Change {
            option: new.option.clone(),
            old: old.value.clone(),
            new: new.value.clone(),
        };
        both.map(change).collect()
    }

    /// Those that people should see: all, but for what only developers use and nobody has set.
    pub fn shown(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|value| !value.hidden || value.from != Origin::Default)
    }
}

fn value(arg: &Arg, matches: &ArgMatches) -> Json {
    let id = arg.get_id().as_str();
    let raw = || {
        let raw = matches.get_raw(id).into_iter().flatten();
        raw.map(|text| scalar(&text.to_string_lossy()))
    };
    match arg.get_action() {
        ArgAction::SetTrue => matches.get_flag(id).into(),
        ArgAction::Count => matches.get_count(id).into(),
        ArgAction::Append => raw().collect(),
        _ => raw().next().unwrap_or(Json::Null),
    }
}

/// A number where it is one and nothing else.
fn scalar(text: &str) -> Json {
    match text.parse::<u64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

impl fmt::Display for Value {
    /// A line of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What JSON writes for strings, numbers, booleans and arrays is TOML, too.
        let line = match &self.value {
            Json::Null => format!("#{}", self.option),
            value => format!("{} = {value}", self.option),
        };
        match (self.from, self.line) {
            (Origin::Default, _) if self.value.is_null() => write!(f, "{line:<40} # not set"),
            (Origin::Default, _) => write!(f, "{line:<40} # default"),
            (Origin::File, Some(number)) => write!(f, "{line:<40} # line {number}"),
            (Origin::File, None) => f.write_str(&line),
            (Origin::CommandLine, _) => write!(f, "{line:<40} # command line"),
        }
    }
}
