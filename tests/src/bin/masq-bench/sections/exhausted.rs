//! Out of ports, and with a full table: how much the router takes of what it has to refuse, and
//! whether established flows notice.

use std::{num::NonZero, time::Duration};

use masq_tests::{
    daemon::Mode,
    measure::{
        conntrack::Limits,
        contender::Contender,
        line::Layout,
        rate::{Bench, Sample},
        stream::{Flows, Profile, Stream},
    },
};

use super::{Run, table_for};
use crate::metric::Metric;

/// More flows to one remote endpoint than there are ports.
pub const NO_PORTS: &str = "out of ports";
/// More flows than the table has room for.
pub const FULL: &str = "table full";

const CONTENDERS: [Contender; 3] =
    [Contender::Nftables, Contender::Masq(Mode::Tc), Contender::Masq(Mode::Xdp)];
/// Flows that are offered, in all.
const OFFERED: u32 = 900_000;
/// Established ones.
const ESTABLISHED: u32 = 10_000;
/// Flows that are opened between two looks at how many are refused.
const STEP: u32 = 4_000;
/// Longest time for filling, in CPU time.
const FILLING: Duration = Duration::from_secs(20);
/// From so many refused on there are no ports. Not all: some find one that was overlooked.
const REFUSED: f64 = 0.9;
/// One packet in so many is of a flow that is not established.
const EVERY: NonZero<u32> = NonZero::new(2).unwrap();

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let table = Limits::now().most().unwrap_or(1 << 18);
    let mut situations = vec![(NO_PORTS, Profile::OneRemote)];
    let fits = table < OFFERED;
    if run.effort.everything && fits {
        situations.push((FULL, Profile::ManyHosts));
    }
    let rounds = run.effort.few_rounds;
    for round in 1..=rounds {
        for &(situation, profile) in &situations {
            for contender in run.wanted(&CONTENDERS) {
                let title = contender.title();
                run.say(&format!("{situation}, round {round} of {rounds}, {title}"));
                let mut bench =
                    Bench::new(contender, Layout::default(), &table_for(table.min(OFFERED)));
                let established = Flows::new(profile, ESTABLISHED);
                bench.open(established)?;
                let next = match profile {
                    Profile::OneRemote => fill_ports(&mut bench, profile)
                        .map_err(|e| format!("{situation}, {title}: {e}"))?,
                    _ => fill_table(&mut bench, profile, table),
                };
                let stream = Stream { new: Some((EVERY, next)), ..Stream::outbound(established) };
                let sample = offer(&mut bench, stream, run.effort.packets);
                let key = contender.key();
                run.push(key, situation, Metric::OfferedRate, sample.offered);
                run.push_sample(contender, situation, &sample);
            }
        }
    }
    if fits {
        Ok(())
    } else {
        Err(format!("{FULL}: the machine tracks up to {table} connections, too many to offer more"))
    }
}

/// Opens more flows than the table has room for; the number of the next one. nftables does not
/// refuse them: it forgets older ones that were not answered.
fn fill_table(bench: &mut Bench, profile: Profile, table: u32) -> u32 {
    let flows = Flows::from(profile, ESTABLISHED, table + table / 16);
    bench.send(Stream::outbound(flows), flows.count.get());
    flows.first + flows.count.get()
}

/// Opens flows until ports run out; the number of the next one.
fn fill_ports(bench: &mut Bench, profile: Profile) -> Result<u32, String> {
    let mut next = ESTABLISHED;
    let mut spent = Duration::ZERO;
    let mut last = Vec::new();
    while next + STEP < OFFERED {
        let sample = bench.send(Stream::outbound(Flows::from(profile, next, STEP)), STEP);
        next += STEP;
        if sample.loss > REFUSED {
            return Ok(next);
        }
        spent += Duration::from_secs_f64(f64::from(STEP) / sample.offered);
        last.push(sample.loss);
        if spent > FILLING {
            break;
        }
    }
    let loss = last.last().copied().unwrap_or_default();
    Err(format!("{next} flows later still only {:.0} % are refused", loss * 100.0))
}

/// Sends for about `duration`: as many packets as a first few suggest.
fn offer(bench: &mut Bench, stream: Stream, duration: Duration) -> Sample {
    let first = bench.send(stream, 1_000);
    let number = (first.offered * duration.as_secs_f64()).clamp(1_000.0, 1e6) as u32;
    bench.send(stream, number)
}
