//! From a record of the programs to what users read of a packet. Pure.

use anyhow::{Context as _, Result};
use etherparse::Ipv4HeaderSlice;
use jiff::Timestamp;
use masq_common::{
    flow::{ICMP, TCP, UDP, UDP_LITE},
    icmp::{Kind, kind},
    link::{Header, ether_type::IPV4},
    reason::Reason,
    trace::{CAPTURE, Extent, Hook, Record, Verdict},
};

use crate::control::{
    proto::{Endpoint, protocol_name},
    traced::{Frame, Frames, IcmpMessage, Look, Passage, Quoted, hex},
};

/// EtherTypes that have a name here.
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// Names of the TCP flags, from the lowest bit on.
const TCP_FLAGS: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];

/// What users are told of a record. `epoch` makes the time of day of its time (see
/// [`crate::clock::epoch`]), `name` the names of interfaces; `frames` says whether the bytes are wanted.
///
/// # Errors
/// If the record is of another version, or the clock is set to no real time.
pub fn passage(
    record: &Record,
    epoch: i64,
    name: impl Fn(u32) -> String,
    frames: bool,
) -> Result<Passage> {
    let head = &record.head;
    let hook = Hook::from_number(head.hook).context("a record of an unknown hook")?;
    let reason = Reason::from_number(head.reason).context("a record with an unknown reason")?;
    let verdict = Verdict::from_number(head.verdict).context("a record with an unknown verdict")?;
    let time = Timestamp::from_nanosecond(i128::from(epoch.wrapping_add(head.nanos as i64)));
    let (before, after) = (record.bytes_before(), record.bytes_after());
    // Of a packet that is dropped, nobody will see what has become of it.
    let changed = verdict != Verdict::Drop
        && !after.is_empty()
        && (after != before || head.after.length != head.before.length);
    let frame = |bytes: &[u8], extent: &Extent| Frame {
        link: extent.link,
        length: extent.length,
        bytes: hex(bytes),
    };
    Ok(Passage {
        time: time.context("the clock is set to no real time")?,
        interface: name(head.ifindex),
        came_in_by: (hook == Hook::WanOut && head.ingress != 0).then(|| name(head.ingress)),
        hook: hook.as_str().to_owned(),
        verdict: verdict.as_str().to_owned(),
        class: reason.class().as_str().to_owned(),
        reason: reason.label().to_owned(),
        before: look(&record.before, &head.before),
        after: changed.then(|| look(&record.after, &head.after)),
        frames: frames.then(|| Frames {
            before: frame(before, &head.before),
            after: changed.then(|| frame(after, &head.after)),
        }),
    })
}

/// What a packet looks like.
fn look(bytes: &[u8; CAPTURE], extent: &Extent) -> Look {
    let link = match extent.link {
        // Without link-layer header the packet says itself what it is.
        0 if bytes[0] >> 4 == 6 => Header { ether_type: IPV6, ..Header::default() },
        0 => Header { ether_type: IPV4, ..Header::default() },
        _ => Header::read(bytes, extent.captured),
    };
    let before = Look {
        vlan: link.tag.map(|tag| tag & 0xfff),
        priority: link.tag.map(|tag| (tag >> 13) as u8),
        pppoe: link.session,
        length: extent.length.saturating_sub(u32::from(link.length)),
        ..Look::default()
    };
    let bytes = &bytes[..usize::from(extent.captured).min(CAPTURE)];
    let packet = bytes.get(usize::from(link.length)..).unwrap_or_default();
    if link.ether_type != IPV4 {
        let protocol = match link.ether_type {
            ARP => "arp".to_owned(),
            IPV6 => "ipv6".to_owned(),
            other => format!("ethertype 0x{other:04x}"),
        };
        return Look { protocol, ..before };
    }
    let Ok(header) = Ipv4HeaderSlice::from_slice(packet) else {
        return Look { protocol: "damaged".to_owned(), ..before };
    };
    let rest = &packet[header.slice().len()..];
    let mut look = Look {
        protocol: protocol_name(header.protocol().0).into_owned(),
        number: Some(header.protocol().0),
        ttl: Some(header.ttl()),
        fragment: header.is_fragmenting_payload().then(|| header.fragments_offset().value() * 8),
        ..before
    };
    let has_transport = look.fragment.is_none_or(|offset| offset == 0);
    let rest = if has_transport { rest } else { &[] };
    let (source, destination) = ports(header.protocol().0, rest);
    look.source = Some(Endpoint { address: header.source_addr(), port: source });
    look.destination = Some(Endpoint { address: header.destination_addr(), port: destination });
    match (header.protocol().0, rest) {
        (TCP, rest) => look.tcp_flags = rest.get(13).map(|&flags| flag_names(flags)),
        (ICMP, &[message_type, code, ..]) => {
            look.icmp = Some(IcmpMessage { message_type, code });
            if kind(message_type) == Kind::Error {
                look.about = rest.get(8..).and_then(quoted);
            }
        }
        _ => {}
    }
    look
}

/// The packet that an ICMP error is about.
fn quoted(packet: &[u8]) -> Option<Quoted> {
    let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let rest = &packet[header.slice().len()..];
    let (source, destination) = ports(header.protocol().0, rest);
    Some(Quoted {
        protocol: protocol_name(header.protocol().0).into_owned(),
        source: Endpoint { address: header.source_addr(), port: source },
        destination: Endpoint { address: header.destination_addr(), port: destination },
    })
}

/// The ports of a packet, or the identifier of an ICMP query on the side that has chosen it; 0 for
/// none.
fn ports(protocol: u8, transport: &[u8]) -> (u16, u16) {
    let word = |at: usize| {
        transport.get(at..at + 2).map_or(0, |word| u16::from_be_bytes([word[0], word[1]]))
    };
    match (protocol, transport.first()) {
        (TCP | UDP | UDP_LITE, _) => (word(0), word(2)),
        (ICMP, Some(&message_type)) => match kind(message_type) {
            Kind::Request => (word(4), 0),
            Kind::Reply => (0, word(4)),
            Kind::Error | Kind::Other => (0, 0),
        },
        _ => (0, 0),
    }
}

fn flag_names(flags: u8) -> String {
    let set = |(bit, name): (usize, &&'static str)| (flags >> bit & 1 != 0).then_some(*name);
    TCP_FLAGS.iter().enumerate().filter_map(set).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use etherparse::{IcmpEchoHeader, Icmpv4Type, PacketBuilder, icmpv4::DestUnreachableHeader};
    use masq_common::trace::Head;

    use super::*;

    const HOST: [u8; 4] = [192, 168, 1, 10];
    const ROUTER: [u8; 4] = [203, 0, 113, 5];
    const SERVER: [u8; 4] = [198, 51, 100, 1];

    fn frame(source: [u8; 4], ttl: u8, port: u16) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(source, SERVER, ttl)
            .tcp(port, 443, 1, 1000)
            .syn();
        let mut bytes = Vec::new();
        builder.write(&mut bytes, b"hello").unwrap();
        bytes
    }

    fn record(before: &[u8], after: &[u8], verdict: Verdict) -> Record {
        let extent = |bytes: &[u8]| Extent {
            length: bytes.len() as u32,
            captured: bytes.len().min(CAPTURE) as u16,
            link: 14,
        };
        let mut record = Record {
            head: Head {
                nanos: 5_000_000_001,
                ifindex: 2,
                ingress: 1,
                before: extent(before),
                after: extent(after),
                hook: Hook::WanOut as u8,
                reason: Reason::OutboundSlow as u8,
                verdict: verdict as u8,
                ..Head::default()
            },
            before: [0; CAPTURE],
            after: [0; CAPTURE],
        };
        record.before[..before.len().min(CAPTURE)].copy_from_slice(before);
        record.after[..after.len().min(CAPTURE)].copy_from_slice(after);
        record
    }

    fn told(record: &Record) -> Passage {
        passage(record, 1_000_000_000, |index| format!("if{index}"), true).unwrap()
    }

    #[test]
    fn a_translated_packet_is_told_before_and_after() {
        let (before, after) = (frame(HOST, 63, 40_000), frame(ROUTER, 63, 40_001));
        let passage = told(&record(&before, &after, Verdict::Pass));
        assert_eq!(passage.time.as_nanosecond(), 6_000_000_001);
        assert_eq!((passage.interface.as_str(), passage.hook.as_str()), ("if2", "wan_out"));
        assert_eq!(passage.came_in_by.as_deref(), Some("if1"));
        assert_eq!(
            (passage.class.as_str(), passage.reason.as_str()),
            ("translated", "outbound_slow")
        );
        let Look { protocol, source, destination, ttl, tcp_flags, length, .. } = &passage.before;
        assert_eq!((protocol.as_str(), *ttl, *length), ("tcp", Some(63), 45));
        assert_eq!(source.unwrap().to_string(), "192.168.1.10:40000");
        assert_eq!(destination.unwrap().to_string(), "198.51.100.1:443");
        assert_eq!(tcp_flags.as_deref(), Some("SYN"));
        let after_ends = passage.after.as_ref().unwrap().source.unwrap();
        assert_eq!(after_ends.to_string(), "203.0.113.5:40001");
        let frames = passage.frames.unwrap();
        assert_eq!(frames.after.unwrap().bytes, hex(&after));
    }

    #[test]
    fn what_stands_before_the_ip_header_is_told() {
        let plain = frame(HOST, 63, 40_000);
        let session = [0x88, 0x64, 0x11, 0, 0, 0x12, 0, 47, 0, 0x21];
        let pppoe = [&plain[..12], &session, &plain[14..]].concat();
        let both = [&plain[..12], &[0x81, 0, 0xe0, 7], &session, &plain[14..]].concat();
        let passage = told(&record(&plain, &both, Verdict::Redirect));
        let (before, after) = (passage.before, passage.after.unwrap());
        assert_eq!((before.vlan, before.priority, before.pppoe), (None, None, None));
        assert_eq!((after.vlan, after.priority, after.pppoe), (Some(7), Some(7), Some(0x12)));
        assert_eq!((before.length, after.length), (45, 45), "from the IP header on");
        assert_eq!((before.source, before.ttl), (after.source, after.ttl));
        let look = told(&record(&pppoe, &plain, Verdict::Redirect)).before;
        assert_eq!((look.vlan, look.pppoe, look.protocol.as_str()), (None, Some(0x12), "tcp"));
        let mut lcp = pppoe;
        lcp[20..22].copy_from_slice(&[0xc0, 0x21]);
        let look = told(&record(&lcp, &lcp, Verdict::Pass)).before;
        assert_eq!((look.pppoe, look.protocol.as_str()), (Some(0x12), "ethertype 0x8864"));
    }

    #[test]
    fn what_is_unchanged_or_dropped_has_no_after() {
        let (before, after) = (frame(HOST, 63, 40_000), frame(ROUTER, 63, 40_001));
        assert_eq!(told(&record(&before, &before, Verdict::Pass)).after, None);
        assert_eq!(told(&record(&before, &after, Verdict::Drop)).after, None);
        assert_eq!(told(&record(&before, &[], Verdict::Pass)).after, None);
    }

    #[test]
    fn errors_are_told_with_what_they_are_about() {
        let inner = &frame(ROUTER, 1, 40_001)[14..];
        let kind = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host);
        let builder =
            PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(SERVER, ROUTER, 60).icmpv4(kind);
        let mut error = Vec::new();
        builder.write(&mut error, inner).unwrap();
        let look = told(&record(&error, &error, Verdict::Pass)).before;
        assert_eq!(look.icmp, Some(IcmpMessage { message_type: 3, code: 1 }));
        let about = look.about.unwrap();
        assert_eq!(about.source.to_string(), "203.0.113.5:40001");
        assert_eq!((about.protocol.as_str(), about.destination.port), ("tcp", 443));
    }

    #[test]
    fn identifiers_stand_on_the_side_that_has_chosen_them() {
        for (request, ports) in [(true, (77, 0)), (false, (0, 77))] {
            let header = IcmpEchoHeader { id: 77, seq: 1 };
            let kind = if request {
                Icmpv4Type::EchoRequest(header)
            } else {
                Icmpv4Type::EchoReply(header)
            };
            let builder =
                PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(HOST, SERVER, 64).icmpv4(kind);
            let mut bytes = Vec::new();
            builder.write(&mut bytes, b"").unwrap();
            let look = told(&record(&bytes, &bytes, Verdict::Pass)).before;
            assert_eq!((look.source.unwrap().port, look.destination.unwrap().port), ports);
        }
    }

    #[test]
    fn fragments_and_what_is_not_ipv4_are_told_as_far_as_they_go() {
        let mut later = frame(HOST, 64, 40_000);
        later[14 + 7] = 2;
        let look = told(&record(&later, &later, Verdict::Pass)).before;
        assert_eq!((look.fragment, look.source.unwrap().port), (Some(16), 0));
        assert_eq!(look.tcp_flags, None);
        let mut other = vec![0; 42];
        for (ethertype, name) in
            [(0x0806_u16, "arp"), (0x86dd, "ipv6"), (0x8864, "ethertype 0x8864")]
        {
            other[12..14].copy_from_slice(&ethertype.to_be_bytes());
            let look = told(&record(&other, &other, Verdict::Pass)).before;
            assert_eq!((look.protocol.as_str(), look.number, look.source), (name, None, None));
        }
        let packet = &frame(HOST, 64, 1)[14..];
        for (version, name, source) in
            [(0x45, "tcp", Some("192.168.1.10:1")), (0x60, "ipv6", None), (0x50, "damaged", None)]
        {
            let mut raw = packet.to_vec();
            raw[0] = version;
            let mut record = record(&raw, &raw, Verdict::Pass);
            (record.head.before.link, record.head.after.link) = (0, 0);
            let look = told(&record).before;
            assert_eq!((look.protocol.as_str(), look.length), (name, 45));
            assert_eq!(look.source.map(|end| end.to_string()).as_deref(), source);
        }
        let mut short = frame(HOST, 64, 1);
        short.truncate(30);
        let look = told(&record(&short, &short, Verdict::Drop)).before;
        assert_eq!((look.protocol.as_str(), look.source), ("damaged", None));
    }
}
