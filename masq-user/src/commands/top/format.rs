//! Numbers in few characters.

/// Bytes a second as bits a second, in three digits and a decimal unit: `1.2M`.
pub fn bits(bytes: u64) -> String {
    short(bytes as f64 * 8.0)
}

/// A number in three digits and a decimal unit.
pub fn short(number: f64) -> String {
    let mut value = number;
    for unit in ["", "k", "M", "G", "T"] {
        if value < 999.5 || unit == "T" {
            let decimals = usize::from(value < 9.95 && (!unit.is_empty() || value.fract() > 0.05));
            return format!("{value:.decimals$}{unit}");
        }
        value /= 1000.0;
    }
    unreachable!("the last unit takes everything")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (number, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (7.0, "7"),
            (42.4, "42"),
            (999.0, "999"),
            (1_000.0, "1.0k"),
            (123_456.0, "123k"),
            (1_250_000.0, "1.2M"),
            (5e15, "5000T"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!(bits(125_000), "1.0M");
    }
}
