//! What a command says on standard error while it takes long: a line that moves, on a terminal; else a
//! line now and then, so that a log shows that it is alive.

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

/// Between two lines where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Before the first line on a terminal, and between two.
const FRAME: Duration = Duration::from_millis(250);

/// What comes between two looks at the clock, if it comes in great number.
const STEPS: u64 = 256;

/// The line. Cosmetics: whatever is wrong with standard error is no reason to stop.
pub struct Progress {
    terminal: bool,
    shown: bool,
    said: Instant,
}

impl Progress {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { terminal: stderr().is_terminal(), shown: false, said: Instant::now() }
    }

    /// What takes seconds for certain: somebody at a terminal is told at once.
    pub fn begin(text: impl Display) -> Self {
        let mut progress = Self::new();
        if progress.terminal {
            progress.show(text);
        }
        progress
    }

    /// Shows how far it is, if it is time.
    pub fn say(&mut self, text: impl Display) {
        if self.said.elapsed() < if self.terminal { FRAME } else { HEARTBEAT } {
            return;
        }
        self.show(text);
    }

    fn show(&mut self, text: impl Display) {
        self.said = Instant::now();
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K… {text}");
            self.shown = true;
        } else {
            let _ = writeln!(stderr(), "… {text}");
        }
    }

    /// The same for something that is counted and that there may be a million of.
    pub fn count(&mut self, number: u64, what: &str) {
        if number.is_multiple_of(STEPS) {
            self.say(format_args!("{number} {what}"));
        }
    }

    /// Makes room for other output.
    pub fn clear(&mut self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
            self.shown = false;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
