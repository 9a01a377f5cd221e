//! What stands on the screen, on terminals of several sizes.

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::*;
use crate::{
    commands::top::{
        feed::News,
        model::{Order, Prompt, View, tests as known},
    },
    control::{filter::Filter, proto::Top, sample},
};

fn picture(model: &mut Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    let buffer = picture(model, width, height);
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

/// A model that has had two answers.
fn model() -> Model {
    let mut model = known::model();
    let mut stats = sample::stats();
    for counter in &mut stats.counters {
        counter.count += match counter.reason.as_str() {
            "outbound_fast" => 2_000,
            "ports_exhausted" => 50,
            _ => 0,
        };
    }
    let later = std::time::Instant::now() + std::time::Duration::from_secs(1);
    model.learn(News::Stats(Box::new(stats), later), 0);
    model
}

#[track_caller]
fn line_with<'a>(lines: &'a [String], text: &str) -> &'a str {
    let found = lines.iter().find(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("no line with {text:?} in\n{}", lines.join("\n")))
}

#[test]
fn everything_has_its_place_on_a_usual_terminal() {
    let lines = lines(&mut model(), 120, 30);
    assert_eq!(lines[0], "masq ppp0  0.1.0  up 2h4m");
    assert_eq!(lines[1], "wan  ppp0 203.0.113.5 (tc)  ppp1 no address");
    assert!(lines[2].starts_with("out 1.0Mbit/s "), "{}", lines[2]);
    assert!(lines[2].contains("in 100Mbit/s 0pkt/s  new 0/s  dropped "), "{}", lines[2]);
    let bars = line_with(&lines, "sessions  ");
    assert!(bars.contains("131072 50%]") && bars.contains("mappings"), "{bars}");
    assert!(line_with(&lines, "ppp0 tcp").contains("60000 93%]"));
    assert!(!lines.iter().any(|line| line.contains("ppp1 tcp")), "nobody uses them");
    assert!(line_with(&lines, "drops").contains("ports_exhausted"));
    line_with(&lines, "sessions by rate");
    let row = line_with(&lines, "192.168.1.10:40001");
    for text in
        ["tcp", "203.0.113.5:40001", "198.51.100.1:443", "established", "1m1s", "800", "1.0M"]
    {
        assert!(row.contains(text), "{text} in {row}");
    }
    assert_eq!(lines[29], KEYS);
}

#[test]
fn numbers_stand_under_the_end_of_their_headings() {
    let lines = lines(&mut model(), 140, 30);
    let heading = line_with(&lines, "INSIDE");
    let row = line_with(&lines, "192.168.1.10:40001");
    for (title, value) in [("OUT", "800"), ("IN", "1.0M"), ("AGE", "1m1s"), ("IDLE", "0s")] {
        let end = |line: &str, text: &str| line.rfind(text).map(|at| at + text.len());
        assert_eq!(end(heading, title), end(row, value), "{title}\n{heading}\n{row}");
    }
}

#[test]
fn hosts_are_sums() {
    let mut model = model();
    (model.view, model.order) = (View::Hosts, Order::Last);
    let lines = lines(&mut model, 80, 24);
    line_with(&lines, "hosts by number of sessions");
    let row = line_with(&lines, "192.168.1.10 ");
    for text in ["1.9M", "1.0k", "1.0M"] {
        assert!(row.contains(text), "{text} in {row}");
    }
}

#[test]
fn a_small_terminal_has_the_table_and_a_tiny_one_says_so() {
    let small = lines(&mut model(), 80, 10);
    line_with(&small, "192.168.1.10:40001");
    line_with(&small, "198.51.100.1:443");
    assert!(!small.iter().any(|line| line.contains("mappings")));
    let narrow = lines(&mut model(), 40, 8);
    let row = line_with(&narrow, "192.168.1.10:40001");
    assert!(row.contains("1.0M") && !row.contains("198.51"), "{row}");
    let tiny = lines(&mut model(), 30, 5);
    assert!(tiny.join(" ").contains("needs 40 x 8"), "{tiny:?}");
    for (width, height) in [(1, 1), (40, 9), (41, 16), (300, 100), (500, 8)] {
        lines(&mut model(), width, height);
    }
}

#[test]
fn windows_lie_over_it_at_any_size() {
    for (width, height) in [(40, 8), (80, 24), (200, 60)] {
        let mut model = model();
        model.popup = Some(Popup::Help);
        line_with(&lines(&mut model, width, height), "quit");
        model.popup = Some(Popup::Details);
        line_with(&lines(&mut model, width, height), "protocol  tcp");
    }
    let mut model = model();
    model.popup = Some(Popup::Details);
    let all = lines(&mut model, 80, 24);
    for text in ["external  203.0.113.5:40001", "remote    198.51.100.1:443", "1 packets, 10 bytes"]
    {
        line_with(&all, text);
    }
}

#[test]
fn prompt_filter_and_trouble_are_told() {
    let mut model = model();
    model.filter = Filter { protocol: Some(6), ..Filter::default() };
    line_with(&lines(&mut model, 80, 24), "3 match protocol tcp");
    model.trouble = Some("no masq named ppp0 is running".into());
    line_with(&lines(&mut model, 80, 24), "no masq named ppp0 is running; trying again");
    model.prompt = Some(Prompt { text: "inside x".into(), error: Some("no such host".into()) });
    let all = lines(&mut model, 80, 24);
    assert!(line_with(&all, "filter: inside x").contains("no such host"));
    model.paused = true;
    line_with(&lines(&mut model, 80, 24), "HELD");
}

#[test]
fn rates_that_are_not_known_are_not_shown_as_zero() {
    let mut model = Model::new(sample::stats(), Filter::default(), true);
    let first = lines(&mut model, 80, 24);
    line_with(&first, "out -bit/s -pkt/s  in -bit/s -pkt/s  new -/s  dropped -/s");
    line_with(&first, "looking ...");
    model.learn(News::Top(Box::new(Top { elapsed_ms: None, ..known::look() }), 0), 0);
    let row = lines(&mut model, 80, 24);
    let row = line_with(&row, "192.168.1.10:40001");
    assert!(row.ends_with("-      -"), "{row}");
    // Not all are remembered: there may be more.
    model.learn(News::Top(Box::new(Top { not_remembered: 5, ..known::look() }), 0), 0);
    line_with(&lines(&mut model, 80, 24), "out >1.0Mbit/s");
}

#[test]
fn without_colours_there_are_none() {
    let coloured = |model: &mut Model| {
        let buffer = picture(model, 120, 30);
        buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    let mut model = model();
    assert!(coloured(&mut model));
    model.colours = false;
    model.popup = Some(Popup::Help);
    assert!(!coloured(&mut model));
}

#[test]
fn the_question_says_what_will_be_removed() {
    let mut model = model();
    let press = |model: &mut Model, key| {
        model.key(ratatui::crossterm::event::KeyCode::Char(key).into());
    };
    press(&mut model, 'k');
    let shown = lines(&mut model, 80, 24);
    line_with(&shown, "remove the tcp session");
    line_with(&shown, "192.168.1.10:40001 -> 198.51.100.1:443?");
    line_with(&shown, "y: yes");
    press(&mut model, 'n');
    model.learn(News::Notice("removed 1 session".into()), 0);
    assert_eq!(lines(&mut model, 80, 24)[23], "removed 1 session");
}
