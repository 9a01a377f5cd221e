//! The rewrites themselves: what a packet has to look like after a translation, to the last bit.
//!
//! A checksum field has to differ from its old value by what the bytes that it covers differ by
//! (RFC 1624 section 2): so a good one becomes good, and a bad one stays bad by the same error. The
//! difference is that of two whole sums.

use std::net::Ipv4Addr;

use crate::{
    oracle::{parse::Quote, sessions::Key},
    wire::{ETHERNET, ICMP, Ip, TCP, UDP, UDP_LITE, checksum_at, set_address, set_word, sum, word},
};

/// A frame that a hook may turn another one into.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// The frame.
    pub frame: Vec<u8>,
    /// Whether it is sent on by the hook, and not given to the kernel.
    pub sent: bool,
    /// Checksum fields whose value is one of the two zeros: either will do.
    zeros: Vec<usize>,
}

impl Rewrite {
    /// `frame`, not changed yet.
    pub fn of(frame: &[u8]) -> Self {
        Self { frame: frame.to_vec(), sent: false, zeros: Vec::new() }
    }

    /// Whether `frame` is this one.
    pub fn is(&self, frame: &[u8]) -> bool {
        let mut wanted = self.frame.clone();
        for at in &self.zeros {
            if frame.len() >= at + 2 && matches!(word(frame, *at), 0 | 0xffff) {
                wanted[*at..*at + 2].copy_from_slice(&frame[*at..*at + 2]);
            }
        }
        wanted == frame
    }

    /// Source and destination of the packet, where they differ from `from`; checksums follow.
    pub fn translate(&mut self, from: &Key, to: &Key) {
        let Some(ip) = Ip::read(&self.frame[ETHERNET..]) else { return };
        let old = self.frame.clone();
        set_ends(&mut self.frame[ETHERNET..], &ip, from, to);
        self.carry_header(&old, ETHERNET, ip.header);
        self.carry_transport(&old, ETHERNET, &ip, ip.total);
    }

    /// The addresses alone: of a packet whose ports are not there.
    pub fn translate_addresses(&mut self, source: Ipv4Addr, destination: Ipv4Addr) {
        let Some(ip) = Ip::read(&self.frame[ETHERNET..]) else { return };
        let old = self.frame.clone();
        set_address(&mut self.frame, ETHERNET + 12, source);
        set_address(&mut self.frame, ETHERNET + 16, destination);
        self.carry_header(&old, ETHERNET, ip.header);
    }

    /// Another identification.
    pub fn identify(&mut self, id: u16) {
        let Some(ip) = Ip::read(&self.frame[ETHERNET..]) else { return };
        let old = self.frame.clone();
        set_word(&mut self.frame, ETHERNET + 4, id);
        self.carry_header(&old, ETHERNET, ip.header);
    }

    /// What an ICMP error quotes, put into the terms of its receiver (RFC 5508 section 4.2).
    pub fn translate_quote(&mut self, quote: &Quote, to: &Key) {
        let Some(ip) = Ip::read(&self.frame[ETHERNET..]) else { return };
        let old = self.frame.clone();
        let start = ETHERNET + quote.start;
        set_ends(&mut self.frame[start..], &quote.ip, &quote.key, to);
        self.carry_header(&old, start, quote.ip.header);
        self.carry_transport(&old, start, &quote.ip, ip.total - quote.start);
        // And the checksum of the message around it.
        self.carry_transport(&old, ETHERNET, &ip, ip.total);
    }

    /// One hop more, and on to the next station.
    pub fn send(&mut self, hop: Option<[[u8; 6]; 2]>) {
        let Some(ip) = Ip::read(&self.frame[ETHERNET..]) else { return };
        let old = self.frame.clone();
        self.frame[ETHERNET + 8] -= 1;
        self.carry_header(&old, ETHERNET, ip.header);
        if let Some([destination, source]) = hop {
            self.frame[..6].copy_from_slice(&destination);
            self.frame[6..12].copy_from_slice(&source);
        }
        self.sent = true;
    }

    /// The checksum of the IP header at `start`.
    fn carry_header(&mut self, old: &[u8], start: usize, length: usize) {
        let range = start..start + length;
        let old = (word(old, start + 10), sum_without(&old[range.clone()], 10));
        let new = sum_without(&self.frame[range], 10);
        self.store(start + 10, carried(old, new));
    }

    /// The checksum of the transport header behind the IP header at `start`, if it is among the
    /// `there` bytes from there on.
    fn carry_transport(&mut self, old: &[u8], start: usize, ip: &Ip, there: usize) {
        let Some(field) = checksum_at(ip.protocol) else { return };
        let at = start + ip.header + field;
        if at + 2 > start + there {
            return;
        }
        // 0 says that there is none, or (of UDP-Lite) is wrong and stays so.
        if matches!(ip.protocol, UDP | UDP_LITE) && word(old, at) == 0 {
            return;
        }
        let whole = |frame: &[u8]| {
            let segment = sum_without(&frame[start + ip.header..start + there], field);
            // The pseudo-header: of it, only the addresses change.
            let addresses = sum(&frame[start + 12..start + 20]);
            if ip.protocol == ICMP { segment } else { segment + addresses }
        };
        let value = carried((word(old, at), whole(old)), whole(&self.frame));
        // A checksum of 0 would mean that there is none (RFC 768), or be wrong (RFC 3828).
        if matches!(ip.protocol, UDP | UDP_LITE) && value == 0 {
            set_word(&mut self.frame, at, 0xffff);
        } else {
            self.store(at, value);
        }
    }

    fn store(&mut self, at: usize, value: u16) {
        // A field that nothing was changed of keeps the zero that it has.
        let unchanged = matches!((word(&self.frame, at), value), (0xffff, 0));
        if !unchanged {
            set_word(&mut self.frame, at, value);
        }
        if value == 0 {
            self.zeros.push(at);
        }
    }
}

/// The sum of `bytes` without the word at `at`.
fn sum_without(bytes: &[u8], at: usize) -> u32 {
    let mut bytes = bytes.to_vec();
    set_word(&mut bytes, at, 0);
    sum(&bytes)
}

/// The checksum field after what it covers has changed from one sum to another; zero is 0.
fn carried((field, old): (u16, u32), new: u32) -> u16 {
    ((u32::from(field) + old + 2 * 0xffff - new) % 0xffff) as u16
}

/// Writes addresses, ports and identifiers of a packet with the header `ip`.
fn set_ends(packet: &mut [u8], ip: &Ip, from: &Key, to: &Key) {
    set_address(packet, 12, to.source.0);
    set_address(packet, 16, to.destination.0);
    let at = ip.header;
    match ip.protocol {
        TCP | UDP => {
            set_word(packet, at, to.source.1);
            set_word(packet, at + 2, to.destination.1);
        }
        // The side that has chosen the identifier has it in its place; the other one has 0.
        ICMP if from.source.1 != to.source.1 => set_word(packet, at + 4, to.source.1),
        ICMP if from.destination.1 != to.destination.1 => {
            set_word(packet, at + 4, to.destination.1);
        }
        _ => {}
    }
}
