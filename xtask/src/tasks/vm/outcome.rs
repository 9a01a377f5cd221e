//! What came of a suite in an emulated machine, read from what it printed.
//!
//! Both kinds end with a line with `N passed; M failed`, and say before it which failed: `FAIL name`
//! in a script, `test name ... FAILED` in a test program.

use std::fmt;

/// One suite on one kernel.
pub struct Outcome {
    kernel: String,
    suite: String,
    /// Whether it ended well: all checks made, none failed.
    pub success: bool,
    counts: Option<(u32, u32)>,
    /// The names of what failed.
    pub failed: Vec<String>,
}

impl Outcome {
    /// Reads `output`; `success` is what the exit status said.
    pub fn new(kernel: &str, suite: &str, success: bool, output: &str) -> Self {
        let counts = counts(output);
        // A status alone proves nothing: what was run must have counted.
        let success = success && counts.is_some_and(|(passed, failed)| passed > 0 && failed == 0);
        let (kernel, suite) = (kernel.to_owned(), suite.to_owned());
        Self {
            kernel,
            suite,
            success,
            counts,
            failed: output.lines().filter_map(failure).collect(),
        }
    }

    /// A few words for a progress line.
    pub fn remark(output: &str) -> String {
        counts(output).map_or_else(String::new, |(passed, _)| format!("{passed} passed"))
    }
}

/// A line of the table.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<28} {:<9} ", self.kernel, self.suite)?;
        match self.counts {
            Some((passed, failed)) => write!(f, "{passed:>4} passed {failed:>4} failed"),
            None => f.write_str("not finished"),
        }
    }
}

fn counts(output: &str) -> Option<(u32, u32)> {
    output.lines().rev().find_map(|line| {
        let (before, after) = line.split_once(" passed; ")?;
        let passed = before.rsplit(' ').next()?.parse().ok()?;
        let failed = after.split_once(" failed")?.0.parse().ok()?;
        Some((passed, failed))
    })
}

fn failure(line: &str) -> Option<String> {
    let test = || line.strip_prefix("test ")?.strip_suffix(" ... FAILED");
    line.strip_prefix("FAIL ").or_else(test).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn a_script_that_failed_names_its_checks() {
        let output = "PASS ping\nFAIL redial: ping\n     lost\nppp: 1 passed; 1 failed\n";
        let outcome = Outcome::new("6.1", "ppp", false, output);
        assert!(!outcome.success);
        assert_eq!(outcome.failed, ["redial: ping"]);
        assert!(outcome.to_string().ends_with("1 passed    1 failed"));
    }

    #[test]
    fn a_test_program_is_read_too() {
        let output = "test udp::echo ... ok\ntest tcp::echo ... FAILED\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n";
        let outcome = Outcome::new("6.1", "netns", false, output);
        assert_eq!(outcome.failed, ["tcp::echo"]);
        assert_eq!(Outcome::remark(output), "1 passed");
    }

    #[test]
    fn an_exit_status_without_counts_is_no_success() {
        let outcome = Outcome::new("6.1", "ppp", true, "PASS ping\n");
        assert!(!outcome.success);
        assert!(outcome.to_string().ends_with("not finished"));
        let nothing = "test result: ok. 0 passed; 0 failed; 0 ignored\n";
        assert!(!Outcome::new("6.1", "netns", true, nothing).success);
    }
}
