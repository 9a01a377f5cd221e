//! The slow path as a service: reads the ring buffer, keeps the time, and is the handler's way to
//! the kernel.

use std::{cell::RefCell, future::pending, io, net::Ipv4Addr, rc::Rc, time::Duration};

use anyhow::Result;
use aya::maps::{MapData, RingBuf};
use masq_common::{
    be::Addr,
    fragment::{Datagram, Translation},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    handler::{Handler, World},
    socket::RawSocket,
};
use crate::{options::current::Current, plane::Plane, status::Status, sweep::Swept};

/// How long records are read before the other services get their turn.
const SLICE: Duration = Duration::from_millis(5);

/// What the slow path works with.
pub struct Machine {
    plane: Rc<Plane>,
    status: Rc<RefCell<Status>>,
    urgent: Rc<Notify>,
    socket: RawSocket,
}

impl Machine {
    /// `urgent` wakes the sweeper.
    pub const fn new(
        plane: Rc<Plane>,
        status: Rc<RefCell<Status>>,
        urgent: Rc<Notify>,
        socket: RawSocket,
    ) -> Self {
        Self { plane, status, urgent, socket }
    }

    /// Serves for ever. `config` has the answer to who is refused; `swept` tells how the sweeper gets
    /// on.
    pub async fn run(
        self,
        config: Rc<Current>,
        ring: RingBuf<MapData>,
        mut swept: watch::Receiver<Swept>,
    ) -> Result<()> {
        // SAFETY: the ring buffer owns the descriptor of its map and always returns that one.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let mut ring = ring.map_err(|error| error.into_parts().1)?;
        let mut handler = Handler::new(config.get().exhaustion_icmp);
        loop {
            tokio::select! {
                guard = ring.readable_mut() => {
                    let mut guard = guard?;
                    handler.answer_with(config.get().exhaustion_icmp);
                    if self.read(guard.get_inner_mut(), &mut handler) {
                        guard.clear_ready();
                    }
                }
                Ok(()) = swept.changed() => {
                    let removed = swept.borrow_and_update().removed;
                    handler.swept(removed, now(), &self);
                }
                () = until(handler.deadline()) => {}
            }
            handler.expire(now(), &self);
            self.status.borrow_mut().slow_path = handler.counts();
            yield_now().await;
        }
    }

    /// Reads for a while; whether the ring buffer is empty.
    fn read(&self, ring: &mut RingBuf<MapData>, handler: &mut Handler) -> bool {
        let began = Instant::now();
        while began.elapsed() < SLICE {
            match ring.next() {
                Some(record) => handler.record(&record, now(), self),
                None => return true,
            }
        }
        false
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

impl World for Machine {
    fn translation(&self, datagram: &Datagram) -> Option<Translation> {
        self.plane.fragments.get(datagram).unwrap_or_else(|error| {
            tracing::debug!("{error:#}");
            None
        })
    }

    fn flags(&self, address: Addr) -> u32 {
        self.plane.policy.borrow().prefixes.flags(address).unwrap_or_else(|error| {
            tracing::debug!("{error:#}");
            0
        })
    }

    fn external(&self, wan: u8) -> Option<Addr> {
        let status = self.status.borrow();
        status.addresses.get(usize::from(wan)).copied().flatten().map(Addr::from)
    }

    fn router(&self, interface: u32, host: Addr) -> Addr {
        let status = self.status.borrow();
        let here = || status.local.iter().filter(|address| address.index == interface);
        let same = here().find(|address| address.network.contains(&Ipv4Addr::from(host)));
        same.or_else(|| here().next()).map_or(Addr::NONE, |address| address.local.into())
    }

    fn translates(&self, wan: u8, interface: u32) -> bool {
        let status = self.status.borrow();
        let mut wans = status.interfaces.iter().filter(|interface| interface.is_wan());
        wans.nth(usize::from(wan))
            .is_some_and(|wan| wan.index == Some(interface) && wan.mode.is_some())
    }

    fn wake_sweeper(&self) {
        self.urgent.notify_one();
    }

    fn send(&self, packet: &[u8], interface: u32) -> io::Result<()> {
        self.socket.send(packet, interface)
    }
}
