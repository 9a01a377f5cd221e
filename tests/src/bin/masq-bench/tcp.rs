//! Rounds of TCP throughput.
//!
//! Native XDP on veth needs hosts that compute checksums and segments themselves, which costs them
//! more than the router can save. So the yardsticks are measured with and without these offloads,
//! and each kind of masq is compared with the yardstick of its own kind.

use masq_tests::{
    console::Progress,
    daemon::Mode,
    measure::{
        contender::{Contender, Running},
        frames::Direction,
        line::Line,
        series::Series,
        throughput,
    },
};

use crate::{
    Effort,
    record::{Record, TcpRow, direction_key},
};

/// Who is measured, and whether with offloads.
pub const CONTENDERS: [(Contender, bool); 6] = [
    (Contender::Plain, true),
    (Contender::Nftables, true),
    (Contender::Masq(Mode::Tc), true),
    (Contender::Plain, false),
    (Contender::Nftables, false),
    (Contender::Masq(Mode::Xdp), false),
];

/// Which way, and over how many connections.
pub const SITUATIONS: [(Direction, usize); 4] = [
    (Direction::Outbound, 1),
    (Direction::Inbound, 1),
    (Direction::Outbound, 8),
    (Direction::Inbound, 8),
];

/// Measures.
pub fn measure(effort: Effort, progress: &Progress, record: &mut Record) -> Result<(), String> {
    let mut lines: Vec<(Running, Line)> = Vec::new();
    for (contender, offloads) in CONTENDERS {
        progress.say(&format!("TCP: setting up {}", contender.title()));
        let line = Line::new();
        if !offloads {
            line.without_offloads();
        }
        lines.push((contender.start(&line), line));
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
        for ((contender, _), (_, line)) in CONTENDERS.iter().zip(&lines) {
            progress.say(&format!("TCP, round {round} of {rounds}: {}", contender.title()));
            for (direction, streams) in SITUATIONS {
                let rate = throughput::measure(line, direction, streams, effort.tcp_time)
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
