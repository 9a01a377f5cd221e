//! TCP throughput: who is compared with whom stands in `throughput::CONTENDERS`.

use masq_tests::measure::{
    contender::Contender,
    stream::Direction,
    throughput::{Bench, CONTENDERS},
};

use super::Run;
use crate::metric::Metric;

/// What is added to the key of a contender whose hosts compute checksums and segments themselves.
pub const WITHOUT_OFFLOADS: &str = "hosts without offloads";

/// Which way, and over how many connections.
pub const SITUATIONS: [(&str, Direction, usize); 4] = [
    ("1 up", Direction::Outbound, 1),
    ("1 down", Direction::Inbound, 1),
    ("8 up", Direction::Outbound, 8),
    ("8 down", Direction::Inbound, 8),
];

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let all: Vec<Contender> = CONTENDERS.iter().map(|(contender, _)| *contender).collect();
    let wanted = run.wanted(&all);
    let mut benches = Vec::new();
    for (contender, offloads) in CONTENDERS {
        if wanted.contains(&contender) && (offloads || run.effort.everything) {
            run.say(&format!("setting up {}", contender.title()));
            benches.push((contender, offloads, Bench::new(contender, offloads)));
        }
    }
    let rounds = run.effort.long_rounds;
    for round in 1..=rounds {
        for (contender, offloads, bench) in &benches {
            let title = contender.title();
            run.say(&format!("round {round} of {rounds}, {title}"));
            let key = match offloads {
                true => contender.key().to_owned(),
                false => format!("{}/{WITHOUT_OFFLOADS}", contender.key()),
            };
            for (situation, direction, streams) in SITUATIONS {
                let rate = bench
                    .measure(direction, streams, run.effort.tcp)
                    .map_err(|e| format!("{title}: {e}"))?;
                run.push(&key, situation, Metric::BitRate, rate);
            }
        }
    }
    run.say("removing the networks");
    Ok(())
}
