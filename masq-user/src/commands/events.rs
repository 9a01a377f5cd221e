//! `masq events`: what happens to sessions, line by line, until somebody ends it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use jiff::{Timestamp, tz::TimeZone};

use super::Output;
use crate::{
    cli::EventsArgs,
    control::{
        client,
        proto::{Answer, Ask},
        record::{Fate, Place, Record, Translation, Watch},
    },
    error::{Error, Result},
};

/// Shows what happens.
pub fn execute(args: &EventsArgs) -> Result<()> {
    let watch = Watch { filter: args.ends.filter(None), drops: args.drops };
    let mut client = client::ask(args.instance.instance.as_deref(), Ask::Events(watch))?;
    let lasts = args.duration.map(|secs| Duration::from_secs(u64::from(secs)));
    let end = lasts.map(|lasts| Instant::now() + lasts);
    let zone = if args.utc { TimeZone::UTC } else { TimeZone::system() };
    let mut left = args.count;
    let mut output = Output::new();
    loop {
        // What has come is shown before anything is waited for.
        if !client.has_more() && !output.flush()? {
            return Ok(());
        }
        let record = match client.answer_by(end)? {
            Some(Answer::Record(record)) => record,
            None => return output.finish(),
            Some(_) => return Err(anyhow!("the running masq gave an unexpected answer").into()),
        };
        let line = if args.json {
            serde_json::to_string(&record).context("cannot write JSON")?
        } else {
            line(&record, &zone, output.colours)
        };
        if !output.line(line)? {
            return Ok(());
        }
        match *record {
            Record::Opened { .. } | Record::Closed { .. } | Record::Dropped { .. } => {
                left = left.map(|left| left - 1);
                if left == Some(0) {
                    return output.finish();
                }
            }
            Record::Ended { data_plane, .. } => {
                output.finish()?;
                return Err(Error::Ended(farewell(data_plane).to_owned()));
            }
            Record::Listening { .. } | Record::Lost { .. } => {}
        }
    }
}

const fn farewell(fate: Fate) -> &'static str {
    match fate {
        Fate::Removed => "masq was stopped, and all sessions have ended with it",
        Fate::Kept => {
            "the daemon has ended, and sessions go on without it; nothing is recorded until you \
             follow the next one"
        }
    }
}

/// A record for people; and for grep: what belongs to a session is `->`, all else `NAME=VALUE`.
fn line(record: &Record, zone: &TimeZone, colours: bool) -> String {
    let (time, colour, word, rest) = match record {
        Record::Listening { time, instance } => {
            (time, "1", "listening", format!("instance={instance}"))
        }
        Record::Opened { time, session } => (time, "32", "opened", translation(session)),
        Record::Closed {
            time,
            session,
            packets_out,
            bytes_out,
            packets_in,
            bytes_in,
            duration_ms,
            cause,
        } => {
            let rest = format!(
                "{} out={packets_out}/{bytes_out} in={packets_in}/{bytes_in} \
                 duration={}.{:03}s cause={cause}",
                translation(session),
                duration_ms / 1000,
                duration_ms % 1000,
            );
            (time, "2", "closed", rest)
        }
        Record::Dropped { time, protocol, inside, remote, reason, count } => {
            let rest = format!("{protocol} {inside} -> {remote} reason={reason} count={count}");
            (time, "31", "dropped", rest)
        }
        Record::Lost { time, count, place } => {
            let place = match place {
                Place::Reader => "reader",
                Place::Kernel => "kernel",
            };
            (time, "31", "lost", format!("count={count} place={place}"))
        }
        Record::Ended { time, data_plane } => {
            let fate = match data_plane {
                Fate::Removed => "removed",
                Fate::Kept => "kept",
            };
            (time, "1", "ended", format!("data_plane={fate}"))
        }
    };
    let time = time_of_day(*time, zone);
    if colours {
        format!("{time} \x1b[{colour}m{word:<9}\x1b[0m {rest}")
    } else {
        format!("{time} {word:<9} {rest}")
    }
}

fn translation(session: &Translation) -> String {
    let Translation { protocol, wan, inside, external, remote } = session;
    format!("{protocol} {inside} -> {external} -> {remote} wan={wan}")
}

/// Date, time to the millisecond, and the offset from UTC (RFC 3339).
fn time_of_day(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;
    use crate::control::proto::Endpoint;

    fn time() -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_023).unwrap()
    }

    fn session() -> Translation {
        let endpoint = |address: [u8; 4], port| Endpoint { address: address.into(), port };
        Translation {
            protocol: "udp".into(),
            wan: "ppp0".into(),
            inside: endpoint([192, 168, 1, 10], 40000),
            external: endpoint([203, 0, 113, 5], 40001),
            remote: endpoint([198, 51, 100, 1], 53),
        }
    }

    #[test]
    fn lines_say_who_had_which_port_and_when() {
        let opened = Record::Opened { time: time(), session: session() };
        assert_eq!(
            line(&opened, &TimeZone::UTC, false),
            "2023-11-14T22:13:20.023+00:00 opened    udp 192.168.1.10:40000 -> \
             203.0.113.5:40001 -> 198.51.100.1:53 wan=ppp0"
        );
        let closed = Record::Closed {
            time: time(),
            session: session(),
            packets_out: 1,
            bytes_out: 38,
            packets_in: 2,
            bytes_in: 110,
            duration_ms: 61_007,
            cause: "flushed".into(),
        };
        assert!(
            line(&closed, &TimeZone::UTC, false)
                .ends_with("wan=ppp0 out=1/38 in=2/110 duration=61.007s cause=flushed")
        );
    }

    #[test]
    fn the_time_has_the_offset_of_its_zone() {
        let zone = TimeZone::fixed(tz::offset(-8));
        assert_eq!(time_of_day(time(), &zone), "2023-11-14T14:13:20.023-08:00");
    }

    #[test]
    fn colours_are_for_terminals_only() {
        let lost = Record::Lost { time: time(), count: 7, place: Place::Reader };
        let plain = line(&lost, &TimeZone::UTC, false);
        assert!(plain.ends_with("lost      count=7 place=reader") && !plain.contains('\x1b'));
        assert!(line(&lost, &TimeZone::UTC, true).contains("\x1b[31mlost"));
    }
}
