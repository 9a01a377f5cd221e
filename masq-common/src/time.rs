//! The clock of the data plane: coarse, 32 bits, never read in here.
//!
//! A tick is 2^27 ns, about 134 ms: a shift of the kernel's monotonic clock, no division. 32 bits
//! last 18 years; differences are taken modulo 2^32, so even the wrap does no harm.

use bytemuck::{Pod, Zeroable};

/// Nanoseconds a tick, as a shift.
pub const TICK_SHIFT: u32 = 27;

/// An instant of the data plane's clock, in ticks since boot (plus the offset that tests set).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Tick(pub u32);

/// A duration in ticks.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Pod, Zeroable)]
pub struct Span(pub u32);

impl Tick {
    /// From nanoseconds of CLOCK_MONOTONIC.
    #[inline(always)]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self((nanos >> TICK_SHIFT) as u32)
    }

    /// How long ago `earlier` was. An `earlier` that lies ahead (another CPU read the clock a
    /// little later) counts as now.
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> Span {
        let ticks = self.0.wrapping_sub(earlier.0);
        Span(if ticks > u32::MAX / 2 { 0 } else { ticks })
    }

    /// The later of two instants less than nine years apart.
    #[inline(always)]
    pub const fn later(self, other: Self) -> Self {
        if self.0.wrapping_sub(other.0) > u32::MAX / 2 { other } else { self }
    }
}

impl Span {
    /// From whole seconds, rounded up, so that a timer never fires early.
    pub const fn from_secs(secs: u32) -> Self {
        let ticks = (secs as u64 * 1_000_000_000).div_ceil(1 << TICK_SHIFT);
        Self(if ticks > (u32::MAX / 2) as u64 { u32::MAX / 2 } else { ticks as u32 })
    }

    /// In milliseconds, for people.
    pub const fn as_millis(self) -> u64 {
        ((self.0 as u64) << TICK_SHIFT) / 1_000_000
    }

    /// What is left after `other`, 0 if nothing.
    #[inline(always)]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_never_fires_early() {
        for secs in [1, 60, 120, 240, 300, 7440] {
            assert!(Span::from_secs(secs).as_millis() >= u64::from(secs) * 1000);
            assert!(Span::from_secs(secs).as_millis() < u64::from(secs) * 1000 + 135);
        }
    }

    #[test]
    fn the_wrap_of_the_clock_does_no_harm() {
        let (before, after) = (Tick(u32::MAX - 1), Tick(3));
        assert_eq!(after.since(before), Span(5));
        assert_eq!(before.since(after), Span(0));
        assert_eq!(before.later(after), after);
    }
}
