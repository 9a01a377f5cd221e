//! Where news come from: one thread asks for counters and tables each second, one listens to the
//! looks at the session table. Each tries again when the daemon has gone, so that a restart is seen
//! through.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::Sender,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

use crate::{
    commands::flush::sentence,
    control::{
        client,
        filter::Filter,
        flush::Flush,
        proto::{Answer, Ask, Stats, Top, TopQuery},
    },
    error::Result,
};

/// Between two questions, and before another try.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sessions and hosts of each order that are asked for: more than a screen shows.
const LIMIT: u32 = 200;

/// What there is to know.
#[derive(Debug)]
pub enum News {
    /// Counters and tables, and when they came.
    Stats(Box<Stats>, Instant),
    /// A look at the session table, with the number of the filter that it was taken with.
    Top(Box<Top>, u64),
    /// The daemon does not answer, and why.
    Trouble(String),
    /// What has become of sessions that were to be removed.
    Notice(String),
    /// A signal says to end.
    Ended,
}

/// The threads that ask. They end when nobody takes their news any more.
pub struct Feed {
    instance: String,
    sender: Sender<News>,
    /// Counts filters: the thread of an earlier one ends when it sees that it is not the last.
    generation: Arc<AtomicU64>,
}

impl Feed {
    /// Asks an instance.
    pub fn start(instance: String, filter: Filter, sender: Sender<News>) -> Result<Self> {
        let feed = Self { instance, sender, generation: Arc::default() };
        let (instance, sender) = (feed.instance.clone(), feed.sender.clone());
        spawn("stats", move || ask_for_stats(&instance, &sender))?;
        feed.listen(filter)?;
        Ok(feed)
    }

    /// The number of the present filter.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Asks for other sessions.
    pub fn filter(&mut self, filter: Filter) -> Result<()> {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.listen(filter)
    }

    /// Has sessions removed, while the screen goes on.
    pub fn kill(&self, filter: Filter) -> Result<()> {
        let (instance, sender) = (self.instance.clone(), self.sender.clone());
        spawn("kill", move || {
            let notice = remove(&instance, filter, &sender).unwrap_or_else(|e| e.to_string());
            // Whoever has left does not want to know.
            let _ = sender.send(News::Notice(notice));
        })
    }

    fn listen(&self, filter: Filter) -> Result<()> {
        let listener = Listener {
            instance: self.instance.clone(),
            query: TopQuery { filter, limit: LIMIT, interval_ms: INTERVAL.as_millis() as u32 },
            sender: self.sender.clone(),
            number: self.generation(),
            generation: Arc::clone(&self.generation),
        };
        spawn("top", move || listener.run())
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().name(name.into()).spawn(body).context("cannot start a thread")?;
    Ok(())
}

fn ask_for_stats(instance: &str, sender: &Sender<News>) {
    let ask = || match client::ask(Some(instance), Ask::Stats)?.quietly().answer()? {
        Answer::Stats(stats) => Ok(News::Stats(stats, Instant::now())),
        _ => Err(anyhow!("the running masq gave an unexpected answer").into()),
    };
    loop {
        let news = ask().unwrap_or_else(trouble);
        if sender.send(news).is_err() {
            return;
        }
        thread::sleep(INTERVAL);
    }
}

/// Removes sessions, and returns what is to be said of it.
fn remove(instance: &str, filter: Filter, sender: &Sender<News>) -> Result<String> {
    // With a filter that lets everything through there is no host, nor session, that was chosen.
    let flush = Flush { filter, all: false, dry_run: false };
    let mut client = client::ask(Some(instance), Ask::Flush(flush))?.quietly();
    loop {
        match client.answer()? {
            Answer::Progress(done) => {
                let _ = sender.send(News::Notice(format!("removing: {done} sessions so far")));
            }
            Answer::Flushed(flushed) => return Ok(sentence(flushed)),
            _ => return Err(anyhow!("the running masq gave an unexpected answer").into()),
        }
    }
}

fn trouble(error: crate::error::Error) -> News {
    News::Trouble(error.to_string())
}

/// The thread of one filter.
struct Listener {
    instance: String,
    query: TopQuery,
    sender: Sender<News>,
    number: u64,
    generation: Arc<AtomicU64>,
}

impl Listener {
    fn run(self) {
        while self.is_wanted() {
            let Err(error) = self.listen() else { return };
            if self.sender.send(trouble(error)).is_err() {
                return;
            }
            thread::sleep(INTERVAL);
        }
    }

    /// Ends well only if nobody wants to know any more.
    fn listen(&self) -> Result<()> {
        let client = client::ask(Some(&self.instance), Ask::Top(self.query.clone()))?;
        let mut client = client.quietly();
        while self.is_wanted() {
            let Answer::Top(top) = client.answer()? else {
                return Err(anyhow!("the running masq gave an unexpected answer").into());
            };
            if self.sender.send(News::Top(top, self.number)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        self.generation.load(Ordering::Relaxed) == self.number
    }
}
