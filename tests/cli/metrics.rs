//! `masq run --metrics`: what Prometheus gets, and what it does not cost.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use masq_tests::{
    daemon::{Masq, counter, json, output, run, stats},
    lab::{Lab, Layout, SERVER_1},
    sockets::eventually,
    traffic::{echo, probe},
};

use crate::{failure, text};

const PORT: u16 = 9469;
const ARGUMENTS: [&str; 4] = ["--mode", "tc", "--metrics", "127.0.0.1:9469"];

fn connect(lab: &Lab) -> TcpStream {
    lab.router.tcp_connect((Ipv4Addr::LOCALHOST, PORT)).expect("connect to the metrics")
}

/// Asks for something, and returns head and body of the answer.
fn request(lab: &Lab, request: &str) -> (String, String) {
    let mut stream = connect(lab);
    let host = "Host: masq\r\n\r\n";
    stream.write_all(format!("{request}\r\n{host}").as_bytes()).expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and the end of the connection");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

/// The samples of a scrape: name with labels, and value.
fn scrape(lab: &Lab) -> BTreeMap<String, u64> {
    let (head, body) = request(lab, "GET /metrics HTTP/1.1");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let rows = body.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a whole number"))
    };
    rows.map(sample).collect()
}

fn reason(samples: &BTreeMap<String, u64>, reason: &str) -> u64 {
    let label = format!("masq_packets_total{{reason=\"{reason}\",");
    let found = samples.iter().find(|(name, _)| name.starts_with(&label));
    *found.unwrap_or_else(|| panic!("no {label} in {samples:?}")).1
}

#[test]
fn a_scrape_says_what_stats_says() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ARGUMENTS);
    masq.wait_for("http://127.0.0.1:9469/metrics");
    let _server = echo::Server::start(&lab.server1, 53);
    let socket = lab.a.udp_bind(40_000);
    for _ in 0..10 {
        echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), b"0123456789").expect("an answer");
    }
    probe::ping(&lab.b, SERVER_1, 77).expect("a reply");
    let before = stats(&lab.router);
    let samples = scrape(&lab);
    let after = stats(&lab.router);
    let list = before["counters"].as_array().expect("the counters");
    assert!(counter(&before, "session_opened") == 2 && list.len() > 50);
    for row in list {
        let name = row["reason"].as_str().expect("a name");
        let class = row["class"].as_str().expect("a class");
        let sample = format!("masq_packets_total{{reason=\"{name}\",class=\"{class}\"}}");
        let value = samples.get(&sample).unwrap_or_else(|| panic!("no {sample}"));
        // Nothing but ARP goes on meanwhile.
        assert!((counter(&before, name)..=counter(&after, name)).contains(value), "{sample}");
    }
    let of = |name: &str| samples.get(name).copied();
    assert_eq!(of("masq_table_entries{table=\"sessions\"}"), Some(2));
    assert_eq!(of("masq_table_max_entries{table=\"sessions\"}"), Some(262_144));
    assert_eq!(of("masq_ports_used{wan=\"wan0\",protocol=\"udp\"}"), Some(1));
    assert_eq!(of("masq_wan_has_address{wan=\"wan0\"}"), Some(1));
    assert_eq!(of("masq_interface_attached{interface=\"lan0\",role=\"lan\"}"), Some(1));
    let info =
        "masq_interface_info{interface=\"wan0\",role=\"wan\",mode=\"tc\",address=\"203.0.113.5\"}";
    assert_eq!(of(info), Some(1));
    let name = before["instance"].as_str().expect("a name");
    let netns = &before["netns"];
    assert_eq!(of(&format!("masq_instance_info{{name=\"{name}\",netns=\"{netns}\"}}")), Some(1));

    let (head, body) =
        request(&lab, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    for (line, status) in [
        ("GET / HTTP/1.1", "200"),
        ("GET /etc/passwd HTTP/1.1", "404"),
        ("POST /metrics HTTP/1.1", "405"),
        ("nonsense", "400"),
    ] {
        let (head, _) = request(&lab, line);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {head}");
    }
    let (head, body) = request(&lab, "HEAD /metrics HTTP/1.1");
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty());
    masq.stop();
}

#[test]
fn counters_go_on_with_the_next_daemon_and_an_address_that_is_lost_is_told() {
    let lab = Lab::new(Layout::default());
    let _clean = masq_tests::daemon::StopAtEnd(&lab.router);
    let first = Masq::start(&lab, ARGUMENTS);
    probe::ping(&lab.a, SERVER_1, 77).expect("a reply");
    let opened = reason(&scrape(&lab), "session_opened");
    assert_eq!(opened, 1);
    output(&lab.router, ["stop", "--keep-data-plane"]);
    first.outcome();
    let next = Masq::start(&lab, ARGUMENTS);
    probe::ping(&lab.b, SERVER_1, 78).expect("a reply");
    let samples = scrape(&lab);
    assert_eq!(reason(&samples, "session_opened"), 2);
    assert!(reason(&samples, "outbound_slow") >= 2);
    lab.router.ip("addr flush dev wan0");
    next.wait_for("wan0 has lost its address");
    assert_eq!(scrape(&lab).get("masq_wan_has_address{wan=\"wan0\"}"), Some(&0));
    next.stop();
}

#[test]
fn the_hosts_with_most_bytes_are_counted_and_never_backwards() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ARGUMENTS.into_iter().chain(["--metrics-hosts", "1"]));
    let _server = echo::Server::start(&lab.server1, 53);
    let socket = lab.a.udp_bind(40_000);
    let ask = || {
        for _ in 0..10 {
            echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), b"0123456789").expect("an answer");
        }
    };
    ask();
    probe::ping(&lab.b, SERVER_1, 77).expect("a reply");
    let value = |samples: &BTreeMap<String, u64>, name: &str, direction: &str| {
        let direction = match direction {
            "" => String::new(),
            direction => format!(",direction=\"{direction}\""),
        };
        samples.get(&format!("masq_host_{name}{{host=\"192.168.1.10\"{direction}}}")).copied()
    };
    let first = scrape(&lab);
    assert_eq!(value(&first, "bytes_total", "out"), Some(380), "{first:?}");
    assert_eq!(value(&first, "packets_total", "in"), Some(10));
    assert_eq!(value(&first, "sessions", ""), Some(1));
    assert!(!first.keys().any(|name| name.contains("192.168.1.11")), "only one was asked for");
    // The session ends, another one begins; what the first one had still counts.
    output(&lab.router, ["flush", "--inside", "192.168.1.10"]);
    ask();
    let mut last = first;
    eventually("both sessions in the sum", || {
        let next = scrape(&lab);
        for name in ["bytes_total", "packets_total"] {
            for direction in ["out", "in"] {
                let of = |samples| value(samples, name, direction);
                assert!(of(&next) >= of(&last), "{name} {direction}: {next:?} after {last:?}");
            }
        }
        last = next;
        (value(&last, "bytes_total", "out") == Some(760)).then_some(())
    });
    let hosts = json(&lab.router, ["hosts", "--limit", "1", "--json"]);
    assert_eq!(value(&last, "bytes_total", "in"), hosts[0]["bytes_in"].as_u64());
    masq.stop();

    for (arguments, why) in [
        (&["--metrics-hosts", "5"][..], "--metrics ADDR:PORT"),
        (&["--metrics", "127.0.0.1:9469", "--metrics-hosts", "1001"], "1000"),
    ] {
        let command = ["run", "--lan", "lan0", "--wan", "wan0"].iter().chain(arguments);
        let refused = run(&lab.router, command);
        let error = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn strangers_cannot_hold_up_the_daemon() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ARGUMENTS);
    // More than there are places for; they say nothing, or never come to an end.
    let mut idle: Vec<_> = (0..12).map(|_| connect(&lab)).collect();
    for stream in &mut idle[..4] {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").expect("half a request");
    }
    // The daemon goes about its business: it answers others, and translates.
    let asked = Instant::now();
    assert_eq!(counter(&stats(&lab.router), "malformed"), 0);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    probe::ping(&lab.a, SERVER_1, 77).expect("a reply");
    // And a scrape has its turn when the first ones are thrown out.
    assert_eq!(reason(&scrape(&lab), "session_opened"), 1);
    drop(idle);

    let mut large = connect(&lab);
    let head = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    // It may hang up in the middle of it.
    let _ = large.write_all(head.as_bytes());
    let mut answer = String::new();
    let _ = large.read_to_string(&mut answer);
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_eq!(reason(&scrape(&lab), "session_opened"), 1);
    masq.stop();
}

#[test]
fn an_address_that_cannot_be_had_is_refused_before_anything_is_touched() {
    let lab = Lab::new(Layout::default());
    let forwarding = lab.router.sysctl("net.ipv4.ip_forward");
    let _taken = lab.router.tcp_listen(PORT);
    let address = "127.0.0.1:9469";
    let arguments = ["run", "--lan", "lan0", "--wan", "wan0", "--metrics", address];
    let error = failure(&run(&lab.router, arguments), 1);
    assert!(error.contains(address) && error.contains("in use"), "{error}");
    assert!(error.contains("--metrics"), "{error}");
    for address in ["9469", "127.0.0.1", "127.0.0.1:0"] {
        let arguments = ["run", "--lan", "lan0", "--wan", "wan0", "--metrics", address];
        assert_eq!(run(&lab.router, arguments).status.code(), Some(2), "{address}");
    }
    assert_eq!(lab.router.sysctl("net.ipv4.ip_forward"), forwarding);
}

#[test]
fn an_address_that_comes_later_is_no_reason_not_to_start() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc", "--metrics", "192.168.1.77:9469"]);
    lab.router.output("ip", &["address", "add", "192.168.1.77/24", "dev", "lan0"]);
    let address = Ipv4Addr::new(192, 168, 1, 77);
    let mut stream = lab.a.tcp_connect((address, PORT)).expect("connect to the metrics");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: masq\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and the end of the connection");
    assert!(answer.contains("masq_packets_total"), "{answer}");
    masq.stop();
}
