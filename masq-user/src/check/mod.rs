//! Looking at the machine before and while masq runs: what would keep it from working, make it slow,
//! or surprise the user. Changes nothing, and sends no packet.
//!
//! [`facts`] are gathered first; the other modules judge them, each its own kind, and do no I/O. The
//! rules of the packet filter have a model of their own ([`ruleset`]), in which made-up packets are
//! followed. `masq check` shows all findings; [`crate::preflight`] has those that `masq run` acts on.

pub mod facts;
pub mod finding;
pub mod kernel;
pub mod ruleset;

pub mod addresses;
pub mod competing;
pub mod interfaces;
pub mod ports;
pub mod sysctls;

#[cfg(test)]
pub(crate) mod made_up;

pub use self::{
    facts::Facts,
    finding::{Finding, Severity},
};
use crate::{config::Config, plan};

/// Everything that there is to say about this machine and these interfaces.
pub fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings = kernel::judge(config, &facts.kernel);
    let plan = plan::plan(config, &facts.snapshot);
    findings.extend(interfaces::refusals(config, &facts.snapshot, &plan));
    findings.extend(remarks(config, facts));
    findings
}

/// All of that but what [`kernel::judge`] and [`interfaces::refusals`] say: nothing of it keeps masq
/// from starting.
pub fn remarks(config: &Config, facts: &Facts) -> Vec<Finding> {
    [
        interfaces::remarks(config, facts),
        addresses::judge(config, facts),
        sysctls::judge(config, facts),
        competing::judge(config, facts),
        ports::judge(config, facts),
    ]
    .concat()
}
