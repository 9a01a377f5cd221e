//! Records of `masq trace` as lines for people, and for grep. Pure.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};

use crate::control::{
    record::Fate,
    traced::{Look, Passage, Traced},
};

/// One record. Packets have the time of day only, after a first line with the date: a trace is watched
/// while it happens.
pub fn line(record: &Traced, zone: &TimeZone, colours: bool) -> String {
    let paint = |colour: &str, text: String| {
        if colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text }
    };
    match record {
        Traced::Tracing { time, instance } => {
            let time = format_time(*time, zone, DATE_AND_TIME);
            format!("{time} {} instance={instance}", paint("1", "tracing".to_owned()))
        }
        Traced::Packet(passage) => {
            let colour = match (passage.verdict.as_str(), passage.class.as_str()) {
                ("drop", _) => "31",
                (_, "translated") => "32",
                _ => "0",
            };
            let Passage { time, interface, hook, verdict, .. } = &**passage;
            let verdict = paint(colour, format!("{verdict:<8}"));
            let time = format_time(*time, zone, TIME);
            format!("{time} {interface:<8} {hook:<8} {verdict} {}", packet(passage))
        }
        Traced::Lost { time, count } => {
            let time = format_time(*time, zone, TIME);
            format!("{time} {} count={count}", paint("31", "lost".to_owned()))
        }
        Traced::Ended { time, data_plane } => {
            let fate = match data_plane {
                Fate::Removed => "removed",
                Fate::Kept => "kept",
            };
            let time = format_time(*time, zone, DATE_AND_TIME);
            format!("{time} {} data_plane={fate}", paint("1", "ended".to_owned()))
        }
    }
}

/// What a packet was, what became of it, and why.
fn packet(passage: &Passage) -> String {
    let Passage { before, after, reason, .. } = passage;
    let mut line = format!("{:<4}{}", before.protocol, ends(before));
    // Writing to a String cannot fail.
    if let Some(after) = after.as_ref().map(ends).filter(|after| *after != ends(before)) {
        let _ = write!(line, " =>{after}");
    }
    if let Some(flags) = &before.tcp_flags {
        let _ = write!(line, " flags={flags}");
    }
    if let Some(icmp) = &before.icmp {
        let _ = write!(line, " type={} code={}", icmp.message_type, icmp.code);
    }
    if let Some(offset) = before.fragment {
        let _ = write!(line, " fragment={offset}");
    }
    if let Some(ttl) = before.ttl {
        let _ = write!(line, " ttl={ttl}");
        let after = after.as_ref().and_then(|after| after.ttl).filter(|after| *after != ttl);
        if let Some(after) = after {
            let _ = write!(line, "=>{after}");
        }
    }
    let _ = write!(line, " len={}", before.length);
    let below = [Some(before), after.as_ref()].map(|look| look.map(below).unwrap_or_default());
    match below {
        [before, after] if passage.after.is_some() && before != after => {
            let none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
            let _ = write!(line, " link={}=>{}", none(before), none(after));
        }
        [before, _] if !before.is_empty() => {
            let _ = write!(line, " link={before}");
        }
        _ => {}
    }
    if let Some(from) = &passage.came_in_by {
        let _ = write!(line, " from={from}");
    }
    let _ = write!(line, " reason={reason}");
    line
}

/// What stands in the frame between Ethernet and IP: `vlan 7`, `vlan 7/5` with a priority, `pppoe 0x0012`.
fn below(look: &Look) -> String {
    let mut parts = Vec::new();
    match (look.vlan, look.priority) {
        (Some(vlan), Some(priority)) if priority != 0 => {
            parts.push(format!("vlan {vlan}/{priority}"))
        }
        (Some(vlan), _) => parts.push(format!("vlan {vlan}")),
        _ => {}
    }
    parts.extend(look.pppoe.map(|session| format!("pppoe 0x{session:04x}")));
    parts.join(",")
}

/// Source and destination, and what an ICMP error is about; each with a blank before.
fn ends(look: &Look) -> String {
    let mut text = String::new();
    if let (Some(source), Some(destination)) = (look.source, look.destination) {
        let _ = write!(text, " {source} -> {destination}");
    }
    if let Some(about) = &look.about {
        let _ =
            write!(text, " (about {} {} -> {})", about.protocol, about.source, about.destination);
    }
    text
}

/// Date, time to the second, and the offset from UTC (RFC 3339).
const DATE_AND_TIME: &str = "%Y-%m-%dT%H:%M:%S%:z";

/// Time of day to the microsecond.
const TIME: &str = "%H:%M:%S.%6f";

fn format_time(time: Timestamp, zone: &TimeZone, format: &str) -> String {
    time.to_zoned_datetime(zone.clone()).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{
        proto::Endpoint,
        traced::{IcmpMessage, Quoted},
    };

    fn end(address: [u8; 4], port: u16) -> Endpoint {
        Endpoint { address: address.into(), port }
    }

    fn passage() -> Passage {
        let before = Look {
            protocol: "tcp".into(),
            number: Some(6),
            source: Some(end([192, 168, 1, 10], 40_000)),
            destination: Some(end([198, 51, 100, 1], 443)),
            length: 60,
            ttl: Some(64),
            tcp_flags: Some("SYN".into()),
            ..Look::default()
        };
        let after =
            Look { source: Some(end([203, 0, 113, 5], 40_001)), ttl: Some(63), ..before.clone() };
        Passage {
            time: Timestamp::from_nanosecond(1_700_000_000_023_456_789).unwrap(),
            interface: "lan0".into(),
            hook: "lan_in".into(),
            verdict: "redirect".into(),
            class: "translated".into(),
            reason: "outbound_fast".into(),
            before,
            after: Some(after),
            ..Passage::default()
        }
    }

    fn told(passage: Passage) -> String {
        line(&Traced::Packet(Box::new(passage)), &TimeZone::UTC, false)
    }

    #[test]
    fn a_translation_is_told_with_both_sides() {
        assert_eq!(
            told(passage()),
            "22:13:20.023456 lan0     lan_in   redirect tcp  192.168.1.10:40000 -> \
             198.51.100.1:443 => 203.0.113.5:40001 -> 198.51.100.1:443 flags=SYN ttl=64=>63 len=60 \
             reason=outbound_fast"
        );
    }

    #[test]
    fn another_header_is_told_with_both_sides() {
        let mut passage = passage();
        passage.before.vlan = Some(5);
        let after = passage.after.as_mut().unwrap();
        (after.vlan, after.priority, after.pppoe) = (Some(7), Some(5), Some(0x12));
        assert!(
            told(passage.clone())
                .ends_with("len=60 link=vlan 5=>vlan 7/5,pppoe 0x0012 reason=outbound_fast")
        );
        passage.before.vlan = None;
        assert!(told(passage.clone()).contains(" link=none=>vlan 7/5,pppoe 0x0012 "));
        passage.before = passage.after.clone().unwrap();
        assert!(told(passage.clone()).contains(" link=vlan 7/5,pppoe 0x0012 reason="));
        passage.after = None;
        assert!(told(passage).contains(" link=vlan 7/5,pppoe 0x0012 reason="));
    }

    #[test]
    fn what_is_not_changed_is_told_once() {
        let drop = Passage {
            interface: "wan0".into(),
            hook: "wan_out".into(),
            came_in_by: Some("lan0".into()),
            verdict: "drop".into(),
            reason: "ports_exhausted".into(),
            after: None,
            ..passage()
        };
        assert!(told(drop).ends_with(
            "wan0     wan_out  drop     tcp  192.168.1.10:40000 -> 198.51.100.1:443 flags=SYN ttl=64 \
             len=60 from=lan0 reason=ports_exhausted"
        ));
    }

    #[test]
    fn an_error_is_told_with_what_it_is_about() {
        let mut error = passage();
        error.after = None;
        error.before = Look {
            protocol: "icmp".into(),
            source: Some(end([10, 0, 0, 1], 0)),
            destination: Some(end([203, 0, 113, 5], 0)),
            icmp: Some(IcmpMessage { message_type: 3, code: 4 }),
            about: Some(Quoted {
                protocol: "udp".into(),
                source: end([203, 0, 113, 5], 40_001),
                destination: end([198, 51, 100, 1], 53),
            }),
            ..Look::default()
        };
        assert!(told(error).contains(
            "icmp 10.0.0.1 -> 203.0.113.5 (about udp 203.0.113.5:40001 -> 198.51.100.1:53) type=3 \
             code=4"
        ));
    }

    #[test]
    fn the_first_line_has_the_date_and_the_zone() {
        let time = Timestamp::from_second(1_700_000_000).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(-8));
        let begun = Traced::Tracing { time, instance: "masq".into() };
        assert_eq!(line(&begun, &zone, false), "2023-11-14T14:13:20-08:00 tracing instance=masq");
        let lost = Traced::Lost { time, count: 7 };
        assert_eq!(line(&lost, &zone, false), "14:13:20.000000 lost count=7");
    }

    #[test]
    fn colours_are_for_terminals_only() {
        let record = Traced::Packet(Box::new(Passage { verdict: "drop".into(), ..passage() }));
        assert!(line(&record, &TimeZone::UTC, true).contains("\x1b[31m"));
        assert!(!line(&record, &TimeZone::UTC, false).contains('\x1b'));
    }
}
