//! Round trips through each router: with nothing else to do, with half of the packets that nftables
//! can take (the same for all), and with half of what it can take itself.

use masq_tests::{
    daemon::Mode,
    measure::{
        contender::Contender,
        latency::{FEWEST, Probe},
        line::Layout,
        rate::Bench,
        stream::{Flows, Profile, Stream},
    },
};

use super::Run;
use crate::metric::Metric;

/// A thousand packets a second.
pub const UNLOADED: &str = "light load";
/// The same load for all.
pub const HALF_OF_NFTABLES: &str = "half of nftables' maximum";
/// Each with its own load.
pub const HALF_OF_OWN: &str = "half of its own maximum";

const CONTENDERS: [Contender; 5] = [
    Contender::Plain,
    Contender::Nftables,
    Contender::BareXdp,
    Contender::Masq(Mode::Tc),
    Contender::Masq(Mode::Xdp),
];
/// Packets a second that keep nobody busy.
const LIGHT: f64 = 1_000.0;

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let flows = Flows::new(Profile::OneHost, run.effort.flows);
    let stream = Stream::outbound(flows);
    let mut routers = Vec::new();
    let mut contenders = run.wanted(&CONTENDERS);
    if !run.effort.everything {
        contenders.retain(|contender| contender.translates());
    }
    for contender in contenders {
        run.say(&format!("setting up {}", contender.title()));
        let mut bench = Bench::new(contender, Layout::default(), &[]);
        // Of all, so that what the hosts do is the same.
        bench.line().without_offloads();
        bench.open(flows)?;
        let most = bench.measure(stream, run.effort.packets)?.rate;
        let probe = Probe::new(bench.line()).map_err(|e| format!("{}: {e}", contender.title()))?;
        routers.push((bench, probe, most));
    }
    let nftables = routers.iter().find(|(bench, ..)| bench.contender() == Contender::Nftables);
    let nftables = nftables.map(|(.., most)| most / 2.0);
    let rounds = run.effort.long_rounds;
    for round in 1..=rounds {
        for (bench, probe, most) in &mut routers {
            let contender = bench.contender();
            run.say(&format!("round {round} of {rounds}, {}", contender.title()));
            bench.open(flows)?;
            let loads = [
                (UNLOADED, Some(LIGHT)),
                (HALF_OF_NFTABLES, nftables),
                (HALF_OF_OWN, Some(*most / 2.0)),
            ];
            for (situation, pace) in loads {
                let Some(pace) = pace else { continue };
                let stream = Stream { pace: Some(pace), ..stream };
                let probing = |is_over: &(dyn Fn() -> bool + Sync)| probe.measure(is_over);
                let (trips, loss, _) = bench.while_sending(stream, run.effort.latency, probing)?;
                let trips =
                    trips.map_err(|e| format!("{}, {situation}: {e}", contender.title()))?;
                let key = contender.key();
                if trips.count < FEWEST {
                    if situation == HALF_OF_OWN {
                        // The load has left the other CPU too little time, which says nothing of the probes
                        // that were lost.
                        run.push(key, situation, Metric::Loss, loss);
                        continue;
                    }
                    let (title, count) = (contender.title(), trips.count);
                    return Err(format!("{title}, {situation}: only {count} round trips"));
                }
                let lost = trips.lost as f64 / (trips.lost + trips.count) as f64;
                run.push(key, situation, Metric::Loss, loss.max(lost));
                run.push(key, situation, Metric::Median, trips.median.as_secs_f64());
                run.push(key, situation, Metric::P99, trips.p99.as_secs_f64());
            }
        }
    }
    run.say("removing the networks");
    Ok(())
}
