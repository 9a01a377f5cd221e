//! Durations as people write them: `300`, `90s`, `5m`, `2h4m`. Reading and writing, no clock.

use std::fmt;

/// Seconds a unit; written from the largest to the smallest.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Longest duration that is taken: about nine years, the range of the data plane's clock.
const MAX_SECS: u64 = 9 * 365 * 86_400;

/// Reads a duration in whole seconds. A bare number is seconds.
pub fn parse_secs(text: &str) -> Result<u32, String> {
    let secs = match text.parse::<u64>() {
        Ok(secs) => Some(secs),
        Err(_) => sum_of_units(text),
    };
    match secs {
        None => {
            Err("expected seconds, or a number with units, such as 300, 90s, 5m or 2h4m".into())
        }
        Some(0) => Err("has to be at least one second".into()),
        Some(secs) if secs > MAX_SECS => Err("is longer than nine years".into()),
        Some(secs) => u32::try_from(secs).map_err(|error| error.to_string()),
    }
}

/// Like [`parse_secs`], where zero means that there is none.
pub fn parse_secs_or_none(text: &str) -> Result<u32, String> {
    if matches!(text, "0" | "0s") { Ok(0) } else { parse_secs(text) }
}

/// Adds up `2h4m` and the like: each unit at most once, from the largest to the smallest.
fn sum_of_units(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let (_, secs) = units.find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.checked_mul(*secs)?)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    (!text.is_empty()).then_some(sum)
}

/// Shows a number of seconds with its two largest units, such as `2h4m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secs(pub u64);

impl fmt::Display for Secs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut text = String::new();
        let mut shown = 0;
        for (name, secs) in UNITS {
            if rest >= secs && shown < 2 {
                text.push_str(&format!("{}{name}", rest / secs));
                rest %= secs;
                shown += 1;
            } else if shown == 1 {
                break;
            }
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_units_are_read() {
        for (text, secs) in
            [("300", 300), ("90s", 90), ("5m", 300), ("2h4m", 7440), ("1d1s", 86_401)]
        {
            assert_eq!(parse_secs(text), Ok(secs), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "m", "5x", "4m2h", "5m5m", "5m3", "-1", "1.5s", "0", "0m", "99999999999d"]
        {
            assert!(parse_secs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn two_units_are_shown() {
        let shown =
            [(0, "0s"), (59, "59s"), (60, "1m"), (7440, "2h4m"), (90_061, "1d1h"), (86_401, "1d")];
        for (secs, text) in shown {
            assert_eq!(Secs(secs).to_string(), text);
        }
    }
}
