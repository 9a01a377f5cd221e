//! Where log lines go: standard error, one line each, for people or for programs.
//!
//! The journal of systemd notes the time itself, and how grave a line is if that stands in front of it
//! (`sd-daemon(3)`): there `journalctl -p warning` has to find what should be looked at.
//!
//! Levels: a change of state and, if asked for, each session are INFO; what should be looked at
//! is WARN; what masq does inside is DEBUG. A packet is never logged from here.

use std::{
    fmt::Display,
    fs,
    io::{IsTerminal as _, stderr},
    os::unix::fs::MetadataExt as _,
    sync::OnceLock,
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    Layer as _, Registry,
    filter::{LevelFilter, Targets},
    fmt::{self, FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
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
        LogFormat::Text if is_journal() => layer.with_ansi(false).event_format(Journal).boxed(),
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter(verbose, kernel_trace));
    let _ = FILTER.set((handle, kernel_trace));
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

/// What a command that fails says.
pub fn failure(error: impl Display) -> String {
    let text = format!("masq: {error}");
    if is_journal() { graded(Level::ERROR, &text) } else { text }
}

/// Each line with its level, as the journal wants it.
fn graded(level: Level, text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("<{}>{line}", priority(level))).collect();
    lines.join("\n")
}

/// Whether standard error is what systemd has connected to its journal; whoever has redirected it since
/// wants lines for people.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|is| stream == format!("{}:{}", is.dev(), is.ino()))
}

/// As `syslog(3)` numbers it.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Lines for the journal.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
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
    fn the_journal_is_told_how_grave_each_line_is() {
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(all.map(priority), [3, 4, 6, 7, 7]);
        assert_eq!(graded(Level::ERROR, "masq: one\nanother"), "<3>masq: one\n<3>another");
    }

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
