//! The arguments of `masq config`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand};

use crate::options::DEFAULT_FILE;

/// Options of `masq config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with a configuration file.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration file, or what `masq run` would make of it.
    Check(CheckArgs),
    /// Print a configuration file to begin with: every option with its default, commented out.
    Sample,
}

const CHECK_HELP: &str = "\
Prints every option with its value and where that comes from, in the form of a configuration file; \
or every fault with its line. Looks at the file only: not at the interfaces, and not at a running \
masq. Options after -- are put above the file, as on the command line of `masq run`.

Fields of --json: file, options (option, value, from: default, file or command_line, line) and errors \
(line, text).

Exit codes: 0 good, 1 cannot be read, 2 something is wrong in it.

Examples:
  masq config check
  masq config check ./masq.toml -- --wan ppp1";

/// Options of `masq config check`.
#[derive(Args, Debug)]
#[command(after_help = CHECK_HELP)]
pub struct CheckArgs {
    /// The file.
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,

    /// Options that `masq run` is given besides.
    #[arg(last = true, value_name = "OPTIONS OF RUN")]
    pub run: Vec<OsString>,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
