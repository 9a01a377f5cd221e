//! The rows of sessions and hosts, with as many columns as fit.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    style::{Modifier, Style},
    symbols::border,
    text::{Line, Text},
    widgets::{Block, Borders, Paragraph, Row, Table, TableState},
};

use super::{
    super::{
        format::bits,
        model::{Model, Order, View},
    },
    Paint, title,
};
use crate::{
    commands::sessions::bytes,
    control::proto::{Top, TopHost, TopSession},
    duration::Secs,
};

/// Lines of any terminal.
pub const ASCII: border::Set = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// A column: what stands in it, and from which width of the screen on it is shown.
struct Column<T> {
    name: &'static str,
    width: u16,
    from: u16,
    /// The order that it shows.
    order: Option<Order>,
    right: bool,
    cell: fn(&T) -> String,
}

/// Text.
const fn left<T>(name: &'static str, width: u16, from: u16, cell: fn(&T) -> String) -> Column<T> {
    Column { name, width, from, order: None, right: false, cell }
}

/// Numbers.
const fn right<T>(
    name: &'static str,
    width: u16,
    from: u16,
    order: Option<Order>,
    cell: fn(&T) -> String,
) -> Column<T> {
    Column { name, width, from, order, right: true, cell }
}

const SESSIONS: [Column<TopSession>; 10] = [
    left("PROTO", 5, 50, |s| s.session.protocol.clone()),
    left("INSIDE", 21, 0, |s| s.session.inside.to_string()),
    left("EXTERNAL", 21, 118, |s| s.session.external.to_string()),
    left("REMOTE", 21, 72, |s| s.session.remote.to_string()),
    left("PHASE", 11, 104, |s| s.session.phase.clone().unwrap_or_else(|| "-".into())),
    right("IDLE", 6, 126, None, |s| Secs(s.session.idle_ms / 1000).to_string()),
    right("AGE", 6, 80, Some(Order::Last), |s| Secs(s.session.age_ms / 1000).to_string()),
    right("BYTES", 6, 92, Some(Order::Bytes), |s| bytes(s.session.bytes_out + s.session.bytes_in)),
    right("OUT", 6, 0, Some(Order::Out), |s| bits(s.rate_out)),
    right("IN", 6, 0, Some(Order::In), |s| bits(s.rate_in)),
];

const HOSTS: [Column<TopHost>; 6] = [
    left("HOST", 15, 0, |h| h.address.to_string()),
    right("SESSIONS", 8, 0, Some(Order::Last), |h| h.sessions.to_string()),
    right("BYTES OUT", 9, 60, Some(Order::Bytes), |h| bytes(h.bytes_out)),
    right("BYTES IN", 9, 60, Some(Order::Bytes), |h| bytes(h.bytes_in)),
    right("OUT", 6, 0, Some(Order::Out), |h| bits(h.rate_out)),
    right("IN", 6, 0, Some(Order::In), |h| bits(h.rate_in)),
];

/// Draws the table that is shown, with its title.
pub fn draw(frame: &mut Frame, area: Rect, model: &mut Model, paint: Paint) {
    let block =
        Block::new().borders(Borders::TOP).border_set(ASCII).title(format!(" {} ", title(model)));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    // One line is the heading.
    model.page = usize::from(inside.height.saturating_sub(1)).max(1);
    let Some(top) = &model.top else { return };
    if model.rows() == 0 {
        let text = if top.matched > 0 { "no session lives" } else { "no sessions" };
        frame.render_widget(Paragraph::new(text), inside);
        return;
    }
    let rated = top.elapsed_ms.is_some();
    let table = match model.view {
        View::Sessions => table(&SESSIONS, sessions(top), model.order, area.width, rated, paint),
        View::Hosts => table(&HOSTS, &top.hosts, model.order, area.width, rated, paint),
    };
    let mut state = TableState::new().with_selected(model.row);
    frame.render_stateful_widget(table, inside, &mut state);
}

fn sessions(top: &Top) -> &[TopSession] {
    &top.sessions
}

fn table<T>(
    columns: &'static [Column<T>],
    items: &[T],
    order: Order,
    width: u16,
    rated: bool,
    paint: Paint,
) -> Table<'static> {
    let shown: Vec<_> = columns.iter().filter(|column| width >= column.from).collect();
    let aligned = |text: String, right: bool| {
        let alignment = if right { Alignment::Right } else { Alignment::Left };
        Text::from(Line::from(text).alignment(alignment))
    };
    let heading = shown.iter().map(|column| {
        let ordered = match order {
            Order::Rate => matches!(column.order, Some(Order::Out | Order::In)),
            order => column.order == Some(order),
        };
        let style = if ordered {
            paint.strong().add_modifier(Modifier::UNDERLINED)
        } else {
            paint.strong()
        };
        aligned(column.name.to_owned(), column.right).style(style)
    });
    let cell = |column: &Column<T>, item: &T| {
        let is_rate = matches!(column.order, Some(Order::Out | Order::In));
        // The first look knows no rates.
        let text = if is_rate && !rated { "-".to_owned() } else { (column.cell)(item) };
        aligned(text, column.right)
    };
    let rows = items.iter().map(|item| Row::new(shown.iter().map(|column| cell(column, item))));
    let widths = shown.iter().map(|column| Constraint::Length(column.width));
    Table::new(rows.collect::<Vec<_>>(), widths.collect::<Vec<_>>())
        .header(Row::new(heading.collect::<Vec<_>>()))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
}
