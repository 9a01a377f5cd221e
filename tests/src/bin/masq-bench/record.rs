//! Everything that was measured in a run, and the file it is kept in.

use std::{fs, num::NonZero, path::Path, thread, time::SystemTime};

use masq_tests::measure::{
    contender::Contender,
    frames::{Direction, Size},
    series::Series,
};
use serde::{Deserialize, Serialize};

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// Seconds since 1970, UTC, at the start.
    pub time: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor, and how many of it.
    pub processor: String,
    /// Number of CPUs.
    pub cpus: usize,
    /// Packet rates.
    pub packets: Vec<PacketRow>,
    /// TCP throughput.
    pub tcp: Vec<TcpRow>,
}

/// Packet rates of one contender in one situation.
#[derive(Debug, Serialize, Deserialize)]
pub struct PacketRow {
    /// [`Contender::key`].
    pub contender: String,
    /// `outbound` or `inbound`.
    pub direction: String,
    /// Number of flows.
    pub flows: u32,
    /// `64` bytes or `imix`.
    pub size: String,
    /// Packets for each second of CPU time.
    pub rate: Series,
    /// Packets for each second of wall time.
    pub wall_rate: Series,
    /// Share of the wall time that the CPU had for this.
    pub share: Series,
    /// Share of the packets that were lost.
    pub loss: Series,
}

/// TCP throughput of one contender in one situation.
#[derive(Debug, Serialize, Deserialize)]
pub struct TcpRow {
    /// [`Contender::key`].
    pub contender: String,
    /// Whether the hosts leave segmentation and checksums to their interfaces.
    pub offloads: bool,
    /// `outbound` or `inbound`.
    pub direction: String,
    /// Number of connections at once.
    pub streams: usize,
    /// Bits a second.
    pub rate: Series,
}

/// A situation in which packets are measured.
pub type Situation = (Direction, NonZero<u32>, Size);

/// What a direction is called in files.
pub const fn direction_key(direction: Direction) -> &'static str {
    match direction {
        Direction::Outbound => "outbound",
        Direction::Inbound => "inbound",
    }
}

/// What a size is called in files.
pub const fn size_key(size: Size) -> &'static str {
    match size {
        Size::Smallest => "64",
        Size::Imix => "imix",
    }
}

impl Record {
    /// Of this machine, with nothing measured.
    pub fn new() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("", |model| model.trim_start_matches([' ', '\t', ':']));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            time: now.as_secs(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: model.to_owned(),
            cpus: thread::available_parallelism().map_or(1, NonZero::get),
            packets: Vec::new(),
            tcp: Vec::new(),
        }
    }

    /// From a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map_err(|e| format!("cannot read {} to compare with: {e}", path.display()))?;
        serde_json::from_str(&text)
            .map_err(|e| format!("{} was not written by --json: {e}", path.display()))
    }

    /// To a file.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        fs::write(path, text + "\n").map_err(|e| format!("cannot write {}: {e}", path.display()))
    }

    /// The row of a contender in a situation; `None` if that was not measured.
    pub fn packets(
        &self,
        contender: Contender,
        (direction, flows, size): Situation,
    ) -> Option<&PacketRow> {
        self.packets.iter().find(|row| {
            row.contender == contender.key()
                && row.direction == direction_key(direction)
                && row.flows == flows.get()
                && row.size == size_key(size)
        })
    }

    /// The rows of a contender with these offloads.
    pub fn tcp(&self, contender: Contender, offloads: bool) -> Vec<&TcpRow> {
        let wanted = |row: &&TcpRow| row.contender == contender.key() && row.offloads == offloads;
        self.tcp.iter().filter(wanted).collect()
    }

    /// The greatest number of flows that was measured.
    pub fn most_flows(&self) -> Option<NonZero<u32>> {
        self.packets.iter().filter_map(|row| NonZero::new(row.flows)).max()
    }
}
