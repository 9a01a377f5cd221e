//! Where log lines go: standard error, one line each, for people or for programs.
//!
//! Levels: a change of state and, if asked for, each session are INFO; what should be looked at
//! is WARN; what masq does inside is DEBUG. A packet is never logged from here.

use std::io::{IsTerminal as _, stderr};

use tracing::Level;

use crate::cli::LogFormat;

/// Sets the log up; once in a process.
pub fn init(format: LogFormat, verbose: u8, kernel_trace: bool) {
    // What the kernel programs log arrives through the `log` crate with its own levels.
    let level = match (verbose, kernel_trace) {
        (_, true) => Level::TRACE,
        (0 | 1, false) => Level::INFO,
        (_, false) => Level::DEBUG,
    };
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(stderr)
        .with_target(false)
        .with_ansi(colours);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
