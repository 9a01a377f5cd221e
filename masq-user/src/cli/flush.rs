//! The options of `masq flush`.

use clap::Args;

use super::{InstanceArg, SessionFilter};

/// Options of `masq flush`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct FlushArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Which sessions.
    #[command(flatten)]
    pub chosen: SessionFilter,

    /// Remove all sessions.
    #[arg(long, conflicts_with_all = ["protocol", "inside", "external", "remote", "phase"])]
    pub all: bool,

    /// Remove nothing, only say how many it would be.
    #[arg(long)]
    pub dry_run: bool,
}

const HELP: &str = "\
Removes the sessions that match, as if their time were over: their ports are free, and nothing \
comes in through them any more. The next packet of a LAN host opens a new session, perhaps with \
another port; of TCP only a new connection does, so that open connections are cut. Sessions that \
are opened meanwhile stay.

Endpoints are written ADDR, ADDR/LEN, ADDR:PORT or :PORT. `masq sessions` takes the same options \
and shows which sessions they choose.

Fields of --json: matched, removed (fewer if some have ended by themselves meanwhile), dry_run. \
That no session matches is no error.

Examples:
  masq flush --inside 192.168.1.10 --dry-run
  masq flush --remote 198.51.100.1:443 --protocol tcp
  masq flush --all";
