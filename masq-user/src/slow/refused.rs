//! Where first packets from the inside wait, for which there was no room: until the sweeper has
//! looked for some. Pure: the clock is an argument.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use etherparse::{IpNumber, checksum::Sum16BitWords};
use masq_common::slow::Head;

use super::ip::Packet;

/// How long a packet waits at most. The sweeper is done with a full table of the usual size in a
/// part of that.
pub const TIME: Duration = Duration::from_secs(1);

/// How many packets wait. Others are answered at once.
pub const PACKETS: usize = 64;

/// A waiting packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// How it came.
    pub head: Head,
    /// The whole packet from the IP header on, as received but for its hop limit.
    pub packet: Vec<u8>,
    /// How many sessions the sweeper had removed when it came.
    pub removed: u64,
}

/// The packets that wait, in the order in which they came.
#[derive(Debug, Default)]
pub struct Queue(VecDeque<(Instant, Held)>);

impl Queue {
    /// Whether one more may wait.
    pub fn has_room(&self) -> bool {
        self.0.len() < PACKETS
    }

    /// Lets a packet wait; one that finds no room is forgotten.
    pub fn hold(&mut self, now: Instant, held: Held) {
        if self.has_room() {
            self.0.push_back((now + TIME, held));
        }
    }

    /// Takes all.
    pub fn take(&mut self) -> Vec<Held> {
        self.0.drain(..).map(|(_, held)| held).collect()
    }

    /// Takes those that have waited long enough.
    pub fn take_overdue(&mut self, now: Instant) -> Vec<Held> {
        let overdue = self.0.iter().take_while(|(until, _)| *until <= now).count();
        self.0.drain(..overdue).map(|(_, held)| held).collect()
    }

    /// When the next one has waited long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.front().map(|(until, _)| *until)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Completes a TCP or UDP checksum that its sender has left to a device: a virtual machine or a
/// namespace on the same host does so, and what is sent through a raw socket gets no help. The
/// field of such a packet has the sum of the pseudo-header, to which the device adds the rest.
pub fn complete_checksum(packet: &mut [u8]) {
    let Some((at, field)) = partial_checksum(packet) else { return };
    packet[at..at + 2].copy_from_slice(&field);
}

/// Where the checksum stands in the packet, and what it has to be, if it is incomplete.
fn partial_checksum(bytes: &[u8]) -> Option<(usize, [u8; 2])> {
    let packet = Packet::parse(bytes, bytes.len()).filter(Packet::is_whole)?;
    let header = packet.header();
    let protocol = header.protocol();
    let at = match protocol {
        IpNumber::TCP => 16,
        IpNumber::UDP => 6,
        _ => return None,
    };
    let payload = packet.payload();
    let field: [u8; 2] = payload.get(at..at + 2)?.try_into().ok()?;
    let pseudo = Sum16BitWords::new()
        .add_4bytes(header.source())
        .add_4bytes(header.destination())
        .add_2bytes([0, protocol.0])
        .add_2bytes((payload.len() as u16).to_be_bytes())
        .ones_complement();
    // A fragment was never left to a device.
    if header.is_fragmenting_payload() || field != (!pseudo).to_ne_bytes() {
        return None;
    }
    let sum = Sum16BitWords::new().add_slice(payload);
    let sum = match protocol {
        IpNumber::UDP => sum.to_ones_complement_with_no_zero(),
        _ => sum.ones_complement(),
    };
    Some((header.slice().len() + at, sum.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    fn held(tag: u8) -> Held {
        Held { head: Head::default(), packet: vec![tag], removed: 0 }
    }

    #[test]
    fn packets_are_taken_in_order_and_never_wait_too_long() {
        let (mut queue, begin) = (Queue::default(), Instant::now());
        let later = begin + TIME / 2;
        queue.hold(begin, held(1));
        queue.hold(later, held(2));
        assert_eq!(queue.deadline(), Some(begin + TIME));
        assert_eq!(queue.take_overdue(later), []);
        assert_eq!(queue.take_overdue(begin + TIME), [held(1)]);
        queue.hold(later, held(3));
        assert_eq!(queue.take(), [held(2), held(3)]);
        assert!(queue.is_empty() && queue.deadline().is_none());
    }

    #[test]
    fn the_number_that_waits_is_bounded() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for tag in 0..PACKETS as u8 {
            assert!(queue.has_room());
            queue.hold(now, held(tag));
        }
        assert!(!queue.has_room());
        queue.hold(now, held(255));
        assert_eq!(queue.len(), PACKETS);
        assert!(!queue.take().contains(&held(255)));
    }

    fn sealed(tcp: bool, data: &[u8]) -> Vec<u8> {
        let ip = PacketBuilder::ipv4([192, 168, 1, 10], [198, 51, 100, 1], 63);
        let mut packet = Vec::new();
        if tcp {
            ip.tcp(40000, 80, 7, 1000).write(&mut packet, data).unwrap();
        } else {
            ip.udp(40000, 53).write(&mut packet, data).unwrap();
        }
        packet
    }

    /// Sum of a pseudo-header from 192.168.1.10 to 198.51.100.1, as the kernel leaves it.
    fn pseudo_sum(protocol: u8, length: usize) -> [u8; 2] {
        let sum = 0xc0a8 + 0x010a + 0xc633 + 0x6401 + u32::from(protocol) + length as u32;
        let sum = (sum & 0xffff) + (sum >> 16);
        ((sum & 0xffff) as u16 + (sum >> 16) as u16).to_be_bytes()
    }

    proptest! {
        #[test]
        fn an_incomplete_checksum_is_completed_and_others_stay(tcp: bool, data: Vec<u8>, wrong: u16) {
            let expected = sealed(tcp, &data);
            let (protocol, at) = if tcp { (6, 36) } else { (17, 26) };
            // One in 65,536 cannot be told from an incomplete one.
            let incomplete = pseudo_sum(protocol, expected.len() - 20);
            prop_assume!(expected[at..at + 2] != incomplete);
            let mut packet = expected.clone();
            packet[at..at + 2].copy_from_slice(&incomplete);
            complete_checksum(&mut packet);
            prop_assert_eq!(&packet, &expected);
            complete_checksum(&mut packet);
            prop_assert_eq!(&packet, &expected, "a complete one stays");
            let wrong = wrong.to_be_bytes();
            prop_assume!(wrong != incomplete);
            packet[at..at + 2].copy_from_slice(&wrong);
            complete_checksum(&mut packet);
            prop_assert_eq!(&packet[at..at + 2], &wrong, "a wrong one stays wrong");
        }

        #[test]
        fn no_bytes_do_harm(mut bytes: Vec<u8>) {
            let before = bytes.clone();
            complete_checksum(&mut bytes);
            prop_assert_eq!(bytes.len(), before.len());
        }
    }
}
