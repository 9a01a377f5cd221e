//! The kernel's view of the interfaces: reading it, and being told that it has changed.
//!
//! Events only wake: what they say is not used, the truth is read again. So a lost event, or one
//! that overtook another, cannot leave masq with a wrong picture for longer than the next one,
//! and a slow timer in [`crate::daemon`] makes up for those that never come.

mod clsact;
mod snapshot;

use std::{pin::pin, time::Duration};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, stream::Stream};
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use clsact::remove_clsact;
pub use snapshot::{Address, Layer, Link, Snapshot};

/// At least so long between two answers: events that come together (an interface that goes up
/// sends several) are taken as one. The first is answered at once, because until masq has attached
/// to a WAN that has returned, packets could leave through it as they are.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads of links and addresses until two in a row agree.
const MAX_READS: usize = 8;

/// The request connection. Events have one of their own, so that a flood of them cannot delay an
/// answer.
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens the connection; its I/O runs in a task of the current runtime.
    pub fn open() -> Result<Self> {
        let (connection, handle, _) = new_connection().context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// The connection itself, for requests beyond reading.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Reads links and addresses. A dump that is interrupted by a change may lack entries, and a
    /// missing address would cost its sessions their life: so reads until two in a row agree.
    pub async fn snapshot(&self) -> Result<Snapshot> {
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
        let links = pin!(self.handle.link().get().execute());
        let links = collect(links, Link::from_message).await.context("cannot list the links")?;
        let addresses = pin!(self.handle.address().get().execute());
        let addresses =
            collect(addresses, Address::from_message).await.context("cannot list the addresses")?;
        Ok(Snapshot { links, addresses })
    }
}

async fn collect<M, T>(
    mut messages: impl Stream<Item = Result<M, rtnetlink::Error>> + Unpin,
    read: impl Fn(&M) -> Option<T>,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    while let Some(message) = messages.next().await {
        items.extend(read(&message?));
    }
    Ok(items)
}

/// Tells that links or addresses have changed.
pub struct Changes {
    events: Events,
    answered: Instant,
}

type Events = Box<dyn Stream<Item = ()> + Unpin>;

impl Changes {
    /// Subscribes to changes of links, IPv4 addresses and next-hop objects.
    pub fn subscribe() -> Result<Self> {
        Ok(Self { events: subscribe()?, answered: Instant::now() })
    }

    /// Waits for the next change, or the next few that come together.
    pub async fn next(&mut self) {
        while self.events.next().await.is_none() {
            // The kernel has closed the socket; without it only the slow timer would be left.
            sleep(Duration::from_secs(1)).await;
            if let Ok(events) = subscribe() {
                self.events = events;
                break;
            }
        }
        sleep_until(self.answered + PAUSE).await;
        while timeout(Duration::ZERO, self.events.next()).await.is_ok_and(|event| event.is_some()) {
        }
        self.answered = Instant::now();
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
    Ok(Box::new(messages.map(|_| ())))
}
