//! `masq top` on a terminal, while packets flow.

use std::{
    net::SocketAddrV4,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use masq_tests::{
    daemon::{Masq, masq, output, run, sessions, stats},
    lab::{HOST_A, HOST_B, Lab, Layout, SERVER_1},
    traffic::echo,
};
use masq_user::control::{
    client,
    filter::Filter,
    proto::{Answer, Ask, Top, TopQuery},
};
use nix::sys::signal::Signal;

use crate::{failure, terminal::Terminal};

fn top(lab: &Lab, arguments: &[&str]) -> Terminal {
    let arguments = ["top"].iter().chain(arguments);
    Terminal::start(masq(&lab.router, arguments), 130, 30)
}

/// Runs a test while host A exchanges datagrams with a server, some hundred each second.
fn with_traffic(test: impl FnOnce(&Lab, Masq)) {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let _server = echo::Server::start(&lab.server1, 53);
    let socket = lab.a.udp_bind(40_000);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // While no daemon runs, or at the very end, one may be lost.
                let _ = echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), &[7; 1000]);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let end = Ended(&stop);
        test(&lab, masq);
        drop(end);
    });
}

/// Ends the traffic also when the test fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a cell is a rate of more than nothing: `512`, `1.2M`.
fn is_rate(cell: &str) -> bool {
    cell.starts_with(|c: char| c.is_ascii_digit()) && cell != "0"
}

#[test]
fn it_shows_who_sends_and_does_what_keys_say() {
    with_traffic(|lab, masq| {
        let top = top(lab, &[]);
        let row = "192.168.1.10:40000";
        top.wait_for("rates of the session", |text| {
            let line = text.lines().find(|line| line.contains(row))?;
            let cells: Vec<_> = line.split_whitespace().collect();
            let rates = &cells[cells.len() - 2..];
            (line.contains("203.0.113.5:40000") && rates.iter().all(|rate| is_rate(rate)))
                .then_some(())
        });
        top.wait_for_line(&["wan", "wan0 203.0.113.5 (tc)"]);
        top.wait_for("rates of packets", |text| {
            let line = text.lines().find(|line| line.starts_with("out "))?;
            let words: Vec<_> = line.split_whitespace().collect();
            (is_rate(words[1]) && is_rate(words[2])).then_some(())
        });
        top.wait_for_line(&["sessions", "[", "1 0%]"]);

        top.press("\t");
        top.wait_for_line(&["hosts by rate"]);
        let host = top.wait_for_line(&["192.168.1.10"]);
        assert!(!host.contains(':'), "{host}");
        top.press("\t");
        top.wait_for_line(&["sessions by rate"]);
        top.press("s");
        top.wait_for_line(&["sessions by rate out"]);

        top.press("/inside 192.168.1.11\r");
        top.wait_for_line(&["0 match inside 192.168.1.11/32"]);
        top.wait_for_line(&["no sessions"]);
        top.press("/");
        top.wait_for_line(&["filter: inside 192.168.1.11/32"]);
        // Ctrl-U empties the line.
        top.press("\u{15}nonsense\r");
        top.wait_for_line(&["filter: nonsense", "nonsense"]);
        top.press("\u{15}protocol udp\r");
        top.wait_for_line(&["1 match protocol udp"]);
        top.wait_for_line(&[row]);
        top.press("\r");
        top.wait_for_line(&["remote    198.51.100.1:53"]);
        top.press("x");

        top.press("p");
        top.wait_for_line(&["HELD"]);
        top.press("p?");
        top.wait_for_line(&["Ctrl-Z"]);
        top.press("x");
        top.resize(60, 12);
        top.wait_for("the small picture", |text| {
            (text.contains(row) && !text.contains("EXTERNAL")).then_some(())
        });
        top.press("q");
        assert!(top.outcome().success());
        masq.stop();
    });
}

#[test]
fn it_removes_what_was_chosen_and_nothing_else() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let _server = echo::Server::start(&lab.server1, 53);
    let server = SocketAddrV4::new(SERVER_1, 53);
    let a = lab.a.udp_bind_to((HOST_A, 40_000));
    let b = [40_001, 40_002, 40_003].map(|port| lab.b.udp_bind_to((HOST_B, port)));
    let ask = |socket| echo::ask(socket, server, b"question").expect("an answer");
    ask(&a);
    for socket in &b {
        ask(socket);
    }
    let left = || {
        let ports = sessions(&lab.router, &[]);
        let mut ports: Vec<_> = ports.iter().map(|s| s["inside"]["port"].as_u64()).collect();
        ports.sort_unstable();
        ports.into_iter().map(|port| port.expect("a port")).collect::<Vec<_>>()
    };
    let top = top(&lab, &[]);
    // Before it has the terminal, the return key is another one.
    top.wait_for_line(&["q quit"]);
    top.press("/inside 192.168.1.11:40002\r");
    top.wait_for_line(&["1 match"]);
    top.wait_for_line(&["192.168.1.11:40002"]);
    top.press("k");
    top.wait_for_line(&["remove the udp session"]);
    top.wait_for_line(&["192.168.1.11:40002 -> 198.51.100.1:53?"]);
    top.press("n");
    top.wait_for("the question to go", |text| (!text.contains("y: yes")).then_some(()));
    assert_eq!(left(), [40_000, 40_001, 40_002, 40_003]);
    top.press("ky");
    top.wait_for_line(&["removed 1 session"]);
    assert_eq!(left(), [40_000, 40_001, 40_003]);
    ask(&b[1]);

    // All of a host: the one with most sessions is first.
    top.press("/\u{15}\r\tssss");
    top.wait_for_line(&["hosts by number of sessions"]);
    top.wait_for("three sessions of B", |text| {
        let line = text.lines().find(|line| line.contains("192.168.1.11"))?;
        line.split_whitespace().any(|word| word == "3").then_some(())
    });
    top.press("k");
    top.wait_for_line(&["remove all 3 sessions of 192.168.1.11?"]);
    top.press("y");
    top.wait_for_line(&["removed 3 sessions"]);
    assert_eq!(left(), [40_000]);
    top.press("q");
    assert!(top.outcome().success());
    masq.stop();
}

#[test]
fn it_sees_a_restart_through() {
    with_traffic(|lab, masq| {
        let top = top(lab, &["--protocol", "udp"]);
        top.wait_for_line(&["192.168.1.10:40000"]);
        output(&lab.router, ["stop", "--keep-data-plane"]);
        masq.outcome();
        top.wait_for_line(&["trying again"]);
        let masq = Masq::start(lab, ["--mode", "tc"]);
        top.wait_for("an answer of the next daemon", |text| {
            (!text.contains("trying again") && text.contains("192.168.1.10:40000")).then_some(())
        });
        top.press("q");
        assert!(top.outcome().success());
        masq.stop();
    });
}

#[test]
fn it_gives_the_terminal_back_after_a_signal() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let top = top(&lab, &[]);
        top.wait_for_line(&["q quit"]);
        top.signal(signal);
        assert!(top.outcome().success(), "{signal}");
    }
    // Ctrl-C is a key there.
    let interrupted = top(&lab, &[]);
    interrupted.wait_for_line(&["q quit"]);
    interrupted.press("\u{3}");
    assert!(interrupted.outcome().success());
    let lost = top(&lab, &[]);
    lost.wait_for_line(&["q quit"]);
    lost.hang_up();
    masq.stop();
}

#[test]
fn without_a_terminal_or_an_instance_it_says_what_to_do() {
    let lab = Lab::new(Layout::default());
    let error = failure(&run(&lab.router, ["top"]), 1);
    assert!(error.contains("masq stats --json"), "{error}");
    let top = top(&lab, &["--instance", "nobody"]);
    top.wait_for_line(&["no masq named nobody is running"]);
    assert_eq!(top.outcome().code(), Some(1));
}

/// The next look that has rates.
fn next_look(client: &mut client::Client) -> Top {
    match client.answer().unwrap_or_else(|error| panic!("no look: {error}")) {
        Answer::Top(top) => *top,
        other => panic!("{other:?} is no look"),
    }
}

#[test]
fn rates_account_for_every_byte() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let _server = echo::Server::start(&lab.server1, 53);
    let instance = stats(&lab.router)["instance"].as_str().expect("a name").to_owned();
    let query = TopQuery { filter: Filter::default(), limit: 10, interval_ms: 500 };
    let mut client = client::ask(Some(&instance), Ask::Top(query))
        .unwrap_or_else(|error| panic!("cannot ask: {error}"));
    assert_eq!(next_look(&mut client).elapsed_ms, None, "the first look knows no rates");
    let socket = lab.a.udp_bind(40_000);
    let (packets, size) = (100_u64, 1_000);
    for _ in 0..packets {
        echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), &vec![7; size]).expect("an answer");
    }
    // IP and UDP headers; the answer also says where the question came from.
    let sent = packets * (28 + size as u64);
    let answered = packets * (28 + size as u64 + "203.0.113.5:40000".len() as u64);
    let mut seen = [0_u64; 6];
    let mut looks = 0;
    // Rates are rounded down to whole bytes a second, in each look that has any, and the time since the last
    // look to milliseconds.
    let tolerance = |expected: u64, looks: u64| expected / 50 + 2 * looks;
    while seen[1] + tolerance(answered, looks) < answered {
        let top = next_look(&mut client);
        let elapsed = top.elapsed_ms.expect("the second look has rates");
        let session = top.sessions.iter().find(|s| s.session.inside.port == 40_000);
        let host = top.hosts.iter().find(|host| host.address == HOST_A);
        let (session, host) = (session.expect("the session"), host.expect("the host"));
        assert_eq!((top.matched, host.sessions), (1, 1));
        let rates = [
            (session.rate_out, session.rate_in),
            (host.rate_out, host.rate_in),
            (top.rate_out, top.rate_in),
        ];
        for (place, (out, into)) in rates.into_iter().enumerate() {
            seen[2 * place] += (out * elapsed).div_ceil(1_000);
            seen[2 * place + 1] += (into * elapsed).div_ceil(1_000);
        }
        looks += 1;
        assert!(looks < 100, "never all: {seen:?} of {sent} and {answered}");
    }
    for (place, seen) in seen.into_iter().enumerate() {
        let expected = if place % 2 == 0 { sent } else { answered };
        let tolerance = tolerance(expected, looks);
        assert!(seen.abs_diff(expected) <= tolerance, "{place}: {seen} is not {expected}");
    }
    masq.stop();
}
