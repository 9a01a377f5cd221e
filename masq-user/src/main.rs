//! The program `masq`: reads the command line, runs the command, turns a failure into a sentence
//! and an exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use masq_user::{cli::Cli, commands, log};

fn main() -> ExitCode {
    match commands::execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", log::failure(&error));
            ExitCode::from(error.exit_code())
        }
    }
}
