//! The commands' end of the control socket: finding the instance that is meant, asking it.

use std::{
    fs, io,
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

use super::{
    SUFFIX,
    proto::{Answer, Ask, Instance, Request, VERSION},
    socket_path,
};
use crate::{
    claims::{Netns, RUN_DIR},
    error::{Error, Result},
    survival::manifest::Manifest,
};

/// How long an instance may take for the next line. It answers within milliseconds, but may be
/// busy removing a million sessions.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long each may take to say who it is, when all are asked: one that hangs must not hide the
/// others.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// How long somebody at a terminal waits before being told that it may take longer.
const NOTICE: Duration = Duration::from_secs(1);

/// A connection to an instance.
pub struct Client {
    stream: BufReader<UnixStream>,
    patience: Duration,
    /// What to call the instance when somebody is told that it has not answered yet; `None` if they have
    /// been told, or do not want to be.
    called: Option<String>,
}

impl Client {
    /// Connects and asks.
    fn ask(name: &str, ask: Ask, patience: Duration) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket_path(name))?;
        let request = serde_json::to_string(&Request { version: VERSION, ask })?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        let called = io::stderr().is_terminal().then(|| name.to_owned());
        Ok(Self { stream: BufReader::new(stream), patience, called })
    }

    /// The same, without a word on standard error: for whoever has the terminal for something else.
    #[must_use]
    pub fn quietly(self) -> Self {
        Self { called: None, ..self }
    }

    /// The next line of the answer.
    pub fn answer(&mut self) -> Result<Answer> {
        read(self.line_in_time().context("no answer from the running masq")?)
    }

    /// The next line, however long it takes; `None` if it has not come by `end`.
    pub fn answer_by(&mut self, end: Option<Instant>) -> Result<Option<Answer>> {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        if !self.has_more() {
            self.stream.get_ref().set_read_timeout(left).context("cannot wait for an answer")?;
        }
        let mut line = String::new();
        match self.stream.read_line(&mut line).map(|_| line) {
            Ok(line) => read(line).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(anyhow!("no answer from the running masq: {error}").into()),
        }
    }

    /// The connection once more, for whoever may end it.
    pub fn handle(&self) -> io::Result<UnixStream> {
        self.stream.get_ref().try_clone()
    }

    /// Whether the next line has come already.
    pub fn has_more(&self) -> bool {
        self.stream.buffer().contains(&b'\n')
    }

    /// The next line, which may take as long as there is patience. Who waits at a terminal is told so after
    /// a while, once.
    fn line_in_time(&mut self) -> io::Result<String> {
        let mut line = String::new();
        // Of a long answer most lines have come with others.
        if self.has_more() {
            self.stream.read_line(&mut line)?;
            return Ok(line);
        }
        let mut left = self.patience;
        if let Some(name) = &self.called {
            self.stream.get_ref().set_read_timeout(Some(NOTICE.min(left)))?;
            match self.stream.read_line(&mut line) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(|_| line),
            }
            left = left.saturating_sub(NOTICE);
            // What has come of the line stays in it. Words are no reason to fail.
            let _ = writeln!(
                io::stderr(),
                "\r\x1b[K… {name} has not answered yet; waiting for {} s more at most",
                left.as_secs()
            );
            self.called = None;
        }
        self.stream.get_ref().set_read_timeout(Some(left))?;
        self.stream.read_line(&mut line)?;
        Ok(line)
    }
}

/// Understands a line.
fn read(line: String) -> Result<Answer> {
    if line.is_empty() {
        return Err(anyhow!("masq stopped while it answered").into());
    }
    match serde_json::from_str(&line).context("the running masq is another version")? {
        Answer::Error(text) => Err(Error::Refused(text)),
        answer => Ok(answer),
    }
}

/// Asks the instance that is meant.
pub fn ask(name: Option<&str>, ask: Ask) -> Result<Client> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => {
            let here = Netns::own()?;
            let mut found = introduce(names()?.into_iter().filter(|name| may_be_of(name, here)));
            if found.silent.is_empty() && found.instances.iter().all(|it| it.netns != here.0) {
                found = find()?;
            }
            choose(&found.instances, &found.silent, here)?
        }
    };
    Client::ask(&name, ask, PATIENCE).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::Refused(format!(
            "no masq named {name} is running; see `masq instances`, or start one with `masq run`"
        )),
        io::ErrorKind::PermissionDenied => not_root(),
        _ => Error::Failed(anyhow!("cannot talk to {name}: {error}")),
    })
}

/// What runs on this machine.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that have said who they are.
    pub instances: Vec<Instance>,
    /// Names of those whose daemon is there and does not answer.
    pub silent: Vec<String>,
}

/// All instances that run on this machine and answer.
pub fn instances() -> Result<Vec<Instance>> {
    Ok(find()?.instances)
}

/// All instances that run on this machine.
pub fn find() -> Result<Found> {
    Ok(introduce(names()?))
}

/// Whether an instance may be of this network namespace: what is written down about it does not say that
/// it is of another one. That one need not be waited for if it hangs.
fn may_be_of(name: &str, netns: Netns) -> bool {
    match Manifest::read(name) {
        Ok(Some(manifest)) => manifest.place.netns == netns,
        Ok(None) | Err(_) => true,
    }
}

/// The names of all that have a socket.
fn names() -> Result<Vec<String>> {
    let entries = match fs::read_dir(RUN_DIR) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(not_root()),
        Err(error) => return Err(anyhow!("cannot read {RUN_DIR}: {error}").into()),
    };
    let names = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.strip_suffix(SUFFIX).map(str::to_owned)
    });
    Ok(names.collect())
}

/// Has each say who it is.
fn introduce(names: impl IntoIterator<Item = String>) -> Found {
    let mut found = Found::default();
    for name in names {
        // A socket that nobody listens on is the rest of a killed process.
        let Ok(mut client) = Client::ask(&name, Ask::Instance, INTRODUCTION) else { continue };
        match client.line_in_time() {
            Ok(line) => {
                if let Ok(Answer::Instance(instance)) = read(line) {
                    found.instances.push(instance);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                found.silent.push(name);
            }
            Err(_) => {}
        }
    }
    found.instances.sort_by(|a, b| a.instance.cmp(&b.instance));
    found.silent.sort();
    found
}

fn not_root() -> Error {
    Error::Refused("only root may talk to a running masq; use sudo".into())
}

/// The instance that is meant when none is named: the only one in this network namespace, else
/// the only one on the machine. One that is silent may be the one of this namespace, so no other
/// is taken in its place.
fn choose(instances: &[Instance], silent: &[String], netns: Netns) -> Result<String> {
    let here: Vec<_> = instances.iter().filter(|instance| instance.netns == netns.0).collect();
    match (here.as_slice(), instances) {
        ([only], _) => Ok(only.instance.clone()),
        ([], _) if !silent.is_empty() => Err(Error::Refused(format!(
            "{} does not answer: its daemon hangs or was stopped by a signal. Packets are translated \
             on; `kill -CONT` or a kill and `masq run` bring it back. Another instance is meant? \
             Name it with --instance",
            silent.join(", ")
        ))),
        ([], [only]) => Ok(only.instance.clone()),
        (_, []) => Err(Error::Refused(
            "no masq is running; start one with `masq run --lan IF --wan IF`".into(),
        )),
        _ => {
            let names: Vec<_> = instances.iter().map(|i| i.instance.as_str()).collect();
            Err(Error::Refused(format!(
                "several instances are running; choose one with --instance: {}",
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::proto::Survival;

    fn instance(name: &str, netns: u64) -> Instance {
        Instance {
            instance: name.into(),
            pid: Some(1),
            busy: false,
            netns,
            uptime_secs: 0,
            version: String::new(),
            interfaces: Vec::new(),
            survival: Survival::default(),
        }
    }

    #[test]
    fn the_only_instance_here_is_meant_else_the_only_one_at_all() {
        let (a, b, c) = (instance("a", 1), instance("b", 2), instance("c", 2));
        let chosen = |all: &[&Instance], netns| {
            let all: Vec<_> = all.iter().map(|&i| i.clone()).collect();
            choose(&all, &[], Netns(netns)).map_err(|error| error.to_string())
        };
        assert_eq!(chosen(&[&a, &b], 1).unwrap(), "a");
        assert_eq!(chosen(&[&a], 9).unwrap(), "a");
        assert!(chosen(&[&a, &b, &c], 2).unwrap_err().contains("a, b, c"));
        assert!(chosen(&[&a, &b], 9).unwrap_err().contains("--instance"));
        assert!(chosen(&[], 1).unwrap_err().contains("masq run"));
        for others in [&[][..], &[instance("a", 1)], &[instance("a", 1), instance("b", 2)]] {
            let hangs = choose(others, &["d".to_owned()], Netns(9)).unwrap_err().to_string();
            assert!(hangs.contains("d does not answer"), "{hangs}");
        }
        assert_eq!(choose(&[instance("a", 1)], &["d".to_owned()], Netns(1)).unwrap(), "a");
    }
}
