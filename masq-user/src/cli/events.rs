//! The options of `masq events`.

use clap::Args;

use super::{EndsArgs, InstanceArg};
use crate::duration;

/// Options of `masq events`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct EventsArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,

    /// Which sessions.
    #[command(flatten)]
    pub ends: EndsArgs,

    /// Also first packets that were dropped because no session could be opened for them: one of each
    /// reason within 134 ms, and how many it were
    #[arg(long)]
    pub drops: bool,

    /// End after this many sessions opened or closed, and drops
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// End after this time: seconds, or with units as in 5m
    #[arg(long, value_name = "TIME", value_parser = duration::parse_secs)]
    pub duration: Option<u32>,

    /// Print times in UTC instead of local time; JSON always has UTC
    #[arg(long)]
    pub utc: bool,
}

const HELP: &str = "\
Shows sessions as they open and close, until it is interrupted: a NAT log that says who had which \
external port at which time. Sessions are reported only while somebody listens; those that were \
open before are in `masq sessions`.

Endpoints are written ADDR, ADDR/LEN, ADDR:PORT or :PORT. The port of an ICMP session is its \
query identifier.

Lines, and values of the field `event` of --json:
  listening  from here on
  opened     protocol, inside -> external -> remote, wan
  closed     the same, with packets/bytes out and in, duration and cause: expired, address_lost \
(the WAN has another address) or flushed (masq flush)
  dropped    with --drops: protocol, inside -> remote of one packet, reason and how many since
  lost       records are missing here, and how many: this reader, or the daemon, was too slow
  ended      masq has ended, and whether its sessions have too

Times are those of the event, not of its printing, exact to a tick of the kernel (1 to 10 ms); \
lines are in the order of events. A reader that is too slow loses records and \
never holds masq up.

Exit codes: 0 after --count, --duration, or when nobody reads the output any more; 3 when masq has \
ended or was handed over (start again to follow the next one); 1 and 2 as for all commands.

Examples:
  masq events >> nat.log                          a NAT log
  masq events --json --external :40000            who gets this port
  masq events --inside 192.168.1.10 --duration 1m";
