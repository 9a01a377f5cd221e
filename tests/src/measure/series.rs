//! The same thing measured several times.

use serde::{Deserialize, Serialize};

/// Measurements in the order in which they were made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Series(Vec<f64>);

impl Series {
    /// One more.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one in order of size; of an even number the mean of the middle two. `NaN` if
    /// nothing was measured.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// How far the measurements lie apart, as a share of the median.
    pub fn spread(&self) -> f64 {
        let (low, high) =
            self.0.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        (high - low) / self.median()
    }

    /// The greatest; 0 if nothing was measured.
    pub fn greatest(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::Series;

    #[test]
    fn the_median_does_not_care_about_one_that_is_far_off() {
        let series = Series(vec![1.0, 1000.0, 3.0]);
        assert_eq!(series.median(), 3.0);
        assert_eq!(Series(vec![1.0, 3.0]).median(), 2.0);
        assert!(Series::default().median().is_nan());
        assert_eq!(Series(vec![1.0, 2.0, 3.0]).spread(), 1.0);
    }
}
