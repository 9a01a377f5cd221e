//! The kernel's view of the interfaces: reading it, and being told that it has changed.
//!
//! Events only wake: what they say is not used, the truth is read again. So a lost event, or one
//! that overtook another, cannot leave masq with a wrong picture for longer than the next one,
//! and a slow timer in [`crate::daemon`] makes up for those that never come.

mod clsact;
pub mod fdb;
pub mod pppoe;
mod snapshot;
mod stack;

use std::{cell::RefCell, pin::pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, stream::Stream};
use rtnetlink::{
    Handle, MulticastGroup, new_connection, new_connection_with_strict_check,
    new_multicast_connection, packet_core::NetlinkPayload,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use clsact::remove_clsact;
pub use snapshot::{Address, Layer, Link, Snapshot};
pub use stack::{BridgePort, Stack, Vlan};

/// At least so long between two answers: events that come together (an interface that goes up
/// sends several) are taken as one. The first is answered at once, because until masq has attached
/// to a WAN that has returned, packets could leave through it as they are.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads of links and addresses until two in a row agree.
const MAX_READS: usize = 8;

/// How long the kernel may take for a list. It takes milliseconds; but an answer that it has no memory
/// for never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// So often at most the log says that changes came too fast.
const QUIET: Duration = Duration::from_secs(60);

/// The request connection. Events have one of their own, so that a flood of them cannot delay an
/// answer.
pub struct Netlink {
    handle: RefCell<Handle>,
}

impl Netlink {
    /// Opens the connection; its I/O runs in a task of the current runtime.
    pub fn open() -> Result<Self> {
        Ok(Self { handle: RefCell::new(connect()?) })
    }

    /// The connection itself, for requests beyond reading.
    pub fn handle(&self) -> Handle {
        self.handle.borrow().clone()
    }

    /// Reads links and addresses. A dump that is interrupted by a change may lack entries, and a
    /// missing address would cost its sessions their life: so reads until two in a row agree.
    ///
    /// After an error the connection is another one: on the old one, an answer that was given up may be
    /// under way for ever, and the kernel begins no second one.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let result = self.settled().await;
        if result.is_err()
            && let Ok(handle) = connect()
        {
            self.handle.replace(handle);
        }
        result
    }

    async fn settled(&self) -> Result<Snapshot> {
        let mut last = self.read().await?;
        for _ in 0..MAX_READS {
            let again = self.read().await?;
            if again == last {
                break;
            }
            last = again;
        }
        Ok(last)
    }

    async fn read(&self) -> Result<Snapshot> {
        let handle = self.handle();
        let links = pin!(handle.link().get().execute());
        let links = collect(links, Link::from_message).await.context("cannot list the links")?;
        let addresses = pin!(handle.address().get().execute());
        let addresses =
            collect(addresses, Address::from_message).await.context("cannot list the addresses")?;
        Ok(Snapshot { links, addresses, sessions: pppoe::sessions() })
    }
}

/// A connection on which the kernel heeds all that a request for a list says.
fn connect_strictly() -> Result<Handle> {
    let connected = new_connection_with_strict_check();
    let (connection, handle, _) = connected.context("cannot open a netlink socket")?;
    tokio::spawn(connection);
    Ok(handle)
}

fn connect() -> Result<Handle> {
    let (connection, handle, _) = new_connection().context("cannot open a netlink socket")?;
    tokio::spawn(connection);
    Ok(handle)
}

async fn collect<M, T>(
    mut messages: impl Stream<Item = Result<M, rtnetlink::Error>> + Unpin,
    read: impl Fn(&M) -> Option<T>,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    loop {
        match timeout(PATIENCE, messages.next()).await {
            Ok(Some(message)) => items.extend(read(&message?)),
            Ok(None) => return Ok(items),
            Err(_) => bail!("no answer from the kernel within {} s", PATIENCE.as_secs()),
        }
    }
}

/// Tells that links or addresses have changed.
pub struct Changes {
    events: Events,
    /// What has been heard and not been answered yet: whether more was told than fitted the socket.
    heard: Option<bool>,
    answered: Instant,
    /// When the log has said last that changes came too fast.
    said: Option<Instant>,
}

/// One item for each message: whether it says that others did not fit the socket.
type Events = Box<dyn Stream<Item = bool> + Unpin>;

impl Changes {
    /// Subscribes to changes of links, IPv4 addresses and next-hop objects.
    pub fn subscribe() -> Result<Self> {
        Ok(Self { events: subscribe()?, heard: None, answered: Instant::now(), said: None })
    }

    /// Waits for the next change, or the next few that come together. May be given up at any moment: what
    /// has been heard by then is told the next time.
    pub async fn next(&mut self) {
        while self.heard.is_none() {
            self.heard = self.events.next().await;
            if self.heard.is_none() {
                // The kernel has closed the socket; without it only the slow timer would be left.
                sleep(Duration::from_secs(1)).await;
                if let Ok(events) = subscribe() {
                    self.events = events;
                    self.heard = Some(false);
                }
            }
        }
        sleep_until(self.answered + PAUSE).await;
        while let Ok(Some(more)) = timeout(Duration::ZERO, self.events.next()).await {
            self.heard = Some(more || self.heard == Some(true));
        }
        let overrun = self.heard.take() == Some(true);
        self.answered = Instant::now();
        if overrun && self.said.is_none_or(|said| said.elapsed() > QUIET) {
            self.said = Some(self.answered);
            tracing::warn!(
                "interfaces or addresses change faster than the kernel can tell of it: none of the \
                 changes is lost, since all of them are read again"
            );
        }
    }
}

fn subscribe() -> Result<Events> {
    // The last two for next hops: what the kernel does not count among the changes of its routes.
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv4Netconf,
        MulticastGroup::Nexthop,
    ];
    let (connection, _, messages) =
        new_multicast_connection(&groups).context("cannot subscribe to netlink events")?;
    tokio::spawn(connection);
    let overrun = |payload: &NetlinkPayload<_>| matches!(payload, NetlinkPayload::Overrun(_));
    Ok(Box::new(messages.map(move |(message, _)| overrun(&message.payload))))
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};

    use super::*;

    #[tokio::test]
    async fn a_change_that_nobody_has_waited_out_is_not_forgotten() {
        let events = Box::new(stream::iter([true]).chain(stream::pending()));
        let mut changes = Changes { events, heard: None, answered: Instant::now(), said: None };
        let given_up = changes.next().now_or_never();
        assert!(given_up.is_none(), "so soon after the last answer");
        let told = timeout(Duration::from_secs(10), changes.next()).await;
        assert!(told.is_ok(), "the change is told");
        assert!(changes.said.is_some(), "and that others were lost");
        assert!(changes.next().now_or_never().is_none(), "once");
    }
}
