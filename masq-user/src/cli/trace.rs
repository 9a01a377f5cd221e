//! The options of `masq trace`.

use std::path::PathBuf;

use clap::Args;

use super::{InstanceArg, Protocol};
use crate::{control::filter::EndpointFilter, duration, trace};

/// Options of `masq trace`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct TraceArgs {
    /// Only packets from or to this endpoint, before or after translation, and ICMP errors about
    /// such packets. Two of them: only packets that have both
    #[arg(value_name = "ADDR[/LEN][:PORT]", num_args = 0..=2)]
    pub ends: Vec<EndpointFilter>,

    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,

    /// Only packets of this protocol: tcp, udp, icmp, gre, esp, ..., or a number
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Option<Protocol>,

    /// Only packets that end so: the name of a counter in `masq stats --all`. Repeat for more
    #[arg(long, value_name = "LABEL", value_parser = reason)]
    pub reason: Vec<String>,

    /// Only packets that are dropped (besides those of --reason)
    #[arg(long)]
    pub drops: bool,

    /// Write the packets to this file instead of printing them, as pcapng for Wireshark and others;
    /// - for standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "utc"])]
    pub write: Option<PathBuf>,

    /// End after this many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// End after this time: seconds, or with units as in 5m
    #[arg(long, value_name = "TIME", value_parser = duration::parse_secs)]
    pub duration: Option<u32>,

    /// Print times in UTC instead of local time; JSON always has UTC
    #[arg(long)]
    pub utc: bool,
}

/// A reason that packets end for.
fn reason(label: &str) -> Result<String, String> {
    match trace::reason(label) {
        Some(_) => Ok(label.to_owned()),
        None => Err("no packet ends for this; `masq stats --all` has the names, such as \
                     outbound_fast, no_session or spoofed_source"
            .into()),
    }
}

const HELP: &str = "\
Shows each packet at each hook of masq, until it is interrupted: where it was, what it was before \
and after, what the hook did with it and why. A packet that the fast path leaves to the kernel comes \
by two or three hooks, in this order:
  fast_xdp   comes in, at the driver (only interfaces with mode xdp)
  lan_in     comes in by a LAN
  wan_in     comes in by a WAN
  wan_out    leaves by a WAN

Lines: time, interface, hook, verdict (pass, redirect or drop), protocol, source -> destination => \
source -> destination after translation, ttl, len (bytes from the IP header on), reason. The port of \
an ICMP query is its identifier. What a reason means is in `masq stats --all`.

Values of the field `event` of --json: tracing (from here on), packet, lost (packets are missing \
here, and how many: they came too fast), ended (masq has ended).

While nobody traces it costs next to nothing: masq loads its programs a second time, which takes a few \
seconds, and exchanges them without losing a packet; afterwards it exchanges them back. Meanwhile \
every packet costs more, those that match most. On a busy gateway choose few packets. One can trace \
at a time. Recorded are the first 128 bytes of a packet, which hold its headers and may hold what \
people say to each other.

It ends with Ctrl-C, and says on standard error how many packets it were and how many are missing.

Exit codes: 0 after Ctrl-C, --count, --duration, or when nobody reads the output any more; 3 when masq \
has ended or was handed over; 1 and 2 as for all commands.

Examples:
  masq trace 192.168.1.10                       all that this host sends and receives
  masq trace 192.168.1.10 198.51.100.1:443      with this server only
  masq trace --drops --duration 1m              what is dropped, and why
  masq trace :53 --protocol udp --write dns.pcapng
  masq trace 192.168.1.10 --write - | wireshark -k -i -";
