//! The records of `masq events`, and which of them somebody wants. With `--json` each is printed as
//! it is here, so their field names are an interface: fields may be added, never renamed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{filter::Filter, proto::Endpoint};

/// Which records are wanted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Only those of sessions that match; the phase is not looked at.
    pub filter: Filter,
    /// Also first packets that were refused.
    pub drops: bool,
}

/// One record. Times are those at which it happened, in UTC, exact to a tick of the kernel (1 to 10 ms);
/// what comes later in the stream has happened later.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    /// From here on records are complete, but for what `lost` says.
    Listening {
        /// When.
        time: Timestamp,
        /// Which instance.
        instance: String,
    },
    /// A session was opened.
    Opened {
        /// When.
        time: Timestamp,
        /// Which.
        #[serde(flatten)]
        session: Translation,
    },
    /// A session was closed.
    Closed {
        /// When.
        time: Timestamp,
        /// Which.
        #[serde(flatten)]
        session: Translation,
        /// Packets from inside.
        packets_out: u64,
        /// Bytes from inside, from the IP header on.
        bytes_out: u64,
        /// Packets from outside.
        packets_in: u64,
        /// Bytes from outside, from the IP header on.
        bytes_in: u64,
        /// How long it was there, from its first packet on; exact to 134 ms.
        duration_ms: u64,
        /// Why: `expired`, `address_lost`, `flushed`.
        cause: String,
    },
    /// First packets were dropped: one of them, as an example.
    Dropped {
        /// When.
        time: Timestamp,
        /// Protocol of the example.
        protocol: String,
        /// Who has sent it.
        inside: Endpoint,
        /// To whom.
        remote: Endpoint,
        /// Why: the name of a counter of `masq stats`.
        reason: String,
        /// Packets that were dropped for this reason since the last such record, of all senders.
        count: u64,
    },
    /// Here records are missing.
    Lost {
        /// When the first one was lost.
        time: Timestamp,
        /// How many; not only of those that match.
        count: u64,
        /// Where.
        place: Place,
    },
    /// The daemon has ended; there are no more records.
    Ended {
        /// When.
        time: Timestamp,
        /// What has become of the sessions.
        data_plane: Fate,
    },
}

/// A session with its translation.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Translation {
    /// `tcp`, `udp`, `icmp`, ..., or a number.
    pub protocol: String,
    /// Name of the WAN interface.
    pub wan: String,
    /// The host on the LAN.
    pub inside: Endpoint,
    /// As which the outside sees it.
    pub external: Endpoint,
    /// Whom it talks to.
    pub remote: Endpoint,
}

/// Where records were lost.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On the way to this reader, who is too slow.
    Reader,
    /// In the kernel, since the daemon was too slow: for all readers.
    Kernel,
}

/// What becomes of the data plane when a daemon ends.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was removed: all sessions have ended.
    Removed,
    /// It goes on without a daemon, for the next one to take over.
    Kept,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_session_is_one_flat_object_and_can_be_read_again() {
        let endpoint = |address: [u8; 4], port| Endpoint { address: address.into(), port };
        let record = Record::Closed {
            time: Timestamp::from_nanosecond(1_700_000_000_123_456_000).unwrap(),
            session: Translation {
                protocol: "udp".into(),
                wan: "ppp0".into(),
                inside: endpoint([192, 168, 1, 10], 40000),
                external: endpoint([203, 0, 113, 5], 40001),
                remote: endpoint([198, 51, 100, 1], 53),
            },
            packets_out: 1,
            bytes_out: 2,
            packets_in: 3,
            bytes_in: u64::MAX,
            duration_ms: 5,
            cause: "expired".into(),
        };
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["event"], "closed");
        assert_eq!(json["time"], "2023-11-14T22:13:20.123456Z");
        assert_eq!(json["external"]["port"], 40001);
        assert_eq!(json["bytes_in"], u64::MAX);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
