//! The options of `masq sessions`.

use clap::Args;

use super::{InstanceArg, SessionFilter};
use crate::control::ranking::Sort;

/// Options of `masq sessions`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct SessionsArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Print a JSON array, one session a line; with --count an object.
    #[arg(long)]
    pub json: bool,

    /// Which sessions.
    #[command(flatten)]
    pub chosen: SessionFilter,

    /// Sort them; with --limit only the first ones are shown
    #[arg(long, value_name = "KEY", value_enum, conflicts_with = "count")]
    pub sort: Option<Sort>,

    /// Sort them the other way round.
    #[arg(long, requires = "sort")]
    pub reverse: bool,

    /// Stop after this many sessions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// Print only how many there are.
    #[arg(long)]
    pub count: bool,
}

const HELP: &str = "\
Endpoints are written ADDR, ADDR/LEN, ADDR:PORT or :PORT. The port of an ICMP session is its \
query identifier.

Fields of --json: protocol, wan, inside, external and remote (address and port each), phase (null \
unless TCP), idle_ms, remaining_ms, age_ms, packets_out, bytes_out, packets_in, bytes_in, flags. With --count: matched, and expired \
(sessions whose time is over and that are not removed yet; they are not listed).

To see sessions as they open and close: masq events. To remove some: masq flush.

Examples:
  masq sessions --sort bytes --limit 10          who moves most
  masq sessions --external :40000                who has this port now
  masq sessions --inside 192.168.1.10 --count    how many this host has";
