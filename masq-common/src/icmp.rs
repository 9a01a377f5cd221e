//! Which ICMP messages are queries with an identifier, and which are errors that quote a packet.

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench (deprecated by RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Timestamp request.
pub const TIMESTAMP: u8 = 13;
/// Timestamp reply.
pub const TIMESTAMP_REPLY: u8 = 14;

/// What kind of ICMP message a packet is, as far as a NAT is concerned (RFC 5508 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A query that opens or continues a session; its identifier is the sender's.
    Request,
    /// The answer to one; its identifier is the receiver's.
    Reply,
    /// Quotes the packet that it is about.
    Error,
    /// Has neither, or must not cross (RFC 5508 REQ-10c): redirects, router discovery, source quench
    /// and other obsolete types.
    Other,
}

/// The kind of an ICMP `message_type`.
#[inline(always)]
pub const fn kind(message_type: u8) -> Kind {
    match message_type {
        ECHO | TIMESTAMP => Kind::Request,
        ECHO_REPLY | TIMESTAMP_REPLY => Kind::Reply,
        UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM => Kind::Error,
        _ => Kind::Other,
    }
}
