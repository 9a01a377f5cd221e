//! The main job, in one mode: ping, download, question and answer, traceroute, ten downloads at
//! once; then what masq itself says about it.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use anstream::println;
use masq_tests::{
    capture::Capture,
    console::{DIM, RESET},
    daemon::{self, Masq, Mode},
    gateway::Gateway,
    lab::{ISP, ISP_IF, Lab, Layout, ROUTER_LAN, ROUTER_WAN, SERVER_1, SERVER_2},
    traffic::{echo, http, probe},
};

use crate::script::Script;

/// Bytes of the single download, and of each of the parallel ones.
const DOWNLOAD: usize = 20_000_000;
const SMALL_DOWNLOAD: usize = 2_000_000;
/// Downloads at once.
const PARALLEL: usize = 10;
/// The port that both hosts ask from: only one of them can keep it outside.
const ASKING_PORT: u16 = 40_000;
const WEB: u16 = 80;
const ECHO: u16 = 7;

/// Shows everything in one mode.
pub fn show(script: &mut Script, mode: Mode) {
    let explanation = match mode {
        Mode::Tc => "traffic control: works on any interface, keeps large packets whole",
        Mode::Xdp => "express data path: in the driver, before the kernel's network stack",
        Mode::Kernel => "no fast path: the kernel routes every packet",
    };
    script.chapter(&format!("masq run --mode {}", mode.as_str()), explanation);
    let built = script.make("the network", |_| {
        let start = Instant::now();
        let lab = Lab::new(Layout::default());
        Ok((lab, format!("6 hosts, 7 namespaces, in {}", time(start.elapsed()))))
    });
    let Some(lab) = built else { return };
    let web = http::Server::start(&lab.server1, WEB);
    let more_web = http::Server::start(&lab.server2, WEB);
    let echo = echo::Server::start(&lab.server2, ECHO);
    let capture = Capture::start(&lab.isp, ISP_IF);
    let started = script.make("masq, in the router", |_| {
        let start = Instant::now();
        let gateway = Gateway::masq(&lab, mode, &[]);
        let ready = gateway.daemon().wait_for("ready");
        Ok((gateway, format!("after {}: {ready}", time(start.elapsed()))))
    });
    if let Some(Gateway::Masq(masq)) = started {
        traffic(script, &lab);
        inspection(script, &lab);
        script.step("masq, stopped", |_| stop(&lab, masq));
        script.step("captured on the WAN side", |_| judge(capture));
    }
    drop((web, more_web, echo));
}

/// What hosts do.
fn traffic(script: &mut Script, lab: &Lab) {
    script.step("ping a → server1", |_| ping(lab));
    script.step("HTTP download, compared byte for byte", |_| download(lab));
    script.step("UDP, a and b from the same port", |_| ask(lab));
    script.step("traceroute b → server2", |_| traceroute(lab));
    script.step("ten downloads at once, compared", |_| downloads(lab));
}

fn ping(lab: &Lab) -> Result<String, String> {
    let mut times = Vec::new();
    for identifier in 1..=5 {
        let start = Instant::now();
        probe::ping(&lab.a, SERVER_1, identifier).map_err(|e| format!("no reply: {e}"))?;
        times.push(start.elapsed());
    }
    let fastest = times.iter().min().copied().unwrap_or_default();
    Ok(format!("{} of {} replies, the fastest in {}", times.len(), times.len(), time(fastest)))
}

fn download(lab: &Lab) -> Result<String, String> {
    let start = Instant::now();
    http::download(&lab.a, (SERVER_1, WEB), DOWNLOAD).map_err(|e| e.to_string())?;
    Ok(format!("all {} equal, {}", bytes(DOWNLOAD), speed(DOWNLOAD, start.elapsed())))
}

fn ask(lab: &Lab) -> Result<String, String> {
    let server = SocketAddrV4::new(SERVER_2, ECHO);
    let mut seen = Vec::new();
    for host in [&lab.a, &lab.b] {
        let socket = host.udp_bind(ASKING_PORT);
        let end =
            echo::ask(&socket, server, b"who am I?").map_err(|e| format!("no answer: {e}"))?;
        if *end.ip() != ROUTER_WAN {
            return Err(format!("the server saw {end} and not the router's address"));
        }
        seen.push(end);
    }
    if seen[0] == seen[1] {
        return Err(format!("both hosts came from {}", seen[0]));
    }
    Ok(format!("both answered; the server saw {} and {}", seen[0], seen[1]))
}

fn traceroute(lab: &Lab) -> Result<String, String> {
    let hops = probe::traceroute(&lab.b, SERVER_2).map_err(|e| format!("a hop is silent: {e}"))?;
    let hops: Vec<Ipv4Addr> = hops.iter().map(|hop| hop.from).collect();
    let shown = hops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if hops == [ROUTER_LAN, ISP, SERVER_2] {
        Ok(shown)
    } else {
        Err(format!("{shown}, but the way is {ROUTER_LAN}, {ISP}, {SERVER_2}"))
    }
}

fn downloads(lab: &Lab) -> Result<String, String> {
    let start = Instant::now();
    let ways = [(&lab.a, SERVER_1), (&lab.a, SERVER_2), (&lab.b, SERVER_1), (&lab.b, SERVER_2)];
    thread::scope(|scope| {
        let all: Vec<_> = ways
            .iter()
            .cycle()
            .take(PARALLEL)
            .map(|(host, server)| {
                scope.spawn(move || http::download(host, (*server, WEB), SMALL_DOWNLOAD))
            })
            .collect();
        all.into_iter().try_for_each(|download| match download.join() {
            Ok(result) => result.map_err(|e| e.to_string()),
            Err(_) => Err("a download panicked".to_owned()),
        })
    })?;
    let total = PARALLEL * SMALL_DOWNLOAD;
    let each = bytes(SMALL_DOWNLOAD);
    Ok(format!("{PARALLEL} × {each} equal, {}", speed(total, start.elapsed())))
}

/// What masq says.
fn inspection(script: &mut Script, lab: &Lab) {
    // Connections that are open while the table is read.
    let open = [(&lab.a, SERVER_1), (&lab.a, SERVER_2), (&lab.b, SERVER_1)]
        .map(|(host, server)| host.tcp_connect((server, WEB)));
    script.step("live session table: masq sessions", |_| {
        let failed = open.iter().find_map(|connection| connection.as_ref().err());
        failed.map_or(Ok(()), |e| Err(format!("cannot connect: {e}")))?;
        sessions(lab, open.len())
    });
    print_output(lab, &["sessions", "--phase", "established"]);
    print_output(lab, &["sessions", "--protocol", "udp"]);
    script.step("counters: masq stats", |_| counters(lab));
    print_output(lab, &["stats"]);
}

fn sessions(lab: &Lab, open: usize) -> Result<String, String> {
    let is_open = |row: &&serde_json::Value| {
        row["phase"] == "established" && row["external"]["address"] == ROUTER_WAN.to_string()
    };
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        let table = daemon::json(&lab.router, ["sessions", "--json"]);
        let rows = table.as_array().ok_or("no list")?;
        match rows.iter().filter(is_open).count() {
            found if found == open => {
                let all = rows.len();
                return Ok(format!("{all} sessions, {open} of them TCP connections open now"));
            }
            found if Instant::now() > end => {
                return Err(format!("{found} established TCP connections in it, not {open}"));
            }
            // The last segments of the downloads may still be on their way.
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn counters(lab: &Lab) -> Result<String, String> {
    let stats = daemon::json(&lab.router, ["stats", "--json"]);
    let counters = stats["counters"].as_array().ok_or("no counters")?;
    let count = |label: &str| {
        let counter = counters.iter().find(|counter| counter["reason"] == label);
        counter.and_then(|counter| counter["count"].as_u64()).unwrap_or(0)
    };
    let (out, back) = (count("outbound_fast"), count("inbound_fast"));
    let opened = count("session_opened");
    if out == 0 || back == 0 || opened == 0 {
        return Err(format!("{out} packets out, {back} in, {opened} sessions on the fast path"));
    }
    Ok(format!("{out} packets out and {back} in on the fast path, {opened} sessions opened"))
}

/// Shows a command of masq and what it prints.
fn print_output(lab: &Lab, arguments: &[&str]) {
    let output = daemon::run(&lab.router, arguments);
    println!("      $ masq {}", arguments.join(" "));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().for_each(|line| println!("{DIM}      {line}{RESET}"));
}

fn stop(lab: &Lab, masq: Masq) -> Result<String, String> {
    let start = Instant::now();
    masq.stop();
    let forwarding = lab.router.sysctl("net.ipv4.ip_forward");
    if forwarding.as_deref() != Some("0") {
        return Err("net.ipv4.ip_forward was not put back".to_owned());
    }
    let links = lab.router.output("ip", &["-d", "link", "show"]);
    if links.contains("prog/xdp") {
        return Err("an XDP program is still attached".to_owned());
    }
    Ok(format!("after {}, with its programs and settings gone", time(start.elapsed())))
}

fn judge(capture: Capture) -> Result<String, String> {
    let record = capture.finish();
    let faults = record.faults();
    if let Some(first) = faults.first() {
        return Err(format!("{} faults, the first: {first}", faults.len()));
    }
    if record.packets.is_empty() {
        return Err("nothing was captured".to_owned());
    }
    let number = record.packets.len();
    Ok(format!("{number} packets: no private address, no wrong checksum"))
}

fn time(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..1000 => format!("{micros} µs"),
        micros @ 1000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn bytes(number: usize) -> String {
    format!("{} MB", number / 1_000_000)
}

fn speed(bytes: usize, time: Duration) -> String {
    format!("{:.1} Gbit/s", bytes as f64 * 8e-9 / time.as_secs_f64())
}
