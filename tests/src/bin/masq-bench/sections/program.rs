//! Nanoseconds of each of masq's programs alone.

use masq_tests::measure::program::{CASES, Programs, title};

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
    }
    Ok(())
}
