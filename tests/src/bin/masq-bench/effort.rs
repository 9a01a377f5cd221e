//! How much is measured: in full, or quickly.

use std::time::Duration;

use masq_tests::measure::{contender::Contender, stream::Profile};

use crate::sections::topology::Choice;

/// How often, how long, how many.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Who is compared.
    pub contenders: Vec<Contender>,
    /// Established flows, where there are many.
    pub flows: u32,
    /// How often each measurement is made.
    pub rounds: usize,
    /// How often measurements are made that take longer.
    pub long_rounds: usize,
    /// How often those that take longest, or hardly differ.
    pub few_rounds: usize,
    /// Time of one measurement of packets.
    pub packets: Duration,
    /// Time of one measurement of TCP.
    pub tcp: Duration,
    /// Time of one measurement of round trips.
    pub latency: Duration,
    /// Inside hosts of the large tables.
    pub hosts: Vec<u32>,
    /// Sessions for the accounts of memory.
    pub sessions: u32,
    /// Sessions that are swept.
    pub swept: Vec<u32>,
    /// What the router's interfaces stand on, where that is measured.
    pub topologies: Vec<Choice>,
    /// Also what tells little more than the rest: IMIX, a full table besides no ports, masq in TC
    /// where the difference is known from established flows.
    pub everything: bool,
}

/// Flows of 1,024 inside hosts: a session for each external port above 1023.
const PORTS: u32 = Profile::HOST_PORTS as u32;

impl Effort {
    /// In full: some fifteen minutes.
    pub fn full(contenders: Vec<Contender>, flows: u32) -> Self {
        let ms = Duration::from_millis;
        Self {
            contenders,
            flows,
            rounds: 5,
            long_rounds: 4,
            few_rounds: 2,
            packets: ms(750),
            tcp: ms(800),
            latency: ms(1000),
            hosts: vec![1_024, 4_096, 16_384],
            sessions: 16_384 * PORTS,
            swept: vec![16_384 * PORTS],
            topologies: Vec::new(),
            everything: true,
        }
    }

    /// Less exact.
    pub fn quick(contenders: Vec<Contender>, flows: u32) -> Self {
        let ms = Duration::from_millis;
        Self {
            contenders,
            flows,
            rounds: 2,
            long_rounds: 1,
            few_rounds: 1,
            packets: ms(200),
            tcp: ms(300),
            latency: ms(300),
            hosts: vec![4_096],
            sessions: 4_096 * PORTS,
            swept: vec![1_024 * PORTS],
            topologies: Vec::new(),
            everything: false,
        }
    }

    /// With 65,536 inside hosts too.
    pub fn with_largest(mut self) -> Self {
        self.hosts.push(65_536);
        self.swept.push(65_536 * PORTS);
        self
    }

    /// The sessions of so many hosts.
    pub const fn sessions_of(hosts: u32) -> u32 {
        hosts * PORTS
    }
}
