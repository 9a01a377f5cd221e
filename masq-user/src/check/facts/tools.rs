//! Asking the programs of others, for a short time only: one that hangs must not keep masq from
//! starting.

use std::{
    env,
    ffi::OsString,
    io::{ErrorKind, Read as _},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long a program may take. Usually it is some ten milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// What it has printed.
    Text(String),
    /// It is not installed.
    Missing,
    /// It has failed, and why.
    Failed(String),
}

/// Runs a program to its end.
pub(super) fn ask(program: &str, arguments: &[&str]) -> Answer {
    let command = Command::new(program)
        .args(arguments)
        .env("PATH", path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match command {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Answer::Missing,
        Err(error) => return Answer::Failed(format!("cannot start {program}: {error}")),
    };
    let Some(mut out) = child.stdout.take() else { return Answer::Missing };
    let (done, answer) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _ = done.send(out.read_to_string(&mut text).map(|_| text));
    });
    let text = answer.recv_timeout(PATIENCE);
    if text.is_err() {
        let _ = child.kill();
    }
    let status = child.wait();
    match (text, status) {
        (Ok(Ok(text)), Ok(status)) if status.success() => Answer::Text(text),
        (Err(_), _) => {
            Answer::Failed(format!("{program} has not answered within {}s", PATIENCE.as_secs()))
        }
        (_, Ok(status)) => Answer::Failed(format!("{program} has ended with {status}")),
        (_, Err(error)) => Answer::Failed(format!("{program}: {error}")),
    }
}

/// Where system programs are, also for users and services whose path lacks them.
fn path() -> OsString {
    let system = "/usr/sbin:/sbin:/usr/bin:/bin";
    match env::var_os("PATH") {
        // An empty element would be the current directory.
        Some(mut path) if !path.is_empty() => {
            path.push(":");
            path.push(system);
            path
        }
        _ => system.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_answer_fail_or_are_missing() {
        assert!(matches!(ask("echo", &["hello"]), Answer::Text(text) if text == "hello\n"));
        assert!(matches!(ask("false", &[]), Answer::Failed(why) if why.contains("false")));
        assert!(matches!(ask("no-such-program-of-masq", &[]), Answer::Missing));
        assert!(matches!(ask("sleep", &["600"]), Answer::Failed(why) if why.contains("2s")));
    }
}
