//! `masq hosts`: what each inside host has sent and received, as a table or as JSON.

use anyhow::{Context as _, anyhow};

use super::{Output, progress::Progress, sessions::bytes};
use crate::{
    cli::HostsArgs,
    control::{
        client,
        hosts::{Host, HostQuery},
        proto::{Answer, Ask},
    },
    error::Result,
};

const HEADING: &str =
    "HOST              SESSIONS      ENDED      PACKETS OUT       PACKETS IN  BYTES OUT   BYTES IN";

/// Shows them.
pub fn execute(args: &HostsArgs) -> Result<()> {
    let query = HostQuery { sort: args.sort, limit: args.limit, progress: true };
    let mut client = client::ask(args.instance.instance.as_deref(), Ask::Hosts(query))?;
    let mut output = Output::new();
    let mut any = false;
    let mut progress = Progress::new();
    loop {
        let host = match client.answer()? {
            Answer::Host(host) => host,
            Answer::Progress(done) => {
                progress.say(format_args!("{done} sessions counted"));
                continue;
            }
            Answer::End(_) => break,
            _ => return Err(anyhow!("the running masq gave an unexpected answer").into()),
        };
        progress.clear();
        let first = !std::mem::replace(&mut any, true);
        let goes_on = if args.json {
            let object = serde_json::to_string(&host).context("cannot write JSON")?;
            output.line(format_args!("{}{object}", if first { "[" } else { "," }))?
        } else {
            if first {
                output.heading(HEADING)?;
            }
            output.line(row(&host))?
        };
        if !goes_on {
            return Ok(());
        }
    }
    progress.clear();
    match (args.json, any) {
        (true, true) => output.line("]")?,
        (true, false) => output.line("[]")?,
        (false, true) => true,
        (false, false) => output.line("no hosts")?,
    };
    output.finish()
}

fn row(host: &Host) -> String {
    let address = host.address.map_or_else(|| "others".to_owned(), |address| address.to_string());
    format!(
        "{address:<15} {:>10} {:>10} {:>16} {:>16} {:>10} {:>10}",
        host.sessions,
        host.sessions_ended,
        host.packets_out,
        host.packets_in,
        bytes(host.bytes_out),
        bytes(host.bytes_in),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_under_its_heading() {
        let host = Host {
            address: Some([192, 168, 100, 110].into()),
            sessions: 7,
            sessions_ended: 123,
            packets_out: 45,
            bytes_out: 3456,
            packets_in: 67,
            bytes_in: 5_000_000,
        };
        let row = row(&host);
        let end = |text: &str, part: &str| text.find(part).map(|at| at + part.len());
        for (title, value) in [
            ("ENDED", " 123"),
            ("PACKETS OUT", " 45"),
            ("PACKETS IN", " 67"),
            ("BYTES OUT", "3.4K"),
            ("BYTES IN", "4.8M"),
        ] {
            assert_eq!(end(HEADING, title), end(&row, value), "{title}\n{HEADING}\n{row}");
        }
    }
}
