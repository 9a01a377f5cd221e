//! Options of `masq hosts`.

use clap::Args;

use super::InstanceArg;
use crate::control::hosts::HostSort;

const HELP: &str = "\
Counts are those of the data plane, the fast path included: what a host's living sessions have \
counted and what its ended ones had. Of a fragmented datagram the first fragment counts. They survive \
the daemon, and begin anew with the sessions: after `masq stop`, a reboot, a cold start.

Fields of --json: address (null for hosts beyond the first 131071, together), sessions, \
sessions_ended, packets_out, bytes_out, packets_in, bytes_in. Bytes are those of IP packets.

Examples:
  masq hosts --limit 10
  masq hosts --sort sessions --json";

/// Options of `masq hosts`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct HostsArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Print a JSON array, one host a line.
    #[arg(long)]
    pub json: bool,

    /// In which order: the most first, addresses upwards.
    #[arg(long, value_enum, default_value_t = HostSort::Bytes)]
    pub sort: HostSort,

    /// Only so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}
