//! How full tables and port ranges are, as bars beside one another.

use ratatui::{
    style::Color,
    text::{Line, Span},
};

use super::Paint;
use crate::control::proto::Tables;

/// Width of a bar with its name and numbers.
const WIDTH: usize = 38;

/// Of these only the name.
const NAME: usize = 15;

/// As many beside one another as fit. Port ranges that nobody uses are left out.
pub fn lines(tables: &Tables, width: u16, paint: Paint) -> Vec<Line<'static>> {
    let both = [("sessions", tables.sessions), ("mappings", tables.mappings)];
    let mut bars: Vec<_> =
        both.iter().map(|(name, table)| bar(name, table.used, table.max, paint)).collect();
    for ports in tables.ports.iter().filter(|ports| ports.used > 0) {
        let name = format!("{} {}", ports.wan, ports.protocol);
        bars.push(bar(&name, ports.used, ports.max, paint));
    }
    let columns = (usize::from(width) / WIDTH).max(1);
    bars.chunks(columns).map(|row| Line::from(row.concat())).collect()
}

fn bar(name: &str, used: u64, max: u64, paint: Paint) -> Vec<Span<'static>> {
    let part = used as f64 / max.max(1) as f64;
    let numbers = format!("{used} {:.0}%", part * 100.0);
    let inside = WIDTH - NAME - 4;
    let filled = ((part * inside as f64).ceil() as usize).min(inside);
    // The numbers stand over the right end of the bar.
    let free = inside.saturating_sub(numbers.len());
    let marks = filled.min(free);
    let colour = match part {
        _ if part >= 0.9 => Color::Red,
        _ if part >= 0.75 => Color::Yellow,
        _ => Color::Green,
    };
    let name: String = name.chars().take(NAME).collect();
    vec![
        Span::raw(format!("{name:<NAME$} [")),
        Span::styled("|".repeat(marks), paint.colour(colour)),
        Span::raw(" ".repeat(free - marks)),
        Span::styled(numbers, if part >= 0.9 { paint.bad() } else { ratatui::style::Style::new() }),
        Span::raw("] "),
    ]
}
