//! New sessions a second, and what many new ones cost those that are established.

use std::num::NonZero;

use masq_tests::{
    daemon::Mode,
    measure::{
        contender::Contender,
        line::Layout,
        rate::Bench,
        stream::{Flows, Profile, Stream},
    },
};

use super::Run;
use crate::metric::Metric;

/// Every packet is the first one of its flow.
pub const FRESH: &str = "first packets only";
/// Established flows with nothing else.
pub const UNDISTURBED: &str = "established";
/// Established flows, while one packet in ten is the first one of a flow.
pub const STORM: &str = "established, 10 % first packets besides";

const CONTENDERS: [Contender; 3] =
    [Contender::Nftables, Contender::Masq(Mode::Tc), Contender::Masq(Mode::Xdp)];
/// New flows in one measurement. All flows together are fewer than ports, so each finds its own free.
const NEW: u32 = 20_000;
/// Established flows.
const ESTABLISHED: u32 = 10_000;
/// New flows of the storm.
const IN_STORM: u32 = 25_000;
/// One packet in so many is of a new flow.
const EVERY: NonZero<u32> = NonZero::new(10).unwrap();

/// Measures. A flow is new only once, so there is a line for each round.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let rounds = run.effort.long_rounds;
    for round in 1..=rounds {
        for contender in run.wanted(&CONTENDERS) {
            let key = contender.key();
            run.say(&format!("round {round} of {rounds}, {}", contender.title()));
            let mut bench = Bench::new(contender, Layout::default(), &[]);
            let fresh = bench.send(Stream::outbound(Flows::new(Profile::OneHost, NEW)), NEW);
            run.push(key, FRESH, Metric::NewRate, fresh.rate);
            run.push(key, FRESH, Metric::NewLoss, fresh.loss);

            let flows = Flows::from(Profile::OneHost, NEW, ESTABLISHED);
            bench.open(flows)?;
            let stream = Stream::outbound(flows);
            let sample = bench.measure(stream, run.effort.packets)?;
            run.push_sample(contender, UNDISTURBED, &sample);
            let storm = Stream { new: Some((EVERY, NEW + ESTABLISHED)), ..stream };
            let sample = bench.send(storm, IN_STORM * EVERY.get());
            run.push_sample(contender, STORM, &sample);
            run.push(key, STORM, Metric::NewLoss, sample.new_loss);
        }
    }
    Ok(())
}
