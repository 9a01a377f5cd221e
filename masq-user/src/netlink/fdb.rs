//! The tables of bridges, in which they note behind which port somebody is: reading them, and being
//! told of changes.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, stream::Stream};
use masq_common::link::Station;
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_core::NetlinkPayload,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState},
    },
};
use tokio::time::timeout;

use super::{collect, connect_strictly};
use crate::stations::Sighting;

/// A connection for reading. Its own, because a large table takes its time.
pub struct Reader(Handle);

impl Reader {
    /// Opens it.
    pub fn open() -> Result<Self> {
        // Or else the kernel tells the tables of all bridges, whichever port is asked for.
        connect_strictly().map(Self)
    }

    /// Those that a bridge has noted behind one of its ports.
    pub async fn stations(&self, bridge: u32, port: u32) -> Result<Vec<Sighting>> {
        self.entries(port, |message| sighting(message, bridge, port)).await
    }

    /// What `read` makes of all that the kernel tells when it is asked for one port.
    async fn entries<T>(
        &self,
        port: u32,
        read: impl Fn(&NeighbourMessage) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut request = self.0.neighbours().get().set_address_family(AddressFamily::Bridge);
        request.message_mut().header.ifindex = port;
        let messages = pin!(request.execute());
        collect(messages, read).await.context("cannot read what the bridge has learned")
    }
}

/// From a netlink message; `None` if it is no station that frames are forwarded to.
fn sighting(message: &NeighbourMessage, bridge: u32, port: u32) -> Option<Sighting> {
    // Permanent ones are the bridge's own addresses.
    let usable = matches!(
        message.header.state,
        NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Noarp
    );
    if !usable || message.header.ifindex != port || master(message) != Some(bridge) {
        return None;
    }
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                address = <[u8; 6]>::try_from(bytes.as_slice()).ok();
            }
            // Of a time when the bridge looked at VLANs, and of no meaning now.
            NeighbourAttribute::Vlan(_) => return None,
            _ => {}
        }
    }
    let mac = address.filter(|mac| mac[0] & 1 == 0)?;
    Some(Sighting { station: Station { bridge, mac, zero: 0 }, port })
}

/// The bridge whose table an entry is in; a device may have a table of its own besides.
fn master(message: &NeighbourMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

/// Tells that the table of a bridge has changed.
pub struct Changes(Box<dyn Stream<Item = bool> + Unpin>);

impl Changes {
    /// Waits for the next change.
    ///
    /// # Errors
    /// If the kernel has closed the socket.
    pub async fn next(&mut self) -> Result<()> {
        loop {
            match self.0.next().await {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => bail!("no more messages about bridges from the kernel"),
            }
        }
    }

    /// Skips those that have come already.
    ///
    /// # Errors
    /// As above.
    pub async fn skip(&mut self) -> Result<()> {
        while let Ok(next) = timeout(Duration::ZERO, self.0.next()).await {
            next.context("no more messages about bridges from the kernel")?;
        }
        Ok(())
    }
}

/// Subscribes to changes in the tables of these bridges.
pub fn subscribe(bridges: BTreeSet<u32>) -> Result<Changes> {
    let (connection, _, messages) = new_multicast_connection(&[MulticastGroup::Neigh])
        .context("cannot subscribe to netlink events")?;
    tokio::spawn(connection);
    let concerns = move |payload: &NetlinkPayload<RouteNetlinkMessage>| match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewNeighbour(message) | RouteNetlinkMessage::DelNeighbour(message),
        ) => {
            message.header.family == AddressFamily::Bridge
                && master(message).is_some_and(|index| bridges.contains(&index))
        }
        // Some did not fit the socket.
        NetlinkPayload::Overrun(_) => true,
        _ => false,
    };
    Ok(Changes(Box::new(messages.map(move |(message, _)| concerns(&message.payload)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: NeighbourState, attributes: Vec<NeighbourAttribute>) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = 3;
        message.header.state = state;
        message.attributes = attributes;
        message
    }

    fn usual(mac: [u8; 6]) -> Vec<NeighbourAttribute> {
        vec![NeighbourAttribute::LinkLayerAddress(mac.to_vec()), NeighbourAttribute::Controller(6)]
    }

    #[test]
    fn stations_are_those_that_the_bridge_forwards_to() {
        let mac = [2, 0, 0, 0, 0, 1];
        for state in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Noarp] {
            let station = Station { bridge: 6, mac, zero: 0 };
            let seen = sighting(&message(state, usual(mac)), 6, 3);
            assert_eq!(seen, Some(Sighting { station, port: 3 }));
        }
        let none = |message| assert_eq!(sighting(&message, 6, 3), None);
        none(message(NeighbourState::Permanent, usual(mac)));
        none(message(NeighbourState::Reachable, usual([1, 0, 0x5e, 0, 0, 1])));
        none(message(NeighbourState::Reachable, usual(mac)[..1].to_vec()));
        let tagged = [usual(mac), vec![NeighbourAttribute::Vlan(1)]].concat();
        none(message(NeighbourState::Reachable, tagged));
        let reachable = message(NeighbourState::Reachable, usual(mac));
        assert_eq!(sighting(&reachable, 7, 3), None, "of another bridge");
        assert_eq!(sighting(&reachable, 6, 4), None, "behind another port");
    }

    /// Runs `ip` or `bridge` with these arguments.
    fn run(program: &str, arguments: &str) {
        let mut command = std::process::Command::new(program);
        let status = command.args(arguments.split(' ')).status().expect("start it");
        assert!(status.success(), "{program} {arguments}");
    }

    /// A bridge with two ports and 50 stations behind each, in a network of this thread's own.
    fn a_bridge_with_stations() -> [u32; 3] {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network of our own");
        run("ip", "link add br0 type bridge");
        for port in ["port0", "port1"] {
            run("ip", &format!("link add {port} type veth"));
            run("ip", &format!("link set {port} master br0"));
        }
        for station in 0..50 {
            for port in 0..2 {
                let mac = format!("02:00:00:00:{port:02x}:{station:02x}");
                run("bridge", &format!("fdb add {mac} dev port{port} master static"));
            }
        }
        ["br0", "port0", "port1"]
            .map(|name| nix::net::if_::if_nametoindex(name).expect("it was just made"))
    }

    #[test]
    fn a_look_at_one_port_costs_no_messages_about_others() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("left out: only root can make a bridge");
            return;
        }
        // Whoever calls this stays in the network that it is in.
        std::thread::spawn(look_at_one_port).join().expect("no panic");
    }

    fn look_at_one_port() {
        let [bridge, port, other] = a_bridge_with_stations();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = |port| async move {
            let reader = Reader::open()?;
            let told = reader.entries(port, |message| Some(message.header.ifindex)).await?;
            let stations = reader.stations(bridge, port).await?.len();
            Ok::<_, anyhow::Error>((told, stations))
        };
        for port in [port, other] {
            let (told, stations) = runtime.block_on(told(port)).unwrap();
            assert_eq!(stations, 50);
            // And what the port notes of itself.
            assert!(told.len() < 60, "{} messages", told.len());
            assert!(told.iter().all(|index| *index == port), "{told:?}");
        }
    }
}
