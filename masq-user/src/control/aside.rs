//! Work aside: what takes long is done by a thread of its own, beside the one that serves everybody.
//! Pure, but for the threads.
//!
//! A walk through a table of a million sessions takes about a second, whoever makes it. On the daemon's
//! only thread it would have to be cut into slices, and would share that thread with the sweeper, which is
//! busiest when tables are full. There are never more threads than connections.

use anyhow::{Context as _, Result, anyhow};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

/// News that are told before they are heard.
const UNHEARD: usize = 4;

/// Work that is done aside, with its news on the way and its outcome.
pub struct Aside<T, R> {
    news: mpsc::Receiver<T>,
    work: JoinHandle<Result<R>>,
}

/// Tells how the work gets on.
pub struct Teller<T>(mpsc::Sender<T>);

impl<T: Send + 'static, R: Send + 'static> Aside<T, R> {
    /// Begins. If this is dropped before the end, the work learns of it from its [`Teller`].
    pub fn begin(work: impl FnOnce(Teller<T>) -> Result<R> + Send + 'static) -> Self {
        let (teller, news) = mpsc::channel(UNHEARD);
        Self { news, work: spawn_blocking(move || work(Teller(teller))) }
    }

    /// What is told next; `None` when all has been.
    pub async fn next(&mut self) -> Option<T> {
        self.news.recv().await
    }

    /// What comes of it; the rest of the news is not listened to.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn outcome(mut self) -> Result<R> {
        while self.next().await.is_some() {}
        self.work.await.context("a thread has gone")?
    }
}

impl<T> Teller<T> {
    /// Tells something; waits while nobody has listened to what was told before.
    ///
    /// # Errors
    /// If nobody will ever listen: the work is to end.
    pub fn tell(&self, news: T) -> Result<()> {
        self.0.blocking_send(news).map_err(|_| gone())
    }

    /// To be asked now and then by work that tells little.
    ///
    /// # Errors
    /// As [`tell`](Self::tell).
    pub fn check(&self) -> Result<()> {
        if self.0.is_closed() { Err(gone()) } else { Ok(()) }
    }
}

fn gone() -> anyhow::Error {
    anyhow!("nobody waits for the answer any more")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn news_come_in_order_and_the_outcome_at_the_end() {
        let mut aside = Aside::begin(|teller| {
            (0..100).try_for_each(|number| teller.tell(number))?;
            Ok("done")
        });
        for number in 0..50 {
            assert_eq!(aside.next().await, Some(number));
        }
        assert_eq!(aside.outcome().await.unwrap(), "done");
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_ends() {
        let (sender, ended) = channel();
        let (told, silent) = (sender.clone(), sender);
        drop(Aside::begin(move |teller| {
            while teller.tell(()).is_ok() {}
            told.send("told")?;
            Ok(())
        }));
        drop(Aside::<(), ()>::begin(move |teller| {
            while teller.check().is_ok() {
                std::thread::yield_now();
            }
            silent.send("silent")?;
            Ok(())
        }));
        let mut both: Vec<_> = ended.iter().take(2).collect();
        both.sort_unstable();
        assert_eq!(both, ["silent", "told"]);
    }

    #[tokio::test]
    async fn a_failure_is_the_outcome() {
        let aside = Aside::<(), ()>::begin(|_| Err(anyhow!("no table")));
        assert_eq!(aside.outcome().await.unwrap_err().to_string(), "no table");
    }
}
