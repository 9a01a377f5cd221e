//! Everything that was measured in a run, and the file it is kept in.

use std::{fs, num::NonZero, path::Path, thread, time::SystemTime};

use masq_tests::measure::{contender::Contender, series::Series};
use serde::{Deserialize, Serialize};

use crate::{metric::Metric, sections::Section};

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// Seconds since 1970, UTC, at the start.
    pub time: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub processor: String,
    /// Number of CPUs.
    pub cpus: usize,
    /// What was measured, in the order of the first measurement.
    pub rows: Vec<Row>,
    /// Sections that could not be measured to their end, and why.
    pub failures: Vec<Failure>,
    /// What this kernel cannot do, and nobody has asked for by name.
    #[serde(default)]
    pub skipped: Vec<Failure>,
}

/// One quantity of one contender in one situation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Part of the benchmark.
    pub section: Section,
    /// [`Contender::key`], or what else is measured.
    pub contender: String,
    /// In words; the same for all contenders.
    pub situation: String,
    /// What was measured.
    pub metric: Metric,
    /// A value for each round.
    pub values: Series,
}

/// A section that went wrong, or part of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Which one.
    pub section: Section,
    /// Why.
    pub reason: String,
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
            rows: Vec::new(),
            failures: Vec::new(),
            skipped: Vec::new(),
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

    /// One more measurement.
    pub fn push(
        &mut self,
        section: Section,
        contender: &str,
        situation: &str,
        metric: Metric,
        value: f64,
    ) {
        let is_it = |row: &Row| row.is(section, contender, situation, metric);
        let index = self.rows.iter().position(is_it).unwrap_or_else(|| {
            self.rows.push(Row {
                section,
                contender: contender.to_owned(),
                situation: situation.to_owned(),
                metric,
                values: Series::default(),
            });
            self.rows.len() - 1
        });
        self.rows[index].values.push(value);
    }

    /// A row; `None` if that was not measured.
    pub fn row(
        &self,
        section: Section,
        contender: &str,
        situation: &str,
        metric: Metric,
    ) -> Option<&Row> {
        self.rows.iter().find(|row| row.is(section, contender, situation, metric))
    }

    /// The rows of a section about a quantity.
    pub fn rows_of(&self, section: Section, metric: Metric) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.section == section && row.metric == metric)
    }

    /// The row that says the same of nftables, under the same circumstances.
    pub fn reference(&self, row: &Row) -> Option<&Row> {
        let circumstances = row.contender.split_once('/').map(|(_, words)| words);
        let contender = match circumstances {
            Some(words) => format!("{}/{words}", Contender::Nftables.key()),
            None => Contender::Nftables.key().to_owned(),
        };
        self.row(row.section, &contender, &row.situation, row.metric)
    }
}

impl Row {
    fn is(&self, section: Section, contender: &str, situation: &str, metric: Metric) -> bool {
        self.section == section
            && self.metric == metric
            && self.contender == contender
            && self.situation == situation
    }

    /// The middle of what was measured.
    pub fn median(&self) -> f64 {
        self.values.median()
    }
}

/// The words for a contender's key; what follows a slash are circumstances.
pub fn title(contender: &str) -> String {
    let (key, circumstances) = contender.split_once('/').unwrap_or((contender, ""));
    let known = Contender::ALL.into_iter().chain([Contender::Auto]).find(|one| one.key() == key);
    let title = known.map_or(key, |one| one.title());
    if circumstances.is_empty() { title.to_owned() } else { format!("{title}, {circumstances}") }
}
