//! The recorded numbers: how they are written, and what counts as worse.

use std::{fmt, fmt::Write as _, process::Command};

/// What one program cost, loaded one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub program: String,
    /// Whether its development log was on; or `pkts` if it recorded packets.
    pub trace: String,
    /// Instructions that the verifier walked through, over all paths.
    pub instructions: u32,
    /// Bytes of stack of the program and its functions.
    pub stack: u32,
    /// Bytes of the program after the verifier's rewriting.
    pub code: u32,
}

/// What else decides the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions(String);

/// Rows and where they were measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// Kernel and compiler.
    pub conditions: Conditions,
    /// One for each program and way of loading it.
    pub rows: Vec<Row>,
}

/// How much a number may grow: by this share, or by so little that it does not matter.
struct Slack {
    percent: u32,
    floor: u32,
}

const INSTRUCTIONS: Slack = Slack { percent: 5, floor: 50 };
const CODE: Slack = Slack { percent: 5, floor: 50 * 8 };
const STACK: Slack = Slack { percent: 5, floor: 32 };

/// Under another kernel or compiler the numbers move by themselves.
const OTHER_CONDITIONS_PERCENT: u32 = 30;

impl Conditions {
    /// This machine's kernel series and the compiler of the kernel programs.
    pub fn here() -> Self {
        let kernel = Command::new("uname").arg("-r").output().expect("run uname").stdout;
        let kernel = String::from_utf8_lossy(&kernel).into_owned();
        let series: Vec<_> = kernel.split('.').take(2).collect();
        let compiler = xtask::toolchain::find()
            .map_or_else(|_| "unknown".to_owned(), |toolchain| toolchain.compiler.release);
        Self(format!("kernel {}, rustc {compiler}", series.join(".")))
    }
}

impl Baseline {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let conditions = text
            .lines()
            .find_map(|line| line.strip_prefix("# measured with "))
            .ok_or("names no kernel and compiler")?;
        let rows = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(|line| Row::parse(line).ok_or_else(|| format!("cannot read `{line}`")))
            .collect::<Result<_, _>>()?;
        Ok(Self { conditions: Conditions(conditions.to_owned()), rows })
    }

    fn find(&self, row: &Row) -> Option<&Row> {
        self.rows.iter().find(|it| it.program == row.program && it.trace == row.trace)
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let [program, trace, instructions, stack, code] =
            line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            program: program.to_owned(),
            trace: trace.to_owned(),
            instructions: instructions.parse().ok()?,
            stack: stack.parse().ok()?,
            code: code.parse().ok()?,
        })
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# What the kernel's verifier says of each program, with its development log")?;
        writeln!(
            f,
            "# (`masq run --trace`) off and on, and (pkts) recording packets for `masq trace`.\n\
             # `cargo xtask verifier --update` writes this."
        )?;
        writeln!(f, "# measured with {}", self.conditions.0)?;
        writeln!(f, "# program       trace  instructions  stack   code")?;
        for row in &self.rows {
            let Row { program, trace, instructions, stack, code } = row;
            writeln!(f, "{program:<15} {trace:<5} {instructions:>13} {stack:>6} {code:>6}")?;
        }
        Ok(())
    }
}

/// A table of both, and a sentence for each number that has grown too much.
pub fn compare(recorded: &Baseline, measured: &Baseline) -> (String, Vec<String>) {
    let mut table = format!(
        "recorded with {}, measured with {}\n{:<15} {:<5} {:>15} {:>12} {:>15}\n",
        recorded.conditions.0,
        measured.conditions.0,
        "program",
        "trace",
        "instructions",
        "stack",
        "code"
    );
    let mut complaints = Vec::new();
    let same = recorded.conditions == measured.conditions;
    for now in &measured.rows {
        let name = format!("{} (trace {})", now.program, now.trace);
        let Some(then) = recorded.find(now) else {
            complaints.push(format!("{name} is not in the baseline"));
            continue;
        };
        let numbers = [
            ("instructions", then.instructions, now.instructions, INSTRUCTIONS),
            ("stack", then.stack, now.stack, STACK),
            ("code", then.code, now.code, CODE),
        ];
        let cells = numbers.each_ref().map(|(_, then, now, _)| change(*then, *now));
        let [instructions, stack, code] = cells;
        let (program, trace) = (&now.program, &now.trace);
        // Writing to a String cannot fail.
        let _ =
            writeln!(table, "{program:<15} {trace:<5} {instructions:>15} {stack:>12} {code:>15}");
        for (what, then, now, slack) in numbers {
            if slack.is_exceeded(then, now, same) {
                complaints.push(format!("{name}: {what} grew from {then} to {now}"));
            }
        }
    }
    for gone in recorded.rows.iter().filter(|row| measured.find(row).is_none()) {
        complaints.push(format!("{} (trace {}) is gone", gone.program, gone.trace));
    }
    (table, complaints)
}

fn change(then: u32, now: u32) -> String {
    if then == now { now.to_string() } else { format!("{then} → {now}") }
}

impl Slack {
    fn is_exceeded(&self, then: u32, now: u32, same_conditions: bool) -> bool {
        let percent =
            if same_conditions { self.percent } else { self.percent.max(OTHER_CONDITIONS_PERCENT) };
        let growth = u64::from(now.saturating_sub(then));
        growth > u64::from(self.floor) && growth * 100 > u64::from(then) * u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::{Baseline, Conditions, Row, compare};

    fn baseline(instructions: u32) -> Baseline {
        let row = Row {
            program: "fast_xdp".to_owned(),
            trace: "off".to_owned(),
            instructions,
            stack: 208,
            code: 4096,
        };
        Baseline { conditions: Conditions("kernel 6.18, rustc 1.96.0".to_owned()), rows: vec![row] }
    }

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(Baseline::parse(&baseline(1180).to_string()), Ok(baseline(1180)));
        assert!(Baseline::parse("fast_xdp off 1180 208 4096").is_err());
        assert!(Baseline::parse("# measured with x\nfast_xdp off many 208 4096").is_err());
    }

    #[test]
    fn growth_counts_when_it_is_large_in_share_and_in_number() {
        let complaints = |then, now| compare(&baseline(then), &baseline(now)).1.len();
        assert_eq!(complaints(1000, 1050), 0, "5 % and 50 are allowed");
        assert_eq!(complaints(1000, 1051), 1);
        assert_eq!(complaints(100, 150), 0, "small numbers may move");
        assert_eq!(complaints(10_000, 10_400), 0, "4 % of a large one too");
        assert_eq!(complaints(1000, 500), 0, "less is never worse");
    }

    #[test]
    fn another_kernel_is_given_more_room_but_not_all() {
        let mut other = baseline(1200);
        other.conditions = Conditions("kernel 6.1, rustc 1.96.0".to_owned());
        assert!(compare(&baseline(1000), &other).1.is_empty());
        other.rows[0].instructions = 1400;
        assert_eq!(compare(&baseline(1000), &other).1.len(), 1);
    }

    #[test]
    fn programs_that_come_or_go_are_noticed() {
        let mut renamed = baseline(1000);
        renamed.rows[0].program = "retire".to_owned();
        assert_eq!(compare(&baseline(1000), &renamed).1.len(), 2);
    }
}
