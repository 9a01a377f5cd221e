//! The inside hosts, with what each has sent and received: what its ended sessions had counted
//! ([`masq_common::account`]) and what the living ones have.
//!
//! A session that ends while the table is read may be missing from both; the next answer has it. Of a
//! fragmented datagram, sessions count the first fragment.

use std::{cmp::Reverse, collections::HashMap, net::Ipv4Addr, sync::Arc};

use anyhow::{Context as _, Result};
use masq_common::{
    be::Addr,
    session::{SessionHalf, flags},
};
use serde::{Deserialize, Serialize};

use super::{
    lines::Lines,
    proto::{Answer, End},
    server::{Reply, Subject},
};
use crate::maps::{Accounts, Sessions};

/// Halves that are read in one go.
const BATCH: usize = 4096;

/// Which hosts are wanted.
#[derive(Serialize, Deserialize, Debug, Default)]
pub struct HostQuery {
    /// In which order.
    pub sort: HostSort,
    /// At most so many.
    pub limit: Option<u64>,
    /// Whether the client understands [`Answer::Progress`].
    #[serde(default)]
    pub progress: bool,
}

/// The order of hosts; the largest first, addresses upwards.
#[derive(Serialize, Deserialize, clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum HostSort {
    /// Bytes in both directions
    #[default]
    Bytes,
    /// Packets in both directions
    Packets,
    /// Living sessions
    Sessions,
    /// Their address
    Address,
}

/// An inside host.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Host {
    /// Its address; null for all those together that there was no room to tell apart.
    pub address: Option<Ipv4Addr>,
    /// Its sessions that live, or have expired and are not removed yet.
    pub sessions: u64,
    /// Its sessions that have ended.
    pub sessions_ended: u64,
    /// Packets from inside, of all its sessions.
    pub packets_out: u64,
    /// Bytes from inside, from the IP header on.
    pub bytes_out: u64,
    /// Packets from outside.
    pub packets_in: u64,
    /// Bytes from outside, from the IP header on.
    pub bytes_in: u64,
}

impl Host {
    /// Counts one half of a session.
    fn add(&mut self, half: &SessionHalf) {
        if half.is_outbound() {
            self.sessions += 1;
            self.packets_out += half.packets;
            self.bytes_out += half.bytes;
        } else {
            self.packets_in += half.packets;
            self.bytes_in += half.bytes;
        }
    }
}

/// The inside host that half a session belongs to.
fn owner(half: &SessionHalf) -> Addr {
    if half.is_outbound() { half.from.source } else { half.to().destination }
}

/// All hosts, unordered. `step` is told now and then how many sessions have been counted; if it fails, so
/// does this. Takes long: to be done [aside](super::aside).
///
/// # Errors
/// If a table cannot be read, and those of `step`.
pub fn all(
    accounts: &Accounts,
    sessions: &Sessions,
    mut step: impl FnMut(u64) -> Result<()>,
) -> Result<Vec<Host>> {
    let mut hosts: HashMap<Addr, Host> = HashMap::new();
    // Accounts before sessions: so what ends meanwhile is never counted twice.
    let mut batches = accounts.batches();
    while let Some((addresses, found)) = batches.next_batch().context("cannot read the accounts")? {
        for (address, account) in addresses.iter().zip(found) {
            let host = hosts.entry(*address).or_default();
            host.sessions_ended = account.sessions;
            (host.packets_out, host.bytes_out) = (account.packets_out, account.bytes_out);
            (host.packets_in, host.bytes_in) = (account.packets_in, account.bytes_in);
        }
        step(0)?;
    }
    let mut counted = 0;
    let mut batches = sessions.batches(BATCH);
    while let Some(halves) = batches.next_batch() {
        // The router's own sessions are no inside host's.
        for half in halves.filter(|half| half.flags & flags::OWN == 0) {
            hosts.entry(owner(half)).or_default().add(half);
            counted += u64::from(half.is_outbound());
        }
        step(counted)?;
    }
    // The shared account, as long as nobody has had to share it.
    hosts.retain(|address, host| !address.is_none() || host.sessions_ended > 0);
    let named = |(address, host): (Addr, Host)| Host {
        address: (!address.is_none()).then(|| address.into()),
        ..host
    };
    Ok(hosts.into_iter().map(named).collect())
}

/// Puts hosts into an order; those that are alike by their addresses.
pub fn sort(hosts: &mut [Host], by: HostSort) {
    let weight = |host: &Host| match by {
        HostSort::Bytes => host.bytes_out.saturating_add(host.bytes_in),
        HostSort::Packets => host.packets_out.saturating_add(host.packets_in),
        HostSort::Sessions => host.sessions,
        HostSort::Address => 0,
    };
    hosts.sort_unstable_by_key(|host| (Reverse(weight(host)), host.address));
}

/// Answers a query.
pub async fn list(subject: &Subject, query: HostQuery, reply: &mut Reply) -> Result<()> {
    let accounts = Arc::clone(&subject.plane.accounts);
    let sessions = Arc::clone(&subject.plane.sessions);
    let work = move |mut lines: Lines| {
        let mut hosts = all(&accounts, &sessions, |counted| lines.beat(counted))?;
        sort(&mut hosts, query.sort);
        let matched = hosts.len() as u64;
        let limit = query.limit.map(usize::try_from);
        let most = limit.map_or(usize::MAX, |limit| limit.unwrap_or(usize::MAX));
        for host in hosts.into_iter().take(most) {
            lines.add(&Answer::Host(Box::new(host)))?;
        }
        lines.finish(&Answer::End(End { matched, ..End::default() }))
    };
    reply.relay(query.progress, work).await
}

#[cfg(test)]
mod tests {
    use masq_common::{
        be::Id,
        flow::{Tuple, UDP},
        session::SessionPair,
        time::Tick,
    };

    use super::*;

    fn host(address: [u8; 4], bytes: u64, packets: u64, sessions: u64) -> Host {
        Host {
            address: Some(address.into()),
            sessions,
            bytes_in: bytes,
            packets_out: packets,
            ..Host::default()
        }
    }

    #[test]
    fn both_halves_belong_to_the_host_inside() {
        let key = Tuple {
            source: Addr::from_octets([192, 168, 1, 10]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(40000),
            destination_id: Id::new(53),
        }
        .key(UDP);
        let external = Addr::from_octets([203, 0, 113, 5]);
        let SessionPair { mut outbound, mut inbound } =
            SessionPair::masquerade(key, external, Id::new(61001), 0, 0, Tick(7));
        assert_eq!(owner(&outbound), key.tuple.source);
        assert_eq!(owner(&inbound), key.tuple.source);
        (outbound.packets, outbound.bytes, inbound.packets, inbound.bytes) = (1, 100, 2, 300);
        let mut host = Host::default();
        host.add(&outbound);
        host.add(&inbound);
        let expected = Host {
            sessions: 1,
            packets_out: 1,
            bytes_out: 100,
            packets_in: 2,
            bytes_in: 300,
            ..Host::default()
        };
        assert_eq!(host, expected);
    }

    #[test]
    fn hosts_are_put_into_order() {
        let mut hosts = [
            host([10, 0, 0, 9], 5, 9, 1),
            host([10, 0, 0, 2], 7, 1, 1),
            host([10, 0, 0, 10], 5, 2, 3),
        ];
        let order = |hosts: &[Host]| {
            hosts.iter().map(|h| h.address.unwrap().octets()[3]).collect::<Vec<_>>()
        };
        sort(&mut hosts, HostSort::Bytes);
        assert_eq!(order(&hosts), [2, 9, 10]);
        sort(&mut hosts, HostSort::Packets);
        assert_eq!(order(&hosts), [9, 10, 2]);
        sort(&mut hosts, HostSort::Sessions);
        assert_eq!(order(&hosts), [10, 2, 9]);
        sort(&mut hosts, HostSort::Address);
        assert_eq!(order(&hosts), [2, 9, 10]);
    }
}
