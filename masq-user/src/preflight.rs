//! What `masq run` makes of the checks ([`crate::check`]): what cannot work is refused before anything
//! is touched, in one sentence that says what to do; what will work badly is logged once.

use std::fmt;

use crate::{
    check::{self, Facts, Finding, Severity, facts::Kernel, interfaces, kernel},
    config::Config,
    error::{Error, Result},
    netlink::{Netlink, Snapshot},
    plan::Plan,
};

/// Version of a kernel, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Release {
    major: u32,
    minor: u32,
}

/// The oldest kernel that masq runs on. Older ones lack parts of the verifier and of
/// BPF_PROG_TEST_RUN that masq relies on.
pub const OLDEST: Release = Release::new(6, 1);

impl Release {
    /// Major and minor number.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// From `uname -r`, such as `6.1.0-13-amd64`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        Some(Self { major: next()?, minor: next()? })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Findings that other parts of the daemon report by themselves, as part of what they do.
const SAID_ELSEWHERE: [&str; 3] = ["addresses.none", "addresses.overlap", "kernel.lockdown"];

/// Privileges, kernel and memory; returns what is known of the kernel.
pub fn machine(config: &Config) -> Result<(Kernel, Release)> {
    let kernel = Kernel::gather()?;
    let findings = kernel::judge(config, &kernel);
    refuse(&findings)?;
    warn(&findings);
    let release = kernel.version().unwrap_or(OLDEST);
    Ok((kernel, release))
}

/// The interfaces that were named, as the machine has them now.
pub fn interfaces(config: &Config, snapshot: &Snapshot, plan: &Plan) -> Result<()> {
    refuse(&interfaces::refusals(config, snapshot, plan))
}

/// Everything else. What cannot be found out keeps nobody from starting.
pub async fn remarks(
    config: &Config,
    kernel: Kernel,
    netlink: &Netlink,
    snapshot: &Snapshot,
) -> Result<()> {
    match Facts::gather(config, kernel, netlink, snapshot.clone()).await {
        Ok(facts) => {
            let findings = check::remarks(config, &facts);
            refuse(&findings)?;
            warn(&findings);
        }
        Err(error) => tracing::debug!("the machine could not be checked: {error:#}"),
    }
    Ok(())
}

/// Refuses with the first finding that is fatal.
fn refuse(findings: &[Finding]) -> Result<()> {
    let fatal = findings.iter().find(|finding| finding.severity == Severity::Fatal);
    fatal.map_or(Ok(()), |finding| Err(Error::Refused(finding.sentence())))
}

fn warn(findings: &[Finding]) {
    let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning);
    for finding in warnings.filter(|finding| !SAID_ELSEWHERE.contains(&finding.check)) {
        tracing::warn!(check = finding.check, "{}", finding.sentence());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_kernels_are_read() {
        assert_eq!(Release::parse("6.1.0-13-amd64"), Some(Release::new(6, 1)));
        assert_eq!(Release::parse("6.18.44-fc"), Some(Release::new(6, 18)));
        assert_eq!(Release::parse("7.0-rc1"), Some(Release::new(7, 0)));
        assert_eq!(Release::parse("nonsense"), None);
        assert!(Release::new(6, 18) > Release::new(6, 6));
        assert_eq!(OLDEST.to_string(), "6.1");
    }

    #[test]
    fn the_first_fatal_finding_refuses_with_its_advice() {
        let findings = [
            Finding::warning("a.b", "slow"),
            Finding::fatal("a.c", "no kernel").advice("boot one"),
            Finding::fatal("a.d", "no memory"),
        ];
        let error = refuse(&findings).unwrap_err();
        assert_eq!((error.exit_code(), error.to_string()), (1, "no kernel; boot one".to_owned()));
        assert!(refuse(&findings[..1]).is_ok());
    }
}
