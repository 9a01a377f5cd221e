//! What is measured, and in which unit people read it.

use serde::{Deserialize, Serialize};

/// A quantity. Stored in packets, bits, bytes, seconds (nanoseconds for programs), and shares of 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Established packets that arrived, for each second of CPU time.
    PacketRate,
    /// The same for each second of wall time.
    WallRate,
    /// Share of the wall time that the CPU had for this.
    CpuShare,
    /// Share of the established packets that were lost.
    Loss,
    /// Share of the first packets that were lost.
    NewLoss,
    /// First packets that arrived, for each second of CPU time.
    NewRate,
    /// Packets of all kinds that the router took, delivered or not, for each second of CPU time.
    OfferedRate,
    /// Bits a second over TCP.
    BitRate,
    /// Nanoseconds of a program for each packet.
    ProgramTime,
    /// Round trip, half of them.
    Median,
    /// Round trip, 99 of 100.
    P99,
    /// Kernel memory for each session.
    SessionMemory,
    /// Memory that maps are charged for, for each session.
    MapMemory,
    /// Kernel memory charged for maps and programs.
    Charged,
    /// Memory of the daemon.
    Resident,
    /// From the start of the daemon to `ready`.
    StartTime,
    /// CPU time of the daemon.
    DaemonTime,
    /// Longest time between two packets at the sink.
    Gap,
    /// From the start of a command to its end.
    CommandTime,
    /// Longest time for an answer of the daemon while it is busy with another one.
    Wait,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::PacketRate,
        Self::WallRate,
        Self::CpuShare,
        Self::Loss,
        Self::NewRate,
        Self::NewLoss,
        Self::OfferedRate,
        Self::BitRate,
        Self::ProgramTime,
        Self::Median,
        Self::P99,
        Self::SessionMemory,
        Self::MapMemory,
        Self::Charged,
        Self::Resident,
        Self::StartTime,
        Self::DaemonTime,
        Self::Gap,
        Self::CommandTime,
        Self::Wait,
    ];

    /// For headings, with the unit of [`Metric::show`].
    pub const fn title(self) -> &'static str {
        match self {
            Self::PacketRate => "Million packets a second of CPU time",
            Self::WallRate => "Million packets a second of wall time",
            Self::CpuShare => "Share of the CPU",
            Self::Loss => "Established packets lost, %",
            Self::NewLoss => "First packets lost, %",
            Self::NewRate => "Thousand new sessions a second of CPU time",
            Self::OfferedRate => "Thousand packets taken a second of CPU time",
            Self::BitRate => "Gbit/s",
            Self::ProgramTime => "Nanoseconds a packet",
            Self::Median => "Round trip, median, µs",
            Self::P99 => "Round trip, 99 of 100, µs",
            Self::SessionMemory => "Bytes of kernel memory a session",
            Self::MapMemory => "Bytes that maps are charged for a session",
            Self::Charged => "Kernel memory of maps and programs, MiB",
            Self::Resident => "Memory of the daemon, MiB",
            Self::StartTime => "Start to ready, ms",
            Self::DaemonTime => "CPU time of the daemon, s",
            Self::Gap => "Longest time without a packet, ms",
            Self::CommandTime => "Time of a command, s",
            Self::Wait => "Longest time for another answer meanwhile, ms",
        }
    }

    /// The factor from the stored unit to the one that is shown, and how many decimals.
    const fn scale(self) -> (f64, usize) {
        match self {
            Self::PacketRate | Self::WallRate => (1e-6, 3),
            Self::CpuShare => (1.0, 2),
            Self::Loss | Self::NewLoss => (100.0, 3),
            Self::NewRate | Self::OfferedRate => (1e-3, 1),
            Self::BitRate => (1e-9, 1),
            Self::ProgramTime | Self::SessionMemory | Self::MapMemory => (1.0, 0),
            Self::Median | Self::P99 => (1e6, 1),
            Self::Charged | Self::Resident => (1.0 / 1048576.0, 1),
            Self::StartTime => (1e3, 0),
            Self::DaemonTime | Self::CommandTime => (1.0, 2),
            Self::Gap | Self::Wait => (1e3, 2),
        }
    }

    /// A value in the unit of the title.
    pub fn shown(self, value: f64) -> f64 {
        value * self.scale().0
    }

    /// A value as text.
    pub fn show(self, value: f64) -> String {
        format!("{:.*}", self.scale().1, self.shown(value))
    }

    /// Whether the worst counts, not what is usual.
    pub const fn is_extreme(self) -> bool {
        matches!(self, Self::Gap | Self::Wait)
    }

    /// Whether what contenders reach is compared, as a ratio: and more is better, or less.
    pub const fn better(self) -> Option<Better> {
        match self {
            Self::PacketRate | Self::NewRate | Self::OfferedRate | Self::BitRate => {
                Some(Better::More)
            }
            Self::Median | Self::P99 | Self::SessionMemory => Some(Better::Less),
            _ => None,
        }
    }

    /// Whether it is about the measurement itself, and of no interest while all is well.
    pub const fn is_circumstance(self) -> bool {
        matches!(self, Self::WallRate | Self::CpuShare | Self::Loss | Self::NewLoss)
    }
}

/// Which way is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    /// A high value is good.
    More,
    /// A low value is good.
    Less,
}
