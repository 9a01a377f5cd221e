//! `masq reload`: has a running masq read its configuration file again.

use anyhow::{Context as _, anyhow};

use super::Output;
use crate::{
    cli::ReloadArgs,
    control::{
        client,
        proto::{Answer, Ask},
    },
    error::Result,
};

/// Asks, and says what has changed.
pub fn execute(args: &ReloadArgs) -> Result<()> {
    let reloaded = match client::ask(args.instance.instance.as_deref(), Ask::Reload)?.answer()? {
        Answer::Reloaded(reloaded) => reloaded,
        _ => return Err(anyhow!("the running masq gave an unexpected answer").into()),
    };
    let mut output = Output::new();
    if args.json {
        let text = serde_json::to_string_pretty(&reloaded).context("cannot write JSON")?;
        output.line(text)?;
    } else if reloaded.changes.is_empty() {
        output.line(format_args!("nothing has changed in {}", reloaded.file))?;
    } else {
        for change in &reloaded.changes {
            output.line(change)?;
        }
    }
    output.finish()
}
