//! What the demo and the benchmark say while they work. Colours and moving lines on a terminal
//! only.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anstream::{eprint, eprintln};

/// Bold text, for `anstream::println!`.
pub const BOLD: &str = "\x1b[1m";
/// Green text.
pub const GREEN: &str = "\x1b[32m";
/// Red text.
pub const RED: &str = "\x1b[31m";
/// Faint text.
pub const DIM: &str = "\x1b[2m";
/// Back to normal text.
pub const RESET: &str = "\x1b[0m";

/// How wide a moving line may get: it must not wrap, or it could not be overwritten.
const WIDTH: usize = 78;
/// How often a moving line is drawn.
const FRAME: Duration = Duration::from_millis(200);
/// Without a terminal, how often a slow job says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Shows on standard error what is being done and for how long, until it is dropped.
#[derive(Debug)]
pub struct Progress {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    text: String,
    over: bool,
}

impl Progress {
    /// Begins.
    pub fn start(text: &str) -> Self {
        let state = Mutex::new(State { text: text.to_owned(), over: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let in_thread = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || in_thread.show()));
        Self { shared, thread }
    }

    /// What is being done now.
    pub fn say(&self, text: &str) {
        text.clone_into(&mut self.shared.state.lock().expect("the progress").text);
        self.shared.changed.notify_all();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Not `say`: a panic of whoever held the lock is no reason for another one in here.
        if let Ok(mut state) = self.shared.state.lock() {
            state.over = true;
        }
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn show(&self) {
        let terminal = io::stderr().is_terminal();
        let period = if terminal { FRAME } else { HEARTBEAT };
        let start = Instant::now();
        let mut state = self.state.lock().expect("the progress");
        while !state.over {
            if terminal {
                draw(&state.text, start.elapsed());
            } else if start.elapsed() >= HEARTBEAT {
                eprintln!("  … {} ({} s)", state.text, start.elapsed().as_secs());
            }
            let wait = self.changed.wait_timeout_while(state, period, |state| !state.over);
            state = wait.expect("the progress").0;
        }
        if terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn draw(text: &str, age: Duration) {
    let line = format!("  … {text} ({} s)", age.as_secs());
    let line: String = line.chars().take(WIDTH).collect();
    eprint!("\r\x1b[K{DIM}{line}{RESET}");
    // Cosmetics: a terminal that is gone is no reason to stop.
    let _: io::Result<()> = io::stderr().flush();
}
