//! The parts of the benchmark, a file each. A part builds its own networks, measures all contenders
//! in turn, round after round, and writes what it finds into the record.

mod commands;
mod cores;
mod exhausted;
mod latency;
mod memory;
mod new;
mod program;
pub mod rate;
mod scale;
mod sweep;
mod tcp;
pub mod topology;

use clap::ValueEnum;
use masq_tests::{
    console::Progress,
    daemon::Mode,
    measure::{
        contender::Contender,
        line::Layout,
        rate::{Bench, Sample},
    },
};
use serde::{Deserialize, Serialize};

pub use self::{
    commands::is_prompt,
    cores::SITUATIONS as CORES,
    exhausted::{FULL, NO_PORTS},
    latency::HALF_OF_NFTABLES,
    memory::{PAIR, WITH_MAPPING},
    new::{FRESH, STORM},
    scale::situation as scale_situation,
    sweep::SWEPT,
};
use crate::{effort::Effort, metric::Metric, record::Record};

/// A part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Packets a second over established flows.
    Rate,
    /// The same with large tables.
    Scale,
    /// The same with one CPU and with two.
    Cores,
    /// New sessions, and what many of them cost the others.
    New,
    /// Out of ports, and with a full table.
    Exhausted,
    /// Each program of masq alone.
    Program,
    /// Round trips under load.
    Latency,
    /// TCP throughput.
    Tcp,
    /// Memory, and the time of a start.
    Memory,
    /// The sweeper at work.
    Sweep,
    /// Commands with large tables.
    Commands,
    /// Established flows on bridges, VLANs and PPPoE sessions; only with --topology.
    Topology,
}

impl Section {
    /// All of them, in their order.
    pub const ALL: [Self; 12] = [
        Self::Rate,
        Self::Scale,
        Self::Cores,
        Self::New,
        Self::Exhausted,
        Self::Program,
        Self::Latency,
        Self::Tcp,
        Self::Memory,
        Self::Sweep,
        Self::Commands,
        Self::Topology,
    ];

    /// For headings.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Rate => "Established flows",
            Self::Scale => "Large tables",
            Self::Cores => "Two CPUs",
            Self::New => "New sessions",
            Self::Exhausted => "Out of ports, and with a full table",
            Self::Program => "masq's programs alone",
            Self::Latency => "Round trips under load",
            Self::Tcp => "TCP throughput",
            Self::Memory => "Memory, and the time of a start",
            Self::Sweep => "Expiry of many sessions at once",
            Self::Commands => "Commands with many sessions",
            Self::Topology => "Bridges, VLANs and PPPoE sessions",
        }
    }

    /// Measures it.
    ///
    /// # Errors
    /// If something is not as it should be. What was measured before that is in the record.
    pub fn measure(self, run: &mut Run<'_>) -> Result<(), String> {
        match self {
            Self::Rate => rate::measure(run),
            Self::Scale => scale::measure(run),
            Self::Cores => cores::measure(run),
            Self::New => new::measure(run),
            Self::Exhausted => exhausted::measure(run),
            Self::Program => program::measure(run),
            Self::Latency => latency::measure(run),
            Self::Tcp => tcp::measure(run),
            Self::Memory => memory::measure(run),
            Self::Sweep => sweep::measure(run),
            Self::Commands => commands::measure(run),
            Self::Topology => topology::measure(run),
        }
    }
}

/// What a section gets.
#[derive(Debug)]
pub struct Run<'a> {
    /// How much to measure.
    pub effort: &'a Effort,
    /// What people see meanwhile.
    pub progress: &'a Progress,
    /// Where to write.
    pub record: &'a mut Record,
    /// Which section this is.
    pub section: Section,
}

impl Run<'_> {
    /// Says what is being done.
    pub fn say(&self, text: &str) {
        self.progress.say(&format!("{}: {text}", self.section.title()));
    }

    /// Those of these contenders that are wanted.
    pub fn wanted(&self, contenders: &[Contender]) -> Vec<Contender> {
        let asked = &self.effort.contenders;
        let left_out = |contender: &Contender| {
            let tells_little = !self.effort.everything
                && !matches!(self.section, Section::Rate | Section::Topology);
            tells_little && *contender == Contender::Masq(Mode::Tc) && asked.len() > 1
        };
        let wanted = |contender: &Contender| asked.contains(contender) && !left_out(contender);
        contenders.iter().copied().filter(wanted).collect()
    }

    /// Builds a line for each of these contenders.
    pub fn benches(
        &self,
        contenders: &[Contender],
        layout: Layout,
        options: &[String],
    ) -> Vec<Bench> {
        let build = |&contender: &Contender| {
            self.say(&format!("setting up {}", contender.title()));
            Bench::new(contender, layout, options)
        };
        self.wanted(contenders).iter().map(build).collect()
    }

    /// One more value.
    pub fn push(&mut self, contender: &str, situation: &str, metric: Metric, value: f64) {
        self.record.push(self.section, contender, situation, metric, value);
    }

    /// A measurement of established packets.
    pub fn push_sample(&mut self, contender: Contender, situation: &str, sample: &Sample) {
        self.push_sample_of(contender.key(), situation, sample);
    }

    /// The same, with a key that says more than the contender.
    pub fn push_sample_of(&mut self, key: &str, situation: &str, sample: &Sample) {
        self.push(key, situation, Metric::PacketRate, sample.rate);
        self.push(key, situation, Metric::WallRate, sample.wall_rate);
        self.push(key, situation, Metric::CpuShare, sample.share);
        self.push(key, situation, Metric::Loss, sample.loss);
    }
}

/// The options of masq for a table of so many sessions.
pub fn table_for(sessions: u32) -> Vec<String> {
    ["--max-sessions".to_owned(), sessions.to_string()].into()
}
