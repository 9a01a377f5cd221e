//! STUN messages as bytes (RFC 5389 section 6, attributes of RFC 5389 and RFC 5780). Pure.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Every message has it in bytes 4 to 8.
const COOKIE: u32 = 0x2112_a442;
/// Length of the header.
const HEADER: usize = 20;
/// Address family of IPv4.
const IPV4: u8 = 1;

/// Ties an answer to its request.
pub type Transaction = [u8; 12];

/// What a message is. The only method is Binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Asks where it came from.
    Request,
    /// The answer.
    Success,
    /// The refusal.
    Error,
}

/// Message types of the Binding method.
const KINDS: [(Kind, u16); 3] =
    [(Kind::Request, 0x0001), (Kind::Success, 0x0101), (Kind::Error, 0x0111)];

/// A STUN message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Which request it belongs to.
    pub transaction: Transaction,
    /// Its attributes, in order.
    pub attributes: Vec<Attribute>,
}

/// An attribute of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attribute {
    /// Where the request came from, in plain.
    MappedAddress(SocketAddrV4),
    /// Where the request came from, disguised so that no gateway takes it for an address.
    XorMappedAddress(SocketAddrV4),
    /// Where the answer is sent from (RFC 5780 section 7.3).
    ResponseOrigin(SocketAddrV4),
    /// The address and port of the server that differ from those asked (section 7.4).
    OtherAddress(SocketAddrV4),
    /// Asks for an answer from another address or port of the server (section 7.2).
    ChangeRequest {
        /// From the other address.
        address: bool,
        /// From the other port.
        port: bool,
    },
    /// Asks for an answer to another port of the sender's (section 7.5).
    ResponsePort(u16),
    /// So many bytes of no meaning, to make fragments (section 7.6).
    Padding(usize),
    /// Why a request is refused: a number from 300 to 699.
    ErrorCode(u16),
    /// The types of attributes that the server does not know.
    UnknownAttributes(Vec<u16>),
    /// Any other, by its type.
    Other(u16),
}

/// Attribute types below this one must be understood (RFC 5389 section 15).
const OPTIONAL: u16 = 0x8000;

impl Attribute {
    /// The type of an attribute that has to be understood but is not known here.
    pub fn unknown(&self) -> Option<u16> {
        match self {
            Self::Other(kind) if *kind < OPTIONAL => Some(*kind),
            _ => None,
        }
    }

    fn value(&self, transaction: &Transaction) -> (u16, Vec<u8>) {
        match self {
            Self::MappedAddress(address) => (0x0001, endpoint(*address)),
            Self::XorMappedAddress(address) => (0x0020, endpoint(disguise(*address))),
            Self::ResponseOrigin(address) => (0x802b, endpoint(*address)),
            Self::OtherAddress(address) => (0x802c, endpoint(*address)),
            Self::ChangeRequest { address, port } => {
                (0x0003, vec![0, 0, 0, u8::from(*address) << 2 | u8::from(*port) << 1])
            }
            Self::ResponsePort(port) => (0x0027, [port.to_be_bytes(), [0; 2]].concat()),
            Self::Padding(length) => (0x0026, vec![transaction[0]; *length]),
            Self::ErrorCode(code) => (0x0009, vec![0, 0, (code / 100) as u8, (code % 100) as u8]),
            Self::UnknownAttributes(kinds) => {
                (0x000a, kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect())
            }
            Self::Other(kind) => (*kind, Vec::new()),
        }
    }

    fn parse(kind: u16, value: &[u8]) -> Option<Self> {
        Some(match kind {
            0x0001 => Self::MappedAddress(parse_endpoint(value)?),
            0x0020 => Self::XorMappedAddress(disguise(parse_endpoint(value)?)),
            0x802b => Self::ResponseOrigin(parse_endpoint(value)?),
            0x802c => Self::OtherAddress(parse_endpoint(value)?),
            0x0003 => {
                let flags = *value.get(3)?;
                Self::ChangeRequest { address: flags & 4 != 0, port: flags & 2 != 0 }
            }
            0x0027 => Self::ResponsePort(word(value, 0)?),
            0x0026 => Self::Padding(value.len()),
            0x0009 => {
                let (class, number) = (*value.get(2)?, *value.get(3)?);
                Self::ErrorCode(u16::from(class & 7) * 100 + u16::from(number))
            }
            0x000a => Self::UnknownAttributes(
                value.chunks_exact(2).filter_map(|pair| word(pair, 0)).collect(),
            ),
            _ => Self::Other(kind),
        })
    }
}

impl Message {
    /// The message as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for attribute in &self.attributes {
            let (kind, value) = attribute.value(&self.transaction);
            body.extend([kind, value.len() as u16].map(u16::to_be_bytes).as_flattened());
            body.extend(&value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let kind =
            KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or(0, |(_, number)| *number);
        let mut bytes = [kind, body.len() as u16].map(u16::to_be_bytes).concat();
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(self.transaction);
        bytes.extend(body);
        bytes
    }

    /// Reads a message; `None` if it is none, or not whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_at_checked(HEADER)?;
        let number = word(header, 0)?;
        let (kind, _) = KINDS.into_iter().find(|(_, of_kind)| *of_kind == number)?;
        if header[4..8] != COOKIE.to_be_bytes() || usize::from(word(header, 2)?) != rest.len() {
            return None;
        }
        let mut attributes = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(word(rest, 2)?);
            let value = rest.get(4..4 + length)?;
            attributes.push(Attribute::parse(word(rest, 0)?, value)?);
            rest = rest.get(4 + length.next_multiple_of(4)..)?;
        }
        Some(Self { kind, transaction: header[8..].try_into().ok()?, attributes })
    }

    /// What `of` finds first among the attributes.
    pub fn find<T>(&self, of: impl Fn(&Attribute) -> Option<T>) -> Option<T> {
        self.attributes.iter().find_map(of)
    }
}

fn endpoint(address: SocketAddrV4) -> Vec<u8> {
    [&[0, IPV4][..], &address.port().to_be_bytes(), &address.ip().octets()].concat()
}

fn parse_endpoint(value: &[u8]) -> Option<SocketAddrV4> {
    let address = <[u8; 4]>::try_from(value.get(4..8)?).ok()?;
    (value[1] == IPV4).then_some(SocketAddrV4::new(address.into(), word(value, 2)?))
}

/// XOR with the cookie (RFC 5389 section 15.2); twice is nothing.
fn disguise(address: SocketAddrV4) -> SocketAddrV4 {
    let ip = Ipv4Addr::from(u32::from(*address.ip()) ^ COOKIE);
    SocketAddrV4::new(ip, address.port() ^ (COOKIE >> 16) as u16)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample IPv4 response of RFC 5769 section 2.2.
    const RFC_5769_2_2: [u8; 80] = [
        0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76,
        0x65, 0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1,
        0x12, 0xa6, 0x43, 0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3,
        0x8c, 0x74, 0x89, 0xf9, 0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00,
        0x04, 0xc0, 0x7d, 0x4c, 0x96,
    ];
    const TRANSACTION: Transaction =
        [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
    const ENDPOINT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 32853);

    #[test]
    fn the_response_of_rfc_5769_is_read() {
        let message = Message::parse(&RFC_5769_2_2).expect("a message");
        assert_eq!((message.kind, message.transaction), (Kind::Success, TRANSACTION));
        let expected = [
            Attribute::Other(0x8022),
            Attribute::XorMappedAddress(ENDPOINT),
            Attribute::Other(0x0008),
            Attribute::Other(0x8028),
        ];
        assert_eq!(message.attributes, expected);
        assert_eq!(message.find(Attribute::unknown), Some(0x0008), "MESSAGE-INTEGRITY");
    }

    #[test]
    fn the_mapped_address_of_rfc_5769_is_written() {
        let attributes = vec![Attribute::XorMappedAddress(ENDPOINT)];
        let message = Message { kind: Kind::Success, transaction: TRANSACTION, attributes };
        let expected = [&RFC_5769_2_2[..2], &[0, 12], &RFC_5769_2_2[4..20], &RFC_5769_2_2[36..48]];
        assert_eq!(message.bytes(), expected.concat());
    }

    #[test]
    fn every_attribute_is_read_as_it_was_written() {
        let attributes = vec![
            Attribute::MappedAddress(ENDPOINT),
            Attribute::XorMappedAddress(ENDPOINT),
            Attribute::ResponseOrigin(ENDPOINT),
            Attribute::OtherAddress(ENDPOINT),
            Attribute::ChangeRequest { address: true, port: false },
            Attribute::ChangeRequest { address: false, port: true },
            Attribute::ResponsePort(40_000),
            Attribute::Padding(2001),
            Attribute::ErrorCode(420),
            Attribute::UnknownAttributes(vec![0x0008, 0x7fff, 3]),
            Attribute::Other(0x8022),
        ];
        for (kind, _) in KINDS {
            let message =
                Message { kind, transaction: TRANSACTION, attributes: attributes.clone() };
            assert_eq!(message.bytes().len() % 4, 0);
            assert_eq!(Message::parse(&message.bytes()), Some(message));
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_no_message() {
        for length in 0..RFC_5769_2_2.len() {
            assert_eq!(Message::parse(&RFC_5769_2_2[..length]), None, "{length} bytes");
            // Also when the header does not promise more.
            let mut cut = RFC_5769_2_2[..length].to_vec();
            if let (Some(body), Some(field)) = (length.checked_sub(HEADER), cut.get_mut(3)) {
                *field = body as u8;
                let whole = [0, 16, 28, 52].contains(&body);
                assert_eq!(Message::parse(&cut).is_some(), whole, "{length} bytes");
            }
        }
    }
}
