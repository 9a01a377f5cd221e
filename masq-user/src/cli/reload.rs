//! The arguments of `masq reload`.

use clap::Args;

use super::InstanceArg;

const RELOAD_HELP: &str = "\
The running masq reads the file of its --config again and puts its command line above it, as when it \
was started. What has changed takes effect at once and no session is lost. If the file is wrong, or \
changes what cannot change while masq runs, nothing at all is changed, and the exit code is not 0. \
`masq config check` looks at the file before. SIGHUP does the same and tells the log.

What cannot change so takes effect when `masq run` takes over from a masq that was ended with `masq \
stop --keep-data-plane`, or, as the message says then, only after `masq stop`.

Fields of --json: file and changes (option, old, new).";

/// Options of `masq reload`.
#[derive(Args, Debug)]
#[command(after_help = RELOAD_HELP)]
pub struct ReloadArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
