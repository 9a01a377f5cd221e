//! The clocks: that of the data plane, read from userspace, and the one on the wall.

use anyhow::{Context as _, Result};
use masq_common::time::Tick;
use nix::time::{ClockId, clock_gettime};

/// Now, as the programs see it: CLOCK_MONOTONIC plus the offset in the settings.
pub fn now(offset: u64) -> Result<Tick> {
    Ok(Tick::from_nanos(read(ClockId::CLOCK_MONOTONIC)?.wrapping_add(offset)))
}

/// When the programs' clock would have begun, in nanoseconds since 1970: with this and their
/// nanoseconds one has the time of day. It changes when somebody sets the clock.
pub fn epoch(offset: u64) -> Result<i64> {
    let monotonic = read(ClockId::CLOCK_MONOTONIC)?.wrapping_add(offset);
    Ok(read(ClockId::CLOCK_REALTIME)?.wrapping_sub(monotonic) as i64)
}

/// The time of day, in nanoseconds since 1970.
pub fn wall() -> Result<i64> {
    Ok(read(ClockId::CLOCK_REALTIME)? as i64)
}

fn read(clock: ClockId) -> Result<u64> {
    let time = clock_gettime(clock).context("cannot read the clock")?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
