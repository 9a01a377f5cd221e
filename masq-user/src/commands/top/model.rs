//! What `masq top` knows, and what keys do with it. Draws nothing, asks nobody.

use std::{cmp::Reverse, time::Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{feed::News, rates::Rates, victim::Victim};
use crate::{
    cli::{SessionFilter, written},
    control::{
        filter::Filter,
        proto::{Endpoint, Stats, Top, TopHost, TopSession},
    },
};

/// Which table is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// One row for each session.
    Sessions,
    /// One row for each inside host.
    Hosts,
}

/// What the rows are ordered by, the most first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Bytes a second in both directions.
    Rate,
    /// Bytes a second from inside.
    Out,
    /// Bytes a second from outside.
    In,
    /// Bytes in all.
    Bytes,
    /// The youngest first (sessions), or those with most sessions (hosts).
    Last,
}

impl Order {
    const ALL: [Self; 5] = [Self::Rate, Self::Out, Self::In, Self::Bytes, Self::Last];

    fn next(self) -> Self {
        let place = Self::ALL.iter().position(|order| *order == self).unwrap_or_default();
        Self::ALL[(place + 1) % Self::ALL.len()]
    }

    /// In words, for the title.
    pub const fn text(self, view: View) -> &'static str {
        match (self, view) {
            (Self::Rate, _) => "rate",
            (Self::Out, _) => "rate out",
            (Self::In, _) => "rate in",
            (Self::Bytes, _) => "bytes",
            (Self::Last, View::Sessions) => "age, youngest first",
            (Self::Last, View::Hosts) => "number of sessions",
        }
    }
}

/// A window over the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Popup {
    /// The keys.
    Help,
    /// All about the chosen session.
    Details,
    /// Whether these sessions are really to be removed.
    Kill(Victim),
}

/// What a key asks of others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing but to draw.
    None,
    /// End.
    Quit,
    /// Stop, as a job of the shell.
    Suspend,
    /// Look at other sessions.
    Filter(Filter),
    /// Remove sessions.
    Kill(Filter),
}

/// A filter that is being typed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prompt {
    /// What has been typed.
    pub text: String,
    /// What was wrong with it.
    pub error: Option<String>,
}

/// What tells a session from others: protocol, inside, external and remote endpoint.
type Name = (String, Endpoint, Endpoint, Endpoint);

/// Everything that is known.
#[derive(Debug)]
pub struct Model {
    /// The last counters and tables.
    pub stats: Stats,
    stats_at: Instant,
    /// Rates by counters, once there are two answers.
    pub rates: Option<Rates>,
    /// The last look at the table.
    pub top: Option<Top>,
    /// Which table is shown.
    pub view: View,
    /// The order of its rows.
    pub order: Order,
    /// The filter of the sessions.
    pub filter: Filter,
    /// The row that is chosen.
    pub row: usize,
    /// How many rows the screen shows, as was drawn last.
    pub page: usize,
    /// Whether the screen is held.
    pub paused: bool,
    /// The window over the table.
    pub popup: Option<Popup>,
    /// The filter that is being typed.
    pub prompt: Option<Prompt>,
    /// Why the daemon does not answer.
    pub trouble: Option<String>,
    /// What has become of sessions that were to be removed; until the next key.
    pub notice: Option<String>,
    /// Whether colours are used.
    pub colours: bool,
}

impl Model {
    /// With the first answer.
    pub fn new(stats: Stats, filter: Filter, colours: bool) -> Self {
        Self {
            stats,
            stats_at: Instant::now(),
            rates: None,
            top: None,
            view: View::Sessions,
            order: Order::Rate,
            filter,
            row: 0,
            page: 1,
            paused: false,
            popup: None,
            prompt: None,
            trouble: None,
            notice: None,
            colours,
        }
    }

    /// Takes news; those of an earlier filter, and all while the screen is held, are none.
    pub fn learn(&mut self, news: News, generation: u64) {
        match news {
            News::Trouble(text) => self.trouble = Some(text),
            News::Notice(text) => self.notice = Some(text),
            News::Stats(..) | News::Top(..) if self.paused => {}
            News::Stats(stats, at) => {
                let elapsed = at.saturating_duration_since(self.stats_at);
                self.rates = Some(Rates::between(&self.stats, &stats, elapsed));
                (self.stats, self.stats_at) = (*stats, at);
                self.trouble = None;
            }
            News::Top(mut top, number) if number == generation => {
                let chosen = self.chosen_session().map(name);
                self.sort(&mut top);
                self.top = Some(*top);
                self.follow(chosen);
                self.trouble = None;
            }
            News::Top(..) | News::Ended => {}
        }
    }

    fn sort(&self, top: &mut Top) {
        let order = self.order;
        let session = |s: &TopSession| match order {
            Order::Rate => s.rate_out + s.rate_in,
            Order::Out => s.rate_out,
            Order::In => s.rate_in,
            Order::Bytes => s.session.bytes_out + s.session.bytes_in,
            Order::Last => u64::MAX - s.session.age_ms,
        };
        let host = |h: &TopHost| match order {
            Order::Rate => h.rate_out + h.rate_in,
            Order::Out => h.rate_out,
            Order::In => h.rate_in,
            Order::Bytes => h.bytes_out + h.bytes_in,
            Order::Last => h.sessions,
        };
        // Equal ones stay in the order of the daemon.
        top.sessions.sort_by_key(|s| Reverse(session(s)));
        top.hosts.sort_by_key(|h| Reverse(host(h)));
    }

    /// Keeps the same session chosen, wherever it is now.
    fn follow(&mut self, chosen: Option<Name>) {
        let sessions = self.top.iter().flat_map(|top| &top.sessions);
        let place = chosen.and_then(|chosen| sessions.map(name).position(|name| name == chosen));
        // The first row is for whoever is first.
        if let Some(place) = place
            && self.row > 0
        {
            self.row = place;
        }
        self.choose(self.row);
    }

    /// How many rows the table has.
    pub fn rows(&self) -> usize {
        self.top.as_ref().map_or(0, |top| match self.view {
            View::Sessions => top.sessions.len(),
            View::Hosts => top.hosts.len(),
        })
    }

    fn choose(&mut self, row: usize) {
        self.row = row.min(self.rows().saturating_sub(1));
    }

    /// The session that is chosen, if sessions are shown.
    pub fn chosen_session(&self) -> Option<&TopSession> {
        let top = self.top.as_ref().filter(|_| self.view == View::Sessions)?;
        top.sessions.get(self.row)
    }

    /// What `k` would remove: the chosen session, or those of the chosen host.
    fn victim(&self) -> Option<Victim> {
        match self.view {
            View::Sessions => self.chosen_session().and_then(Victim::session),
            View::Hosts => {
                let host = self.top.as_ref()?.hosts.get(self.row)?;
                Some(Victim::host(host, &self.filter))
            }
        }
    }

    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        self.notice = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Quit,
                KeyCode::Char('z') => Action::Suspend,
                KeyCode::Char('u') => {
                    self.prompt.iter_mut().for_each(|prompt| *prompt = Prompt::default());
                    Action::None
                }
                _ => Action::None,
            };
        }
        if self.prompt.is_some() {
            return self.typed(key.code);
        }
        match self.popup.take() {
            Some(Popup::Kill(victim)) if key.code == KeyCode::Char('y') => {
                return Action::Kill(victim.filter);
            }
            // Any other key closes it, and only that.
            Some(_) => return Action::None,
            None => {}
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.popup = Some(Popup::Help),
            KeyCode::Enter if self.chosen_session().is_some() => self.popup = Some(Popup::Details),
            KeyCode::Tab | KeyCode::BackTab => {
                self.view = if self.view == View::Sessions { View::Hosts } else { View::Sessions };
                self.row = 0;
            }
            KeyCode::Char('s') => {
                self.order = self.order.next();
                self.row = 0;
                if let Some(mut top) = self.top.take() {
                    self.sort(&mut top);
                    self.top = Some(top);
                }
            }
            KeyCode::Char('/' | 'f') => {
                self.prompt = Some(Prompt { text: written(&self.filter), error: None });
            }
            KeyCode::Char('k') => self.popup = self.victim().map(Popup::Kill),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Up => self.choose(self.row.saturating_sub(1)),
            KeyCode::Down => self.choose(self.row + 1),
            KeyCode::PageUp => self.choose(self.row.saturating_sub(self.page)),
            KeyCode::PageDown => self.choose(self.row + self.page),
            KeyCode::Home => self.choose(0),
            KeyCode::End => self.choose(usize::MAX),
            _ => {}
        }
        Action::None
    }

    /// A key while a filter is being typed.
    fn typed(&mut self, code: KeyCode) -> Action {
        let Some(mut prompt) = self.prompt.take() else { return Action::None };
        match code {
            KeyCode::Esc => return Action::None,
            KeyCode::Enter => match SessionFilter::read(&prompt.text) {
                Ok(filter) => {
                    self.filter = filter.filter();
                    self.row = 0;
                    // What is shown is not what was asked for.
                    self.top = None;
                    self.paused = false;
                    return Action::Filter(self.filter.clone());
                }
                Err(error) => prompt.error = Some(error),
            },
            KeyCode::Backspace => {
                prompt.text.pop();
                prompt.error = None;
            }
            KeyCode::Char(c) => {
                prompt.text.push(c);
                prompt.error = None;
            }
            _ => {}
        }
        self.prompt = Some(prompt);
        Action::None
    }
}

fn name(session: &TopSession) -> Name {
    let s = &session.session;
    (s.protocol.clone(), s.inside, s.external, s.remote)
}

#[cfg(test)]
pub(super) mod tests;
