//! The decisions of the slow path, in a world without a kernel.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    time::Duration,
};

use etherparse::{IpNumber, Ipv4Header};
use proptest::prelude::*;

use super::*;
use crate::slow::{
    fragment::tests::translation,
    ip::tests::{fragment, seal},
    lot, refused,
};

const HOST: [u8; 4] = [192, 168, 1, 10];
const ROUTER_LAN: [u8; 4] = [192, 168, 1, 1];
const SERVER: [u8; 4] = [198, 51, 100, 1];
const EXTERNAL_ADDRESS: [u8; 4] = [203, 0, 113, 5];
const LAN: u32 = 2;
const WAN: u32 = 3;

/// A router with one LAN and one WAN.
struct Lab {
    fragments: RefCell<HashMap<Datagram, Translation>>,
    external: Cell<[u8; 4]>,
    attached: Cell<bool>,
    sends: Cell<bool>,
    sent: RefCell<Vec<(Vec<u8>, u32)>>,
    woken: Cell<u32>,
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            fragments: RefCell::default(),
            external: Cell::new(EXTERNAL_ADDRESS),
            attached: Cell::new(true),
            sends: Cell::new(true),
            sent: RefCell::default(),
            woken: Cell::new(0),
        }
    }
}

impl Lab {
    fn first_passes(&self, translation: Translation) {
        self.fragments.borrow_mut().insert(translation.datagram, translation);
    }

    fn sent(&self) -> Vec<(Vec<u8>, u32)> {
        self.sent.take()
    }

    fn sent_one(&self) -> (Vec<u8>, u32) {
        let sent = self.sent();
        assert_eq!(sent.len(), 1);
        sent[0].clone()
    }
}

impl World for Lab {
    fn translation(&self, datagram: &Datagram) -> Option<Translation> {
        self.fragments.borrow().get(datagram).copied()
    }

    fn flags(&self, address: Addr) -> u32 {
        match address.octets() {
            ROUTER_LAN => INSIDE | ROUTER,
            [192, 168, 1, _] => INSIDE,
            octets if octets == self.external.get() => EXTERNAL,
            _ => 0,
        }
    }

    fn external(&self, wan: u8) -> Option<Addr> {
        (wan == 0).then(|| Addr::from_octets(self.external.get()))
    }

    fn router(&self, interface: u32, _host: Addr) -> Addr {
        if interface == LAN { Addr::from_octets(ROUTER_LAN) } else { Addr::NONE }
    }

    fn translates(&self, wan: u8, interface: u32) -> bool {
        self.attached.get() && (wan, interface) == (0, WAN)
    }

    fn wake_sweeper(&self) {
        self.woken.set(self.woken.get() + 1);
    }

    fn send(&self, packet: &[u8], interface: u32) -> io::Result<()> {
        if !self.sends.get() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        self.sent.borrow_mut().push((packet.to_vec(), interface));
        Ok(())
    }
}

fn handler() -> Handler {
    Handler::new(ExhaustionIcmp::Prohibited)
}

fn record(cause: Cause, reason: Option<Reason>, packet: &[u8]) -> Vec<u8> {
    let head = Head {
        ifindex: WAN,
        ingress: LAN,
        length: packet.len() as u32,
        captured: packet.len() as u32,
        cause: cause as u8,
        reason: reason.map_or(0, |reason| reason as u8),
        ..Head::default()
    };
    [bytemuck::bytes_of(&head), packet].concat()
}

fn refused_record(packet: &[u8], reason: Reason) -> Vec<u8> {
    record(Cause::Refused, Some(reason), packet)
}

/// The same record of a packet that the router has made.
fn made_here(mut record: Vec<u8>) -> Vec<u8> {
    record[12..16].fill(0);
    record
}

fn first_packet(from: [u8; 4]) -> Vec<u8> {
    seal(
        Ipv4Header::new(8, 63, IpNumber::UDP, from, SERVER).unwrap(),
        &[0x9c, 0x40, 0, 53, 0, 8, 0, 0],
    )
}

fn datagram_of(packet: &[u8]) -> Datagram {
    Packet::parse(packet, packet.len()).unwrap().datagram()
}

fn outbound(packet: &[u8]) -> Translation {
    translation(datagram_of(packet), EXTERNAL_ADDRESS, SERVER, [0xab, 0xcd])
}

fn source_of(packet: &[u8]) -> [u8; 4] {
    Packet::parse(packet, packet.len()).expect("a sound header").source().octets()
}

#[test]
fn early_fragments_follow_their_first_one() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let early = [fragment(7, 370, b"the third"), fragment(7, 185, b"the second.")];
    for fragment in &early {
        handler.record(&record(Cause::EarlyOut, None, fragment), now, &lab);
    }
    assert_eq!(lab.sent(), []);
    assert_eq!((handler.counts().parked, handler.counts().parked_bytes), (2, 29 + 31));
    let translation = outbound(&early[0]);
    lab.first_passes(translation);
    let first_seen = record(Cause::FirstSeen, None, bytemuck::bytes_of(&translation.datagram));
    handler.record(&first_seen, now, &lab);
    let sent = lab.sent();
    for ((packet, interface), early) in sent.iter().zip(&early) {
        assert_eq!((source_of(packet), *interface), (EXTERNAL_ADDRESS, WAN));
        assert_eq!((packet[8], &packet[4..6]), (64, &[0xab, 0xcd][..]));
        assert_eq!(packet[20..], early[20..]);
    }
    let counts = handler.counts();
    assert_eq!((sent.len(), counts.reinjected, counts.parked), (2, 2, 0));
    assert_eq!(handler.deadline(), None);
}

#[test]
fn a_fragment_whose_first_one_is_known_does_not_wait() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let fragment = fragment(7, 185, b"late in the end");
    lab.first_passes(outbound(&fragment));
    handler.record(&record(Cause::EarlyOut, None, &fragment), now, &lab);
    assert_eq!((lab.sent().len(), handler.counts().parked), (1, 0));
}

#[test]
fn what_was_done_long_ago_does_not_hold() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let fragment = fragment(7, 185, b"of another datagram");
    lab.first_passes(outbound(&fragment));
    let mut record = record(Cause::EarlyOut, None, &fragment);
    record[..8].copy_from_slice(&6_000_000_000_u64.to_ne_bytes());
    handler.record(&record, now, &lab);
    assert_eq!((lab.sent().len(), handler.counts().parked), (0, 1));
}

#[test]
fn inbound_fragments_are_routed_and_counted_down() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let mut header = Ipv4Header::new(8, 50, IpNumber::UDP, SERVER, EXTERNAL_ADDRESS).unwrap();
    header.identification = 9;
    header.fragment_offset = 185.try_into().unwrap();
    let fragment = seal(header.clone(), &[7; 8]);
    let datagram = datagram_of(&fragment);
    lab.first_passes(translation(datagram, SERVER, HOST, [0, 9]));
    handler.record(&record(Cause::EarlyIn, None, &fragment), now, &lab);
    let (sent, interface) = lab.sent_one();
    assert_eq!(interface, 0, "the kernel routes it");
    assert_eq!((sent[8], &sent[16..20]), (49, &HOST[..]));
    // At the end of its way, and with options that nobody has looked at.
    header.time_to_live = 1;
    handler.record(&record(Cause::EarlyIn, None, &seal(header.clone(), &[7; 8])), now, &lab);
    header.time_to_live = 50;
    header.options = [1; 4].into();
    header.set_payload_len(8).unwrap();
    handler.record(&record(Cause::EarlyIn, None, &seal(header, &[7; 8])), now, &lab);
    // Of the router itself.
    lab.first_passes(translation(datagram, SERVER, EXTERNAL_ADDRESS, [0, 9]));
    handler.record(&record(Cause::EarlyIn, None, &fragment), now, &lab);
    assert_eq!((lab.sent(), handler.counts().unusable), (vec![], 3));
}

#[test]
fn hairpin_fragments_leave_with_an_external_address_only() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let mut header = Ipv4Header::new(8, 64, IpNumber::UDP, HOST, EXTERNAL_ADDRESS).unwrap();
    header.fragment_offset = 185.try_into().unwrap();
    let fragment = seal(header, &[7; 8]);
    let datagram = datagram_of(&fragment);
    lab.first_passes(translation(datagram, EXTERNAL_ADDRESS, [192, 168, 1, 11], [1, 2]));
    handler.record(&record(Cause::EarlyHairpin, None, &fragment), now, &lab);
    let sent = lab.sent();
    assert_eq!((sent.len(), source_of(&sent[0].0), sent[0].0[8]), (1, EXTERNAL_ADDRESS, 63));
    lab.first_passes(translation(datagram, HOST, [192, 168, 1, 11], [1, 2]));
    handler.record(&record(Cause::EarlyHairpin, None, &fragment), now, &lab);
    assert_eq!(lab.sent(), []);
}

#[test]
fn nothing_leaves_with_another_address_than_the_wan_has() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let fragment = fragment(7, 185, b"12345678");
    let early = record(Cause::EarlyOut, None, &fragment);
    lab.first_passes(translation(datagram_of(&fragment), HOST, SERVER, [1, 2]));
    handler.record(&early, now, &lab);
    // The WAN has got another address since.
    lab.first_passes(outbound(&fragment));
    lab.external.set([203, 0, 113, 99]);
    handler.record(&early, now, &lab);
    assert_eq!((lab.sent(), handler.counts().unusable), (vec![], 2));
}

#[test]
fn what_waits_in_vain_expires_and_what_is_too_much_is_counted() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    for _ in 0..lot::FRAGMENTS + 3 {
        handler.record(&record(Cause::EarlyOut, None, &fragment(7, 185, b"12345678")), now, &lab);
    }
    assert_eq!(handler.deadline(), Some(now + lot::TIME));
    handler.expire(now + lot::TIME, &lab);
    let counts = handler.counts();
    assert_eq!((counts.parked, counts.expired, counts.refused), (0, lot::FRAGMENTS as u64, 3));
    assert_eq!((lab.sent(), handler.deadline()), (vec![], None));
}

#[test]
fn a_refused_packet_is_tried_again_when_there_is_room() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let packet = first_packet(HOST);
    handler.record(&refused_record(&packet, Reason::PortsExhausted), now, &lab);
    assert_eq!((lab.woken.get(), handler.counts().held, lab.sent()), (1, 1, vec![]));
    handler.swept(5, now, &lab);
    assert_eq!(lab.sent(), [(packet.clone(), WAN)]);
    assert_eq!((handler.counts().retried, handler.counts().held), (1, 0));
    // It comes again as the router's: now it is answered, and the kernel knows from where.
    handler.record(&made_here(refused_record(&packet, Reason::PortsExhausted)), now, &lab);
    let (answer, interface) = lab.sent_one();
    assert_eq!(interface, 0);
    assert_eq!(
        (&answer[12..16], &answer[16..20], &answer[20..22]),
        (&[0; 4][..], &HOST[..], &[3, 13][..])
    );
    assert_eq!(handler.counts().held, 0);
}

#[test]
fn a_refused_packet_is_answered_when_there_is_no_room() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let packet = first_packet(HOST);
    let reasons = [Reason::SessionTableFull, Reason::MappingTableFull];
    for (second, reason) in (0..).map(|n| now + seconds(n)).zip(reasons) {
        handler.record(&refused_record(&packet, reason), second, &lab);
        handler.swept(0, second, &lab);
        let (answer, interface) = lab.sent_one();
        assert_eq!((source_of(&answer), interface), (ROUTER_LAN, LAN));
        assert_eq!(answer[28..], packet);
    }
    // The sweeper does not get on.
    handler.record(&refused_record(&packet, Reason::PortsExhausted), now + seconds(2), &lab);
    assert_eq!(handler.deadline(), Some(now + seconds(2) + refused::TIME));
    handler.expire(now + seconds(2) + refused::TIME, &lab);
    assert_eq!((lab.sent().len(), handler.counts().icmp_sent), (1, 3));
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn over_a_limit_there_is_nothing_to_wait_for() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    for _ in 0..10 {
        // Any reason but those of full tables.
        handler.record(&refused_record(&first_packet(HOST), Reason::SourceExcluded), now, &lab);
    }
    let counts = handler.counts();
    assert_eq!((lab.woken.get(), counts.held), (0, 0));
    assert_eq!((lab.sent().len(), counts.icmp_sent, counts.icmp_suppressed), (1, 1, 9));
}

#[test]
fn an_inside_source_is_sent_only_where_it_is_translated() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    lab.attached.set(false);
    handler.record(&refused_record(&first_packet(HOST), Reason::PortsExhausted), now, &lab);
    handler.swept(1, now, &lab);
    // Behind another router on the LAN, and the router's own: not held at all.
    lab.attached.set(true);
    for source in [[10, 9, 9, 9], ROUTER_LAN] {
        handler.record(&refused_record(&first_packet(source), Reason::PortsExhausted), now, &lab);
        assert_eq!(handler.counts().held, 0);
    }
    let counts = handler.counts();
    assert_eq!((counts.retried, counts.icmp_sent), (0, 3));
    assert!(lab.sent().iter().all(|(packet, interface)| packet[9] == 1 && *interface == LAN));
}

#[test]
fn the_routers_own_refused_packets_are_left_alone() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    let own = refused_record(&first_packet(ROUTER_LAN), Reason::PortsExhausted);
    handler.record(&made_here(own), now, &lab);
    assert_eq!((lab.sent(), handler.counts().icmp_suppressed), (vec![], 1));
}

#[test]
fn many_refused_packets_are_a_bounded_burst_of_answers() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    for host in 2..250 {
        let packet = first_packet([192, 168, 1, host]);
        handler.record(&refused_record(&packet, Reason::PortsExhausted), now, &lab);
    }
    assert_eq!(handler.counts().held, refused::PACKETS as u64);
    handler.swept(0, now, &lab);
    assert_eq!(lab.sent().len(), 50);
}

#[test]
fn what_cannot_be_sent_is_counted() {
    let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
    lab.sends.set(false);
    let fragment = fragment(7, 185, b"12345678");
    lab.first_passes(outbound(&fragment));
    handler.record(&record(Cause::EarlyOut, None, &fragment), now, &lab);
    handler.record(&refused_record(&first_packet(HOST), Reason::PortsExhausted), now, &lab);
    handler.swept(3, now, &lab);
    let counts = handler.counts();
    assert_eq!((counts.reinjected, counts.retried, counts.icmp_sent, counts.failed), (0, 0, 0, 3));
}

proptest! {
    #[test]
    fn no_record_does_harm(
        bytes: Vec<u8>, cause in 0_u8..6, reason: u8, length in 0_u32..3000,
    ) {
        let (mut handler, lab, now) = (handler(), Lab::default(), Instant::now());
        lab.attached.set(false);
        let mut record = record(Cause::EarlyOut, None, &bytes);
        record[16..20].copy_from_slice(&length.to_ne_bytes());
        record[24] = cause;
        record[25] = reason;
        handler.record(&record, now, &lab);
        handler.record(&bytes, now, &lab);
        handler.swept(1, now, &lab);
        handler.expire(now + lot::TIME, &lab);
        prop_assert_eq!(handler.deadline(), None);
        // Nothing translates there, and no first fragment has passed.
        prop_assert!(lab.sent().iter().all(|(_, interface)| *interface != WAN));
    }
}
