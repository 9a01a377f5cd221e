//! What a command says on standard error while it takes long: a line that moves, on a terminal; else a
//! line now and then, so that a log shows that it is alive.

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

/// Between two lines where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(10);

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

    /// Shows how far it is.
    pub fn say(&mut self, text: impl Display) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K… {text}");
            self.shown = true;
        } else if self.said.elapsed() >= HEARTBEAT {
            let _ = writeln!(stderr(), "… {text}");
            self.said = Instant::now();
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
