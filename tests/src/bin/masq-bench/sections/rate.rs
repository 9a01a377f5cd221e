//! Packets a second over established flows, on one CPU: every contender on a line of its own, all of
//! them alive, one measured at a time.

use masq_tests::measure::{
    contender::Contender,
    line::Layout,
    stream::{Direction, Flows, Profile, Size, Stream},
};

use super::Run;

/// One flow.
pub const ONE: &str = "1 flow";

/// Many flows.
pub fn many(flows: u32) -> String {
    format!("{flows} flows")
}

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let mut benches = run.benches(&Contender::ALL, Layout::default(), &[]);
    let one = Flows::new(Profile::OneHost, 1);
    let all = Flows::new(Profile::OneHost, run.effort.flows);
    let many_flows = Stream::outbound(all);
    let mut situations = vec![
        (ONE.to_owned(), Stream::outbound(one)),
        (many(run.effort.flows), many_flows),
        ("answers".to_owned(), Stream { direction: Direction::Inbound, ..many_flows }),
    ];
    if run.effort.everything {
        situations.push(("IMIX".to_owned(), Stream { size: Size::Imix, ..many_flows }));
    }
    let rounds = run.effort.rounds;
    for round in 1..=rounds {
        for bench in &mut benches {
            let contender = bench.contender();
            run.say(&format!("round {round} of {rounds}, {}", contender.title()));
            bench.open(all)?;
            for (situation, stream) in &situations {
                if contender == Contender::Alone && stream.direction == Direction::Inbound {
                    continue;
                }
                let sample = bench.measure(*stream, run.effort.packets)?;
                run.push_sample(contender, situation, &sample);
            }
        }
    }
    run.say("removing the networks");
    Ok(())
}
