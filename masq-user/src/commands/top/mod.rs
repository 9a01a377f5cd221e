//! `masq top`: rates, tables, drops, and who sends most, live on a terminal.
//!
//! [`feed`] asks the daemon, in threads of its own; [`model`] is what is known and what keys do with
//! it; [`draw`] puts it on the screen; [`screen`] is the terminal itself. It knows nothing that the
//! control socket does not say, and changes nothing but what the user removes.

mod draw;
mod feed;
mod format;
mod model;
mod rates;
mod screen;
mod victim;

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc,
};

use anyhow::{Context as _, anyhow};

use self::{
    feed::{Feed, News},
    model::{Action, Model},
    screen::{Input, Screen},
};
use crate::{
    cli::TopArgs,
    control::{
        client,
        proto::{Answer, Ask},
    },
    error::{Error, Result},
};

/// Shows it until the user has seen enough.
pub fn execute(args: &TopArgs) -> Result<()> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() || dumb {
        return Err(Error::Refused(
            "masq top needs a terminal; for files and scripts there are `masq stats --json` and \
             `masq sessions --json`"
                .into(),
        ));
    }
    // Whatever is wrong with the instance is said before the screen is taken.
    let mut client = client::ask(args.instance.instance.as_deref(), Ask::Stats)?;
    let Answer::Stats(stats) = client.answer()? else {
        return Err(anyhow!("the running masq gave an unexpected answer").into());
    };
    let (sender, news) = mpsc::channel();
    let filter = args.filter.filter();
    let mut feed = Feed::start(stats.instance.instance.clone(), filter.clone(), sender.clone())?;
    screen::tell_of_signals(sender)?;
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut model = Model::new(*stats, filter, colours);
    let mut screen = Screen::open()?;
    let outcome = watch(&mut model, &mut screen, &mut feed, &news);
    screen.close();
    outcome
}

/// Draws what is new and does what keys say, until one says to end.
fn watch(
    model: &mut Model,
    screen: &mut Screen,
    feed: &mut Feed,
    news: &mpsc::Receiver<News>,
) -> Result<()> {
    let mut changed = true;
    loop {
        if changed {
            screen
                .draw(|frame| draw::draw(frame, model))
                .context("cannot write to the terminal")?;
        }
        changed = false;
        for input in screen.inputs().context("cannot read from the terminal")? {
            changed = true;
            match input {
                Input::Key(key) => match model.key(key) {
                    Action::None => {}
                    Action::Quit => return Ok(()),
                    Action::Suspend => screen.suspend().context("cannot leave the terminal")?,
                    Action::Filter(filter) => feed.filter(filter)?,
                    Action::Kill(filter) => feed.kill(filter)?,
                },
                Input::Resized => {}
                Input::Gone => return Ok(()),
            }
        }
        for news in news.try_iter() {
            if matches!(news, News::Ended) {
                return Ok(());
            }
            model.learn(news, feed.generation());
            changed = true;
        }
    }
}
