//! Requests and answers of the control socket. What `--json` prints is made of the same types, so
//! their field names are an interface: fields may be added, never renamed.

mod top;

use std::{borrow::Cow, net::Ipv4Addr};

use masq_common::flow::{DCCP, ICMP, TCP, UDP, UDP_LITE};
use serde::{Deserialize, Serialize};

pub use super::reloaded::{Change, Reloaded};
use super::{
    filter::Filter,
    flush::{Flush, Flushed},
    hosts::{Host, HostQuery},
    ranking::Sort,
    record::{Record, Watch},
    traced::{TraceQuery, Traced},
};
pub use top::{Top, TopHost, TopQuery, TopSession};

/// Version of the protocol. A daemon refuses requests of another one.
pub const VERSION: u32 = 1;

/// The name of a protocol, or its number.
pub fn protocol_name(protocol: u8) -> Cow<'static, str> {
    let name = match protocol {
        TCP => "tcp",
        UDP => "udp",
        ICMP => "icmp",
        IPIP => "ipip",
        DCCP => "dccp",
        IPV6 => "ipv6",
        GRE => "gre",
        ESP => "esp",
        SCTP => "sctp",
        UDP_LITE => "udplite",
        _ => return Cow::Owned(protocol.to_string()),
    };
    Cow::Borrowed(name)
}

/// The number of a protocol by its name, or from the number itself.
pub fn protocol_number(name: &str) -> Option<u8> {
    (0..=u8::MAX).find(|&number| protocol_name(number) == name)
}

/// Numbers of protocols that have a name here and no part in the data plane.
const IPIP: u8 = 4;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const ESP: u8 = 50;
const SCTP: u8 = 132;

/// A request.
#[derive(Serialize, Deserialize, Debug)]
pub struct Request {
    /// [`VERSION`] of the client.
    pub version: u32,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Who are you? Answered with one [`Answer::Instance`].
    Instance,
    /// Counters and tables. Answered with one [`Answer::Stats`].
    Stats,
    /// Sessions. Answered with any number of [`Answer::Session`] and an [`Answer::End`].
    Sessions(Query),
    /// Inside hosts. Answered with any number of [`Answer::Host`] and an [`Answer::End`].
    Hosts(HostQuery),
    /// Read the configuration file again. Answered with [`Answer::Reloaded`].
    Reload,
    /// What happens from now on. Answered with any number of [`Answer::Record`]; the first is
    /// [`Record::Listening`], and the last [`Record::Ended`] if the daemon ends before the client.
    Events(Watch),
    /// Packets, before and after translation. Answered with any number of [`Answer::Traced`]; the first
    /// is [`Traced::Tracing`], and the last [`Traced::Ended`] if the daemon ends before the client.
    Trace(TraceQuery),
    /// Remove sessions. Answered with any number of [`Answer::Progress`] and an
    /// [`Answer::Flushed`].
    Flush(Flush),
    /// Who sends most? Answered with an [`Answer::Top`] after each look, until the client hangs up.
    Top(TopQuery),
    /// Stop. Answered with [`Answer::Stopping`], before it has ended.
    Stop {
        /// Whether the data plane goes on without the daemon.
        keep_data_plane: bool,
    },
}

/// Which sessions are wanted.
#[derive(Serialize, Deserialize, Debug, Default)]
pub struct Query {
    /// Only those that match.
    pub filter: Filter,
    /// At most so many.
    pub limit: Option<u64>,
    /// Only their number.
    pub count: bool,
    /// In which order, of [`MOST`](super::ranking::MOST) at most: with this there has to be a limit.
    #[serde(default)]
    pub sort: Option<Sort>,
    /// In the reverse of it.
    #[serde(default)]
    pub reverse: bool,
    /// Whether the client understands [`Answer::Progress`].
    #[serde(default)]
    pub progress: bool,
}

/// A line of an answer.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The instance.
    Instance(Instance),
    /// Counters and tables.
    Stats(Box<Stats>),
    /// One session.
    Session(Box<Session>),
    /// One inside host.
    Host(Box<Host>),
    /// One look at who sends most.
    Top(Box<Top>),
    /// No more sessions or hosts.
    End(End),
    /// The configuration file is in force.
    Reloaded(Reloaded),
    /// It is still at work, and how many sessions it has dealt with.
    Progress(u64),
    /// Something has happened.
    Record(Box<Record>),
    /// A packet was at a hook, or what else there is to say of tracing.
    Traced(Box<Traced>),
    /// Sessions were removed.
    Flushed(Flushed),
    /// It is about to stop.
    Stopping,
    /// It failed, and why.
    Error(String),
}

/// An instance.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Its name.
    pub instance: String,
    /// Its process; null if none runs and the data plane goes on alone.
    pub pid: Option<u32>,
    /// Whether it has a process that does not answer, because it is starting or stopping or hangs; left
    /// out if it answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub busy: bool,
    /// Number of its network namespace.
    pub netns: u64,
    /// How long it has been running.
    pub uptime_secs: u64,
    /// Version of the program.
    pub version: String,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceInfo>,
    /// What becomes of sessions without the daemon.
    pub survival: Survival,
}

/// Whether the data plane outlives the daemon.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Default, Debug)]
pub struct Survival {
    /// Where it is pinned; null if it ends with the daemon.
    pub pins: Option<String>,
    /// Why it is not pinned; empty if it is.
    pub why: String,
    /// Whether the daemon has taken it over from an earlier one.
    pub adopted: bool,
}

/// One interface of an instance.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct InterfaceInfo {
    /// Its name.
    pub name: String,
    /// `lan` or `wan`.
    pub role: String,
    /// Its index; null while it does not exist.
    pub index: Option<u32>,
    /// Where the fast path is; null while nothing is attached.
    pub mode: Option<Mode>,
    /// Why there.
    pub why: String,
    /// The address that a WAN translates to; null while it has none.
    pub address: Option<Ipv4Addr>,
    /// The largest TCP segment that connections over a WAN may announce, in bytes; null for no limit.
    #[serde(default)]
    pub mss: Option<u16>,
    /// The ports that its frames come in and go out by, as far as they are known: the interface itself,
    /// the ports of a bridge, the device below a VLAN or a PPPoE session.
    #[serde(default)]
    pub ports: Vec<PortInfo>,
}

/// A port below an interface.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Id of the VLAN whose frames are the interface's; null for those without a tag.
    pub vlan: Option<u16>,
    /// Where the fast path of these frames is.
    pub mode: Mode,
    /// Why there.
    pub why: String,
}

impl InterfaceInfo {
    /// Whether it leads to the outside.
    pub fn is_wan(&self) -> bool {
        self.role == "wan"
    }
}

/// Where the fast path of an interface is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// TC.
    Tc,
    /// Native XDP.
    Xdp,
    /// There is none.
    Kernel,
}

impl Mode {
    /// The mode in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
            Self::Kernel => "kernel",
        }
    }
}

/// One end of a session.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address.
    pub address: Ipv4Addr,
    /// The port, or the identifier of an ICMP query; 0 for the remote end of one.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&if self.port == 0 {
            self.address.to_string()
        } else {
            format!("{}:{}", self.address, self.port)
        })
    }
}

/// One session.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Name of the WAN interface.
    pub wan: String,
    /// The host on the LAN.
    pub inside: Endpoint,
    /// As which the outside sees it.
    pub external: Endpoint,
    /// Whom it talks to.
    pub remote: Endpoint,
    /// `opening`, `established` or `closing`; null unless TCP.
    pub phase: Option<String>,
    /// Time since the last packet.
    pub idle_ms: u64,
    /// Time until it expires without another packet.
    pub remaining_ms: u64,
    /// Time since the first packet.
    pub age_ms: u64,
    /// Packets from inside.
    pub packets_out: u64,
    /// Bytes from inside, from the IP header on.
    pub bytes_out: u64,
    /// Packets from outside.
    pub packets_in: u64,
    /// Bytes from outside, from the IP header on.
    pub bytes_in: u64,
    /// What is special: `port_shared`, `own` (of the router itself), `from_outside`, `hairpin`.
    pub flags: Vec<String>,
}

/// The end of a list of sessions.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct End {
    /// Sessions that matched.
    pub matched: u64,
    /// Sessions that have expired and are not removed yet; not listed.
    pub expired: u64,
}

/// Counters and tables of an instance.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// The instance.
    #[serde(flatten)]
    pub instance: Instance,
    /// The tables.
    pub tables: Tables,
    /// The slow path.
    pub slow_path: SlowPath,
    /// All counters, in the order of their numbers.
    pub counters: Vec<Counter>,
}

/// What the slow path has done with the packets that the kernel programs gave it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlowPath {
    /// Fragments that wait for the first one of their datagram now.
    pub parked: u64,
    /// How many bytes they are.
    pub parked_bytes: u64,
    /// Fragments that were sent on.
    pub reinjected: u64,
    /// Fragments whose first one has not come in time.
    pub expired: u64,
    /// Fragments that were too many to wait.
    pub refused: u64,
    /// Packets that cannot be sent on: damaged, hop limit over, without identification, of a lost
    /// address, or the router's own.
    pub unusable: u64,
    /// First packets that wait until expired sessions are removed now.
    pub held: u64,
    /// First packets that were sent once more after that.
    pub retried: u64,
    /// ICMP errors that were sent about refused first packets.
    pub icmp_sent: u64,
    /// ICMP errors that were not: too many, not wanted, or not allowed.
    pub icmp_suppressed: u64,
    /// Packets that the kernel did not take.
    pub failed: u64,
}

impl SlowPath {
    /// All numbers with their names and what they mean.
    pub const fn rows(&self) -> [(&'static str, u64, &'static str); 11] {
        [
            ("parked", self.parked, "Fragments that wait for the first one now."),
            ("parked_bytes", self.parked_bytes, "How many bytes they are."),
            ("reinjected", self.reinjected, "Fragments that were sent on."),
            ("expired", self.expired, "Fragments whose first one has not come in time."),
            ("refused", self.refused, "Fragments that were too many to wait."),
            ("unusable", self.unusable, "Packets that cannot be sent on."),
            ("held", self.held, "First packets that wait for room now."),
            ("retried", self.retried, "First packets sent again when room was made."),
            ("icmp_sent", self.icmp_sent, "ICMP errors about refused first packets."),
            ("icmp_suppressed", self.icmp_suppressed, "Such errors not sent: rate or rules."),
            ("failed", self.failed, "Packets that the kernel did not take."),
        ]
    }
}

/// Occupancy of the tables.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    /// Sessions.
    pub sessions: Occupancy,
    /// Mappings of inside endpoints to external ports.
    pub mappings: Occupancy,
    /// External ports.
    pub ports: Vec<Ports>,
}

/// Occupancy of one table.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occupancy {
    /// Entries.
    pub used: u64,
    /// Room.
    pub max: u64,
}

/// External ports of one WAN and protocol.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Name of the WAN interface.
    pub wan: String,
    /// `tcp`, `udp` or `icmp` (identifiers).
    pub protocol: String,
    /// Ports that are held by mappings.
    pub used: u64,
    /// Ports that may be used.
    pub max: u64,
}

/// One counter.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Counter {
    /// Its name.
    pub reason: String,
    /// What it says about the packet: `translated`, `untouched`, `dropped`, `event`.
    pub class: String,
    /// How often.
    pub count: u64,
    /// What it means.
    pub text: String,
}
