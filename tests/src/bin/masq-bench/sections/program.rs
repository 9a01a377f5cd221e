//! Nanoseconds of each of masq's programs alone.

use masq_tests::measure::{
    below::Crossing,
    program::{CASES, Path, Programs, title},
};

use super::Run;
use crate::metric::Metric;

/// Measures. First packets are such only once, so every round loads everything anew.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let rounds = run.effort.few_rounds;
    for round in 1..=rounds {
        run.say(&format!("round {round} of {rounds}, loading"));
        let mut programs = Programs::load();
        for (hook, path) in CASES {
            run.say(&format!("round {round} of {rounds}, {}, {}", title(hook), path.title()));
            let nanos = programs.measure(hook, path)?;
            run.push(title(hook), path.title(), Metric::ProgramTime, nanos);
        }
        for crossing in Crossing::ALL {
            let title = crossing.title();
            run.say(&format!("round {round} of {rounds}, {title}"));
            for path in [Path::Established, Path::EstablishedMany] {
                let nanos = programs.measure_crossing(crossing, path)?;
                run.push(&title, path.title(), Metric::ProgramTime, nanos);
            }
        }
    }
    Ok(())
}
