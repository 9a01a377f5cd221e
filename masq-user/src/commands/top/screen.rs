//! The terminal: taking it, giving it back however masq ends, keys and signals.
//!
//! ratatui's own hook gives it back after a panic.

use std::{io, os::fd::AsFd as _, sync::mpsc::Sender, thread, time::Duration};

use anyhow::Context as _;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, raise},
};
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::{
        event::{self, Event, KeyEvent, KeyEventKind},
        execute,
        terminal::{EnterAlternateScreen, enable_raw_mode},
    },
};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use super::feed::News;
use crate::error::{Error, Result};

/// How long to wait for a key before news are looked for, in milliseconds.
const WAIT: u16 = 100;

/// How long the main thread has to end after a signal, before it is ended.
const GRACE: Duration = Duration::from_secs(2);

/// What comes from the terminal.
#[derive(Debug)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// It has another size.
    Resized,
    /// It is gone.
    Gone,
}

/// The terminal, taken.
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes it.
    pub fn open() -> Result<Self> {
        ratatui::try_init().map(Self).map_err(|error| {
            ratatui::restore();
            Error::Refused(format!("this terminal cannot be used: {error}; see `masq stats`"))
        })
    }

    /// Gives it back. A terminal that is gone is no failure.
    pub fn close(self) {
        let _ = self.0;
        let _ = ratatui::try_restore();
    }

    /// Draws one picture.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.0.draw(picture).map(|_| ())
    }

    /// Waits a moment, and returns what has come.
    pub fn inputs(&self) -> io::Result<Vec<Input>> {
        let stdin = io::stdin();
        let mut waiting = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        // Interrupted by a change of the size, among others.
        let _ = poll(&mut waiting, PollTimeout::from(WAIT));
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        if waiting[0].revents().is_some_and(|events| events.intersects(gone)) {
            // crossterm would read it for ever.
            return Ok(vec![Input::Gone]);
        }
        let mut inputs = Vec::new();
        while event::poll(Duration::ZERO)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    inputs.push(Input::Key(key));
                }
                Event::Resize(..) => inputs.push(Input::Resized),
                _ => {}
            }
        }
        Ok(inputs)
    }

    /// Stops as Ctrl-Z does elsewhere, and takes the terminal again when it is continued.
    pub fn suspend(&mut self) -> io::Result<()> {
        ratatui::try_restore()?;
        raise(Signal::SIGTSTP)?;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen)?;
        self.0.clear()
    }
}

/// Ends the watching when a signal asks for it, in a thread of its own.
pub fn tell_of_signals(sender: Sender<News>) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let (mut terminate, mut hang_up, mut interrupt) = {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).context("cannot wait for signals");
        (
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::interrupt())?,
        )
    };
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        let _ = sender.send(News::Ended);
        thread::sleep(GRACE);
        // The main thread hangs at a terminal that is gone.
        let _ = ratatui::try_restore();
        std::process::exit(1);
    };
    thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}
