//! What masq is to reach, as ratios within one run, and whether it does.

mod topologies;

use masq_tests::{
    daemon::Mode,
    measure::{contender::Contender, stream::Profile},
};

use crate::{
    metric::Metric,
    record::Record,
    sections::{self, Section},
};

const NFTABLES: Contender = Contender::Nftables;
const BARE: Contender = Contender::BareXdp;
const TC: Contender = Contender::Masq(Mode::Tc);
const XDP: Contender = Contender::Masq(Mode::Xdp);

/// Sessions of the profile with 16,384 hosts: a million.
const MILLION: u32 = 16_384 * Profile::HOST_PORTS as u32;

/// Something to reach.
#[derive(Clone, Debug)]
pub struct Goal {
    /// In words.
    pub title: String,
    /// What was measured; `None` if it was not.
    pub value: Option<f64>,
    bound: Bound,
}

/// Where a value has to be.
#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    /// Whether it is reached; `None` if that was not measured.
    pub fn is_met(&self) -> Option<bool> {
        self.value.map(|value| match self.bound {
            Bound::AtLeast(limit) => value >= limit,
            Bound::AtMost(limit) => value <= limit,
        })
    }

    /// The bound as text.
    pub fn limit(&self) -> String {
        match self.bound {
            Bound::AtLeast(limit) => format!("≥ {limit}"),
            Bound::AtMost(limit) => format!("≤ {limit}"),
        }
    }

    /// The value as text.
    pub fn reached(&self) -> String {
        self.value.map_or("–".to_owned(), |value| {
            if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
        })
    }

    /// In a word.
    pub const fn verdict(&self) -> &'static str {
        match (self.value, self.bound) {
            (None, _) => "not measured",
            (Some(value), Bound::AtLeast(limit)) if value >= limit => "met",
            (Some(value), Bound::AtMost(limit)) if value <= limit => "met",
            _ => "NOT MET",
        }
    }
}

/// Where a value stands in the record.
#[derive(Clone, Copy)]
struct Place<'a> {
    section: Section,
    situation: &'a str,
    metric: Metric,
}

/// All goals, measured or not.
pub fn all(record: &Record) -> Vec<Goal> {
    let mut goals = rates(record);
    goals.extend(sessions(record));
    goals.extend(costs(record));
    goals.extend(topologies::all(record));
    goals
}

fn goal(title: impl Into<String>, bound: Bound, value: Option<f64>) -> Goal {
    Goal { title: title.into(), value, bound }
}

fn rates(record: &Record) -> Vec<Goal> {
    let rate = |section, situation| Place { section, situation, metric: Metric::PacketRate };
    // The situation with as many flows as the run had.
    let many = record.rows_of(Section::Rate, Metric::PacketRate).find_map(|row| {
        let flows: u32 = row.situation.strip_suffix(" flows")?.parse().ok()?;
        Some(sections::rate::many(flows))
    });
    let many = many.unwrap_or_else(|| sections::rate::many(50_000));
    let many = rate(Section::Rate, &many);
    let one = rate(Section::Rate, sections::rate::ONE);
    let million = sections::scale_situation(MILLION);
    let million = rate(Section::Scale, &million);
    let against = |place, this, other| ratio(record, place, this, other);
    let tcp = |situations: [&str; 2]| {
        let ratios = situations.map(|situation| {
            let place = Place { section: Section::Tcp, situation, metric: Metric::BitRate };
            ratio(record, place, Contender::Auto, NFTABLES)
        });
        let [one, eight] = ratios;
        Some((one? * eight?).sqrt())
    };
    let [one_cpu, two_cpus] = sections::CORES;
    let cores = value(record, rate(Section::Cores, two_cpus), XDP)
        .zip(value(record, rate(Section::Cores, one_cpu), XDP))
        .map(|(two, one)| two / one);
    use Bound::AtLeast;
    vec![
        goal("XDP against nftables, many flows", AtLeast(4.0), against(many, XDP, NFTABLES)),
        goal(
            "XDP against nftables, a million sessions",
            AtLeast(4.0),
            against(million, XDP, NFTABLES),
        ),
        goal("XDP against bare XDP forwarding, one flow", AtLeast(1.0), against(one, XDP, BARE)),
        goal(
            "XDP against bare XDP forwarding, many flows",
            AtLeast(0.85),
            against(many, XDP, BARE),
        ),
        goal("TC against nftables, many flows", AtLeast(1.8), against(many, TC, NFTABLES)),
        goal(
            "TC against kernel forwarding, many flows",
            AtLeast(1.0),
            against(many, TC, Contender::Plain),
        ),
        goal("TCP against nftables, mode auto, up", AtLeast(1.0), tcp(["1 up", "8 up"])),
        goal("TCP against nftables, mode auto, down", AtLeast(1.0), tcp(["1 down", "8 down"])),
        goal("XDP on two CPUs against one", AtLeast(1.8), cores),
    ]
}

fn sessions(record: &Record) -> Vec<Goal> {
    let place = |section, situation, metric| Place { section, situation, metric };
    let fresh = place(Section::New, sections::FRESH, Metric::NewRate);
    let lost = place(Section::New, sections::FRESH, Metric::NewLoss);
    let storm = place(Section::New, sections::STORM, Metric::Loss);
    let no_ports = place(Section::Exhausted, sections::NO_PORTS, Metric::OfferedRate);
    let mut goals = Vec::new();
    for (name, this) in [("XDP", XDP), ("TC", TC)] {
        let against = |place| ratio(record, place, this, NFTABLES);
        let most = |place| greatest(record, place, this).map(|share| 100.0 * share);
        let exhausted = |situation| most(place(Section::Exhausted, situation, Metric::Loss));
        use Bound::{AtLeast, AtMost};
        goals.extend([
            goal(format!("{name}: new sessions against nftables"), AtLeast(2.5), against(fresh)),
            goal(format!("{name}: new sessions lost, %"), AtMost(0.0), most(lost)),
            goal(
                format!("{name}: established lost while many are opened, %"),
                AtMost(0.0),
                most(storm),
            ),
            goal(
                format!("{name}: packets taken out of ports against nftables"),
                AtLeast(20.0),
                against(no_ports),
            ),
            goal(
                format!("{name}: established lost out of ports, %"),
                AtMost(0.0),
                exhausted(sections::NO_PORTS),
            ),
            goal(
                format!("{name}: established lost with a full table, %"),
                AtMost(0.0),
                exhausted(sections::FULL),
            ),
        ]);
    }
    goals
}

fn costs(record: &Record) -> Vec<Goal> {
    let memory =
        |situation| Place { section: Section::Memory, situation, metric: Metric::SessionMemory };
    let (pair, whole) = (memory(sections::PAIR), memory(sections::WITH_MAPPING));
    let half = |situation| Place { section: Section::Latency, situation, metric: Metric::P99 };
    let latency = |this| ratio(record, half(sections::HALF_OF_NFTABLES), this, NFTABLES);
    let swept = |metric: Metric| {
        let rows = record.rows_of(Section::Sweep, metric);
        let rows = rows.filter(|row| row.situation.ends_with(sections::SWEPT));
        rows.map(|row| row.values.greatest()).max_by(f64::total_cmp)
    };
    let prompt = || {
        let rows = record.rows_of(Section::Commands, Metric::CommandTime);
        let rows = rows.filter(|row| sections::is_prompt(&row.contender));
        rows.map(|row| row.median()).max_by(f64::total_cmp)
    };
    let waited = record.rows_of(Section::Commands, Metric::Wait);
    let waited = waited.map(|row| row.values.greatest()).max_by(f64::total_cmp);
    use Bound::AtMost;
    vec![
        goal("memory of a session, both halves, bytes", AtMost(256.0), value(record, pair, XDP)),
        goal(
            "with its mapping, against conntrack",
            AtMost(1.0),
            ratio(record, whole, XDP, NFTABLES),
        ),
        goal("XDP: round trip of 99 % at half load, against nftables", AtMost(0.8), latency(XDP)),
        goal("TC: round trip of 99 % at half load, against nftables", AtMost(0.8), latency(TC)),
        goal(
            "established lost in a sweep, %",
            AtMost(0.0),
            swept(Metric::Loss).map(|loss| 100.0 * loss),
        ),
        goal("longest pause in a sweep, ms", AtMost(10.0), swept(Metric::Gap).map(|gap| 1e3 * gap)),
        goal("any command but a whole list, s", AtMost(1.0), prompt()),
        goal("another answer during a command, ms", AtMost(50.0), waited.map(|wait| 1e3 * wait)),
    ]
}

fn value(record: &Record, place: Place<'_>, contender: Contender) -> Option<f64> {
    let Place { section, situation, metric } = place;
    Some(record.row(section, contender.key(), situation, metric)?.median())
}

fn greatest(record: &Record, place: Place<'_>, contender: Contender) -> Option<f64> {
    let Place { section, situation, metric } = place;
    Some(record.row(section, contender.key(), situation, metric)?.values.greatest())
}

fn ratio(record: &Record, place: Place<'_>, this: Contender, other: Contender) -> Option<f64> {
    Some(value(record, place, this)? / value(record, place, other)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_without_measurement_is_neither_met_nor_missed() {
        let goals = all(&Record::new());
        assert!(goals.iter().all(|goal| goal.is_met().is_none()), "{goals:?}");
    }

    #[test]
    fn goals_find_what_the_sections_write() {
        let mut record = Record::new();
        let million = sections::scale_situation(MILLION);
        for (contender, rate) in [(NFTABLES, 4e5), (XDP, 1.2e6)] {
            let mut push = |section, situation: &str| {
                record.push(section, contender.key(), situation, Metric::PacketRate, rate);
            };
            push(Section::Scale, &million);
            push(Section::Rate, &sections::rate::many(20_000));
        }
        let goals = all(&record);
        let of = |words: &str| {
            let goal = goals.iter().find(|goal| goal.title.starts_with(words));
            goal.and_then(Goal::is_met)
        };
        assert_eq!(of("XDP against nftables, a million"), Some(false));
        assert_eq!(of("XDP against nftables, many"), Some(false));
        assert_eq!(of("TC against nftables"), None);
    }

    #[test]
    fn bounds_work_both_ways() {
        assert_eq!(goal("", Bound::AtMost(0.8), Some(0.8)).verdict(), "met");
        assert_eq!(goal("", Bound::AtMost(0.8), Some(0.9)).verdict(), "NOT MET");
        assert_eq!(goal("", Bound::AtLeast(4.0), Some(3.9)).is_met(), Some(false));
    }
}
