//! Rounds of TCP throughput: who is compared with whom stands in `throughput::CONTENDERS`.

use masq_tests::{
    console::Progress,
    measure::{
        contender::Contender,
        frames::Direction,
        series::Series,
        throughput::{Bench, CONTENDERS},
    },
};

use crate::{
    Effort,
    record::{Record, TcpRow, direction_key},
};

/// Which way, and over how many connections.
pub const SITUATIONS: [(Direction, usize); 4] = [
    (Direction::Outbound, 1),
    (Direction::Inbound, 1),
    (Direction::Outbound, 8),
    (Direction::Inbound, 8),
];

/// Measures.
pub fn measure(effort: &Effort, progress: &Progress, record: &mut Record) -> Result<(), String> {
    let wanted = |(contender, _): &(Contender, bool)| effort.contenders.contains(contender);
    let contenders: Vec<_> = CONTENDERS.into_iter().filter(wanted).collect();
    let mut benches = Vec::new();
    for &(contender, offloads) in &contenders {
        progress.say(&format!("TCP: setting up {}", contender.title()));
        benches.push(Bench::new(contender, offloads));
        for (direction, streams) in SITUATIONS {
            record.tcp.push(TcpRow {
                contender: contender.key().to_owned(),
                offloads,
                direction: direction_key(direction).to_owned(),
                streams,
                rate: Series::default(),
            });
        }
    }
    let rounds = effort.tcp_rounds;
    for round in 1..=rounds {
        let mut rows = record.tcp.iter_mut();
        for ((contender, _), bench) in contenders.iter().zip(&benches) {
            progress.say(&format!("TCP, round {round} of {rounds}: {}", contender.title()));
            for (direction, streams) in SITUATIONS {
                let rate = bench
                    .measure(direction, streams, effort.tcp_time)
                    .map_err(|e| format!("{}: {e}", contender.title()))?;
                if let Some(row) = rows.next() {
                    row.rate.push(rate);
                }
            }
        }
    }
    progress.say("TCP: removing the networks");
    Ok(())
}
