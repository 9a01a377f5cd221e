//! The command line: names, defaults and help texts. Meaning is given to it in [`crate::config`]
//! and [`crate::commands`].

use std::{net::Ipv4Addr, str::FromStr as _};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;
use masq_common::{
    flow::{ICMP, TCP, UDP},
    ports::Pool,
    settings::Filtering,
    tcp::Phase,
};

use crate::{control::filter::EndpointFilter, duration};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed or not possible on this machine, 2 wrong command line.";

/// Masquerading gateway in eBPF: hosts on the LAN reach the Internet through the one address of
/// the WAN interface.
#[derive(Parser, Debug)]
#[command(name = "masq", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Translate until stopped; runs in the foreground.
    Run(Box<RunArgs>),
    /// Show the live sessions of a running instance.
    Sessions(SessionsArgs),
    /// Show counters, table occupancy and interfaces of a running instance.
    Stats(StatsArgs),
    /// List the instances that run on this machine.
    Instances(InstancesArgs),
}

/// Which instance a command talks to.
#[derive(Args, Debug, Clone)]
pub struct InstanceArg {
    /// Name of the instance. Default: the only one in this network namespace, else the only one
    /// on the machine.
    #[arg(long, value_name = "NAME", value_parser = instance_name)]
    pub instance: Option<String>,
}

const RUN_HELP: &str = "\
Prints one line with the word `ready` to standard output when packets are being translated, and \
one line for each change of state to standard error. SIGINT, SIGTERM and SIGHUP end it and remove \
everything that it has set up.

Examples:
  masq run --lan eth1 --wan ppp0
  masq run --lan eth1 --lan wg0 --wan eth0 --source 192.168.0.0/16 -v";

/// Options of `masq run`.
#[derive(Args, Debug)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    /// Interface to the inside, whose hosts are translated. Repeat for more.
    #[arg(long, value_name = "IF", required = true, value_parser = interface_name)]
    pub lan: Vec<String>,

    /// Interface to the outside, whose first address the hosts share. One without an address is
    /// waited for. Repeat for more.
    #[arg(long, value_name = "IF", required = true, value_parser = interface_name)]
    pub wan: Vec<String>,

    /// Translate only packets from this prefix; others from the LAN are dropped at the WAN.
    /// Default: everything that arrives on a LAN interface. Repeat for more.
    #[arg(long, value_name = "CIDR", value_parser = prefix)]
    pub source: Vec<Ipv4Net>,

    /// Where the fast path is attached.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,

    /// Who may send to a LAN host through a mapping it has opened (RFC 4787 section 5).
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub filtering: FilteringPolicy,

    /// The same for TCP only; default: what --filtering says.
    #[arg(long, value_name = "POLICY", value_enum)]
    pub filtering_tcp: Option<FilteringPolicy>,

    /// The same for UDP only; default: what --filtering says.
    #[arg(long, value_name = "POLICY", value_enum)]
    pub filtering_udp: Option<FilteringPolicy>,

    /// External TCP and UDP ports to use. Default: 1024-65535, and 600-1023 for hosts that send
    /// from a port below 1024. A host's own port is kept when it is free.
    #[arg(long, value_name = "LO-HI", value_parser = ports)]
    pub ports: Option<Pool>,

    /// Whether several hosts may share an external port towards different remote endpoints, once
    /// no port is free (RFC 7857 section 3). With `never`, new flows are dropped then.
    #[arg(long, value_enum, default_value_t = PortOverlap::WhenExhausted)]
    pub port_overlap: PortOverlap,

    /// How many sessions at most; a million take about 300 MB while they live.
    #[arg(long, value_name = "N", default_value_t = 262_144,
          value_parser = clap::value_parser!(u32).range(1..=MAX_SESSIONS as i64))]
    pub max_sessions: u32,

    /// How long an idle UDP session lives; seconds, or with units as in 5m [RFC 4787 REQ-5: at
    /// least 2m]
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse_secs)]
    pub udp_timeout: u32,

    /// How long an idle ICMP query session lives [RFC 5508 REQ-2: at least 1m]
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration::parse_secs)]
    pub icmp_timeout: u32,

    /// How long a TCP connection that is being opened may be idle [RFC 5382 REQ-5: at least 4m]
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = duration::parse_secs)]
    pub tcp_opening_timeout: u32,

    /// How long an established TCP connection may be idle [RFC 5382 REQ-5: at least 2h4m]
    #[arg(long, value_name = "TIME", default_value = "2h4m", value_parser = duration::parse_secs)]
    pub tcp_established_timeout: u32,

    /// How long a TCP connection is remembered after both sides closed it or one reset it
    /// [RFC 5382 REQ-5: at least 4m]
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = duration::parse_secs)]
    pub tcp_closing_timeout: u32,

    /// Accept timeouts below the minima of the RFCs; idle connections of the LAN may break.
    #[arg(long)]
    pub allow_short_timeouts: bool,

    /// Start although interfaces do not exist yet, and attach to them when they appear.
    #[arg(long)]
    pub wait_interfaces: bool,

    /// Name under which other commands find this instance. Default: the first WAN interface,
    /// and outside the initial network namespace also that namespace's number.
    #[arg(long, value_name = "NAME", value_parser = instance_name)]
    pub instance: Option<String>,

    /// Log each session that is opened or closed; twice: also what masq does inside.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Format of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Hook of the TC programs: tcx links from kernel 6.6 on, else the clsact qdisc.
    #[arg(long, value_enum, default_value_t = TcAttach::Auto, hide = true)]
    pub tc_attach: TcAttach,

    /// Show what the kernel programs log for their developers, up to this level.
    #[arg(long, value_enum, value_name = "LEVEL", hide = true)]
    pub trace: Option<TraceLevel>,
}

/// Highest `--max-sessions`: two entries each have to fit the 32-bit size of a kernel map.
pub const MAX_SESSIONS: u32 = 1 << 28;

/// Options of `masq sessions`.
#[derive(Args, Debug)]
#[command(after_help = SESSIONS_HELP)]
pub struct SessionsArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Print one JSON object a line, a session each.
    #[arg(long)]
    pub json: bool,

    /// Only sessions of this protocol.
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,

    /// Only sessions of this inside endpoint.
    #[arg(long, value_name = "ADDR[/LEN][:PORT]")]
    pub inside: Option<EndpointFilter>,

    /// Only sessions that appear outside as this endpoint.
    #[arg(long, value_name = "ADDR[/LEN][:PORT]")]
    pub external: Option<EndpointFilter>,

    /// Only sessions with this remote endpoint.
    #[arg(long, value_name = "ADDR[/LEN][:PORT]")]
    pub remote: Option<EndpointFilter>,

    /// Only TCP sessions in this phase.
    #[arg(long, value_enum)]
    pub phase: Option<PhaseArg>,

    /// Stop after this many sessions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// Print only how many there are.
    #[arg(long)]
    pub count: bool,
}

const SESSIONS_HELP: &str = "\
Endpoints are written ADDR, ADDR/LEN, ADDR:PORT or :PORT. The port of an ICMP session is its \
query identifier.

Fields of --json: protocol, wan, inside, external and remote (address and port each), phase (null \
unless TCP), idle_ms, remaining_ms, age_ms, packets_out, bytes_out, packets_in, bytes_in, flags.";

/// Options of `masq stats`.
#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Also show the counters that are zero.
    #[arg(long)]
    pub all: bool,
}

/// Options of `masq instances`.
#[derive(Args, Debug)]
pub struct InstancesArgs {
    /// Print one JSON object a line, an instance each.
    #[arg(long)]
    pub json: bool,
}

/// Where the fast path is attached.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// XDP on network cards whose driver can, TC on everything else
    Auto,
    /// XDP in the driver on every interface with an Ethernet header; fails if a driver cannot
    Xdp,
    /// TC everywhere
    Tc,
}

/// Filtering policies.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FilteringPolicy {
    /// Anybody ("full cone")
    #[value(alias = "eif")]
    EndpointIndependent,
    /// Any port of a remote address that the host has sent to
    #[value(alias = "adf")]
    AddressDependent,
    /// Only a remote endpoint that the host has sent to
    #[default]
    #[value(alias = "apdf")]
    AddressAndPortDependent,
}

impl From<FilteringPolicy> for Filtering {
    fn from(policy: FilteringPolicy) -> Self {
        match policy {
            FilteringPolicy::EndpointIndependent => Self::EndpointIndependent,
            FilteringPolicy::AddressDependent => Self::AddressDependent,
            FilteringPolicy::AddressAndPortDependent => Self::AddressAndPortDependent,
        }
    }
}

/// When external ports are shared.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortOverlap {
    /// When no port is free
    WhenExhausted,
    /// Never
    Never,
}

/// Formats of the log.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// How TC programs are attached.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcAttach {
    /// By the version of the kernel
    Auto,
    /// tcx links
    Tcx,
    /// Filters of the clsact qdisc
    Clsact,
}

/// Levels of the kernel programs' log.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceLevel {
    /// Errors
    Error,
    /// And warnings
    Warn,
    /// And information
    Info,
    /// And details
    Debug,
    /// Everything
    Trace,
}

/// Protocols that are translated.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP queries
    Icmp,
}

impl Protocol {
    /// Its number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
            Self::Icmp => ICMP,
        }
    }
}

/// Phases of a TCP connection.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum PhaseArg {
    /// Handshake not complete
    Opening,
    /// Handshake complete
    Established,
    /// Closed by both sides or reset
    Closing,
}

impl From<PhaseArg> for Phase {
    fn from(phase: PhaseArg) -> Self {
        match phase {
            PhaseArg::Opening => Self::Opening,
            PhaseArg::Established => Self::Established,
            PhaseArg::Closing => Self::Closing,
        }
    }
}

/// An interface name as the kernel takes it.
fn interface_name(text: &str) -> Result<String, String> {
    if text == "lo" {
        return Err("the loopback interface leads nowhere".into());
    }
    let bad = |c: char| c == '/' || c.is_whitespace();
    if text.is_empty() || text.len() > 15 || text.contains(bad) || text == "." || text == ".." {
        return Err("an interface name has 1 to 15 characters, without blanks and slashes".into());
    }
    Ok(text.to_owned())
}

/// A name that may become part of a file name.
fn instance_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 64 || text.starts_with('.') || !text.chars().all(good) {
        return Err("a name has 1 to 64 letters, digits, '.', '_' and '-', and no '.' first".into());
    }
    Ok(text.to_owned())
}

/// A prefix without bits beyond its length; a bare address is a prefix of 32 bits.
fn prefix(text: &str) -> Result<Ipv4Net, String> {
    let net = Ipv4Net::from_str(text)
        .ok()
        .or_else(|| text.parse::<Ipv4Addr>().ok().map(Ipv4Net::from))
        .ok_or("expected an IPv4 prefix such as 192.168.0.0/16")?;
    if net != net.trunc() {
        return Err(format!("has bits set beyond its length; did you mean {}?", net.trunc()));
    }
    Ok(net)
}

/// `LO-HI`, both included, or a single port.
fn ports(text: &str) -> Result<Pool, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|&port| port > 0);
    match (port(low), port(high)) {
        (Some(low), Some(high)) if low <= high => Ok(Pool { low, high }),
        (Some(low), Some(high)) => Err(format!("is empty; did you mean {high}-{low}?")),
        _ => Err("expected a range of ports such as 32768-60999".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(words: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(words.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_shortest_call_has_the_documented_defaults() {
        let Command::Run(args) = parse("masq run --lan eth1 --wan ppp0").unwrap().command else {
            panic!("not run");
        };
        assert_eq!(args.mode, Mode::Auto);
        assert_eq!(args.max_sessions, 262_144);
        assert_eq!(args.tcp_established_timeout, 7440);
        assert_eq!(args.filtering, FilteringPolicy::AddressAndPortDependent);
        assert!(args.source.is_empty() && args.ports.is_none());
    }

    #[test]
    fn wrong_values_are_refused() {
        for rest in [
            "--lan eth1",
            "--wan ppp0",
            "--lan lo --wan ppp0",
            "--lan a-name-that-is-too-long --wan ppp0",
            "--lan eth1 --wan ppp0 --source 192.168.1.5/16",
            "--lan eth1 --wan ppp0 --source fd00::/8",
            "--lan eth1 --wan ppp0 --ports 2000-1000",
            "--lan eth1 --wan ppp0 --ports 0-1000",
            "--lan eth1 --wan ppp0 --max-sessions 0",
            "--lan eth1 --wan ppp0 --udp-timeout 0",
            "--lan eth1 --wan ppp0 --instance ../x",
            "--lan eth1 --wan ppp0 --mode generic",
        ] {
            let error = parse(&format!("masq run {rest}")).expect_err(rest);
            assert_eq!(error.exit_code(), 2, "{rest}");
        }
    }

    #[test]
    fn short_names_of_filtering_are_understood() {
        let words = "masq run --lan a --wan b --filtering adf --filtering-udp eif";
        let Command::Run(args) = parse(words).unwrap().command else { panic!("not run") };
        assert_eq!(args.filtering, FilteringPolicy::AddressDependent);
        assert_eq!(args.filtering_udp, Some(FilteringPolicy::EndpointIndependent));
    }

    #[test]
    fn an_address_is_a_prefix_of_full_length() {
        assert_eq!(prefix("10.0.0.7"), Ok("10.0.0.7/32".parse().unwrap()));
        assert!(prefix("192.168.1.5/16").unwrap_err().contains("192.168.0.0/16"));
    }
}
