//! Packets a second on one CPU and on two, with a queue of every interface for each: what a second
//! CPU adds.

use masq_tests::measure::{
    contender::Contender,
    cpu,
    line::Layout,
    stream::{Flows, Profile, Size, Stream},
};

use super::Run;

/// One CPU, and two.
pub const SITUATIONS: [&str; 2] = ["one CPU", "two CPUs"];

/// Measures.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let cpus = cpu::all();
    let &[last, other, ..] = cpus else {
        return Err("this machine has one CPU only".to_owned());
    };
    // A queue for each CPU that there is, so that none is shared.
    let queues = 1 + cpus.iter().copied().max().unwrap_or(1) as u32;
    let mut benches = run.benches(&Contender::ALL, Layout { queues, ..Layout::default() }, &[]);
    let flows = Flows::new(Profile::OneHost, run.effort.flows);
    let streams: &[(&str, Size)] = if run.effort.everything {
        &[("", Size::Smallest), (", IMIX", Size::Imix)]
    } else {
        &[("", Size::Smallest)]
    };
    let rounds = run.effort.long_rounds;
    for round in 1..=rounds {
        for bench in &mut benches {
            let contender = bench.contender();
            run.say(&format!("round {round} of {rounds}, {}", contender.title()));
            bench.open(flows)?;
            for (suffix, size) in streams {
                let stream = Stream { size: *size, ..Stream::outbound(flows) };
                for (situation, cpus) in SITUATIONS.iter().zip([&[last][..], &[last, other]]) {
                    let sample = bench.measure_on(stream, cpus, run.effort.packets)?;
                    run.push_sample(contender, &format!("{situation}{suffix}"), &sample);
                }
            }
        }
    }
    run.say("removing the networks");
    Ok(())
}
