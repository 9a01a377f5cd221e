//! The values that options take: closed choices, and readers for names, prefixes and ports.

use std::{net::Ipv4Addr, str::FromStr};

use clap::ValueEnum;
use ipnet::Ipv4Net;
use masq_common::{mss, ports::Pool, settings::Filtering, tcp::Phase};

use crate::control::proto::protocol_number;

/// Where the fast path is attached.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// XDP on network cards whose driver can, also below a bridge, a VLAN or a PPPoE session; TC on
    /// everything else
    Auto,
    /// XDP in the driver on every interface with an Ethernet header, and on every port below a bridge,
    /// a VLAN or a PPPoE session; fails if a driver cannot
    Xdp,
    /// TC everywhere
    Tc,
    /// Nowhere: the kernel routes every packet, so that its FORWARD rules, its shapers and tcpdump
    /// see all of it; slower
    Kernel,
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

/// How large segments TCP connections may announce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MssClamp {
    /// What fits the WAN, if that is narrower than a LAN.
    Auto,
    /// Whatever they like.
    Off,
    /// At most so many bytes.
    Most(u16),
}

impl FromStr for MssClamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => match text.parse() {
                Ok(size) if size >= mss::DEFAULT => Ok(Self::Most(size)),
                _ => Err(format!("expected auto, off, or bytes from {} to 65535", mss::DEFAULT)),
            },
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

/// Answers to a host whose first packet was refused.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExhaustionIcmp {
    /// Communication administratively prohibited, as RFC 5508 REQ-8 asks for
    #[value(name = "13")]
    Prohibited,
    /// Host unreachable, as RFC 6888 REQ-11b asks for
    #[value(name = "1")]
    HostUnreachable,
    /// No answer
    None,
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

/// A protocol by its name or number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocol(pub u8);

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = protocol_number(&text.to_ascii_lowercase()).or_else(|| text.parse().ok());
        number.map(Self).ok_or_else(|| {
            "expected tcp, udp, icmp, gre, esp, sctp, ipip, ... or a protocol number".to_owned()
        })
    }
}

/// Phases of a TCP connection.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum PhaseArg {
    /// Handshake not complete
    Opening,
    /// Handshake complete
    Established,
    /// Closed by both sides
    Closing,
    /// Reset by one side
    Reset,
}

impl From<PhaseArg> for Phase {
    fn from(phase: PhaseArg) -> Self {
        match phase {
            PhaseArg::Opening => Self::Opening,
            PhaseArg::Established => Self::Established,
            PhaseArg::Closing => Self::Closing,
            PhaseArg::Reset => Self::Reset,
        }
    }
}

/// An interface name as the kernel takes it.
pub(super) fn interface_name(text: &str) -> Result<String, String> {
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
pub(super) fn instance_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 64 || text.starts_with('.') || !text.chars().all(good) {
        return Err("a name has 1 to 64 letters, digits, '.', '_' and '-', and no '.' first".into());
    }
    Ok(text.to_owned())
}

/// A prefix without bits beyond its length; a bare address is a prefix of 32 bits.
pub(super) fn prefix(text: &str) -> Result<Ipv4Net, String> {
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
pub(super) fn ports(text: &str) -> Result<Pool, String> {
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
    use super::*;

    #[test]
    fn protocols_have_names_and_numbers() {
        for (text, number) in [("tcp", 6), ("ICMP", 1), ("gre", 47), ("132", 132), ("254", 254)] {
            assert_eq!(text.parse(), Ok(Protocol(number)), "{text}");
        }
        for text in ["", "tcpp", "256", "-1"] {
            assert!(text.parse::<Protocol>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_a_prefix_of_full_length() {
        assert_eq!(prefix("10.0.0.7"), Ok("10.0.0.7/32".parse().unwrap()));
        assert!(prefix("192.168.1.5/16").unwrap_err().contains("192.168.0.0/16"));
    }
}
