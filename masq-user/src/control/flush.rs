//! The answer to `masq flush`: removes the sessions that the user chooses, in the way in which those
//! that have expired are removed.

use std::sync::Arc;

use anyhow::{Result, bail};
use masq_common::{
    event::{CloseCause, RetireRequest},
    flow::FlowKey,
    settings::Settings,
};
use serde::{Deserialize, Serialize};

use super::{
    aside::{Aside, Teller},
    filter::Filter,
    proto::Answer,
    pulse::Pulse,
    server::{Reply, Subject},
    session::{Judge, Verdict},
    turn::Turn,
};
use crate::{clock, maps::Sessions};

/// Halves that are read at once.
const BATCH: usize = 4096;

/// Which sessions are to be removed.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Flush {
    /// Those that match.
    pub filter: Filter,
    /// Yes, all, if the filter leaves none out.
    pub all: bool,
    /// Only count them.
    pub dry_run: bool,
}

/// What has been done.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flushed {
    /// Sessions that matched.
    pub matched: u64,
    /// Sessions that were removed: fewer if some have ended by themselves meanwhile.
    pub removed: u64,
    /// Whether they were only counted.
    pub dry_run: bool,
}

/// Removes them. Those that were opened after this began stay, or it might never end.
pub async fn flush(subject: &Subject, flush: &Flush, reply: &mut Reply) -> Result<()> {
    if flush.filter == Filter::default() && !flush.all {
        bail!("no session was chosen; say which, or that you mean all of them");
    }
    let plane = &subject.plane;
    let settings = plane.policy.borrow().settings.get()?;
    let (sessions, filter) = (Arc::clone(&plane.sessions), flush.filter.clone());
    let mut walk = Aside::begin(move |teller| choose(&sessions, &settings, &filter, &teller));
    let mut flushed = Flushed { dry_run: flush.dry_run, ..Flushed::default() };
    let mut pulse = Pulse::new(true);
    let mut turn = Turn::new();
    while let Some(chosen) = walk.next().await {
        flushed.matched += chosen.len() as u64;
        if !flush.dry_run {
            for keys in chosen.chunks(RetireRequest::MAX_KEYS) {
                flushed.removed += plane.retire(CloseCause::Flushed, keys)?;
                turn.pass().await;
            }
        }
        if pulse.is_due() {
            reply.send(&Answer::Progress(flushed.matched)).await?;
        }
    }
    walk.outcome().await?;
    if flushed.removed > 0 {
        tracing::info!(sessions = flushed.removed, "removed the sessions that the user chose");
    }
    reply.send(&Answer::Flushed(flushed)).await
}

/// Goes through the table and tells the outbound keys of those that match, batch by batch.
fn choose(
    sessions: &Sessions,
    settings: &Settings,
    filter: &Filter,
    teller: &Teller<Vec<FlowKey>>,
) -> Result<()> {
    let began = clock::now(settings.clock_offset)?;
    let mut batches = sessions.batches(BATCH);
    while let Some(halves) = batches.next_batch() {
        let now = clock::now(settings.clock_offset)?;
        let judge = Judge { sessions, timeouts: &settings.timeouts, now };
        let mut chosen = Vec::new();
        for half in halves.filter(|half| half.is_outbound()) {
            let is_older = half.created.later(began) == began;
            if is_older && judge.one(half, filter) == Verdict::Matches {
                chosen.push(half.key());
            }
        }
        // None as well: it may be time for a sign of life.
        teller.tell(chosen)?;
    }
    Ok(())
}
