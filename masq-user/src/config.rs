//! What `masq run` was asked to do, checked and in the terms of the data plane. No I/O.

use std::{collections::BTreeSet, net::SocketAddr};

use ipnet::Ipv4Net;
use masq_common::{
    flow::{ICMP, TCP, UDP},
    mapping::SLOTS_PER_WAN,
    ports::Pool,
    settings::{Filtering, HostLimits, MAX_WANS, Settings, Timeouts, switches},
    table::{self, Slot},
    time::Span,
};

use crate::{
    cli::{
        ExhaustionIcmp, LogFormat, MetricsArgs, Mode, MssClamp, PortOverlap, RunArgs, TcAttach,
        TraceLevel,
    },
    duration::Secs,
    error::{Error, Result},
};

/// Protocols that have ports or identifiers.
pub const PROTOCOLS: [u8; 3] = [TCP, UDP, ICMP];

/// The configuration of one instance. A reload makes another one.
#[derive(Clone, Debug)]
pub struct Config {
    /// LAN interfaces.
    pub lans: Vec<String>,
    /// WAN interfaces; their position is their index in the data plane.
    pub wans: Vec<String>,
    /// Prefixes that are translated.
    pub sources: Vec<Ipv4Net>,
    /// Where the fast path is attached.
    pub mode: Mode,
    /// How TC programs are attached.
    pub tc_attach: TcAttach,
    /// How large segments TCP connections may announce.
    pub mss_clamp: MssClamp,
    /// What the kernel programs are told.
    pub settings: Settings,
    /// The answer to a host whose first packet was refused.
    pub exhaustion_icmp: ExhaustionIcmp,
    /// Ports that no LAN host gets, besides those that the kernel keeps.
    pub reserved_ports: Vec<Pool>,
    /// Size of the session table, in sessions.
    pub max_sessions: u32,
    /// Whether to start without interfaces that are missing.
    pub wait_interfaces: bool,
    /// Name of the instance, if the user chose one.
    pub instance: Option<String>,
    /// Where metrics are served, if at all.
    pub metrics: Option<SocketAddr>,
    /// Of how many inside hosts metrics tell.
    pub metrics_hosts: usize,
    /// How much to log: 0 changes of state, 1 sessions, 2 everything.
    pub verbose: u8,
    /// Format of the log.
    pub log_format: LogFormat,
    /// Level of the kernel programs' own log, off if not given.
    pub trace: Option<TraceLevel>,
}

impl Config {
    /// Checks the command line.
    pub fn new(args: RunArgs) -> Result<Self> {
        check_names(&args.lan, &args.wan)?;
        let settings = settings(&args)?;
        let everything = Ipv4Net::default();
        Ok(Self {
            lans: args.lan,
            wans: args.wan,
            sources: if args.source.is_empty() { vec![everything] } else { args.source },
            mode: args.mode,
            tc_attach: args.tc_attach,
            mss_clamp: args.mss_clamp,
            settings,
            exhaustion_icmp: args.exhaustion_icmp,
            reserved_ports: args.reserve_ports,
            max_sessions: args.max_sessions,
            wait_interfaces: args.wait_interfaces,
            instance: args.instance,
            metrics: args.metrics.address,
            metrics_hosts: metrics_hosts(args.metrics)?,
            verbose: args.verbose,
            log_format: args.log_format,
            trace: args.trace,
        })
    }

    /// All interfaces.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.lans.iter().chain(&self.wans).map(String::as_str)
    }

    /// Entries of the session table.
    pub const fn session_entries(&self) -> u32 {
        table::entries(self.max_sessions)
    }

    /// Entries of the mapping table: never more than sessions, nor than external ports.
    pub fn mapping_entries(&self) -> u32 {
        self.max_sessions.min(self.port_slots())
    }

    /// Entries of the port table.
    pub fn port_slots(&self) -> u32 {
        self.wans.len() as u32 * SLOTS_PER_WAN
    }

    /// How many external ports or identifiers a protocol may use on one address.
    pub fn external_ports(&self, protocol: u8) -> u32 {
        let Settings { ports, privileged, identifiers, .. } = self.settings;
        match protocol {
            ICMP => identifiers.len(),
            // With a range below 1024 only, both pools are that range.
            _ if ports == privileged => ports.len(),
            _ => ports.len() + privileged.len(),
        }
    }

    /// Kernel memory of all tables when full, in bytes; that of sessions and ports is taken at the start.
    /// Hash elements by their slab sizes.
    pub fn memory(&self) -> u64 {
        const SLOT: u64 = size_of::<Slot>() as u64;
        const MAPPING_ENTRY: u64 = 96;
        const PORT_SLOT: u64 = 16;
        const BUCKET: u64 = 16;
        let hash = |entries: u32, size: u64| {
            u64::from(entries) * size + u64::from(entries).next_power_of_two() * BUCKET
        };
        u64::from(self.session_entries()) * SLOT
            + hash(self.mapping_entries(), MAPPING_ENTRY)
            + u64::from(self.port_slots()) * PORT_SLOT
    }
}

/// No interface twice, not too many.
fn check_names(lans: &[String], wans: &[String]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in lans.iter().chain(wans) {
        if !seen.insert(name) {
            return Err(Error::Usage(if lans.contains(name) && wans.contains(name) {
                format!("{name} cannot be LAN and WAN at once; give each interface one role")
            } else {
                format!("interface {name} is named twice; name it once")
            }));
        }
    }
    if wans.len() > MAX_WANS as usize {
        return Err(Error::Usage(format!("an instance has at most {MAX_WANS} WAN interfaces")));
    }
    Ok(())
}

fn metrics_hosts(args: MetricsArgs) -> Result<usize> {
    if args.hosts > 0 && args.address.is_none() {
        return Err(Error::Usage(
            "--metrics-hosts needs an address to serve metrics at; add --metrics ADDR:PORT".into(),
        ));
    }
    Ok(args.hosts as usize)
}

fn settings(args: &RunArgs) -> Result<Settings> {
    let (privileged, ports) = args.ports.map_or((Pool::PRIVILEGED, Pool::USER), split);
    let filtering = |own: Option<_>| Filtering::from(own.unwrap_or(args.filtering)) as u8;
    let mut flags = switches::GUARD;
    if args.verbose > 0 {
        flags |= switches::EVENTS;
    }
    if args.port_overlap == PortOverlap::Never {
        flags |= switches::NO_OVERLAP;
    }
    // Where not everybody may send to a port, whoever gets it next has nothing to fear (RFC 6888
    // REQ-8c).
    let open = filtering(args.filtering_udp) == Filtering::EndpointIndependent as u8;
    let quarantine = if open { Span::from_secs(args.port_quarantine) } else { Span(0) };
    Ok(Settings {
        timeouts: timeouts(args)?,
        quarantine,
        host: HostLimits {
            mappings: args.host_mappings,
            sessions: args.host_sessions,
            rate: args.host_rate,
        },
        ports,
        privileged,
        filtering_tcp: filtering(args.filtering_tcp),
        filtering_udp: filtering(args.filtering_udp),
        switches: flags,
        ..Settings::DEFAULT
    })
}

/// The range of `--ports` as (ports below 1024, ports from 1024 up). If all of it lies below, it
/// serves every host.
fn split(range: Pool) -> (Pool, Pool) {
    let privileged = Pool { low: range.low, high: range.high.min(1023) };
    let user = Pool { low: range.low.max(1024), high: range.high };
    if user.is_empty() {
        (range, range)
    } else if privileged.is_empty() {
        (Pool::EMPTY, user)
    } else {
        (privileged, user)
    }
}

fn timeouts(args: &RunArgs) -> Result<Timeouts> {
    // RFC 4787 REQ-5, RFC 5508 REQ-2, RFC 5382 REQ-5.
    let minima = [
        ("--udp-timeout", args.udp_timeout, 120, "RFC 4787 REQ-5"),
        ("--icmp-timeout", args.icmp_timeout, 60, "RFC 5508 REQ-2"),
        ("--tcp-opening-timeout", args.tcp_opening_timeout, 240, "RFC 5382 REQ-5"),
        ("--tcp-established-timeout", args.tcp_established_timeout, 7440, "RFC 5382 REQ-5"),
        ("--tcp-closing-timeout", args.tcp_closing_timeout, 240, "RFC 5382 REQ-5"),
        ("--tcp-reset-timeout", args.tcp_reset_timeout, 240, "RFC 7857 section 2.2"),
    ];
    let short = minima.iter().find(|(_, value, minimum, _)| value < minimum);
    if let Some((option, value, minimum, rfc)) = short
        && !args.allow_short_timeouts
    {
        return Err(Error::Usage(format!(
            "{option} {} is below the {} that {rfc} asks for; add --allow-short-timeouts if you \
             mean it",
            Secs(u64::from(*value)),
            Secs(*minimum as u64),
        )));
    }
    Ok(Timeouts {
        udp: Span::from_secs(args.udp_timeout),
        icmp: Span::from_secs(args.icmp_timeout),
        tcp_opening: Span::from_secs(args.tcp_opening_timeout),
        tcp_established: Span::from_secs(args.tcp_established_timeout),
        tcp_closing: Span::from_secs(args.tcp_closing_timeout),
        tcp_reset: Span::from_secs(args.tcp_reset_timeout),
        other: Span::from_secs(args.other_timeout),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(rest: &str) -> Result<Config> {
        let words = format!("masq run {rest}");
        match Cli::try_parse_from(words.split_whitespace()).expect(rest).command {
            Command::Run(args) => Config::new(*args),
            _ => unreachable!(),
        }
    }

    #[test]
    fn interfaces_have_one_role() {
        for rest in ["--lan a --wan a", "--lan a --lan a --wan b", "--lan a --wan b --wan b"] {
            let error = config(rest).expect_err(rest);
            assert_eq!(error.exit_code(), 2, "{rest}");
        }
        let wans: String = (0..9).map(|n| format!(" --wan w{n}")).collect();
        assert!(config(&format!("--lan a{wans}")).is_err());
    }

    #[test]
    fn without_options_the_settings_are_the_defaults() {
        let wanted = Settings { switches: switches::GUARD, ..Settings::DEFAULT };
        assert_eq!(config("--lan a --wan b").unwrap().settings, wanted);
        assert_eq!(config("--lan a --wan b").unwrap().sources, [Ipv4Net::default()]);
    }

    #[test]
    fn short_timeouts_need_to_be_meant() {
        let short = [
            "--udp-timeout 119",
            "--icmp-timeout 59",
            "--tcp-opening-timeout 3m",
            "--tcp-established-timeout 2h3m",
            "--tcp-closing-timeout 239s",
        ];
        for option in short {
            let rest = format!("--lan a --wan b {option}");
            let error = config(&rest).expect_err(&rest).to_string();
            assert!(error.contains("RFC") && error.contains("--allow-short-timeouts"), "{error}");
            assert!(config(&format!("{rest} --allow-short-timeouts")).is_ok());
        }
        assert!(config("--lan a --wan b --udp-timeout 2m").is_ok());
    }

    #[test]
    fn a_range_of_ports_is_split_at_1024_and_never_left() {
        let pools = |text: &str| {
            let settings = config(&format!("--lan a --wan b --ports {text}")).unwrap().settings;
            (settings.privileged, settings.ports)
        };
        assert_eq!(pools("40000-50000"), (Pool::EMPTY, Pool { low: 40000, high: 50000 }));
        let both = (Pool { low: 500, high: 1023 }, Pool { low: 1024, high: 2000 });
        assert_eq!(pools("500-2000"), both);
        assert_eq!(pools("700-800"), (Pool { low: 700, high: 800 }, Pool { low: 700, high: 800 }));
    }

    #[test]
    fn ports_of_both_pools_count_once() {
        let ports = |rest: &str, protocol| {
            config(&format!("--lan a --wan b {rest}")).unwrap().external_ports(protocol)
        };
        assert_eq!(ports("", TCP), 64_512 + 424);
        assert_eq!(ports("", ICMP), 65_535);
        assert_eq!(ports("--ports 700-799", UDP), 100);
        assert_eq!(ports("--ports 1000-1099", UDP), 100);
    }

    #[test]
    fn policies_reach_the_settings() {
        let rest = "--lan a --wan b --filtering adf --filtering-tcp apdf --port-overlap never -v";
        let settings = config(rest).unwrap().settings;
        assert_eq!(settings.filtering_tcp, Filtering::AddressAndPortDependent as u8);
        assert_eq!(settings.filtering_udp, Filtering::AddressDependent as u8);
        let wanted = switches::GUARD | switches::EVENTS | switches::NO_OVERLAP;
        assert_eq!(settings.switches, wanted);
    }

    #[test]
    fn ports_rest_only_where_everybody_may_send_to_them() {
        let quarantine =
            |rest: &str| config(&format!("--lan a --wan b {rest}")).unwrap().settings.quarantine;
        assert_eq!(quarantine(""), Span(0));
        assert_eq!(quarantine("--filtering-tcp eif"), Span(0));
        assert_eq!(quarantine("--filtering eif"), Span::from_secs(120));
        assert_eq!(quarantine("--filtering eif --port-quarantine 0s"), Span(0));
    }

    #[test]
    fn limits_for_hosts_reach_the_settings() {
        let rest = "--lan a --wan b --host-sessions 3 --host-mappings 2 --host-rate 1";
        let limits = HostLimits { mappings: 2, sessions: 3, rate: 1 };
        assert_eq!(config(rest).unwrap().settings.host, limits);
    }

    #[test]
    fn tables_are_sized_by_sessions_and_wans() {
        let config = config("--lan a --wan b --wan c --max-sessions 1000000").unwrap();
        assert_eq!(table::sessions(config.session_entries()), 1_000_000);
        assert_eq!(config.port_slots(), 2 * 3 * 65_536);
        assert_eq!(config.mapping_entries(), 2 * 3 * 65_536);
        assert!((250_000_000..400_000_000).contains(&config.memory()), "{}", config.memory());
    }
}
