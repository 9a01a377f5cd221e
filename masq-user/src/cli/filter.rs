//! The options that choose sessions, the same for all commands that do.

use clap::Args;

use super::{PhaseArg, Protocol};
use crate::control::filter::{EndpointFilter, Filter};

/// Which sessions, by their ends.
#[derive(Args, Debug, Clone, Default)]
pub struct EndsArgs {
    /// Only sessions of this protocol: tcp, udp, icmp, gre, esp, ..., or a number
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Option<Protocol>,

    /// Only sessions of this inside endpoint.
    #[arg(long, value_name = "ADDR[/LEN][:PORT]")]
    pub inside: Option<EndpointFilter>,

    /// Only sessions that appear outside as this endpoint.
    #[arg(long, value_name = "ADDR[/LEN][:PORT]")]
    pub external: Option<EndpointFilter>,

    /// Only sessions with this remote endpoint.
    #[arg(long, value_name = "ADDR[/LEN][:PORT]")]
    pub remote: Option<EndpointFilter>,
}

impl EndsArgs {
    /// As the daemon is asked.
    pub fn filter(&self, phase: Option<PhaseArg>) -> Filter {
        let name = |phase| masq_common::tcp::Phase::from(phase).as_str().to_owned();
        Filter {
            protocol: self.protocol.map(|protocol| protocol.0),
            inside: self.inside,
            external: self.external,
            remote: self.remote,
            phase: phase.map(name),
        }
    }
}

/// Which sessions, by their ends and their phase.
#[derive(Args, Debug, Clone, Default)]
pub struct SessionFilter {
    /// By their ends.
    #[command(flatten)]
    pub ends: EndsArgs,

    /// Only TCP sessions in this phase.
    #[arg(long, value_enum)]
    pub phase: Option<PhaseArg>,
}

impl SessionFilter {
    /// As the daemon is asked.
    pub fn filter(&self) -> Filter {
        self.ends.filter(self.phase)
    }
}
