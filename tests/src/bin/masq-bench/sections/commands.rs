//! The commands, with many sessions in the table: how long each takes, and how long the daemon lets
//! somebody else wait meanwhile.
//!
//! Commands write to a pipe whose other end throws everything away, as fast as it comes. Ports are
//! nearly out, so that the sweeper works all the time as well: the worst case.

use std::{
    io::{self, Read as _, Write as _},
    net::Ipv4Addr,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use masq_tests::{
    daemon::{self, Mode},
    measure::{
        contender::Contender,
        cpu,
        line::Layout,
        rate::Bench,
        stream::{Flows, Profile},
    },
    netns::Namespace,
};
use masq_user::control::{
    client,
    filter::Filter,
    proto::{Answer, Ask, TopQuery},
};

use super::{Run, table_for};
use crate::metric::Metric;

/// Shows every single session, which takes as long as it takes to write.
const LISTS: [&str; 2] = ["sessions", "sessions --json"];

/// The commands, in their order; the last ones remove what the others look at.
const COMMANDS: [&str; 13] = [
    "stats",
    // Finds nothing: the walk through the table alone.
    "sessions --count --inside 192.0.2.1",
    "sessions --count",
    "sessions --count --phase established",
    "sessions --limit 20",
    "sessions --sort bytes --limit 20",
    "sessions --sort idle --limit 10000",
    LISTS[0],
    LISTS[1],
    "hosts",
    "flush --all --dry-run",
    "flush --inside 10.1.2.3 --protocol tcp",
    "flush --all",
];

/// What is not a command of its own: a look of `masq top`, and a scrape.
const LOOK: &str = "top: one look";
const SCRAPE: &str = "scrape of the metrics";

/// Where metrics are.
const METRICS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9469);

/// Between two questions of whoever waits.
const PAUSE: Duration = Duration::from_millis(2);

/// Whether a row is of something that is done at once: not the list of all sessions, nor the end of all.
pub fn is_prompt(row: &str) -> bool {
    !LISTS.contains(&row) && row != "flush --all"
}

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    for contender in run.wanted(&[Contender::Masq(Mode::Xdp)]) {
        for sessions in run.effort.swept.clone() {
            of_many(run, contender, sessions)?;
        }
    }
    Ok(())
}

fn of_many(run: &mut Run<'_>, contender: Contender, sessions: u32) -> Result<(), String> {
    run.say(&format!("opening {sessions} sessions"));
    let mut options = table_for(sessions + sessions / 64);
    let address = format!("{}:{}", METRICS.0, METRICS.1);
    options.extend(["--metrics", &address].map(str::to_owned));
    options.extend(["--metrics-hosts", "100"].map(str::to_owned));
    // Nothing expires by itself meanwhile.
    options.extend(["--udp-timeout", "1h"].map(str::to_owned));
    let mut bench = Bench::new(contender, Layout::default(), &options);
    bench.open(Flows::new(Profile::ManyHosts, sessions))?;
    let router = &bench.line().router;
    let process = bench.daemon().ok_or("masq has a process")?;
    let stats = daemon::stats(router);
    let instance = stats["instance"].as_str().ok_or("an instance without a name")?;
    let situation = format!("{sessions} sessions");
    let mut push = |what: &str, work: &dyn Fn() -> Result<Duration, String>| {
        run.say(&format!("{situation}, {what}"));
        let used = cpu::time_of(process);
        let (time, wait) = while_another_asks(instance, work)?;
        let used = cpu::time_of(process) - used;
        run.push(what, &situation, Metric::CommandTime, time.as_secs_f64());
        run.push(what, &situation, Metric::DaemonTime, used.as_secs_f64());
        run.push(what, &situation, Metric::Wait, wait.as_secs_f64());
        Ok::<_, String>(())
    };
    push(LOOK, &|| look(instance))?;
    for _ in 0..2 {
        push(SCRAPE, &|| scrape(router))?;
    }
    COMMANDS.iter().try_for_each(|words| push(words, &|| command(router, words)))
}

/// Does something while somebody else asks for counters all the time, and returns how long it took and
/// the longest time that the other one had to wait.
fn while_another_asks(
    instance: &str,
    work: &dyn Fn() -> Result<Duration, String>,
) -> Result<(Duration, Duration), String> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let mut client = ask(instance, Ask::Stats)?;
                client.answer().map_err(|error| error.to_string())?;
                longest = longest.max(asked.elapsed());
                thread::sleep(PAUSE);
            }
            Ok::<_, String>(longest)
        });
        let time = work();
        over.store(true, Ordering::Relaxed);
        let wait = other.join().map_err(|_| "whoever asks panicked".to_owned())?;
        Ok((time?, wait?))
    })
}

fn ask(instance: &str, what: Ask) -> Result<client::Client, String> {
    client::ask(Some(instance), what).map_err(|error| error.to_string())
}

/// From the start of a command to its end.
fn command(router: &Namespace, words: &str) -> Result<Duration, String> {
    let began = Instant::now();
    let mut command = daemon::masq(router, words.split(' '));
    let failed = |error: io::Error| format!("masq {words}: {error}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut output) = child.stdout.take() {
        io::copy(&mut output, &mut io::sink()).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    let time = began.elapsed();
    if status.success() { Ok(time) } else { Err(format!("masq {words}: {status}")) }
}

/// From the question to the first look at the table, which has no rates yet.
fn look(instance: &str) -> Result<Duration, String> {
    let began = Instant::now();
    let query = TopQuery { filter: Filter::default(), limit: 200, interval_ms: 1_000 };
    match ask(instance, Ask::Top(query))?.answer() {
        Ok(Answer::Top(_)) => Ok(began.elapsed()),
        other => Err(format!("no look at the table: {other:?}")),
    }
}

fn scrape(router: &Namespace) -> Result<Duration, String> {
    let began = Instant::now();
    let mut text = String::new();
    let mut stream = router.tcp_connect(METRICS).map_err(|e| format!("no metrics: {e}"))?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: masq\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut text))
        .map_err(|e| format!("no metrics: {e}"))?;
    if text.starts_with("HTTP/1.1 200") { Ok(began.elapsed()) } else { Err(text) }
}
