//! The tables that people read, and the comparison with an earlier run.

use anstream::{print, println};
use masq_tests::{
    console::{BOLD, DIM, RED, RESET},
    measure::{
        contender::Contender,
        frames::{Direction, Size},
        throughput::CONTENDERS,
    },
};

use crate::{
    packets::situations,
    record::{PacketRow, Record, Situation, TcpRow},
    tcp,
};

/// By how much masq may be slower, relative to nftables in the same run, than it was.
/// More than two runs of the same programs differ by on a busy machine.
const TOLERANCE: f64 = 0.20;

/// Prints what was measured.
pub fn print(record: &Record) {
    println!("{} × {}, Linux {}", record.cpus, record.processor, record.kernel);
    if !record.packets.is_empty() {
        print_packets(record);
    }
    if !record.tcp.is_empty() {
        print_tcp(record);
    }
}

fn heading(situation: Situation) -> String {
    let (direction, flows, size) = situation;
    match (direction, size) {
        (Direction::Inbound, _) => "answers".to_owned(),
        (_, Size::Imix) => "IMIX".to_owned(),
        _ if flows.get() == 1 => "1 flow".to_owned(),
        _ => format!("{flows} flows"),
    }
}

fn print_packets(record: &Record) {
    let Some(flows) = record.most_flows() else { return };
    let situations = situations(flows, true);
    println!(
        "\n{BOLD}Million packets a second on one CPU{RESET}, which generates, routes and counts: \
         UDP, 64-byte frames\n{DIM}(answers: {flows} flows, from outside to inside; IMIX: \
         {flows} flows, 7 × 64, 4 × 594, 1 × 1518 bytes){RESET}"
    );
    print!("{:30}", "");
    situations.iter().for_each(|&s| print!("{:>14}", heading(s)));
    println!("{:>12}{:>12}{:>14}", "× nftables", "× forward", "router, ns");
    let measured = |contender: &Contender| record.packets(*contender, situations[1]).is_some();
    for contender in Contender::ALL.into_iter().filter(measured) {
        print!("{:30}", contender.title());
        for &situation in &situations {
            let row = record.packets(contender, situation);
            print!("{:>14}", row.map_or("–".to_owned(), |row| mega(row.rate.median())));
        }
        let many = situations[1];
        let rate = |contender| record.packets(contender, many).map(|row| row.rate.median());
        let against = |other| times(rate(contender), rate(other));
        println!(
            "{:>12}{:>12}{:>14}",
            if contender == Contender::Alone {
                String::new()
            } else {
                against(Contender::Nftables)
            },
            if contender == Contender::Alone { String::new() } else { against(Contender::Plain) },
            router_time(rate(contender), rate(Contender::Alone)),
        );
    }
    println!("{DIM}The last three columns: {}.{RESET}", heading(situations[1]));
    remarks(record);
}

/// Says what a reader has to know before trusting the table.
fn remarks(record: &Record) {
    let lowest = record.packets.iter().map(|row| row.share.median()).fold(1.0, f64::min);
    if lowest < 0.9 {
        println!(
            "{DIM}Other programs or guests were busy: the CPU had as little as {:.0} % of the time \
             for this. Rates are for each second of CPU time.{RESET}",
            lowest * 100.0
        );
    }
    for row in record.packets.iter().filter(|row| row.loss.greatest() > 0.0001) {
        println!(
            "{RED}{} ({}, {} flows) lost {:.2} % of the packets in one round{RESET}",
            row.contender,
            row.direction,
            row.flows,
            row.loss.greatest() * 100.0
        );
    }
    let widest = record.packets.iter().map(|row| row.rate.spread()).fold(0.0, f64::max);
    println!("{DIM}Rounds differ by {:.0} % at most.{RESET}", widest * 100.0);
}

fn mega(rate: f64) -> String {
    format!("{:.3}", rate / 1e6)
}

fn times(this: Option<f64>, other: Option<f64>) -> String {
    match (this, other) {
        (Some(this), Some(other)) => format!("{:.2}", this / other),
        _ => "–".to_owned(),
    }
}

/// What is left of a packet's time without generator and sink.
fn router_time(rate: Option<f64>, alone: Option<f64>) -> String {
    match (rate, alone) {
        (Some(rate), Some(alone)) if rate < alone => format!("{:.0}", 1e9 / rate - 1e9 / alone),
        _ => String::new(),
    }
}

fn print_tcp(record: &Record) {
    println!("\n{BOLD}TCP, Gbit/s{RESET}, over veth; hosts and router share {} CPUs", record.cpus);
    print!("{:52}", "");
    for (direction, streams) in tcp::SITUATIONS {
        let way = if direction == Direction::Outbound { "up" } else { "down" };
        print!("{:>10}", format!("{streams} {way}"));
    }
    println!("{:>12}{:>12}", "× nftables", "× forward");
    for (contender, offloads) in CONTENDERS {
        let rows = record.tcp(contender, offloads);
        if rows.is_empty() {
            continue;
        }
        let remark = if offloads { "" } else { ", hosts without offloads" };
        print!("{:52}", format!("{}{remark}", contender.title()));
        rows.iter().for_each(|row| print!("{:>10.1}", row.rate.median() / 1e9));
        let against = |other| match record.tcp(other, offloads).as_slice() {
            [] => "–".to_owned(),
            others => format!("{:.2}", ratio(&rows, others)),
        };
        println!("{:>12}{:>12}", against(Contender::Nftables), against(Contender::Plain));
    }
    println!(
        "{DIM}up: sent by the LAN host; 1, 8: connections at once. The ratios are geometric means \
         of the four columns, against the row with the same offloads.{RESET}"
    );
}

/// Geometric mean of the ratios of rows in the same situations.
fn ratio(these: &[&TcpRow], those: &[&TcpRow]) -> f64 {
    let logarithms = these.iter().zip(those).map(|(a, b)| (a.rate.median() / b.rate.median()).ln());
    (logarithms.sum::<f64>() / these.len() as f64).exp()
}

/// Compares masq, relative to nftables in the same run, with an earlier run; `false` if it has
/// become slower.
pub fn compare(record: &Record, earlier: &Record) -> bool {
    println!("\n{BOLD}Relative to nftables, now and in the run compared with{RESET}");
    let mut good = true;
    for row in record.packets.iter().filter(|row| row.contender.starts_with("masq")) {
        let before = earlier.packets.iter().find(|other| same(row, other));
        let (Some(now), Some(before)) =
            (relative(record, row), before.and_then(|before| relative(earlier, before)))
        else {
            continue;
        };
        let slower = now < before * (1.0 - TOLERANCE);
        good &= !slower;
        let mark = if slower { format!("{RED}slower{RESET}") } else { String::new() };
        println!(
            "{:10}{:>10}{:>8} flows{:>6}{now:>8.2}{before:>8.2}  {mark}",
            row.contender, row.direction, row.flows, row.size
        );
    }
    good
}

fn same(a: &PacketRow, b: &PacketRow) -> bool {
    (&a.contender, &a.direction, a.flows, &a.size) == (&b.contender, &b.direction, b.flows, &b.size)
}

/// The rate of a row divided by that of nftables in the same situation.
fn relative(record: &Record, row: &PacketRow) -> Option<f64> {
    let reference = record.packets.iter().find(|other| {
        other.contender == Contender::Nftables.key()
            && (&other.direction, other.flows, &other.size)
                == (&row.direction, row.flows, &row.size)
    })?;
    Some(row.rate.median() / reference.rate.median())
}
