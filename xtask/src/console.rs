//! What a task says while it works. Colours and moving lines only on a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use anstream::{eprint, eprintln};

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// How wide a moving line may get: it must not wrap, or it could not be overwritten.
const WIDTH: usize = 78;

/// Without a terminal, how often a long job says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// A heading before a group of lines.
pub fn heading(text: &str) {
    eprintln!("{BOLD}{text}{RESET}");
}

/// What is being done, or why.
pub fn say(text: &str) {
    eprintln!("  {text}");
}

/// Something is as it should be.
pub fn good(text: &str) {
    eprintln!("  {GREEN}✔{RESET} {text}");
}

/// Something is not.
pub fn bad(text: &str) {
    eprintln!("  {RED}✘{RESET} {text}");
}

/// The last word of a task that failed.
pub fn error(text: &str) {
    eprintln!("{RED}{BOLD}error:{RESET} {text}");
}

/// `8 s`, `2 min 05 s`.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// Shows that a job goes on: its title, its age and the last line that it wrote.
pub struct Progress {
    title: String,
    since: Instant,
    last_line: String,
    terminal: bool,
    last_heartbeat: Instant,
}

impl Progress {
    /// Announces the job.
    pub fn start(title: &str) -> Self {
        let terminal = io::stderr().is_terminal();
        let now = Instant::now();
        let progress = Self {
            title: title.to_owned(),
            since: now,
            last_line: String::new(),
            terminal,
            last_heartbeat: now,
        };
        if terminal {
            progress.redraw();
        } else {
            eprintln!("  … {title}");
        }
        progress
    }

    /// The job wrote a line.
    pub fn line(&mut self, line: &str) {
        let clean = anstream::adapter::strip_str(line).to_string();
        if !clean.trim().is_empty() {
            clean.trim().clone_into(&mut self.last_line);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self) {
        if self.terminal {
            self.redraw();
        } else if self.last_heartbeat.elapsed() >= HEARTBEAT {
            self.last_heartbeat = Instant::now();
            let age = duration(self.since.elapsed());
            eprintln!("    {} ({age}) {}", self.title, self.last_line);
        }
    }

    /// The job is over; says how it went and how long it took.
    pub fn finish(self, success: bool, remark: &str) -> Duration {
        let time = self.since.elapsed();
        if self.terminal {
            eprint!("\r\x1b[K");
        }
        let remark = if remark.is_empty() { String::new() } else { format!(", {remark}") };
        let text = format!("{} {DIM}({}{remark}){RESET}", self.title, duration(time));
        if success {
            good(&text)
        } else {
            bad(&text)
        }
        time
    }

    fn redraw(&self) {
        let age = duration(self.since.elapsed());
        let line = format!("  … {} ({age}) {}", self.title, self.last_line);
        let line: String = line.chars().take(WIDTH).collect();
        eprint!("\r\x1b[K{DIM}{line}{RESET}");
        // Cosmetics: a terminal that is gone is no reason to stop the job.
        let _: io::Result<()> = io::stderr().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(duration(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
