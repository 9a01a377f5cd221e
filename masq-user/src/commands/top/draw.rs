//! The picture: the upper part with everything that is said in lines and bars, the windows, the last
//! line. The rows of the table are made in [`table`].
//!
//! Only characters of ASCII, so that it looks the same on the console of a router.

mod bars;
mod table;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Wrap},
};

use super::{
    format::{bits, short},
    model::{Model, Popup},
};
use crate::{cli::written, control::proto::TopSession, duration::Secs};

/// Smaller than this it shows nothing.
const SMALLEST: (u16, u16) = (40, 8);

/// With fewer lines there is room for the table and little else.
const LOW: u16 = 16;

const KEYS: &str = "q quit  ? keys  TAB hosts  s order  / filter  p pause  k kill  ENTER details";

const HELP: &str = "\
q, ESC         quit
TAB            sessions, or hosts: the sums of their sessions
s              next order: rate, rate out, rate in, bytes, age
               (of hosts: number of sessions)
/, f           filter, as in `masq sessions`:
                 protocol tcp   inside ADDR[/LEN][:PORT]
                 external ...   remote ...   phase established
               an empty one shows all; Ctrl-U empties the line
p, blank       hold the screen
arrows, PgUp, PgDn, Home, End
               choose a row
ENTER          all about the chosen session
k              remove the chosen session, or all of the chosen
               host that are shown; asks before it does
Ctrl-Z         stop; `fg` goes on";

/// Draws everything.
pub fn draw(frame: &mut Frame, model: &mut Model) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("masq top needs {} x {} characters", SMALLEST.0, SMALLEST.1);
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let paint = Paint { colours: model.colours };
    let low = area.height < LOW;
    let bars = if low { Vec::new() } else { bars::lines(&model.stats.tables, area.width, paint) };
    let bars_height = (bars.len() as u16).min(area.height / 4);
    let [head, bar_area, drops, main, foot] = Layout::vertical([
        Constraint::Length(if low { 2 } else { 3 }),
        Constraint::Length(bars_height),
        Constraint::Length(u16::from(!low)),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(heading(model, low, paint)), head);
    frame.render_widget(Paragraph::new(bars), bar_area);
    frame.render_widget(Paragraph::new(drops_line(model, paint)), drops);
    table::draw(frame, main, model, paint);
    frame.render_widget(Paragraph::new(last_line(model, paint)), foot);
    match &model.popup {
        Some(Popup::Help) => window(frame, "keys", HELP.to_owned()),
        Some(Popup::Details) => {
            if let Some(session) = model.chosen_session() {
                window(frame, "session", details(session));
            }
        }
        Some(Popup::Kill(victim)) => {
            let question = format!("remove {}?\n\ny: yes    any other key: no", victim.text);
            window(frame, "remove", question);
        }
        None => {}
    }
}

/// Styles; without colours only those that every terminal has.
#[derive(Clone, Copy)]
struct Paint {
    colours: bool,
}

impl Paint {
    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}

fn heading(model: &Model, low: bool, paint: Paint) -> Vec<Line<'static>> {
    let instance = &model.stats.instance;
    let mut first = vec![
        Span::styled(format!("masq {}", instance.instance), paint.strong()),
        Span::raw(format!("  {}  up {}", instance.version, Secs(instance.uptime_secs))),
    ];
    if model.paused {
        first
            .push(Span::styled("  HELD", paint.colour(Color::Yellow).add_modifier(Modifier::BOLD)));
    }
    let mut wans = vec![Span::raw("wan")];
    for wan in instance.interfaces.iter().filter(|interface| interface.is_wan()) {
        wans.push(Span::raw(format!("  {} ", wan.name)));
        wans.push(match (wan.address, wan.mode) {
            (Some(address), Some(mode)) => Span::raw(format!("{address} ({})", mode.as_str())),
            (Some(_), None) => Span::styled("not attached", paint.bad()),
            (None, _) => Span::styled("no address", paint.bad()),
        });
    }
    let mut lines = vec![Line::from(first)];
    if !low {
        lines.push(Line::from(wans));
    }
    lines.push(rates_line(model, paint));
    lines
}

fn rates_line(model: &Model, paint: Paint) -> Line<'static> {
    let rates = model.rates.as_ref();
    let number = |value: Option<f64>| value.map_or("-".to_owned(), short);
    let top = model.top.as_ref().filter(|top| top.elapsed_ms.is_some());
    // Those that are not remembered may send too.
    let least = if top.is_some_and(|top| top.not_remembered > 0) { ">" } else { "" };
    let bit = |value: Option<u64>| value.map_or("-".to_owned(), |v| format!("{least}{}", bits(v)));
    let dropped = rates.map(|rates| rates.drops);
    let style = if dropped.is_some_and(|drops| drops > 0.0) { paint.bad() } else { Style::new() };
    Line::from(vec![
        Span::raw(format!(
            "out {}bit/s {}pkt/s  in {}bit/s {}pkt/s  new {}/s  ",
            bit(top.map(|top| top.rate_out)),
            number(rates.map(|rates| rates.packets_out)),
            bit(top.map(|top| top.rate_in)),
            number(rates.map(|rates| rates.packets_in)),
            number(rates.map(|rates| rates.sessions)),
        )),
        Span::styled(format!("dropped {}/s", number(dropped)), style),
    ])
}

fn drops_line(model: &Model, paint: Paint) -> Line<'static> {
    let Some(rates) = &model.rates else { return Line::default() };
    if rates.reasons.is_empty() {
        return Line::raw("drops none");
    }
    let mut spans = vec![Span::raw("drops")];
    for drops in &rates.reasons {
        let style = if drops.rate > 0.0 { paint.bad() } else { Style::new() };
        let text = format!("  {} {}/s ({})", drops.reason, short(drops.rate), drops.count);
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

fn last_line(model: &Model, paint: Paint) -> Line<'static> {
    if let Some(prompt) = &model.prompt {
        let mut spans = vec![
            Span::styled("filter: ", paint.strong()),
            Span::raw(prompt.text.clone()),
            Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
        ];
        if let Some(error) = &prompt.error {
            spans.push(Span::styled(format!("  {error}"), paint.bad()));
        }
        return Line::from(spans);
    }
    if let Some(trouble) = &model.trouble {
        return Line::styled(format!("{trouble}; trying again"), paint.bad());
    }
    if let Some(notice) = &model.notice {
        return Line::styled(notice.clone(), paint.strong());
    }
    Line::raw(KEYS)
}

/// The title of the table.
fn title(model: &Model) -> String {
    let Some(top) = &model.top else { return "looking ...".into() };
    let what = match model.view {
        super::model::View::Sessions => "sessions",
        super::model::View::Hosts => "hosts",
    };
    let mut title = format!("{what} by {}", model.order.text(model.view));
    let filter = written(&model.filter);
    if !filter.is_empty() {
        title += &format!(" - {} match {filter}", top.matched);
    }
    if top.not_summed > 0 && model.view == super::model::View::Hosts {
        title += &format!(" - without {} sessions of further hosts", top.not_summed);
    }
    title
}

fn details(session: &TopSession) -> String {
    let s = &session.session;
    let flags = if s.flags.is_empty() { "-".to_owned() } else { s.flags.join(", ") };
    format!(
        "protocol  {}\nphase     {}\nwan       {}\ninside    {}\nexternal  {}\nremote    {}\n\
         out       {} packets, {} bytes, {}bit/s\nin        {} packets, {} bytes, {}bit/s\n\
         age       {}\nidle      {}\nleft      {}\nflags     {flags}",
        s.protocol,
        s.phase.as_deref().unwrap_or("-"),
        s.wan,
        s.inside,
        s.external,
        s.remote,
        s.packets_out,
        s.bytes_out,
        bits(session.rate_out),
        s.packets_in,
        s.bytes_in,
        bits(session.rate_in),
        Secs(s.age_ms / 1000),
        Secs(s.idle_ms / 1000),
        Secs(s.remaining_ms / 1000),
    )
}

/// A window in the middle, as large as its text.
fn window(frame: &mut Frame, title: &str, text: String) {
    let area = frame.area();
    let width = text.lines().map(str::len).max().unwrap_or(0) as u16 + 4;
    let height = text.lines().count() as u16 + 2;
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let block = Block::bordered().border_set(table::ASCII).title(format!(" {title} "));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(text).block(block), place);
}

#[cfg(test)]
mod tests;
