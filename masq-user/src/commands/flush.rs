//! `masq flush`: removes chosen sessions.

use anyhow::{Context as _, anyhow};

use super::{Output, progress::Progress};
use crate::{
    cli::FlushArgs,
    control::{
        client,
        filter::Filter,
        flush::{Flush, Flushed},
        proto::{Answer, Ask},
    },
    error::{Error, Result},
};

/// Removes the sessions that were chosen.
pub fn execute(args: &FlushArgs) -> Result<()> {
    let filter = args.chosen.filter();
    if filter == Filter::default() && !args.all {
        return Err(Error::Usage(
            "which sessions? Choose them with --inside, --external, --remote, --protocol or --phase, \
             or say --all"
                .into(),
        ));
    }
    let flush = Flush { filter, all: args.all, dry_run: args.dry_run };
    let mut client = client::ask(args.instance.instance.as_deref(), Ask::Flush(flush))?;
    let mut progress = Progress::new();
    let flushed = loop {
        match client.answer()? {
            Answer::Progress(done) => progress.say(format_args!("{done} sessions")),
            Answer::Flushed(flushed) => break flushed,
            _ => return Err(anyhow!("the running masq gave an unexpected answer").into()),
        }
    };
    drop(progress);
    let mut output = Output::new();
    if args.json {
        output.line(serde_json::to_string(&flushed).context("cannot write JSON")?)?;
    } else {
        output.line(sentence(flushed))?;
    }
    output.finish()
}

/// What was done, in words.
pub fn sentence(flushed: Flushed) -> String {
    let sessions = |number| match number {
        1 => "1 session".to_owned(),
        number => format!("{number} sessions"),
    };
    match flushed {
        Flushed { matched: 0, .. } => "no session matches".to_owned(),
        Flushed { matched, dry_run: true, .. } => format!("would remove {}", sessions(matched)),
        Flushed { removed, .. } => format!("removed {}", sessions(removed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_was_done() {
        let said = |matched, removed, dry_run| sentence(Flushed { matched, removed, dry_run });
        assert_eq!(said(0, 0, false), "no session matches");
        assert_eq!(said(1, 1, false), "removed 1 session");
        assert_eq!(said(5, 4, false), "removed 4 sessions");
        assert_eq!(said(5, 0, true), "would remove 5 sessions");
    }
}
