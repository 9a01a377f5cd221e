//! The daemon's end of the control socket.

use std::{
    cell::RefCell, fs, io, os::unix::fs::PermissionsExt as _, path::PathBuf, rc::Rc, sync::Arc,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::{Semaphore, mpsc, oneshot, watch},
    task::spawn_local,
    time::{Duration, sleep, timeout},
};

use super::{
    aside::Aside,
    flush, follow, hosts,
    lines::{self, Lines},
    listing,
    proto::{Answer, Ask, Request, VERSION},
    socket_path, summary, top, trace,
};
use crate::{
    daemon::{Ending, ReloadRequest},
    events::Listeners,
    options::current::Current,
    plane::Plane,
    status::Status,
    trace::Tracer,
};

/// Connections that are served at once; more have to wait.
const CONNECTIONS: usize = 16;

/// A request is shorter.
const MAX_REQUEST: u64 = 64 * 1024;

/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is gathered before it is written to the socket.
pub const BUFFER: usize = 64 * 1024;

/// The listening socket; its file is removed when dropped.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens for the commands of an instance, whose name is claimed already: a socket of that
    /// name is the rest of a process that was killed.
    pub fn bind(instance: &str) -> Result<Self> {
        let path = socket_path(instance);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        // The directory is closed to others already.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Serves for ever.
    pub async fn run(self, subject: Rc<Subject>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let subject = Rc::clone(&subject);
                    spawn_local(async move {
                        serve(stream, &subject).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot accept a control connection: {error}");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What answers are made of.
pub struct Subject {
    /// The configuration.
    pub config: Rc<Current>,
    /// The data plane.
    pub plane: Rc<Plane>,
    /// The state of the instance.
    pub status: Rc<RefCell<Status>>,
    /// Takes requests to read the configuration file again.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Who reads the event stream.
    pub listeners: Rc<Listeners>,
    /// Who traces.
    pub tracer: Rc<Tracer>,
    /// Told to stop the daemon.
    pub stop: watch::Sender<Option<Ending>>,
}

/// One connection: one request, one answer. A client that goes away meanwhile is no failure.
async fn serve(stream: UnixStream, subject: &Subject) {
    let (read, write) = stream.into_split();
    let mut line = String::new();
    let mut lines = BufReader::new(read.take(MAX_REQUEST));
    if !matches!(timeout(PATIENCE, lines.read_line(&mut line)).await, Ok(Ok(1..))) {
        return;
    }
    let mut reply = Reply { socket: write, buffer: Vec::new() };
    if let Err(error) = answer(&line, subject, &mut reply).await {
        if error.downcast_ref::<io::Error>().is_some_and(is_hang_up) {
            return;
        }
        let _ = reply.send(&Answer::Error(format!("{error:#}"))).await;
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

async fn answer(line: &str, subject: &Subject, reply: &mut Reply) -> Result<()> {
    let request: Request = serde_json::from_str(line)
        .context("the running masq does not understand this request; is it another version?")?;
    if request.version != VERSION {
        anyhow::bail!("the running masq is another version; restart it, or use its own program");
    }
    let Subject { config, plane, status, reload, stop, .. } = subject;
    match request.ask {
        Ask::Instance => {
            let instance = summary::instance(&status.borrow());
            reply.send(&Answer::Instance(instance)).await
        }
        Ask::Stats => {
            let stats = summary::stats(&config.get(), plane, &status.borrow())?;
            reply.send(&Answer::Stats(Box::new(stats))).await
        }
        Ask::Sessions(query) => listing::list(subject, query, reply).await,
        Ask::Hosts(query) => hosts::list(subject, query, reply).await,
        Ask::Reload => {
            let (answer, answered) = oneshot::channel();
            reload.send(answer).await.context("masq is stopping")?;
            let reloaded = answered.await.context("masq is stopping")?;
            reply.send(&Answer::Reloaded(reloaded.map_err(anyhow::Error::msg)?)).await
        }
        Ask::Events(wanted) => follow::follow(subject, wanted, reply).await,
        Ask::Trace(wanted) => trace::trace(subject, &wanted, reply).await,
        Ask::Flush(wanted) => flush::flush(subject, &wanted, reply).await,
        Ask::Top(query) => top::watch(subject, &query, reply).await,
        Ask::Stop { keep_data_plane } => {
            let survival = status.borrow().survival.clone();
            let ending = if keep_data_plane { Ending::Keep } else { Ending::Remove };
            if keep_data_plane && survival.pins.is_none() {
                anyhow::bail!("the data plane cannot go on without the daemon: {}", survival.why);
            }
            reply.send(&Answer::Stopping).await?;
            stop.send_replace(Some(ending));
            Ok(())
        }
    }
}

/// The lines of an answer on their way to the client.
pub struct Reply {
    socket: OwnedWriteHalf,
    buffer: Vec<u8>,
}

impl Reply {
    /// Adds a line; it is sent with the next ones.
    pub fn add(&mut self, answer: &Answer) -> Result<()> {
        lines::write(&mut self.buffer, answer)
    }

    /// Sends what there is, if it is worth a system call. Waits for a slow client.
    pub async fn flush(&mut self) -> Result<()> {
        if self.buffer.len() >= BUFFER { self.flush_all().await } else { Ok(()) }
    }

    /// Sends the lines that `work` writes aside. A client that reads slowly holds up that work alone.
    pub async fn relay(
        &mut self,
        progress: bool,
        work: impl FnOnce(Lines) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let mut aside = Aside::begin(move |teller| work(Lines::new(teller, progress)));
        while let Some(lines) = aside.next().await {
            self.socket.write_all(&lines).await?;
        }
        aside.outcome().await
    }

    /// Sends a last line and everything before it.
    pub async fn send(&mut self, answer: &Answer) -> Result<()> {
        self.add(answer)?;
        self.flush_all().await
    }

    /// Waits until the client has gone, or says more than it may.
    pub async fn hung_up(&self) {
        let stream: &UnixStream = self.socket.as_ref();
        loop {
            if stream.readable().await.is_err() {
                return;
            }
            match stream.try_read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Sends what there is.
    pub async fn flush_all(&mut self) -> Result<()> {
        self.socket.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }
}
