//! The data plane's clock, read from userspace.

use anyhow::{Context as _, Result};
use masq_common::time::Tick;
use nix::time::{ClockId, clock_gettime};

/// Now, as the programs see it: CLOCK_MONOTONIC plus the offset in the settings.
pub fn now(offset: u64) -> Result<Tick> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).context("cannot read the clock")?;
    let nanos = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
    Ok(Tick::from_nanos(nanos.wrapping_add(offset)))
}
