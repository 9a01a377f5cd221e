//! Many sessions end at the same time: whether those that go on notice the sweeper.

use std::{
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
        stream::{Flows, Profile, Stream},
    },
};

use super::{Run, table_for};
use crate::metric::Metric;

/// Established flows while nothing expires.
pub const QUIET: &str = "nothing expires";
/// While all the others do.
pub const SWEPT: &str = "swept";

/// Flows that go on.
const ESTABLISHED: u32 = 1_000;
/// Packets a second over them.
const PACE: f64 = 100_000.0;
/// How long a session lives that nobody uses, besides what opening all of them may take.
const TIMEOUT: Duration = Duration::from_secs(8);
/// The fewest sessions that are opened in a second.
const OPENED: u32 = 50_000;
/// How long is sent between two looks at how many sessions are left.
const PERIOD: Duration = Duration::from_secs(1);
/// From this long before the end of the first session on, it may be that something expires: a period
/// takes longer than it should on a busy machine.
const MARGIN: Duration = Duration::from_secs(3);
/// How long the sweeper may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    for contender in run.wanted(&[Contender::Masq(Mode::Xdp)]) {
        for sessions in run.effort.swept.clone() {
            sweep(run, contender, sessions)?;
        }
    }
    Ok(())
}

fn sweep(run: &mut Run<'_>, contender: Contender, sessions: u32) -> Result<(), String> {
    run.say(&format!("opening {sessions} sessions"));
    let mut options = table_for(sessions + sessions / 64);
    let lifetime = TIMEOUT + Duration::from_secs(u64::from(sessions / OPENED));
    let timeout = format!("{}s", lifetime.as_secs());
    options.extend(["--udp-timeout", &timeout, "--allow-short-timeouts"].map(str::to_owned));
    let mut bench = Bench::new(contender, Layout::default(), &options);
    let process = bench.daemon().expect("masq has a process");
    let began = Instant::now();
    bench.open(Flows::new(Profile::ManyHosts, sessions))?;
    let stream = Stream {
        pace: Some(PACE),
        ..Stream::outbound(Flows::new(Profile::ManyHosts, ESTABLISHED))
    };
    let mut used = cpu::time_of(process);
    let mut watched = false;
    loop {
        let left = live(&bench);
        // From the first look that finds the table full to the first one that finds it empty.
        let over = left <= u64::from(2 * ESTABLISHED);
        let name = if began.elapsed() + MARGIN < lifetime { QUIET } else { SWEPT };
        let situation = format!("{sessions} sessions, {name}");
        if over {
            let swept = cpu::time_of(process) - used;
            run.push(contender.key(), &situation, Metric::DaemonTime, swept.as_secs_f64());
            return if watched {
                Ok(())
            } else {
                Err("it was over before it was watched".to_owned())
            };
        }
        if began.elapsed() > lifetime + PATIENCE {
            return Err(format!("{left} of {sessions} sessions are left after {PATIENCE:?}"));
        }
        if name == QUIET {
            used = cpu::time_of(process);
        }
        run.say(&format!("{situation}, {left} live"));
        let waiting = |is_over: &(dyn Fn() -> bool + Sync)| {
            while !is_over() {
                thread::sleep(Duration::from_millis(10));
            }
        };
        let ((), loss, gap) = bench.while_sending(stream, PERIOD, waiting)?;
        run.push(contender.key(), &situation, Metric::Loss, loss);
        run.push(contender.key(), &situation, Metric::Gap, gap.as_secs_f64());
        watched |= name == SWEPT;
    }
}

/// Sessions in the table.
fn live(bench: &Bench) -> u64 {
    let stats = daemon::stats(&bench.line().router);
    daemon::counter(&stats, "session_opened") - daemon::counter(&stats, "session_closed")
}
