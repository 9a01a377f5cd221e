//! Packets as a pcapng file (draft-ietf-opsawg-pcapng), which Wireshark and tcpdump read: an interface
//! block for each device, a packet block for a packet before, and another one after if it was changed.
//! Only what is needed for that; no reading.

use std::collections::BTreeMap;

use crate::control::traced::{Frame, Passage, unhex};

/// Types of blocks.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

/// By this a reader knows the byte order.
const MAGIC: u32 = 0x1a2b_3c4d;

/// Options, by the block that they belong to; 0 ends them and 1 is a comment in all.
const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const FLAGS: u16 = 2;

/// Link types.
const ETHERNET: u16 = 1;
const RAW: u16 = 101;

/// Directions, as the flags of a packet have them.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Makes the blocks.
pub struct Writer {
    pending: Vec<u8>,
    /// The numbers of the devices, in the order of their blocks.
    interfaces: BTreeMap<(String, bool), u32>,
}

impl Writer {
    /// With the head of a file pending.
    pub fn new() -> Self {
        let mut writer = Self { pending: Vec::new(), interfaces: BTreeMap::new() };
        let mut body = Vec::new();
        body.extend(MAGIC.to_le_bytes());
        // Version 1.0; the length of the section is not known.
        body.extend([1, 0, 0, 0]);
        body.extend((-1_i64).to_le_bytes());
        let name = concat!("masq ", env!("CARGO_PKG_VERSION"));
        option(&mut body, USER_APPLICATION, name.as_bytes());
        writer.block(SECTION, body);
        writer
    }

    /// Adds a packet.
    pub fn packet(&mut self, passage: &Passage) {
        let Some(frames) = &passage.frames else { return };
        let ethernet = frames.before.link != 0;
        let moments = [("before", Some(&frames.before)), ("after", frames.after.as_ref())];
        for (moment, frame) in moments {
            let Some(frame) = frame else { continue };
            let comment = match frames.after {
                Some(_) => {
                    format!("{moment} {}: {} ({})", passage.hook, passage.reason, passage.verdict)
                }
                None => {
                    format!("{}: {} ({}), unchanged", passage.hook, passage.reason, passage.verdict)
                }
            };
            self.frame(passage, frame, ethernet, &comment);
        }
    }

    /// What has to be written next: whole blocks.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    fn frame(&mut self, passage: &Passage, frame: &Frame, ethernet: bool, comment: &str) {
        let Some(mut bytes) = unhex(&frame.bytes) else { return };
        let mut length = frame.length;
        // A device without link-layer header has given the packet one for the next device.
        let surplus = if ethernet { 0 } else { usize::from(frame.link).min(bytes.len()) };
        bytes.drain(..surplus);
        length = length.saturating_sub(surplus as u32);
        let interface = self.interface(&passage.interface, ethernet);
        let nanos = u64::try_from(passage.time.as_nanosecond()).unwrap_or_default();
        let mut body = Vec::new();
        body.extend(interface.to_le_bytes());
        body.extend(((nanos >> 32) as u32).to_le_bytes());
        body.extend((nanos as u32).to_le_bytes());
        body.extend((bytes.len() as u32).to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(&bytes);
        pad(&mut body);
        let direction = if passage.hook == "wan_out" { OUTBOUND } else { INBOUND };
        option(&mut body, FLAGS, &direction.to_le_bytes());
        option(&mut body, COMMENT, comment.as_bytes());
        self.block(PACKET, body);
    }

    /// The number of a device, whose block is there by then.
    fn interface(&mut self, name: &str, ethernet: bool) -> u32 {
        let key = (name.to_owned(), ethernet);
        if let Some(&number) = self.interfaces.get(&key) {
            return number;
        }
        let number = self.interfaces.len() as u32;
        self.interfaces.insert(key, number);
        let link_type = if ethernet { ETHERNET } else { RAW };
        let mut body = Vec::new();
        body.extend(link_type.to_le_bytes());
        body.extend([0; 2]);
        body.extend((masq_common::trace::CAPTURE as u32).to_le_bytes());
        option(&mut body, INTERFACE_NAME, name.as_bytes());
        // Ten to the power of -9.
        option(&mut body, TIME_RESOLUTION, &[9]);
        self.block(INTERFACE, body);
        number
    }

    /// A block: its type and length, the body, whose options end here, the length again.
    fn block(&mut self, kind: u32, mut body: Vec<u8>) {
        // The end of the options.
        body.extend([0; 4]);
        let length = (body.len() as u32 + 12).to_le_bytes();
        self.pending.extend(kind.to_le_bytes());
        self.pending.extend(length);
        self.pending.extend(body);
        self.pending.extend(length);
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Fills up to a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use pcap_parser::{
        Block, PcapBlockOwned, PcapNGReader,
        traits::{PcapNGPacketBlock as _, PcapReaderIterator as _},
    };

    use super::*;
    use crate::control::traced::{Frames, hex};

    fn frame(link: u16, bytes: &[u8]) -> Frame {
        Frame { link, length: 1000, bytes: hex(bytes) }
    }

    fn passage(interface: &str, hook: &str, frames: Frames) -> Passage {
        Passage {
            time: jiff::Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap(),
            interface: interface.into(),
            hook: hook.into(),
            verdict: "redirect".into(),
            reason: "outbound_fast".into(),
            frames: Some(frames),
            ..Passage::default()
        }
    }

    /// What an independent reader finds: devices with link type and name; packets with device, time,
    /// length, bytes, comment and flags.
    type Device = (i32, String);
    type Packet = (u32, u64, u32, Vec<u8>, String, u32);

    fn read(file: &[u8]) -> (Vec<Device>, Vec<Packet>) {
        let mut reader = PcapNGReader::new(65_536, file).expect("a section");
        let (mut devices, mut packets) = (Vec::new(), Vec::new());
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        while let Ok((offset, block)) = reader.next() {
            match block {
                PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
                    assert_eq!((block.if_tsresol, block.snaplen), (9, 128));
                    let name = block.options.iter().find(|o| o.code.0 == INTERFACE_NAME).unwrap();
                    let name = text(name.value());
                    devices.push((block.linktype.0, name.trim_end_matches('\0').to_owned()));
                }
                PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                    let find = |code| block.options.iter().find(|o| o.code.0 == code).unwrap();
                    let flags = find(FLAGS).value();
                    packets.push((
                        block.if_id,
                        u64::from(block.ts_high) << 32 | u64::from(block.ts_low),
                        block.origlen,
                        block.packet_data().to_vec(),
                        text(find(COMMENT).value()).trim_end_matches('\0').to_owned(),
                        u32::from_le_bytes(flags[..4].try_into().unwrap()),
                    ));
                }
                PcapBlockOwned::NG(Block::SectionHeader(_)) => {}
                _ => panic!("a block that was not written"),
            }
            reader.consume(offset);
        }
        (devices, packets)
    }

    #[test]
    fn an_independent_reader_finds_what_was_written() {
        let mut writer = Writer::new();
        let both = Frames { before: frame(14, b"before!"), after: Some(frame(14, b"after")) };
        writer.packet(&passage("lan0", "lan_in", both));
        let mut file = writer.take();
        let one = Frames { before: frame(14, b"answer"), after: None };
        writer.packet(&passage("wan0", "wan_out", one.clone()));
        writer.packet(&passage("lan0", "lan_in", one));
        file.extend(writer.take());
        let (devices, packets) = read(&file);
        assert_eq!(devices, [(1, "lan0".to_owned()), (1, "wan0".to_owned())]);
        let time = 1_700_000_000_123_456_789;
        let comments = [
            "before lan_in: outbound_fast (redirect)",
            "after lan_in: outbound_fast (redirect)",
            "wan_out: outbound_fast (redirect), unchanged",
            "lan_in: outbound_fast (redirect), unchanged",
        ]
        .map(str::to_owned);
        let [a, b, c, d] = comments;
        assert_eq!(
            packets,
            [
                (0, time, 1000, b"before!".to_vec(), a, INBOUND),
                (0, time, 1000, b"after".to_vec(), b, INBOUND),
                (1, time, 1000, b"answer".to_vec(), c, OUTBOUND),
                (0, time, 1000, b"answer".to_vec(), d, INBOUND),
            ]
        );
    }

    #[test]
    fn a_longer_header_is_kept_whole() {
        let mut writer = Writer::new();
        let before = frame(14, b"FOURTEEN BYTES5678");
        let after = Frame { length: 1008, ..frame(22, b"TWENTY-TWO BYTES, ALL.5678") };
        writer.packet(&passage("eth0", "fast_xdp", Frames { before, after: Some(after) }));
        let (devices, packets) = read(&writer.take());
        assert_eq!(devices, [(1, "eth0".to_owned())]);
        assert_eq!((&packets[0].3[..], packets[0].2), (&b"FOURTEEN BYTES5678"[..], 1000));
        assert_eq!((&packets[1].3[..], packets[1].2), (&b"TWENTY-TWO BYTES, ALL.5678"[..], 1008));
    }

    #[test]
    fn a_device_without_link_layer_header_has_none_afterwards_either() {
        let mut writer = Writer::new();
        let after = Frame { length: 1014, ..frame(14, b"FOURTEEN BYTES5678") };
        let frames = Frames { before: frame(0, b"1234"), after: Some(after) };
        writer.packet(&passage("ppp0", "wan_in", frames));
        let (devices, packets) = read(&writer.take());
        assert_eq!(devices, [(101, "ppp0".to_owned())]);
        assert_eq!((&packets[0].3[..], packets[0].2), (&b"1234"[..], 1000));
        assert_eq!((&packets[1].3[..], packets[1].2), (&b"5678"[..], 1000));
    }
}
