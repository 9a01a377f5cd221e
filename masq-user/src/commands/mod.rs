//! The commands of the command line, a file each: ask, format, write.

mod check;
mod completions;
mod config;
mod events;
mod flush;
mod hosts;
mod instances;
mod interrupt;
mod progress;
mod reload;
mod sessions;
mod stats;
mod stop;
mod top;
mod trace;

pub use self::config::SAMPLE;

use std::{
    env,
    io::{self, IsTerminal as _, Write},
};

use anyhow::Context as _;

use crate::{
    cli::{Cli, Command},
    config::Config,
    daemon,
    error::Result,
    log,
    options::Source,
};

/// Executes the command line.
pub fn execute(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Run(args) => {
            let source = Source::new(env::args_os().collect(), args.config.as_deref());
            let reading = source.read()?;
            let Config { log_format, verbose, trace, .. } = reading.config;
            log::init(log_format, verbose, trace.is_some());
            daemon::run(source, reading)
        }
        Command::Check(args) => check::execute(&args),
        Command::Sessions(args) => sessions::execute(&args),
        Command::Hosts(args) => hosts::execute(&args),
        Command::Events(args) => events::execute(&args),
        Command::Trace(args) => trace::execute(&args),
        Command::Flush(args) => flush::execute(&args),
        Command::Stats(args) => stats::execute(&args),
        Command::Top(args) => top::execute(&args),
        Command::Instances(args) => instances::execute(&args),
        Command::Reload(args) => reload::execute(&args),
        Command::Config(args) => config::execute(&args),
        Command::Stop(args) => stop::execute(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Manual(args) => completions::manual(&args),
    }
}

/// Standard output of a command, for as long as somebody reads it.
struct Output {
    out: io::BufWriter<io::Stdout>,
    colours: bool,
}

impl Output {
    fn new() -> Self {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out: io::BufWriter::new(io::stdout()), colours }
    }

    /// Writes one line. False if nobody reads any more, as in `masq sessions | head`.
    fn line(&mut self, line: impl std::fmt::Display) -> Result<bool> {
        read_on(writeln!(self.out, "{line}"))
    }

    /// Writes a heading.
    fn heading(&mut self, line: impl std::fmt::Display) -> Result<bool> {
        if self.colours { self.line(format_args!("\x1b[1m{line}\x1b[0m")) } else { self.line(line) }
    }

    /// Writes what is held back. False if nobody reads any more.
    fn flush(&mut self) -> Result<bool> {
        read_on(self.out.flush())
    }

    /// A word in a colour, given as the code of ANSI terminals, if there is a terminal.
    fn coloured(&self, code: &str, word: &str) -> String {
        if self.colours { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }

    /// Writes what is still held back.
    fn finish(mut self) -> Result<()> {
        self.flush().map(|_| ())
    }
}

/// Whether the reader of standard output is still there.
fn read_on(result: io::Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output")?,
    }
}
