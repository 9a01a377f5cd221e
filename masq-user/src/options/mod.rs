//! Where the options of `masq run` come from: the command line, and below it the file that
//! `--config` names. Each key of the file is an option by its long name, and its value is given to
//! the same parser, so there is one definition, one set of rules and one error text for both. What
//! an option means is the business of [`crate::config`].

pub mod current;
pub mod file;
pub mod values;

use std::{
    ffi::OsString,
    fmt, fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, parser::ValueSource};

pub use self::values::{Origin, Value, Values};
use crate::{
    cli::{Cli, RunArgs},
    config::Config,
    error::Error,
};

/// The configuration file of a packaged masq.
pub const DEFAULT_FILE: &str = "/etc/masq/masq.toml";

/// The command whose options the file has.
const COMMAND: &str = "run";

/// A larger file is none of masq's.
const MAX_FILE: u64 = 1 << 20;

/// A command line of `masq run`, and the file that it names. It can be read again later.
#[derive(Clone, Debug)]
pub struct Source {
    /// The program, `run`, and the options.
    words: Vec<OsString>,
    file: Option<PathBuf>,
}

/// What a [`Source`] says.
#[derive(Debug)]
pub struct Reading {
    /// What it means.
    pub config: Config,
    /// Every option with its value and where that comes from.
    pub values: Values,
}

/// Why a [`Source`] says nothing that masq could do.
#[derive(Debug)]
pub enum Unusable {
    /// The file cannot be read.
    Unreadable(String),
    /// It can be read and is wrong: every fault that was found.
    Wrong(Vec<Problem>),
}

/// A fault of the file, or of file and command line together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file, if the fault is there.
    pub file: Option<PathBuf>,
    /// The line, from 1 on, if it is in one.
    pub line: Option<usize>,
    /// What is wrong, and what to do about it.
    pub text: String,
}

impl Source {
    /// `words` is the command line as the process got it, which clap has accepted; `file` is the
    /// `--config` in it.
    pub fn new(words: Vec<OsString>, file: Option<&Path>) -> Self {
        // The daemon reads it again, from wherever it is then.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { words, file: file.map(absolute) }
    }

    /// The file.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads the file and puts the command line above it.
    pub fn read(&self) -> Result<Reading, Unusable> {
        let entries = match &self.file {
            None => Vec::new(),
            Some(path) => file::entries(&load(path)?).map_err(|problems| {
                let here = |problem| Problem { file: Some(path.clone()), ..problem };
                Unusable::Wrong(problems.into_iter().map(here).collect())
            })?,
        };
        self.combine(entries).map_err(|problem| Unusable::Wrong(vec![problem]))
    }

    /// The command line with the entries of the file before it. Those that stand on the command line
    /// too are left out, whole lists among them: it overrides the file.
    fn combine(&self, mut entries: Vec<file::Entry>) -> Result<Reading, Problem> {
        let given = matches(self.words.clone())?;
        entries.retain(|entry| given.value_source(&entry.id) != Some(ValueSource::CommandLine));
        let mut words = self.words.clone();
        // The program may have any name.
        let command = words.iter().skip(1).position(|word| word == COMMAND);
        let at = command.map_or(words.len(), |at| at + 2);
        words.splice(at..at, entries.iter().flat_map(|entry| entry.words.clone()));
        let all = matches(words)?;
        let args = RunArgs::from_arg_matches(&all).map_err(|error| Problem::of_clap(&error))?;
        for (option, names, side) in [("lan", &args.lan, "inside"), ("wan", &args.wan, "outside")] {
            if names.is_empty() {
                return Err(Problem {
                    file: self.file.clone(),
                    ..Problem::new(format!(
                        "nothing says which interface leads to the {side}; add a line such as \
                         {option} = [\"eth0\"], or --{option} to the command line"
                    ))
                });
            }
        }
        let config = Config::new(args).map_err(|error| self.locate(&entries, error.to_string()))?;
        Ok(Reading { config, values: Values::new(&all, &given, &entries) })
    }

    /// Finds the line of the option that a sentence begins with.
    fn locate(&self, entries: &[file::Entry], text: String) -> Problem {
        let option = text.split_whitespace().next().and_then(|word| word.strip_prefix("--"));
        let entry = entries.iter().find(|entry| Some(entry.option.as_str()) == option);
        let line = entry.map(|entry| entry.line);
        Problem { file: line.and(self.file.clone()), line, text }
    }
}

impl Problem {
    /// One that is in no line.
    pub fn new(text: String) -> Self {
        Self { file: None, line: None, text }
    }

    /// In the words of clap, without its advice on how to call for help.
    pub fn of_clap(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let paragraph = text.split("\n\n").next().unwrap_or_default();
        let words = paragraph.split_whitespace().skip_while(|word| *word == "error:");
        Self::new(words.collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            match self.line {
                Some(line) => write!(f, "{line}: ")?,
                None => write!(f, " ")?,
            }
        }
        f.write_str(&self.text)
    }
}

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Unreadable(why) => Self::Refused(why),
            Unusable::Wrong(problems) => {
                let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
                Self::Usage(lines.join("\n"))
            }
        }
    }
}

/// What clap makes of a command line of `masq run`.
fn matches(words: Vec<OsString>) -> Result<ArgMatches, Problem> {
    let matches = Cli::command().try_get_matches_from(words);
    let mut matches = matches.map_err(|error| Problem::of_clap(&error))?;
    match matches.remove_subcommand() {
        Some((name, matches)) if name == COMMAND => Ok(matches),
        _ => Err(Problem::new(format!("this is no command line of `masq {COMMAND}`"))),
    }
}

/// Reads the file, which has to be one: a pipe could not be read again, and might block.
fn load(path: &Path) -> Result<String, Unusable> {
    let read = || -> io::Result<String> {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut text = String::new();
        fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(io::Error::other("it is larger than a mebibyte"));
        }
        Ok(text)
    };
    read().map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "; `masq config sample` prints one to begin with",
            _ => "",
        };
        Unusable::Unreadable(format!("cannot read {}: {error}{advice}", path.display()))
    })
}

#[cfg(test)]
mod tests;
