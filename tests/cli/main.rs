//! The command line of masq: what it prints, and how it ends.
//!
//! Exit codes: 0 done, 1 failed or not possible on this machine, 2 wrong command line or
//! configuration file. Whatever
//! fails says so in one sentence on standard error, and what to do about it.

mod check;
mod config;
mod faq;
mod instances;
mod metrics;
mod queries;
mod refusals;
mod terminal;
mod top;
mod usage;

use std::process::Output;

/// What a failed command has said, in one line.
///
/// # Panics
/// If it did not fail with this code, or has said more or less than one line.
#[track_caller]
fn failure(output: &Output, code: i32) -> String {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "standard error: {error}");
    assert_eq!(out, "", "nothing on standard output");
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 1, "one sentence, not:\n{error}");
    lines[0].to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("masq prints UTF-8")
}
