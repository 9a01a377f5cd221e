//! The records of `masq trace`, and which of them somebody wants. With `--json` each is printed as it
//! is here, so their field names are an interface: fields may be added, never renamed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{filter::EndpointFilter, proto::Endpoint, record::Fate};

/// Which packets are wanted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct TraceQuery {
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Each has to be an end of the packet, before or after translation.
    pub ends: Vec<EndpointFilter>,
    /// Only those that end for one of these reasons; all if there are none, and no `drops`.
    pub reasons: Vec<String>,
    /// Also those that are dropped for any reason.
    pub drops: bool,
    /// Also their bytes.
    pub frames: bool,
}

/// One record.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Traced {
    /// From here on every packet that matches is recorded, but for what `lost` says.
    Tracing {
        /// When.
        time: Timestamp,
        /// Which instance.
        instance: String,
    },
    /// A packet has been at a hook.
    Packet(Box<Passage>),
    /// Here packets are missing.
    Lost {
        /// When that was noticed.
        time: Timestamp,
        /// How many.
        count: u64,
    },
    /// The daemon has ended; there are no more records.
    Ended {
        /// When.
        time: Timestamp,
        /// What has become of the sessions.
        data_plane: Fate,
    },
}

/// A packet at one hook.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Default, Debug)]
pub struct Passage {
    /// When the hook was done with it.
    pub time: Timestamp,
    /// The interface whose hook it is.
    pub interface: String,
    /// At `wan_out`, the interface that it has come in by; null if the router has made it.
    pub came_in_by: Option<String>,
    /// `fast_xdp`, `lan_in`, `wan_in` or `wan_out`.
    pub hook: String,
    /// `pass`, `drop` or `redirect`.
    pub verdict: String,
    /// `translated`, `untouched` or `dropped`.
    pub class: String,
    /// Why: the name of a counter of `masq stats`.
    pub reason: String,
    /// The packet as it came.
    pub before: Look,
    /// The packet as it was left; null if it was not changed, or dropped.
    pub after: Option<Look>,
    /// The bytes, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<Frames>,
}

/// What a packet looks like.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Default, Debug)]
pub struct Look {
    /// `tcp`, `udp`, `icmp`, ..., or a number; `arp`, `ipv6` or `ethertype 0x...` if it is not IPv4, and
    /// `damaged` if its IP header is.
    pub protocol: String,
    /// IP protocol number; null if it is not IPv4, or damaged.
    pub number: Option<u8>,
    /// Where it comes from; port 0 if there is none, or in later fragments.
    pub source: Option<Endpoint>,
    /// Where it goes to.
    pub destination: Option<Endpoint>,
    /// Id of its 802.1Q tag, as far as it stands in the frame; null without one.
    #[serde(default)]
    pub vlan: Option<u16>,
    /// 802.1p priority in that tag.
    #[serde(default)]
    pub priority: Option<u8>,
    /// Id of its PPPoE session; null without one.
    #[serde(default)]
    pub pppoe: Option<u16>,
    /// Bytes from the IP header on.
    pub length: u32,
    /// The hop limit.
    pub ttl: Option<u8>,
    /// Names of the TCP flags with commas in between; null unless TCP.
    pub tcp_flags: Option<String>,
    /// Of a fragment, where in the datagram its data begins, in bytes.
    pub fragment: Option<u16>,
    /// Null unless ICMP.
    pub icmp: Option<IcmpMessage>,
    /// Of an ICMP error, the packet that it is about.
    pub about: Option<Quoted>,
}

/// What an ICMP message is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpMessage {
    /// Its type.
    #[serde(rename = "type")]
    pub message_type: u8,
    /// Its code.
    pub code: u8,
}

/// A packet that is quoted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// `tcp`, `udp`, `icmp`, ..., or a number.
    pub protocol: String,
    /// Where it came from.
    pub source: Endpoint,
    /// Where it went to.
    pub destination: Endpoint,
}

/// The bytes of a packet.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Frames {
    /// As it came.
    pub before: Frame,
    /// As it was left; null as above.
    pub after: Option<Frame>,
}

/// The beginning of a frame.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// How many bytes of it stand before the IP header: 0, or 14 (Ethernet), with a tag and the headers of
    /// PPPoE up to 26.
    pub link: u16,
    /// Bytes of the whole frame.
    pub length: u32,
    /// The first bytes, in hexadecimal.
    pub bytes: String,
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0')
}

/// The bytes that [`hex`] has written; `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let digits = digits?;
    let whole = digits.len() % 2 == 0;
    whole.then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_socket() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&all)), Some(all));
        assert_eq!(hex(&[0x0f, 0xa0]), "0fa0");
        assert_eq!((unhex("0"), unhex("0g"), unhex("")), (None, None, Some(Vec::new())));
    }

    #[test]
    fn a_packet_is_one_object_with_its_looks_inside() {
        let record = Traced::Packet(Box::new(Passage {
            interface: "wan0".into(),
            before: Look { protocol: "udp".into(), ..Look::default() },
            ..Passage::default()
        }));
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!((&json["event"], &json["interface"]), (&"packet".into(), &"wan0".into()));
        assert_eq!(json["before"]["protocol"], "udp");
        assert!(json.get("frames").is_none(), "only if asked for");
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Traced>(&text).unwrap(), record);
    }
}
