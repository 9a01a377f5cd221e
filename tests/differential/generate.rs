//! Numbers for generated traffic: the same for the same seed.

use masq_tests::packet::Packet;

/// Where numbers come from, and which ports are not used yet.
#[derive(Debug)]
pub struct Generator {
    state: u64,
    port: u16,
}

/// Ports that cases may use: none that a service or the marks have, and none privileged.
const FIRST_PORT: u16 = 2_000;

/// Header fields that a gateway has to leave alone, and a hop limit that is high enough.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    tos: u8,
    id: u16,
    ttl: u8,
    may_be_fragmented: bool,
}

impl Look {
    /// The packet with these fields.
    pub fn on(self, packet: Packet) -> Packet {
        let packet = packet.tos(self.tos).id(self.id).ttl(self.ttl);
        if self.may_be_fragmented { packet.may_be_fragmented() } else { packet }
    }
}

impl Generator {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, port: FIRST_PORT }
    }

    /// Any number (SplitMix64).
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// Bytes of any length below `end`.
    pub fn data(&mut self, end: usize) -> Vec<u8> {
        let length = self.below(end);
        (0..length).map(|_| self.number() as u8).collect()
    }

    /// Any header fields.
    pub fn look(&mut self) -> Look {
        // An identification of zero would be filled in by some senders.
        let (tos, id) = (self.number() as u8, self.number() as u16 | 1);
        let (ttl, may_be_fragmented) = (self.below(253) as u8 + 3, self.below(2) == 0);
        Look { tos, id, ttl, may_be_fragmented }
    }

    /// A port, or ICMP identifier, that no other case has.
    ///
    /// # Panics
    /// If there is none left: fewer rounds, then.
    pub fn port(&mut self) -> u16 {
        assert!(self.port < 63_000, "there are not so many ports: fewer rounds");
        self.port += 1;
        self.port
    }
}
