//! Ports that are never given to LAN hosts although no socket of the router has them now: those that
//! the user names (`--reserve-ports`) and those that the kernel keeps for programs which ask for them
//! (`net.ipv4.ip_local_reserved_ports`). Ports that a socket has need no list: the kernel programs
//! ask.

use std::fs;

use anyhow::{Context as _, Result};
use masq_common::ports::Pool;

use crate::config::Config;

/// The kernel's list, in the network namespace of whoever reads it.
const SYSCTL: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// The ports that the user and the kernel keep.
pub fn all(config: &Config) -> Result<Vec<Pool>> {
    let mut pools = config.reserved_ports.clone();
    pools.extend(of_the_kernel()?);
    Ok(pools)
}

/// The ports that the kernel keeps.
pub fn of_the_kernel() -> Result<Vec<Pool>> {
    let text = fs::read_to_string(SYSCTL).with_context(|| format!("cannot read {SYSCTL}"))?;
    parse(text.trim()).with_context(|| format!("{SYSCTL} is not a list of ports: {text:?}"))
}

/// Reads a list such as `8080,9000-9010`; `None` if it is none. An empty text is an empty list.
pub fn parse(text: &str) -> Option<Vec<Pool>> {
    let port = |text: &str| text.trim().parse::<u16>().ok();
    let range = |text: &str| {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let pool = Pool { low: port(low)?, high: port(high)? };
        (!pool.is_empty()).then_some(pool)
    };
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        assert_eq!(parse(""), Some(vec![]));
        let expected = vec![Pool { low: 80, high: 80 }, Pool { low: 9000, high: 9010 }];
        assert_eq!(parse("80,9000-9010"), Some(expected));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [",", "80,", "a", "80-", "90-80", "65536", "1;2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_kernels_list_can_be_read_here() {
        assert!(of_the_kernel().is_ok());
    }
}
