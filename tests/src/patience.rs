//! How long the suites wait for what has to happen: limits that only a test that fails reaches.
//!
//! On an emulated processor everything takes many times as long as on a real one, and loading the
//! programs most of all. There the variable `MASQ_TEST_PATIENCE` stretches every limit that goes
//! through [`stretched`], and slows down what sends at a pace of its own; `cargo xtask vm` sets it.
//! Times that a test measures, or within which something must *not* happen, are no limits of this kind.

use std::{env, sync::OnceLock, time::Duration};

/// A whole number that limits are multiplied by.
pub const VARIABLE: &str = "MASQ_TEST_PATIENCE";

/// A limit for this machine: `limit`, which is one for a busy real processor, times the factor in
/// the environment.
///
/// # Panics
/// If the variable is set and holds no factor from 1 to 1000.
pub fn stretched(limit: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    limit * *FACTOR.get_or_init(|| factor(env::var(VARIABLE).ok().as_deref()))
}

/// The usual limit, of one exchange.
pub fn patience() -> Duration {
    stretched(Duration::from_secs(20))
}

fn factor(text: Option<&str>) -> u32 {
    let Some(text) = text else { return 1 };
    let factor = text.parse().ok().filter(|factor| (1..=1000).contains(factor));
    factor.unwrap_or_else(|| panic!("{VARIABLE} is {text:?} and no factor from 1 to 1000"))
}

#[cfg(test)]
mod tests {
    use super::factor;

    #[test]
    fn without_the_variable_limits_are_as_they_stand() {
        assert_eq!(factor(None), 1);
        assert_eq!(factor(Some("5")), 5);
    }

    #[test]
    #[should_panic(expected = "no factor")]
    fn a_factor_that_would_end_every_wait_at_once_is_refused() {
        factor(Some("0"));
    }
}
