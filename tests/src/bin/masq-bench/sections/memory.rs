//! Memory: what a session takes, what masq takes with none; and the time of a start.

use std::time::Instant;

use masq_tests::{
    daemon::Mode,
    measure::{
        conntrack::Limits,
        contender::Contender,
        line::{Layout, Line},
        memory::{self, Kernel},
        rate::Bench,
        stream::{Flows, Profile},
    },
};

use super::{Run, table_for};
use crate::metric::Metric;

/// Many sessions for each mapping: what is left is the session itself, both halves.
pub const PAIR: &str = "without mapping";
/// Every session has its own mapping.
pub const WITH_MAPPING: &str = "each with its mapping";
/// masq with its default options.
const DEFAULT: &str = "default table, empty";

const CONTENDERS: [Contender; 2] = [Contender::Nftables, Contender::Masq(Mode::Xdp)];

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let sessions = run.effort.sessions;
    let _limits = Limits::raise(sessions + sessions / 16)?;
    let options = table_for(sessions + sessions / 64);
    let empty = Kernel::settled();
    for contender in run.wanted(&CONTENDERS) {
        for (situation, profile) in
            [(PAIR, Profile::ManyRemotes), (WITH_MAPPING, Profile::ManyHosts)]
        {
            let key = contender.key();
            run.say(&format!("{sessions} sessions {situation}, {}", contender.title()));
            Kernel::settled_from(empty);
            // What is there from the start on counts, too.
            let small = Bench::new(contender, Layout::default(), &table_for(1));
            let before = Kernel::settled();
            let charged_before = small.daemon().map(memory::charged);
            drop(small);
            Kernel::settled_from(empty);
            let mut bench = Bench::new(contender, Layout::default(), &options);
            bench.open(Flows::new(profile, sessions))?;
            let grown = Kernel::settled().since(before);
            run.push(key, situation, Metric::SessionMemory, grown / f64::from(sessions));
            if let Some((daemon, before)) = bench.daemon().zip(charged_before) {
                let grown = memory::charged(daemon) as f64 - before as f64;
                run.push(key, situation, Metric::MapMemory, grown / f64::from(sessions));
                let situation = format!("{sessions} sessions, {situation}");
                push_process(run, key, &situation, daemon);
            }
        }
    }
    starts(run, &options)
}

/// Starts masq, with tables of the default size and for many sessions.
fn starts(run: &mut Run<'_>, large: &[String]) -> Result<(), String> {
    let sessions = run.effort.sessions;
    for _ in 0..run.effort.few_rounds {
        for contender in run.wanted(&[Contender::Masq(Mode::Tc), Contender::Masq(Mode::Xdp)]) {
            let key = contender.key();
            let mut tables = vec![(DEFAULT.to_owned(), &[][..])];
            if run.effort.everything {
                tables.push((format!("for {sessions} sessions, empty"), large));
            }
            for (situation, options) in tables {
                run.say(&format!("starting {}", contender.title()));
                let line = Line::new(Layout::default());
                let begin = Instant::now();
                let running = contender.start(&line, options);
                run.push(key, &situation, Metric::StartTime, begin.elapsed().as_secs_f64());
                if let Some(daemon) = running.daemon() {
                    push_process(run, key, &situation, daemon);
                }
            }
        }
    }
    Ok(())
}

fn push_process(run: &mut Run<'_>, key: &str, situation: &str, daemon: u32) {
    run.push(key, situation, Metric::Charged, memory::charged(daemon) as f64);
    run.push(key, situation, Metric::Resident, memory::resident(daemon) as f64);
}
