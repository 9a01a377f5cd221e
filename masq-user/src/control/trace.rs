//! The answer to `masq trace`: packets for as long as the client stays.
//!
//! The kernel's ring buffer is the only queue: a client that is too slow leaves records in it, until
//! there is no room for more, which the kernel counts.

use anyhow::Result;
use jiff::Timestamp;
use masq_common::{reason::Reason, trace::Record};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
};

use super::{
    proto::Answer,
    record::Fate,
    server::{Reply, Subject},
    traced::{Passage, TraceQuery, Traced},
};
use crate::{
    clock,
    trace::{Wanted, passage},
};

/// Records that are read before the other services get their turn, and the client its own.
const TURN: usize = 256;

/// Sends what was asked for until the client goes or the daemon ends.
pub async fn trace(subject: &Subject, query: &TraceQuery, reply: &mut Reply) -> Result<()> {
    let wanted = Wanted::new(query)?;
    let tracer = &subject.tracer;
    let mut tracing = tokio::select! {
        tracing = tracer.begin(*wanted.filter()) => tracing?,
        () = reply.hung_up() => return Ok(()),
        data_plane = tracer.over() => return ended(reply, data_plane).await,
    };
    // SAFETY: the ring buffer owns the descriptor of its map and always returns that one.
    let ring = unsafe { AsyncFd::register_with_interest(tracing.take_ring()?, Interest::READABLE) };
    let mut ring = ring.map_err(|error| error.into_parts().1)?;
    let lost = || subject.plane.counters.get(Reason::TraceLost);
    let mut told = lost()?;
    let instance = subject.status.borrow().instance.clone();
    reply.send(&traced(Traced::Tracing { time: Timestamp::now(), instance })).await?;
    loop {
        let mut guard = tokio::select! {
            guard = ring.readable_mut() => guard?,
            () = reply.hung_up() => return Ok(()),
            data_plane = tracer.over() => return ended(reply, data_plane).await,
        };
        // Somebody may have set the clock.
        let epoch = clock::epoch(0)?;
        let mut empty = false;
        for _ in 0..TURN {
            let Some(bytes) = guard.get_inner_mut().next() else {
                empty = true;
                break;
            };
            match told_of(&bytes, subject, epoch, query.frames) {
                Ok(passage) if wanted.matches(&passage) => {
                    reply.add(&traced(Traced::Packet(Box::new(passage))))?;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!("a record that cannot be told: {error:#}"),
            }
        }
        let now = lost()?;
        if now > told {
            let (time, count) = (Timestamp::now(), now - told);
            reply.add(&traced(Traced::Lost { time, count }))?;
            told = now;
        }
        if empty {
            guard.clear_ready();
        }
        reply.flush_all().await?;
        yield_now().await;
    }
}

async fn ended(reply: &mut Reply, data_plane: Fate) -> Result<()> {
    reply.send(&traced(Traced::Ended { time: Timestamp::now(), data_plane })).await
}

fn traced(record: Traced) -> Answer {
    Answer::Traced(Box::new(record))
}

fn told_of(bytes: &[u8], subject: &Subject, epoch: i64, frames: bool) -> Result<Passage> {
    let record =
        Record::from_bytes(bytes).ok_or_else(|| anyhow::anyhow!("it is of another version"))?;
    let status = subject.status.borrow();
    let name = |index| {
        let named = status.interfaces.iter().map(|named| (named.index, &named.name));
        // In the driver it is the ports below that packets come in and go out by.
        let ports = status.interfaces.iter().flat_map(|named| &named.ports);
        let mut known = named.chain(ports.map(|port| (Some(port.index), &port.name)));
        let ours = known.find(|(known, _)| *known == Some(index));
        ours.map_or_else(|| format!("if{index}"), |(_, name)| name.clone())
    };
    passage(&record, epoch, name, frames)
}
