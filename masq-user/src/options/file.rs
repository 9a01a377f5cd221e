//! The configuration file: TOML whose keys are the long names of the options of `masq run`. This
//! turns its text into words of a command line, or into the faults that it has, each with its line.
//! Reads no file itself.

use std::{ffi::OsString, ops::Range};

use clap::{
    Arg, ArgAction, Command, CommandFactory as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use toml::de::{DeTable, DeValue};

use super::{COMMAND, Problem};
use crate::cli::Cli;

/// Options that make no sense in the file.
const NOT_IN_FILE: [&str; 2] = ["config", "help"];

/// How often an option that counts may be repeated.
const MAX_COUNT: u8 = 9;

/// A key of the file with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// How clap knows the option.
    pub id: String,
    /// Its long name.
    pub option: String,
    /// Where it stands, from 1 on.
    pub line: usize,
    /// The same on a command line.
    pub words: Vec<OsString>,
}

/// The options of `masq run` that may stand in the file, hidden ones too.
pub fn options(run: &Command) -> impl Iterator<Item = &Arg> {
    let named = |arg: &&Arg| arg.get_long().is_some_and(|long| !NOT_IN_FILE.contains(&long));
    run.get_arguments().filter(named)
}

/// The definition of `masq run`.
pub fn command() -> Command {
    let mut all = Cli::command();
    all.build();
    all.find_subcommand(COMMAND).cloned().unwrap_or(all)
}

/// Reads the text. Every value has been tried on the parser of the command line.
pub fn entries(text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let line = |span: Range<usize>| {
        let before = text.get(..span.start).unwrap_or(text);
        1 + before.bytes().filter(|byte| *byte == b'\n').count()
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| Problem {
            line: error.span().map(line),
            ..Problem::new(error.message().trim().replace('\n', "; "))
        };
        return Err(errors.iter().map(problem).collect());
    }
    let run = command();
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line(key.span());
        match entry(&run, key.get_ref(), value.get_ref(), line) {
            Ok(entry) => entries.push(entry),
            Err(text) => problems.push(Problem { line: Some(line), ..Problem::new(text) }),
        }
    }
    entries.sort_by_key(|entry| entry.line);
    problems.sort_by_key(|problem| problem.line);
    if problems.is_empty() { Ok(entries) } else { Err(problems) }
}

fn entry(run: &Command, key: &str, value: &DeValue<'_>, line: usize) -> Result<Entry, String> {
    let Some(arg) = options(run).find(|arg| arg.get_long() == Some(key)) else {
        return Err(unknown(run, key, value));
    };
    let words = words(arg, key, value).map_err(|wrong| format!("{key}: {wrong}"))?;
    let entry = Entry { id: arg.get_id().to_string(), option: key.to_owned(), line, words };
    match refusal(&entry.words) {
        Some(error) => Err(Problem::of_clap(&error).text),
        None => Ok(entry),
    }
}

/// Why the command line would not take these words, by themselves.
fn refusal(words: &[OsString]) -> Option<clap::Error> {
    // With a file, nothing else has to be given.
    let all = ["masq", COMMAND, "--config=-"].map(OsString::from);
    let all = all.into_iter().chain(words.iter().cloned());
    let error = Cli::command().try_get_matches_from(all).err()?;
    // What it needs may stand in another line, or on the command line.
    (error.kind() != ErrorKind::MissingRequiredArgument).then_some(error)
}

/// The words of a command line that say the same.
fn words(arg: &Arg, key: &str, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    let option = |text: String| OsString::from(format!("--{key}={text}"));
    match (arg.get_action(), value) {
        (ArgAction::SetTrue, DeValue::Boolean(true)) => Ok(vec![format!("--{key}").into()]),
        (ArgAction::SetTrue, DeValue::Boolean(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, other) => Err(expected("true or false", other)),
        (ArgAction::Count, value) => {
            let count = scalar(value).and_then(|text| text.parse::<u8>().ok());
            let count = count.filter(|count| *count <= MAX_COUNT);
            let count = count
                .ok_or_else(|| expected(&format!("a whole number from 0 to {MAX_COUNT}"), value))?;
            Ok(vec![format!("--{key}").into(); usize::from(count)])
        }
        (ArgAction::Append, DeValue::Array(values)) => {
            let text = |value: &DeValue<'_>| {
                scalar(value).ok_or_else(|| expected("a list of strings or whole numbers", value))
            };
            let texts = values.iter().map(|value| text(value.get_ref()));
            texts.map(|text| checked(text?).map(option)).collect()
        }
        (action, value) => {
            let wanted = match action {
                ArgAction::Append => "a string, a whole number, or a list of them",
                _ => "a string or a whole number",
            };
            let text = scalar(value).ok_or_else(|| expected(wanted, value))?;
            Ok(vec![option(checked(text)?)])
        }
    }
}

/// What stands on the command line for a string or a whole number.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            Some(i128::from_str_radix(number.as_str(), number.radix()).ok()?.to_string())
        }
        _ => None,
    }
}

/// No word of a command line has a NUL, and no option wants a line break.
fn checked(text: String) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("the value has a control character in it".to_owned());
    }
    Ok(text)
}

fn expected(wanted: &str, value: &DeValue<'_>) -> String {
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "this number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    };
    format!("expected {wanted}, not {found}")
}

fn unknown(run: &Command, key: &str, value: &DeValue<'_>) -> String {
    if NOT_IN_FILE.contains(&key) {
        return format!("\"{key}\" belongs on the command line, not into the file");
    }
    if value.is_table() {
        return format!(
            "[{key}] is a section, and the file has none: write the options of `masq run` one \
             below the other"
        );
    }
    let nearest = nearest(key).filter(|name| options(run).any(|a| a.get_long() == Some(name)));
    match nearest {
        Some(name) => format!("there is no option \"{key}\"; did you mean \"{name}\"?"),
        None => format!("there is no option \"{key}\"; `masq config sample` shows all of them"),
    }
}

/// The option that clap takes this name for.
fn nearest(key: &str) -> Option<String> {
    let name = key.to_lowercase().replace('_', "-");
    let error = refusal(&[format!("--{name}").into()]);
    let Some(error) = error.filter(|error| error.kind() == ErrorKind::UnknownArgument) else {
        // It is an option, written in another way.
        return Some(name);
    };
    match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(option)) => Some(option.trim_start_matches('-').to_owned()),
        _ => None,
    }
}
