//! The answer to `masq events`: records for as long as the client stays.

use anyhow::Result;

use super::{
    proto::Answer,
    record::{Record, Watch},
    server::{Reply, Subject},
};
use crate::{
    clock,
    events::{Item, record, timestamp},
};

/// Sends what was asked for until the client goes or the daemon ends.
pub async fn follow(subject: &Subject, watch: Watch, reply: &mut Reply) -> Result<()> {
    // WANs do not change.
    let config = subject.config.get();
    let listener = subject.listeners.listen(watch)?;
    let time = timestamp(clock::wall()?)?;
    let instance = subject.status.borrow().instance.clone();
    reply.send(&Answer::Record(Box::new(Record::Listening { time, instance }))).await?;
    loop {
        let mut next = Some(tokio::select! {
            item = listener.next() => item,
            () = reply.hung_up() => return Ok(()),
        });
        while let Some(item) = next {
            let record = record(&item, &config.wans)?;
            reply.add(&Answer::Record(Box::new(record)))?;
            if matches!(item, Item::Ended { .. }) {
                return reply.flush_all().await;
            }
            reply.flush().await?;
            next = listener.try_next();
        }
        reply.flush_all().await?;
    }
}
