//! Packets a second with tables of the sizes of NAT44 tests: 63 ports of each of 1,024 to 65,536
//! inside hosts.

use masq_tests::{
    daemon::Mode,
    measure::{
        conntrack::Limits,
        contender::Contender,
        line::Layout,
        memory,
        stream::{Flows, Profile, Size, Stream},
    },
};

use super::{Run, table_for};
use crate::{effort::Effort, metric::Metric};

const CONTENDERS: [Contender; 3] =
    [Contender::Nftables, Contender::Masq(Mode::Tc), Contender::Masq(Mode::Xdp)];
/// Bytes that a session may take with any of them, roughly, for the question whether it fits.
const SESSION: u64 = 600;

/// What a number of sessions is called.
pub fn situation(sessions: u32) -> String {
    format!("{sessions} sessions")
}

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let hosts = run.effort.hosts.clone();
    let most = Effort::sessions_of(hosts.iter().copied().max().unwrap_or(1));
    let _limits = Limits::raise(most + most / 16)?;
    hosts.into_iter().try_for_each(|hosts| measure_one(run, Effort::sessions_of(hosts)))
}

/// With so many sessions. Every contender gets tables for as many, so that their size is part of
/// what is compared.
fn measure_one(run: &mut Run<'_>, sessions: u32) -> Result<(), String> {
    let situation = situation(sessions);
    let needed = u64::from(sessions) * SESSION * CONTENDERS.len() as u64;
    if needed > memory::available() {
        return Err(format!("{situation} of all contenders take some {} MiB", needed >> 20));
    }
    let mut benches =
        run.benches(&CONTENDERS, Layout::default(), &table_for(sessions + sessions / 64));
    let flows = Flows::new(Profile::ManyHosts, sessions);
    let stream = Stream::outbound(flows);
    let rounds = run.effort.long_rounds;
    for round in 1..=rounds {
        for bench in &mut benches {
            let contender = bench.contender();
            run.say(&format!("{situation}, round {round} of {rounds}, {}", contender.title()));
            // They live for five minutes.
            if round == 1 {
                let opened = bench.open(flows)?;
                run.push(contender.key(), &situation, Metric::NewRate, opened.rate);
            }
            let sample = bench.measure(stream, run.effort.packets)?;
            run.push_sample(contender, &situation, &sample);
            if run.effort.everything && sessions > 1_000_000 {
                let stream = Stream { size: Size::Imix, ..stream };
                let sample = bench.measure(stream, run.effort.packets)?;
                run.push_sample(contender, &format!("{situation}, IMIX"), &sample);
            }
        }
    }
    run.say("removing the networks");
    Ok(())
}
