//! Runs other programs: with their output as it comes, behind a progress line, or instead of
//! ourselves.

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, PipeReader},
    ops::Range,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{console::Progress, workspace};

/// How often a progress line moves.
const FRAME: Duration = Duration::from_millis(150);

/// A program that left a child behind with our pipe in its hands is not waited for longer.
const GRACE: Duration = Duration::from_secs(1);

/// How many lines of a failed program's output are shown; the rest is in its log.
const EXCERPT: usize = 80;

/// A call of the cargo that runs us, in the checkout.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()).args(arguments);
    // What cargo says about *our* package must not reach build scripts and tests of others.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    command
}

/// Runs a program with our own input and output.
pub fn visibly(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(&command))?;
    if status.success() { Ok(()) } else { bail!("{} failed ({status})", name(&command)) }
}

/// Becomes the program: signals and exit code are its own from here. Returns only on failure.
pub fn become_program(mut command: Command) -> anyhow::Error {
    let error = command.exec();
    anyhow!(error).context(cannot_start(&command))
}

/// What a program wrote, and how long it ran.
pub struct Finished {
    /// Standard output and error, in the order of writing.
    pub output: String,
    /// From start to end.
    pub time: Duration,
}

/// Runs a program behind a progress line. Its output goes to `log`; when it fails, an
/// excerpt is shown. `remark` makes a few words for the line out of the output of a success.
pub fn quietly(
    title: &str,
    command: Command,
    log: &Path,
    remark: fn(&str) -> String,
) -> Result<Finished> {
    let mut progress = Progress::start(title);
    let (status, output) = match watch(command, &mut progress) {
        Ok(end) => end,
        Err(error) => {
            progress.finish(false, &format!("{error:#}"));
            return Err(error);
        }
    };
    save(log, &output)?;
    if status.success() {
        let time = progress.finish(true, &remark(&output));
        return Ok(Finished { output, time });
    }
    progress.finish(false, &status.to_string());
    show(&output);
    bail!("{title} failed ({status}); all of its output: {}", log.display())
}

/// A remark that says nothing.
pub fn no_remark(_: &str) -> String {
    String::new()
}

fn watch(mut command: Command, progress: &mut Progress) -> Result<(ExitStatus, String)> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    let other_end = writer.try_clone().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(other_end);
    let child = command.spawn().with_context(|| cannot_start(&command))?;
    // The command holds our copies of the pipe's writing end; the end of file waits for them.
    drop(command);
    collect(child, &lines_of(reader), progress)
}

fn lines_of(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

fn collect(
    mut child: Child,
    lines: &Receiver<String>,
    progress: &mut Progress,
) -> Result<(ExitStatus, String)> {
    let mut output = String::new();
    let mut ended: Option<(ExitStatus, Instant)> = None;
    let mut last_frame = Instant::now();
    loop {
        match lines.recv_timeout(FRAME) {
            Ok(line) => {
                progress.line(&line);
                output.push_str(&line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Ok((child.wait().context("lost a child")?, output));
            }
        }
        if last_frame.elapsed() >= FRAME {
            last_frame = Instant::now();
            progress.tick();
        }
        match ended {
            Some((status, since)) if since.elapsed() > GRACE => return Ok((status, output)),
            Some(_) => {}
            None => {
                let status = child.try_wait().context("lost a child")?;
                ended = status.map(|status| (status, Instant::now()));
            }
        }
    }
}

fn save(log: &Path, output: &str) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(log, output).with_context(|| format!("cannot write {}", log.display()))
}

fn show(output: &str) {
    let lines: Vec<_> = output.lines().collect();
    let shown = excerpt(&lines);
    for line in &lines[shown.clone()] {
        anstream::eprintln!("    {line}");
    }
    if shown.len() < lines.len() {
        anstream::eprintln!(
            "    [these are lines {} to {} of the log]",
            shown.start + 1,
            shown.end
        );
    }
}

/// The lines that say most about a failure: what the first tests that failed wrote, else the end.
fn excerpt(lines: &[&str]) -> Range<usize> {
    let failed_test = |line: &&str| line.starts_with("---- ") && line.ends_with(" ----");
    let start = lines.iter().position(failed_test);
    let start = start.unwrap_or_else(|| lines.len().saturating_sub(EXCERPT));
    start..lines.len().min(start + EXCERPT)
}

fn name(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program()).to_string_lossy();
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", name(command))
}

#[cfg(test)]
mod tests {
    use super::{EXCERPT, excerpt};

    #[test]
    fn the_excerpt_is_what_a_failed_test_wrote() {
        let mut lines = vec!["test a ... FAILED"; 500];
        lines[300] = "---- netns::a stdout ----";
        assert_eq!(excerpt(&lines), 300..300 + EXCERPT);
    }

    #[test]
    fn without_tests_the_excerpt_is_the_end() {
        assert_eq!(excerpt(&["error: no space"; 500]), 500 - EXCERPT..500);
        assert_eq!(excerpt(&["error: no space"; 3]), 0..3);
    }
}
