//! What keys do, what news change. Also the looks at a table that the tests of the picture show.

use std::time::Duration;

use super::*;
use crate::control::{proto::Session, sample};

/// A session of the host 192.168.1.`host`.
pub fn session(host: u8, port: u16, rates: (u64, u64), bytes: u64, age_ms: u64) -> TopSession {
    let endpoint = |address: [u8; 4], port| Endpoint { address: address.into(), port };
    TopSession {
        session: Session {
            protocol: "tcp".into(),
            wan: "ppp0".into(),
            inside: endpoint([192, 168, 1, host], port),
            external: endpoint([203, 0, 113, 5], port),
            remote: endpoint([198, 51, 100, 1], 443),
            phase: Some("established".into()),
            idle_ms: 0,
            remaining_ms: 1_000,
            age_ms,
            packets_out: 1,
            bytes_out: bytes,
            packets_in: 1,
            bytes_in: 0,
            flags: Vec::new(),
        },
        rate_out: rates.0,
        rate_in: rates.1,
    }
}

/// A look at three sessions of two hosts, by rate.
pub fn look() -> Top {
    let host = |last: u8, sessions, rate_in| TopHost {
        address: [192, 168, 1, last].into(),
        sessions,
        bytes_out: 10,
        bytes_in: 2_000_000,
        rate_out: 125,
        rate_in,
    };
    Top {
        elapsed_ms: Some(1_000),
        rate_out: 125_000,
        rate_in: 12_500_000,
        matched: 3,
        sessions: vec![
            session(10, 40_001, (100, 125_000), 10, 61_000),
            session(10, 40_002, (500, 0), 5_000_000, 3_000),
            session(11, 40_003, (0, 0), 20, 1_000),
        ],
        hosts: vec![host(10, 2, 125_000), host(11, 9, 0)],
        ..Top::default()
    }
}

/// A model that has looked.
pub fn model() -> Model {
    let mut model = Model::new(sample::stats(), Filter::default(), true);
    model.learn(News::Top(Box::new(look()), 0), 0);
    model
}

fn press(model: &mut Model, code: KeyCode) -> Action {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_in(model: &mut Model, text: &str) {
    for c in text.chars() {
        press(model, KeyCode::Char(c));
    }
}

fn ports(model: &Model) -> Vec<u16> {
    model.top.iter().flat_map(|top| &top.sessions).map(|s| s.session.inside.port).collect()
}

#[test]
fn keys_change_view_and_order() {
    let mut model = model();
    assert_eq!(ports(&model), [40_001, 40_002, 40_003]);
    for (order, expected) in [
        (Order::Out, [40_002, 40_001, 40_003]),
        (Order::In, [40_001, 40_002, 40_003]),
        (Order::Bytes, [40_002, 40_003, 40_001]),
        (Order::Last, [40_003, 40_002, 40_001]),
        (Order::Rate, [40_001, 40_002, 40_003]),
    ] {
        press(&mut model, KeyCode::Char('s'));
        assert_eq!(model.order, order);
        assert_eq!(ports(&model), expected, "{order:?}");
    }
    press(&mut model, KeyCode::Tab);
    assert_eq!((model.view, model.rows()), (View::Hosts, 2));
    press(&mut model, KeyCode::Tab);
    assert_eq!(model.view, View::Sessions);
    for quit in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut model, quit), Action::Quit);
    }
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(model.key(control), Action::Quit);
}

#[test]
fn the_chosen_session_stays_chosen_when_it_moves() {
    let mut model = model();
    press(&mut model, KeyCode::Down);
    assert_eq!(model.chosen_session().unwrap().session.inside.port, 40_002);
    let mut next = look();
    next.sessions[1].rate_out = 9_000_000;
    model.learn(News::Top(Box::new(next), 0), 0);
    assert_eq!(model.row, 0);
    assert_eq!(model.chosen_session().unwrap().session.inside.port, 40_002);
    // And the row is one of the table, when it gets shorter.
    press(&mut model, KeyCode::End);
    assert_eq!(model.row, 2);
    let shorter = Top { sessions: vec![session(10, 1, (0, 0), 0, 0)], ..look() };
    model.learn(News::Top(Box::new(shorter), 0), 0);
    assert_eq!(model.row, 0);
    press(&mut model, KeyCode::Down);
    assert_eq!(model.row, 0);
}

#[test]
fn a_filter_is_typed_and_asked_for() {
    let mut model = model();
    press(&mut model, KeyCode::Char('/'));
    type_in(&mut model, "inside 192.168.1.x");
    assert_eq!(press(&mut model, KeyCode::Enter), Action::None);
    let error = model.prompt.clone().unwrap().error.expect("what is wrong");
    assert!(error.contains("192.168.1.x"), "{error}");
    press(&mut model, KeyCode::Backspace);
    type_in(&mut model, "10");
    let expected = Filter { inside: Some("192.168.1.10".parse().unwrap()), ..Filter::default() };
    assert_eq!(press(&mut model, KeyCode::Enter), Action::Filter(expected));
    assert!(model.top.is_none() && model.prompt.is_none());
    // What comes of the earlier filter is not shown.
    model.learn(News::Top(Box::new(look()), 0), 1);
    assert!(model.top.is_none());
    model.learn(News::Top(Box::new(look()), 1), 1);
    assert!(model.top.is_some());
    // It is there to be changed, and Escape changes nothing.
    press(&mut model, KeyCode::Char('/'));
    assert_eq!(model.prompt.clone().unwrap().text, "inside 192.168.1.10/32");
    type_in(&mut model, "q");
    assert_eq!(press(&mut model, KeyCode::Esc), Action::None);
    assert!(model.filter.inside.is_some());
}

#[test]
fn a_held_screen_learns_nothing_but_trouble() {
    let mut model = model();
    press(&mut model, KeyCode::Char('p'));
    let now = Instant::now() + Duration::from_secs(1);
    model.learn(News::Top(Box::default(), 0), 0);
    model.learn(News::Stats(Box::new(sample::stats()), now), 0);
    assert!(model.rows() == 3 && model.rates.is_none());
    model.learn(News::Trouble("gone".into()), 0);
    assert_eq!(model.trouble.as_deref(), Some("gone"));
    press(&mut model, KeyCode::Char('p'));
    model.learn(News::Stats(Box::new(sample::stats()), now), 0);
    assert!(model.rates.is_some() && model.trouble.is_none());
}

#[test]
fn any_key_closes_a_window_and_does_nothing_else() {
    let mut model = model();
    press(&mut model, KeyCode::Char('?'));
    assert_eq!(model.popup, Some(Popup::Help));
    assert_eq!(press(&mut model, KeyCode::Char('q')), Action::None);
    assert_eq!(model.popup, None);
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.popup, Some(Popup::Details));
    press(&mut model, KeyCode::Esc);
    press(&mut model, KeyCode::Tab);
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.popup, None, "a host has no details");
}

#[test]
fn sessions_are_removed_only_when_the_question_is_answered_with_yes() {
    let mut model = model();
    press(&mut model, KeyCode::Down);
    for no in [KeyCode::Char('n'), KeyCode::Esc, KeyCode::Enter, KeyCode::Char('k')] {
        assert_eq!(press(&mut model, KeyCode::Char('k')), Action::None);
        assert!(matches!(model.popup, Some(Popup::Kill(_))));
        assert_eq!(press(&mut model, no), Action::None, "{no:?}");
        assert_eq!(model.popup, None);
    }
    assert_eq!(press(&mut model, KeyCode::Char('y')), Action::None, "nothing was asked");
    press(&mut model, KeyCode::Char('k'));
    // What was asked about is what is removed, even if another one is chosen by now.
    let other = Top { sessions: vec![session(11, 7, (0, 0), 0, 0)], ..look() };
    model.learn(News::Top(Box::new(other), 0), 0);
    let Action::Kill(filter) = press(&mut model, KeyCode::Char('y')) else { panic!("no kill") };
    assert_eq!(filter.inside, Some("192.168.1.10:40002".parse().unwrap()));
    assert_eq!(filter.remote, Some("198.51.100.1:443".parse().unwrap()));
    assert_eq!(filter.protocol, Some(6));
}

#[test]
fn all_sessions_of_a_host_are_removed_in_its_table() {
    let mut model = model();
    press(&mut model, KeyCode::Tab);
    press(&mut model, KeyCode::Down);
    press(&mut model, KeyCode::Char('k'));
    let Some(Popup::Kill(victim)) = &model.popup else { panic!("no question") };
    assert_eq!(victim.text, "all 9 sessions of 192.168.1.11");
    let inside = Some("192.168.1.11".parse().unwrap());
    let expected = Filter { inside, ..Filter::default() };
    assert_eq!(press(&mut model, KeyCode::Char('y')), Action::Kill(expected));
    model.learn(News::Notice("removed 9 sessions".into()), 0);
    assert_eq!(model.notice.as_deref(), Some("removed 9 sessions"));
    press(&mut model, KeyCode::Up);
    assert_eq!(model.notice, None);
    // Nothing to choose, nothing to remove.
    model.top = None;
    press(&mut model, KeyCode::Char('k'));
    assert_eq!(model.popup, None);
}
