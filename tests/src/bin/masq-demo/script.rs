//! Steps: each is one line on the screen, and holds or fails. One that panics has failed.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Mutex,
};

use anstream::println;
use masq_tests::console::{BOLD, DIM, GREEN, Progress, RED, RESET};

/// What the last panic said.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Keeps what panics say for the line of their step, instead of printing it.
pub fn remember_panics() {
    panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("a panic without a message");
        if let Ok(mut last) = LAST_PANIC.lock() {
            text.clone_into(&mut last);
        }
    }));
}

/// How wide the titles of steps are, so that the results stand in a column.
const WIDTH: usize = 44;

/// The steps so far.
#[derive(Debug, Default)]
pub struct Script {
    chapter: String,
    held: usize,
    failed: Vec<String>,
}

impl Script {
    /// Begins a group of steps.
    pub fn chapter(&mut self, title: &str, explanation: &str) {
        title.clone_into(&mut self.chapter);
        println!("\n{BOLD}{title}{RESET} {DIM}– {explanation}{RESET}");
    }

    /// Does something, and shows what was measured or what went wrong; says whether it held.
    pub fn step(
        &mut self,
        title: &str,
        work: impl FnOnce(&Progress) -> Result<String, String>,
    ) -> bool {
        self.make(title, |progress| work(progress).map(|shown| ((), shown))).is_some()
    }

    /// The same for a step that makes something for later ones.
    pub fn make<T>(
        &mut self,
        title: &str,
        work: impl FnOnce(&Progress) -> Result<(T, String), String>,
    ) -> Option<T> {
        let progress = Progress::start(title);
        // What a panic leaves half done is dropped with the step, or only read afterwards.
        let result = panic::catch_unwind(AssertUnwindSafe(|| work(&progress)));
        drop(progress);
        let result = result.unwrap_or_else(|_| Err(last_panic()));
        match result {
            Ok((value, shown)) => {
                self.held += 1;
                println!("  {GREEN}✔{RESET} {title:WIDTH$} {shown}");
                Some(value)
            }
            Err(reason) => {
                self.failed.push(format!("{}: {title}", self.chapter));
                println!("  {RED}✘{RESET} {title:WIDTH$} {}", shorten(&reason));
                None
            }
        }
    }

    /// Number of steps that held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Titles of the steps that did not.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }
}

fn last_panic() -> String {
    LAST_PANIC.lock().map(|text| text.clone()).unwrap_or_default()
}

/// The first lines of a message, indented.
fn shorten(message: &str) -> String {
    message.lines().take(12).collect::<Vec<_>>().join("\n      ")
}
