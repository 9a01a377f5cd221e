//! Rounds of packet rates: every contender on a line of its own, all of them alive, one measured
//! at a time.

use std::num::NonZero;

use masq_tests::{
    console::Progress,
    measure::{
        contender::Contender,
        frames::{Direction, Size},
        rate::Bench,
        series::Series,
    },
};

use crate::{
    Effort,
    record::{PacketRow, Record, Situation, direction_key, size_key},
};

/// What is measured of each contender.
pub fn situations(flows: NonZero<u32>, imix: bool) -> Vec<Situation> {
    let one = NonZero::<u32>::MIN;
    let mut situations = vec![
        (Direction::Outbound, one, Size::Smallest),
        (Direction::Outbound, flows, Size::Smallest),
        (Direction::Inbound, flows, Size::Smallest),
    ];
    if imix {
        situations.push((Direction::Outbound, flows, Size::Imix));
    }
    situations
}

/// Measures.
pub fn measure(effort: &Effort, progress: &Progress, record: &mut Record) -> Result<(), String> {
    let mut benches: Vec<Bench> = Vec::new();
    for &contender in &effort.contenders {
        progress.say(&format!("packets: setting up {}", contender.title()));
        benches.push(Bench::new(contender));
    }
    let situations = situations(effort.flows, effort.imix);
    let rounds = effort.packet_rounds;
    for round in 1..=rounds {
        for bench in &mut benches {
            let title = bench.contender().title();
            progress.say(&format!("packets, round {round} of {rounds}: {title}"));
            // Sessions of the last round may have timed out (after 30 s in the kernel).
            bench.open(NonZero::<u32>::MIN)?;
            bench.open(effort.flows)?;
            for &situation in &situations {
                let inbound = situation.0 == Direction::Inbound;
                if bench.contender() == Contender::Alone && inbound {
                    continue;
                }
                let sample = bench.measure(situation, effort.packet_time)?;
                let row = row(record, bench.contender(), situation);
                row.rate.push(sample.rate);
                row.wall_rate.push(sample.wall_rate);
                row.share.push(sample.share);
                row.loss.push(sample.loss);
            }
        }
    }
    progress.say("packets: removing the networks");
    Ok(())
}

/// The row to add a measurement to.
fn row(record: &mut Record, contender: Contender, situation: Situation) -> &mut PacketRow {
    let (direction, flows, size) = situation;
    let rows = &mut record.packets;
    let is_it = |row: &PacketRow| {
        row.contender == contender.key()
            && row.direction == direction_key(direction)
            && row.flows == flows.get()
            && row.size == size_key(size)
    };
    let index = rows.iter().position(is_it).unwrap_or_else(|| {
        rows.push(PacketRow {
            contender: contender.key().to_owned(),
            direction: direction_key(direction).to_owned(),
            flows: flows.get(),
            size: size_key(size).to_owned(),
            rate: Series::default(),
            wall_rate: Series::default(),
            share: Series::default(),
            loss: Series::default(),
        });
        rows.len() - 1
    });
    &mut rows[index]
}
