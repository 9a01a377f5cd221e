//! `masq config`: a configuration file to begin with, and what `masq run` would make of one.

use std::{ffi::OsString, path::Path};

use anyhow::Context as _;
use serde_json::json;

use super::Output;
use crate::{
    cli::{CheckArgs, ConfigArgs, ConfigCommand},
    error::Result,
    options::{Problem, Source, Unusable, Value, Values},
};

/// The file that is installed, with every option commented out.
pub const SAMPLE: &str = include_str!("../../masq.toml");

/// Does what is asked.
pub fn execute(args: &ConfigArgs) -> Result<()> {
    match &args.command {
        ConfigCommand::Check(args) => check(args),
        ConfigCommand::Sample => {
            let mut output = Output::new();
            output.line(SAMPLE.trim_end())?;
            output.finish()
        }
    }
}

fn check(args: &CheckArgs) -> Result<()> {
    let words = ["masq".into(), "run".into(), "--config".into(), args.file.clone().into()];
    let words: Vec<OsString> = words.into_iter().chain(args.run.iter().cloned()).collect();
    let found = Source::new(words, Some(&args.file)).read();
    let mut output = Output::new();
    match (&found, args.json) {
        (Ok(reading), false) => {
            for value in reading.values.shown() {
                output.line(value)?;
            }
        }
        (Ok(reading), true) => output.line(report(&args.file, &reading.values, &[])?).map(drop)?,
        (Err(Unusable::Wrong(problems)), true) => {
            output.line(report(&args.file, &Values::default(), problems)?)?;
        }
        (Err(_), _) => {}
    }
    output.finish()?;
    found?;
    Ok(())
}

fn report(file: &Path, values: &Values, problems: &[Problem]) -> Result<String> {
    let options: Vec<&Value> = values.shown().collect();
    let error = |problem: &Problem| json!({ "line": problem.line, "text": problem.text });
    let errors: Vec<_> = problems.iter().map(error).collect();
    let report = json!({ "file": file, "options": options, "errors": errors });
    Ok(serde_json::to_string_pretty(&report).context("cannot write JSON")?)
}
