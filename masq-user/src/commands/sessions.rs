//! `masq sessions`: the live sessions as a table or as JSON.

use std::{
    fs::File,
    io,
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
};

use anyhow::{Context as _, anyhow};

use super::{Output, progress::Progress};
use crate::{
    cli::SessionsArgs,
    control::{
        client,
        proto::{Answer, Ask, End, Query, Session},
        ranking::{MOST, Ranking},
    },
    duration::Secs,
    error::Result,
};

/// Shows the sessions that were asked for.
pub fn execute(args: &SessionsArgs) -> Result<()> {
    // More than the daemon ranks are ranked here.
    let many = args.limit.is_none_or(|limit| limit > MOST);
    let mut here = args.sort.filter(|_| many).map(|sort| {
        let limit = args.limit.map_or(usize::MAX, |limit| limit as usize);
        (sort, Ranking::new(limit, args.reverse))
    });
    let query = Query {
        filter: args.chosen.filter(),
        limit: args.limit.filter(|_| here.is_none()),
        count: args.count,
        sort: args.sort.filter(|_| here.is_none()),
        reverse: args.reverse,
        progress: true,
    };
    let mut client = client::ask(args.instance.instance.as_deref(), Ask::Sessions(query))?;
    let mut list = List::new(args.json, args.count);
    let mut progress = Progress::new();
    // Whoever may see the rows come needs no other sign.
    let is_seen = !is_out_of_sight();
    let mut received = 0;
    let end = loop {
        match client.answer()? {
            Answer::Session(session) => {
                received += 1;
                if let Some((sort, ranking)) = &mut here {
                    ranking.offer(sort.of(&session), session);
                    progress.count(received, "sessions received");
                    continue;
                }
                if is_seen {
                    progress.clear();
                } else {
                    progress.count(received, "sessions written");
                }
                if !list.session(&session)? {
                    return Ok(());
                }
            }
            Answer::Progress(_) if list.any => {}
            Answer::Progress(found) => progress.say(format_args!("{found} sessions found")),
            Answer::End(end) => break end,
            _ => return Err(anyhow!("the running masq gave an unexpected answer").into()),
        }
    };
    progress.clear();
    for session in here.into_iter().flat_map(|(_, ranking)| ranking.into_sorted()) {
        if !list.session(&session)? {
            return Ok(());
        }
    }
    list.end(end)
}

/// Whether standard output is a file, or nothing. A pipe may lead to a pager, on the terminal that
/// progress would be shown on.
fn is_out_of_sight() -> bool {
    /// Major and minor number of `/dev/null`.
    const NULL: u64 = nix::sys::stat::makedev(1, 3);
    let output = io::stdout().as_fd().try_clone_to_owned();
    let Ok(metadata) = output.and_then(|output| File::from(output).metadata()) else {
        return false;
    };
    let is_null = metadata.file_type().is_char_device() && metadata.rdev() == NULL;
    metadata.is_file() || is_null
}

/// The output, written as the sessions come in.
struct List {
    output: Output,
    json: bool,
    count: bool,
    any: bool,
}

impl List {
    fn new(json: bool, count: bool) -> Self {
        Self { output: Output::new(), json, count, any: false }
    }

    /// Shows one session; false if nobody reads any more.
    fn session(&mut self, session: &Session) -> Result<bool> {
        let first = !std::mem::replace(&mut self.any, true);
        if self.json {
            let object = serde_json::to_string(session).context("cannot write JSON")?;
            return self.output.line(if first {
                format!("[{object}")
            } else {
                format!(",{object}")
            });
        }
        if first {
            self.output.heading(HEADING)?;
        }
        self.output.line(row(session))
    }

    fn end(mut self, end: End) -> Result<()> {
        match (self.json, self.count) {
            (true, true) => {
                let object = serde_json::to_string(&end).context("cannot write JSON")?;
                self.output.line(object)?;
            }
            (true, false) => {
                self.output.line(if self.any { "]" } else { "[]" })?;
            }
            (false, true) => {
                self.output.line(end.matched)?;
            }
            (false, false) => {
                if !self.any {
                    self.output.line("no sessions")?;
                }
            }
        }
        self.output.finish()
    }
}

const HEADING: &str = "PROTO PHASE       INSIDE                EXTERNAL              REMOTE                   IDLE    LEFT     AGE   PACKETS OUT/IN      BYTES OUT/IN";

fn row(session: &Session) -> String {
    let secs = |ms: u64| Secs(ms / 1000);
    let Session { inside, external, remote, .. } = session;
    let flags = if session.flags.is_empty() {
        String::new()
    } else {
        format!("  {}", session.flags.join(","))
    };
    format!(
        "{:<5} {:<11} {inside:<21} {external:<21} {remote:<21} {:>7} {:>7} {:>7} {:>16} {:>17}{flags}",
        session.protocol,
        session.phase.as_deref().unwrap_or("-"),
        secs(session.idle_ms),
        secs(session.remaining_ms),
        secs(session.age_ms),
        format!("{}/{}", session.packets_out, session.packets_in),
        format!("{}/{}", bytes(session.bytes_out), bytes(session.bytes_in)),
    )
}

/// A number of bytes in three digits and a binary unit.
pub fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["", "K", "M", "G", "T", "P"] {
        if value < 999.5 || unit == "P" {
            let decimals = usize::from(!unit.is_empty() && value < 9.95);
            return format!("{value:.decimals$}{unit}");
        }
        value /= 1024.0;
    }
    unreachable!("the last unit takes everything")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::proto::Endpoint;

    fn session() -> Session {
        let endpoint = |address: [u8; 4], port| Endpoint { address: address.into(), port };
        Session {
            protocol: "tcp".into(),
            wan: "ppp0".into(),
            inside: endpoint([192, 168, 100, 110], 40000),
            external: endpoint([203, 0, 113, 5], 40000),
            remote: endpoint([198, 51, 100, 1], 443),
            phase: Some("established".into()),
            idle_ms: 1500,
            remaining_ms: 7_438_500,
            age_ms: 61_000,
            packets_out: 12,
            bytes_out: 3456,
            packets_in: 34,
            bytes_in: 5_000_000,
            flags: vec!["port_shared".into()],
        }
    }

    #[test]
    fn a_row_stands_under_its_heading() {
        let row = row(&session());
        for (title, value) in [
            ("PHASE", "established"),
            ("INSIDE", "192.168.100.110:40000"),
            ("EXTERNAL", "203.0.113.5:40000"),
            ("REMOTE", "198.51.100.1:443"),
        ] {
            assert_eq!(HEADING.find(title), row.find(value), "{title}\n{HEADING}\n{row}");
        }
        for (title, value) in [
            ("IDLE", "1s"),
            ("LEFT", "2h3m"),
            ("PACKETS OUT/IN", "12/34"),
            ("BYTES OUT/IN", "3.4K/4.8M"),
        ] {
            let end = |text: &str, part: &str| text.find(part).map(|at| at + part.len());
            assert_eq!(end(HEADING, title), end(&row, value), "{title}\n{HEADING}\n{row}");
        }
        assert!(row.ends_with("port_shared"));
    }

    #[test]
    fn bytes_have_three_digits() {
        let shown = [
            (0, "0"),
            (999, "999"),
            (1000, "1.0K"),
            (10_240, "10K"),
            (1_048_576, "1.0M"),
            (u64::MAX, "16384P"),
        ];
        for (number, text) in shown {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn the_fields_of_json_are_the_documented_ones() {
        let json = serde_json::to_value(session()).unwrap();
        let mut names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let documented = [
            "age_ms",
            "bytes_in",
            "bytes_out",
            "external",
            "flags",
            "idle_ms",
            "inside",
            "packets_in",
            "packets_out",
            "phase",
            "protocol",
            "remaining_ms",
            "remote",
            "wan",
        ];
        assert_eq!(names, documented);
        assert_eq!(json["inside"]["address"], "192.168.100.110");
        assert_eq!(json["inside"]["port"], 40000);
    }
}
