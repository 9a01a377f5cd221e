//! The tables that people read: on the terminal, and as Markdown for `docs/benchmarks.md`.

use std::fmt::Write as _;

use anstream::println;
use masq_tests::{
    console::{BOLD, DIM, RED, RESET},
    measure::contender::Contender,
};

use crate::{
    goals::{self, Goal},
    metric::Metric,
    record::{Record, Row, title},
    sections::Section,
};

/// Packets that may get lost before it is worth a remark, as a share.
const WORTH_A_REMARK: f64 = 0.000_01;

/// A table: contenders below each other, situations side by side.
struct Table {
    title: &'static str,
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
    compared: bool,
}

impl Table {
    /// What a section has found out about a quantity; `None` if nothing.
    fn of(record: &Record, section: Section, metric: Metric) -> Option<Self> {
        let mut columns: Vec<&str> = Vec::new();
        let mut contenders: Vec<&str> = Vec::new();
        for row in record.rows_of(section, metric) {
            if !columns.contains(&row.situation.as_str()) {
                columns.push(&row.situation);
            }
            if !contenders.contains(&row.contender.as_str()) {
                contenders.push(&row.contender);
            }
        }
        if contenders.is_empty() {
            return None;
        }
        let mut compared = false;
        let mut cell = |contender: &str, situation: &&str| {
            let Some(row) = record.row(section, contender, situation, metric) else {
                return String::new();
            };
            let value = if metric.is_extreme() { row.values.greatest() } else { row.median() };
            match relative(record, row) {
                Some(ratio) if record.reference(row).is_some_and(|other| !same(row, other)) => {
                    compared = true;
                    format!("{} ({ratio:.2})", metric.show(value))
                }
                _ => metric.show(value),
            }
        };
        let rows = contenders
            .iter()
            .map(|one| (title(one), columns.iter().map(|column| cell(one, column)).collect()))
            .collect();
        let columns = columns.into_iter().map(str::to_owned).collect();
        Some(Self { title: metric.title(), columns, rows, compared })
    }

    fn print(&self) {
        println!("\n{}{}", self.title, self.remark());
        let first = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let width = |n: usize| {
            let cells = self.rows.iter().map(|(_, cells)| cells[n].chars().count());
            cells.max().unwrap_or(0).max(self.columns[n].chars().count())
        };
        let line = |name: &str, cells: &[String]| {
            let mut line = format!("  {name:first$}");
            for (n, cell) in cells.iter().enumerate() {
                let _ = write!(line, "  {cell:>0$}", width(n));
            }
            line
        };
        println!("{DIM}{}{RESET}", line("", &self.columns));
        self.rows.iter().for_each(|(name, cells)| println!("{}", line(name, cells)));
    }

    fn markdown(&self) -> String {
        let mut text = format!("{}{}:\n\n", self.title, self.remark());
        let _ = writeln!(text, "| | {} |", self.columns.join(" | "));
        let _ = writeln!(text, "|---|{}", "---:|".repeat(self.columns.len()));
        for (name, cells) in &self.rows {
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
        text
    }

    fn remark(&self) -> &'static str {
        if self.compared { " (in brackets: nftables is 1)" } else { "" }
    }
}

fn same(row: &Row, other: &Row) -> bool {
    std::ptr::eq(row, other)
}

/// The value of a row divided by that of nftables in the same situation; `None` if ratios of this
/// say nothing.
pub fn relative(record: &Record, row: &Row) -> Option<f64> {
    row.metric.better()?;
    Some(row.median() / record.reference(row)?.median())
}

/// The tables of a section.
fn tables(record: &Record, section: Section) -> Vec<Table> {
    let interesting = Metric::ALL.into_iter().filter(|metric| !metric.is_circumstance());
    let tables = interesting.filter_map(|metric| Table::of(record, section, metric));
    tables.chain(router_times(record, section)).collect()
}

/// What is left of a packet's time without generator and sink; `None` if these were not measured.
fn router_times(record: &Record, section: Section) -> Option<Table> {
    let alone: Vec<&Row> = record
        .rows_of(section, Metric::PacketRate)
        .filter(|row| row.contender == Contender::Alone.key())
        // With several CPUs a rate is not the inverse of a time.
        .filter(|_| section == Section::Rate)
        .collect();
    alone.first()?;
    let routers = Contender::ALL.into_iter().filter(|one| *one != Contender::Alone);
    let cell = |contender: Contender, alone: &&Row| {
        let row = record.row(section, contender.key(), &alone.situation, Metric::PacketRate);
        row.map_or(String::new(), |row| {
            let (all, measuring) = (1e9 / row.median(), 1e9 / alone.median());
            format!("{:.0} ({:.0} %)", all - measuring, 100.0 * measuring / all)
        })
    };
    let rows = routers
        .map(|one| (one.title().to_owned(), alone.iter().map(|alone| cell(one, alone)).collect()))
        .collect();
    Some(Table {
        title: "Nanoseconds of the router alone, and the share of generator and sink",
        columns: alone.iter().map(|row| row.situation.clone()).collect(),
        rows,
        compared: false,
    })
}

/// Prints what was measured.
pub fn print(record: &Record) {
    println!("{} × {}, Linux {}", record.cpus, record.processor, record.kernel);
    for section in Section::ALL {
        let tables = tables(record, section);
        if tables.is_empty() {
            continue;
        }
        println!("\n{BOLD}{}{RESET}", section.title());
        tables.iter().for_each(Table::print);
        remarks(record, section).iter().for_each(|remark| println!("{DIM}{remark}{RESET}"));
    }
    let (measured, others): (Vec<Goal>, Vec<Goal>) =
        goals::all(record).into_iter().partition(|goal| goal.value.is_some());
    if !measured.is_empty() {
        println!("\n{BOLD}Goals{RESET}");
    }
    for goal in &measured {
        let colour = if goal.is_met() == Some(false) { RED } else { "" };
        let (limit, reached) = (goal.limit(), goal.reached());
        println!("  {colour}{:62}{limit:>9}{reached:>9}  {}{RESET}", goal.title, goal.verdict());
    }
    if !measured.is_empty() && !others.is_empty() {
        println!("{DIM}  {} more were not measured{RESET}", others.len());
    }
    for failure in &record.failures {
        println!("{RED}{}: {}{RESET}", failure.section.title(), failure.reason);
    }
}

/// What was measured, and the goals, as Markdown.
pub fn markdown(record: &Record) -> String {
    let mut text = format!("{} × {}, Linux {}.\n", record.cpus, record.processor, record.kernel);
    text += "\n| goal | at | reached | |\n|---|---:|---:|---|\n";
    for goal in goals::all(record) {
        let Goal { title, .. } = &goal;
        let (limit, reached, verdict) = (goal.limit(), goal.reached(), goal.verdict());
        let _ = writeln!(text, "| {title} | {limit} | {reached} | {verdict} |");
    }
    for section in Section::ALL {
        let tables = tables(record, section);
        if tables.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n### {}", section.title());
        tables.iter().for_each(|table| text += &format!("\n{}", table.markdown()));
        let remarks = remarks(record, section);
        if !remarks.is_empty() {
            let _ = writeln!(text, "\n{}", remarks.join("\n"));
        }
    }
    for failure in &record.failures {
        let _ = writeln!(
            text,
            "\n**{}** was not measured: {}",
            failure.section.title(),
            failure.reason
        );
    }
    text
}

/// What was left out of a section.
fn skipped(record: &Record, section: Section) -> impl Iterator<Item = String> {
    let skipped = record.skipped.iter().filter(move |left_out| left_out.section == section);
    skipped.map(|left_out| format!("Skipped: {}.", left_out.reason))
}

/// What a reader has to know before trusting the tables of a section.
fn remarks(record: &Record, section: Section) -> Vec<String> {
    let mut remarks: Vec<String> = skipped(record, section).collect();
    let shares = record.rows_of(section, Metric::CpuShare).map(Row::median);
    let lowest = shares.fold(1.0, f64::min);
    if lowest < 0.9 {
        remarks.push(format!(
            "Other programs or guests were busy: the CPU had as little as {:.0} % of the time for \
             this.",
            lowest * 100.0
        ));
    }
    let losses = record
        .rows_of(section, Metric::Loss)
        .chain(record.rows_of(section, Metric::NewLoss))
        .filter(|row| row.values.greatest() > WORTH_A_REMARK);
    for row in losses {
        remarks.push(format!(
            "{}: {}, {}: up to {} in a round.",
            row.metric.title(),
            title(&row.contender),
            row.situation,
            row.metric.show(row.values.greatest())
        ));
    }
    let compared = record.rows.iter().filter(|row| row.section == section);
    let spreads = compared.filter(|row| row.metric.better().is_some());
    let widest = spreads.map(|row| row.values.spread()).fold(0.0, f64::max);
    if widest > 0.0 {
        remarks.push(format!("Rounds differ by {:.0} % at most.", widest * 100.0));
    }
    remarks
}
