//! The slow path of the daemon: packets that the kernel programs hand over, as anybody may have
//! sent them, through its whole logic, with a world that takes notes.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use masq_common::{
    be::Addr,
    checksum::Delta,
    fragment::{Datagram, Translation},
    settings::prefix::{EXTERNAL, INSIDE, ROUTER},
    time::Tick,
};
use masq_user::{
    cli::ExhaustionIcmp,
    slow::{
        handler::{Handler, World},
        icmp, ip, lot, refused,
    },
};

const ROUTER_LAN: Addr = Addr::from_octets([192, 168, 1, 1]);
const OUTSIDE: Addr = Addr::from_octets([203, 0, 113, 5]);
const LAN: u32 = 2;
const WAN: u32 = 3;

/// Some steps, each a byte that says what happens, a byte with the length of what belongs to it in
/// units of 4 bytes, and that.
pub fn handler(bytes: &[u8]) {
    let (world, begin) = (Notes::default(), Instant::now());
    let mut handler = Handler::new(ExhaustionIcmp::Prohibited);
    let (mut now, mut removed, mut rest) = (begin, 0, bytes);
    while let [step, length, data @ ..] = rest {
        let (data, next) = data.split_at(data.len().min(usize::from(*length) * 4));
        rest = next;
        match step % 8 {
            0 => now += Duration::from_millis(u64::from(*length) * 20),
            1 => handler.expire(now, &world),
            2 => {
                removed += u64::from(*length);
                handler.swept(removed, now, &world);
            }
            3 => world.first_passes(data),
            _ => handler.record(data, now, &world),
        }
        let counts = handler.counts();
        assert!(counts.parked_bytes <= lot::BYTES as u64 && counts.held <= refused::PACKETS as u64);
        assert!(handler.deadline().is_none_or(|end| end <= now + lot::TIME));
    }
    let end = now + lot::TIME + refused::TIME;
    handler.expire(end, &world);
    let counts = handler.counts();
    assert_eq!((counts.parked, counts.parked_bytes, counts.held), (0, 0, 0), "{counts:?}");
    let sent = counts.reinjected + counts.retried + counts.icmp_sent;
    assert_eq!(sent, world.sent.borrow().len() as u64, "{counts:?}");
}

/// The answer to a packet that was refused.
pub fn answer(bytes: &[u8]) {
    let Some(packet) = ip::Packet::parse(bytes, bytes.len()) else { return };
    let Some(answer) = icmp::answer(&packet, ROUTER_LAN, ExhaustionIcmp::HostUnreachable) else {
        return;
    };
    assert!(answer.len() <= icmp::LENGTH);
    let parsed = ip::Packet::parse(&answer, answer.len()).expect("an answer is a packet");
    assert!(parsed.is_whole() && !parsed.is_later_fragment());
    assert_eq!(parsed.header().destination(), packet.header().source());
    assert_eq!(sum(parsed.payload()), 0xffff, "the checksum of the message");
    // RFC 1122 section 3.2.2: none about an error, to nobody in particular, about a group.
    let quoted = &parsed.payload()[8..];
    assert!(bytes.starts_with(quoted) && quoted.len() >= bytes.len().min(28));
    assert!(quoted[9] != 1 || matches!(quoted[20], 8 | 13));
    assert!((1..224).contains(&quoted[12]) && !(224..240).contains(&quoted[16]));
}

/// The one's-complement sum (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u64::from(*high) << 8 | u64::from(*low),
        _ => u64::from(pair[0]) << 8,
    });
    let sum: u64 = words.sum();
    (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16))
}

/// A router with one LAN and one WAN.
#[derive(Default)]
struct Notes {
    fragments: RefCell<HashMap<Datagram, Translation>>,
    sent: RefCell<Vec<Vec<u8>>>,
}

impl Notes {
    /// The first fragment of a datagram has passed; to an address of the LAN if it came from
    /// outside.
    fn first_passes(&self, data: &[u8]) {
        let Some(data) = data.get(..size_of::<Datagram>()) else { return };
        let Ok(datagram) = bytemuck::try_pod_read_unaligned::<Datagram>(data) else { return };
        let host = Addr::from_octets([192, 168, 1, 10]);
        let (source, destination) = match datagram.destination {
            OUTSIDE => (datagram.source, host),
            other => (OUTSIDE, other),
        };
        let delta = Delta::addr(datagram.source, source)
            .and(Delta::addr(datagram.destination, destination))
            .raw();
        let identification = datagram.identification;
        let translation = Translation {
            datagram,
            source,
            destination,
            delta,
            identification,
            ..Translation::own(datagram, Tick(0))
        };
        self.fragments.borrow_mut().insert(datagram, translation);
    }
}

impl World for Notes {
    fn translation(&self, datagram: &Datagram) -> Option<Translation> {
        self.fragments.borrow().get(datagram).copied()
    }

    fn flags(&self, address: Addr) -> u32 {
        match address.octets() {
            [192, 168, 1, 1] => INSIDE | ROUTER,
            [192, 168, 1, _] => INSIDE,
            [203, 0, 113, 5] => EXTERNAL,
            _ => 0,
        }
    }

    fn external(&self, wan: u8) -> Option<Addr> {
        (wan == 0).then_some(OUTSIDE)
    }

    fn router(&self, interface: u32, _host: Addr) -> Addr {
        if interface == LAN { ROUTER_LAN } else { Addr::NONE }
    }

    fn translates(&self, wan: u8, interface: u32) -> bool {
        (wan, interface) == (0, WAN)
    }

    fn wake_sweeper(&self) {}

    fn send(&self, packet: &[u8], interface: u32) -> io::Result<()> {
        let sound = ip::Packet::parse(packet, packet.len()).expect("only sound packets are sent");
        assert!(sound.is_whole());
        let inside = self.flags(sound.source()) & (INSIDE | ROUTER) == INSIDE;
        // With a LAN source only where it is translated, or to a LAN host.
        let to_lan = self.flags(Addr::from_octets(sound.header().destination())) & INSIDE != 0;
        assert!(!inside || to_lan || interface == WAN, "{packet:02x?} by {interface}");
        self.sent.borrow_mut().push(packet.to_vec());
        Ok(())
    }
}
