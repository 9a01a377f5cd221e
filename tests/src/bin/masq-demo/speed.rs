//! How fast it is, next to plain forwarding and to the kernel's masquerade. One short round: the
//! benchmark (`cargo xtask bench`) measures the same carefully.

use std::time::Duration;

use anstream::println;
use masq_tests::{
    console::{BOLD, DIM, RESET},
    daemon::Mode,
    measure::{
        contender::Contender,
        line::Layout,
        rate,
        stream::{Direction, Flows, Profile, Stream},
        throughput,
    },
    supervised,
};

use crate::script::Script;

/// Established flows.
const FLOWS: u32 = 50_000;
const PACKET_TIME: Duration = Duration::from_millis(500);
const PACKET_CONTENDERS: [Contender; 4] =
    [Contender::Plain, Contender::Nftables, Contender::Masq(Mode::Tc), Contender::Masq(Mode::Xdp)];
const TCP_TIME: Duration = Duration::from_millis(800);
const STREAMS: usize = 8;
/// Characters of the longest bar.
const BAR: f64 = 32.0;

/// Something measured, as a bar.
struct Bar {
    title: String,
    value: f64,
    /// The value of the kernel's masquerade under the same conditions.
    reference: Option<f64>,
}

/// Measures and shows.
pub fn show(script: &mut Script) {
    supervised::go_first();
    script.chapter("Speed", "next to plain forwarding and the kernel's masquerade (nftables)");
    let packets = script.make("packets a second, small ones, on one CPU", |progress| {
        let mut bars: Vec<Bar> = Vec::new();
        for contender in PACKET_CONTENDERS {
            progress.say(&format!("measuring packets: {}", contender.title()));
            bars.push(Bar {
                title: contender.title().to_owned(),
                value: packet_rate(contender)? / 1e6,
                reference: None,
            });
        }
        let reference = Some(bars[1].value);
        bars.iter_mut().for_each(|bar| bar.reference = reference);
        Ok((bars, format!("million a second, over {FLOWS} established UDP flows")))
    });
    packets.iter().for_each(|bars| print_bars(bars));
    let tcp = script.make("TCP throughput", |progress| {
        let mut bars: Vec<Bar> = Vec::new();
        let mut reference = None;
        for (contender, offloads) in throughput::CONTENDERS {
            let remark = if offloads { "" } else { " *" };
            let title = format!("{}{remark}", contender.title());
            progress.say(&format!("measuring TCP: {title}"));
            let bench = throughput::Bench::new(contender, offloads);
            let value = bench.measure(Direction::Inbound, STREAMS, TCP_TIME)? / 1e9;
            if contender == Contender::Nftables {
                reference = Some(value);
            }
            let reference = if contender == Contender::Plain { None } else { reference };
            bars.push(Bar { title, value, reference });
        }
        Ok((bars, format!("Gbit/s, {STREAMS} downloads at once, hosts on the same CPUs")))
    });
    tcp.iter().for_each(|bars| print_bars(bars));
    println!(
        "{DIM}      * XDP between virtual interfaces works only if the hosts compute checksums and \
         segments\n        themselves, and it copies every packet: the bare forwarding shows the limit. \
         Real network\n        cards have neither; on virtual interfaces masq chooses tc by \
         itself.{RESET}"
    );
}

fn packet_rate(contender: Contender) -> Result<f64, String> {
    let flows = Flows::new(Profile::OneHost, FLOWS);
    let mut bench = rate::Bench::new(contender, Layout::default(), &[]);
    bench.open(flows)?;
    let sample = bench.measure(Stream::outbound(flows), PACKET_TIME)?;
    Ok(sample.rate)
}

fn print_bars(bars: &[Bar]) {
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    for Bar { title, value, reference } in bars {
        let bar = "█".repeat((value / longest * BAR).round().max(1.0) as usize);
        let times = match reference {
            Some(reference) if title.starts_with("masq") => {
                format!("  {BOLD}{:.1} × nftables{RESET}", value / reference)
            }
            _ => String::new(),
        };
        println!("      {title:30} {value:>6.2} {DIM}{bar}{RESET}{times}");
    }
}
