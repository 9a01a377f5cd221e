//! The comparison with an earlier run: of ratios to nftables in the same run, never of absolute
//! figures.

use anstream::println;
use masq_tests::console::{BOLD, RED, RESET};

use crate::{
    metric::Better,
    record::{Record, title},
    tables::relative,
};

/// By how much masq may be worse, relative to nftables in the same run, than it was.
/// More than two runs of the same programs differ by on a busy machine.
const TOLERANCE: f64 = 0.20;

/// Prints how masq stands to nftables now and then; `false` if it has become worse.
pub fn compare(record: &Record, earlier: &Record) -> bool {
    println!("\n{BOLD}Relative to nftables, now and in the run compared with{RESET}");
    let mut good = true;
    for row in record.rows.iter().filter(|row| row.contender.starts_with("masq")) {
        let before = earlier.row(row.section, &row.contender, &row.situation, row.metric);
        let before = before.and_then(|before| relative(earlier, before));
        let (Some(now), Some(before), Some(better)) =
            (relative(record, row), before, row.metric.better())
        else {
            continue;
        };
        let worse = is_worse(now, before, better);
        good &= !worse;
        let mark = if worse { format!("{RED}worse{RESET}") } else { String::new() };
        println!(
            "  {:34}{:40}{now:>8.2}{before:>8.2}  {mark}",
            title(&row.contender),
            row.situation
        );
    }
    good
}

fn is_worse(now: f64, before: f64, better: Better) -> bool {
    match better {
        Better::More => now < before * (1.0 - TOLERANCE),
        Better::Less => now > before / (1.0 - TOLERANCE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_is_the_other_way_round_where_less_is_better() {
        assert!(is_worse(3.0, 4.0, Better::More) && !is_worse(5.0, 4.0, Better::More));
        assert!(is_worse(0.8, 0.6, Better::Less) && !is_worse(0.5, 0.6, Better::Less));
        assert!(!is_worse(3.5, 4.0, Better::More), "within the tolerance");
    }
}
