//! Which sessions a user wants to see. Pure.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use ipnet::Ipv4Net;
use masq_common::flow::TCP;
use serde::{Deserialize, Serialize};

use super::proto::Endpoint;

/// An endpoint as users name it: `ADDR`, `ADDR/LEN`, `ADDR:PORT`, `ADDR/LEN:PORT` or `:PORT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointFilter {
    net: Ipv4Net,
    port: Option<u16>,
}

impl EndpointFilter {
    /// The addresses that it means.
    pub const fn net(&self) -> Ipv4Net {
        self.net
    }

    /// The port that it means; `None` for all.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// One host, with the port that another filter asks for.
    pub fn of_host(address: Ipv4Addr, other: Option<Self>) -> Self {
        Self { net: address.into(), port: other.and_then(|other| other.port) }
    }

    /// Whether it means this endpoint.
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        self.net.contains(&endpoint.address) && self.port.is_none_or(|port| port == endpoint.port)
    }
}

impl FromStr for EndpointFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected an endpoint such as 192.168.1.10, 192.168.1.0/24, 192.168.1.10:443 or :443";
        let (net, port) = match text.split_once(':') {
            Some((net, port)) => (net, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let net = if net.is_empty() && port.is_some() {
            Ipv4Net::default()
        } else if net.contains('/') {
            net.parse::<Ipv4Net>().map_err(|_| wrong())?.trunc()
        } else {
            net.parse::<Ipv4Addr>().map_err(|_| wrong())?.into()
        };
        Ok(Self { net, port })
    }
}

impl fmt::Display for EndpointFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.net)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl From<Endpoint> for EndpointFilter {
    /// This endpoint and no other.
    fn from(endpoint: Endpoint) -> Self {
        Self { net: endpoint.address.into(), port: Some(endpoint.port) }
    }
}

impl TryFrom<String> for EndpointFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EndpointFilter> for String {
    fn from(filter: EndpointFilter) -> Self {
        filter.to_string()
    }
}

/// All conditions; those that are `None` hold for every session. One that this version does not know is
/// refused: without it, more sessions would match than are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// The host on the LAN.
    pub inside: Option<EndpointFilter>,
    /// As which the outside sees it.
    pub external: Option<EndpointFilter>,
    /// Whom it talks to.
    pub remote: Option<EndpointFilter>,
    /// TCP phase; no session of another protocol matches.
    pub phase: Option<String>,
}

/// What is known of a session without its second half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// IP protocol number.
    pub protocol: u8,
    /// The host on the LAN.
    pub inside: Endpoint,
    /// As which the outside sees it.
    pub external: Endpoint,
    /// Whom it talks to.
    pub remote: Endpoint,
}

impl Filter {
    /// Whether a session with these ends may match; of its phase only whether it can have one.
    pub fn matches_ends(&self, ends: &Ends) -> bool {
        let holds = |filter: &Option<EndpointFilter>, endpoint| {
            filter.is_none_or(|filter| filter.matches(endpoint))
        };
        self.protocol.is_none_or(|protocol| protocol == ends.protocol)
            && (self.phase.is_none() || ends.protocol == TCP)
            && holds(&self.inside, &ends.inside)
            && holds(&self.external, &ends.external)
            && holds(&self.remote, &ends.remote)
    }

    /// Whether a session in this phase matches (`None` unless TCP).
    pub fn matches_phase(&self, phase: Option<&str>) -> bool {
        self.phase.as_deref().is_none_or(|wanted| phase == Some(wanted))
    }
}

#[cfg(test)]
mod tests {
    use masq_common::flow::{TCP, UDP};

    use super::*;

    fn endpoint(address: [u8; 4], port: u16) -> Endpoint {
        Endpoint { address: address.into(), port }
    }

    #[test]
    fn endpoints_are_read_in_all_forms() {
        let host = endpoint([192, 168, 1, 10], 443);
        for text in
            ["192.168.1.10", "192.168.0.0/16", "192.168.1.10:443", "192.168.0.0/16:443", ":443"]
        {
            let filter: EndpointFilter = text.parse().unwrap();
            assert!(filter.matches(&host), "{text}");
            assert_eq!(filter.to_string().parse(), Ok(filter), "{text} survives the socket");
        }
        for text in ["192.168.1.11", "10.0.0.0/8", "192.168.1.10:80", ":80"] {
            assert!(!text.parse::<EndpointFilter>().unwrap().matches(&host), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", ":", "host", "1.2.3", "1.2.3.4:", "1.2.3.4:70000", "1.2.3.4/33", "[::1]:1"]
        {
            assert!(text.parse::<EndpointFilter>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let ends = Ends {
            protocol: TCP,
            inside: endpoint([192, 168, 1, 10], 40000),
            external: endpoint([203, 0, 113, 5], 40000),
            remote: endpoint([198, 51, 100, 1], 443),
        };
        let filter = |inside: &str, remote: &str, protocol| Filter {
            inside: Some(inside.parse().unwrap()),
            remote: Some(remote.parse().unwrap()),
            protocol,
            ..Filter::default()
        };
        assert!(Filter::default().matches_ends(&ends));
        assert!(filter("192.168.1.10", ":443", Some(TCP)).matches_ends(&ends));
        assert!(!filter("192.168.1.10", ":443", Some(UDP)).matches_ends(&ends));
        assert!(!filter("192.168.1.10", ":80", None).matches_ends(&ends));
        assert!(!filter("192.168.1.10:1", ":443", None).matches_ends(&ends));
    }

    #[test]
    fn a_phase_is_only_found_in_tcp() {
        let filter = Filter { phase: Some("established".into()), ..Filter::default() };
        assert!(filter.matches_phase(Some("established")));
        assert!(!filter.matches_phase(Some("closing")) && !filter.matches_phase(None));
        assert!(Filter::default().matches_phase(None));
    }
}
