//! Where log lines go: standard error, one line each, for people or for programs.
//!
//! Levels: a change of state and, if asked for, each session are INFO; what should be looked at
//! is WARN; what masq does inside is DEBUG. A packet is never logged from here.

use std::{
    io::{IsTerminal as _, stderr},
    sync::OnceLock,
};

use tracing_subscriber::{
    Layer as _, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::cli::LogFormat;

/// Our own crates; what the kernel programs log arrives under the name of theirs.
const OURS: &str = "masq";

/// Changes what is logged: the filter, and whether the kernel programs' log is to be in it.
static FILTER: OnceLock<(reload::Handle<Targets, Registry>, bool)> = OnceLock::new();

/// Sets the log up; once in a process.
pub fn init(format: LogFormat, verbose: u8, kernel_trace: bool) {
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = fmt::layer()
        .with_writer(stderr)
        .with_target(false)
        .with_ansi(colours)
        // It would print them to standard error and panic, when that is what has gone.
        .log_internal_errors(false);
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter(verbose, kernel_trace));
    let _ = FILTER.set((handle, kernel_trace));
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

/// Logs more or less from now on.
pub fn set_verbose(verbose: u8) {
    let Some((handle, kernel_trace)) = FILTER.get() else { return };
    if handle.reload(filter(verbose, *kernel_trace)).is_ok() {
        // Libraries that log by another crate ask that one first.
        let loudest = match (verbose, kernel_trace) {
            (_, true) => ::log::LevelFilter::Trace,
            (0 | 1, false) => ::log::LevelFilter::Info,
            (_, false) => ::log::LevelFilter::Debug,
        };
        ::log::set_max_level(loudest);
    }
}

/// Libraries repeat at length what our own errors say; only those who look inside want that too.
fn filter(verbose: u8, kernel_trace: bool) -> Targets {
    let (ours, others) = match (verbose, kernel_trace) {
        (_, true) => (LevelFilter::TRACE, LevelFilter::WARN),
        (0 | 1, false) => (LevelFilter::INFO, LevelFilter::OFF),
        (_, false) => (LevelFilter::DEBUG, LevelFilter::WARN),
    };
    Targets::new().with_default(others).with_target(OURS, ours)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_heard_only_by_those_who_look_inside() {
        let quiet = filter(1, false);
        assert!(quiet.would_enable("masq_user::status", &Level::INFO));
        assert!(!quiet.would_enable("masq_user::sweep", &Level::DEBUG));
        assert!(!quiet.would_enable("aya::bpf", &Level::WARN));
        assert!(filter(2, false).would_enable("aya::bpf", &Level::WARN));
        assert!(filter(0, true).would_enable("masq_ebpf::create", &Level::TRACE));
    }
}
