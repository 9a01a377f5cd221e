//! The command line: names, defaults and help texts. Meaning is given to it in [`crate::config`]
//! and [`crate::commands`].

mod check;
mod completions;
mod config;
mod events;
mod filter;
mod flush;
mod hosts;
mod metrics;
mod reload;
mod sessions;
mod top;
mod trace;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipnet::Ipv4Net;
use masq_common::{ports::Pool, table::MAX_SESSIONS};

pub use check::MachineArgs;
pub use completions::{CompletionsArgs, ManualArgs};
pub use config::{CheckArgs, ConfigArgs, ConfigCommand};
pub use events::EventsArgs;
pub use filter::{EndsArgs, SessionFilter};
pub use flush::FlushArgs;
pub use hosts::HostsArgs;
pub use metrics::MetricsArgs;
pub use reload::ReloadArgs;
pub use sessions::SessionsArgs;
pub use top::{TopArgs, written};
pub use trace::TraceArgs;
pub use values::{
    ExhaustionIcmp, FilteringPolicy, LogFormat, Mode, MssClamp, PhaseArg, PortOverlap, Protocol,
    TcAttach, TraceLevel,
};

use crate::duration;

const ABOUT: &str = "\
Masquerading gateway in eBPF: hosts on the LAN reach the Internet through the one address of the \
WAN interface.";

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed or not possible on this machine, 2 wrong command line or configuration \
file, 3 the masq that was followed has ended.";

/// The command line of `masq`.
#[derive(Parser, Debug)]
#[command(name = "masq", version, about = ABOUT, after_help = EXIT_CODES)]
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
    /// Look at this machine for what would keep masq from working, and say what mends it.
    Check(MachineArgs),
    /// Show the live sessions of a running instance.
    Sessions(SessionsArgs),
    /// Show what each inside host has sent and received, in all its sessions.
    Hosts(HostsArgs),
    /// Show sessions as they open and close: a NAT log.
    Events(EventsArgs),
    /// Show packets before and after translation, and why each ended as it did.
    Trace(TraceArgs),
    /// Remove chosen sessions of a running instance.
    Flush(FlushArgs),
    /// Show counters, table occupancy and interfaces of a running instance.
    Stats(StatsArgs),
    /// Watch rates, tables, drops, and the sessions and hosts with most traffic, live.
    Top(TopArgs),
    /// List the instances that run on this machine.
    Instances(InstancesArgs),
    /// Have an instance read its configuration file again, without losing a session.
    Reload(ReloadArgs),
    /// Check a configuration file, or print one to begin with.
    Config(ConfigArgs),
    /// Stop an instance and remove all that it has set up, also when its daemon has been killed.
    Stop(StopArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages into a directory; for those who package masq.
    #[command(hide = true)]
    Manual(ManualArgs),
}

/// Which instance a command talks to.
#[derive(Args, Debug, Clone)]
pub struct InstanceArg {
    /// Name of the instance. Default: the only one in this network namespace, else the only one
    /// on the machine.
    #[arg(long, value_name = "NAME", value_parser = values::instance_name)]
    pub instance: Option<String>,
}

const RUN_HELP: &str = "\
Prints one line with the word `ready` to standard output when packets are being translated, and \
one line for each change of state to standard error. SIGINT and SIGTERM end it and remove \
everything that it has set up. SIGHUP has it read the file of --config again, as `masq reload` does. \
After SIGUSR2, a kill or a crash packets are translated on, and the \
next `masq run` takes that over with all sessions; see docs/operations.md.

Examples:
  masq run --lan eth1 --wan ppp0
  masq run --lan eth1 --lan wg0 --wan eth0 --source 192.168.0.0/16 -v
  masq run --config /etc/masq/masq.toml";

/// Options of `masq run`.
#[derive(Args, Debug)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    /// Take options from this file too: TOML, a line such as udp-timeout = "10m" for each. What
    /// stands on the command line overrides it. `masq config sample` prints one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Interface to the inside, whose hosts are translated. Repeat for more.
    #[arg(long, value_name = "IF", required_unless_present = "config",
          value_parser = values::interface_name)]
    pub lan: Vec<String>,

    /// Interface to the outside, whose first address the hosts share. One without an address is
    /// waited for. Repeat for more.
    #[arg(long, value_name = "IF", required_unless_present = "config",
          value_parser = values::interface_name)]
    pub wan: Vec<String>,

    /// Translate only packets from this prefix; others from the LAN are dropped at the WAN.
    /// Default: everything that arrives on a LAN interface. Repeat for more.
    #[arg(long, value_name = "CIDR", value_parser = values::prefix)]
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
    #[arg(long, value_name = "LO-HI", value_parser = values::ports)]
    pub ports: Option<Pool>,

    /// TCP and UDP ports that no LAN host gets, such as 5350-5351,8080: for programs of the router
    /// that are not running yet, besides net.ipv4.ip_local_reserved_ports. Ports that a running
    /// program uses are never given away
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = values::ports)]
    pub reserve_ports: Vec<Pool>,

    /// Whether several hosts may share an external port towards different remote endpoints, once
    /// no port is free (RFC 7857 section 3). With `never`, new flows are dropped then.
    #[arg(long, value_enum, default_value_t = PortOverlap::WhenExhausted)]
    pub port_overlap: PortOverlap,

    /// Code of the ICMP error "destination unreachable" that tells a host that there is no room for
    /// its new flow, or that it is over a limit. At most 100 a second, and one to each host.
    #[arg(long, value_name = "CODE", value_enum, default_value_t = ExhaustionIcmp::Prohibited)]
    pub exhaustion_icmp: ExhaustionIcmp,

    /// Largest segment that a TCP connection over a WAN may announce: auto (what fits the WAN, where
    /// its MTU is smaller than a LAN's or below 1500), off, or a number of bytes, for a path that is narrower further
    /// on [RFC 9293 section 3.7.1]
    #[arg(long, value_name = "auto|off|BYTES", default_value = "auto")]
    pub mss_clamp: MssClamp,

    /// How many sessions at most: the table takes 224 bytes for each from the start on, 56 MiB by
    /// default
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

    /// How long a TCP connection is remembered after both sides closed it
    /// [RFC 5382 REQ-5: at least 4m]
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = duration::parse_secs)]
    pub tcp_closing_timeout: u32,

    /// How long a TCP connection is remembered after one side reset it; data before that brings it
    /// back [RFC 7857 section 2.2: at least 4m]
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = duration::parse_secs)]
    pub tcp_reset_timeout: u32,

    /// How long a LAN host keeps a protocol without ports (GRE, ESP, SCTP, ...) towards a remote host
    /// after the last packet, before another LAN host may have it
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse_secs)]
    pub other_timeout: u32,

    /// Sessions that one LAN host may have at a time, 0 for no limit [RFC 6888 REQ-5]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub host_sessions: u32,

    /// External ports and identifiers that one LAN host may hold at a time, 0 for no limit
    /// [RFC 6888 REQ-4]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub host_mappings: u32,

    /// New sessions a second that one LAN host may open, 0 for no limit [RFC 6888 REQ-4c]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub host_rate: u32,

    /// How long a UDP port that was given back rests before another endpoint gets it, if everybody
    /// may send to it (--filtering-udp endpoint-independent); 0s for no rest [RFC 6888 REQ-8: 2m]
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration::parse_secs_or_none)]
    pub port_quarantine: u32,

    /// Accept timeouts below the minima of the RFCs; idle connections of the LAN may break.
    #[arg(long)]
    pub allow_short_timeouts: bool,

    /// Start although interfaces do not exist yet, and attach to them when they appear.
    #[arg(long)]
    pub wait_interfaces: bool,

    /// Name under which other commands find this instance. Default: the first WAN interface,
    /// and outside the initial network namespace also that namespace's number.
    #[arg(long, value_name = "NAME", value_parser = values::instance_name)]
    pub instance: Option<String>,

    /// Metrics.
    #[command(flatten)]
    pub metrics: MetricsArgs,

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
    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
}

const STOP_HELP: &str = "\
Returns when it is done. With --keep-data-plane only the daemon ends, and the next `masq run`, of \
the same or another version, takes the data plane over.";

/// Options of `masq stop`.
#[derive(Args, Debug)]
#[command(after_help = STOP_HELP)]
pub struct StopArgs {
    /// Name of the instance. Default: the only one in this network namespace.
    #[arg(long, value_name = "NAME", value_parser = values::instance_name)]
    pub instance: Option<String>,

    /// Leave the data plane: packets of all sessions are translated on.
    #[arg(long)]
    pub keep_data_plane: bool,
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
        assert_eq!(args.exhaustion_icmp, ExhaustionIcmp::Prohibited);
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
            "--lan eth1 --wan ppp0 --exhaustion-icmp 3",
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
}
