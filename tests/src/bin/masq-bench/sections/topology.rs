//! Established flows where the interfaces of the router stand on something else than their own ports:
//! the kernel's masquerade and masq on each topology, and both on plain Ethernet, in one run.
//!
//! Rows are contenders, with the topology after the slash of their keys. On a crafted line only the fast
//! path knows of the encapsulation (`measure::crafted`), so there is no row of the kernel for it.

use clap::ValueEnum;
use masq_tests::{
    daemon::Mode,
    measure::{
        contender::Contender,
        line::Layout,
        link::Link,
        rate::Bench,
        stream::{Direction, Flows, Profile, Stream},
        topology::Topology,
    },
};

use super::{Run, rate};
use crate::record::Failure;

/// What `--topology` can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Choice {
    /// Ethernet on both sides, which every other topology is compared with, and measured with
    Plain,
    /// The LAN is a bridge with two ports
    Bridge,
    /// The WAN is a VLAN; for kernels that have them
    Vlan,
    /// The WAN is a PPPoE session; for kernels that have it
    Pppoe,
    /// The WAN is a VLAN, or a PPPoE session on one, that only the fast path knows of: for every kernel
    Crafted,
    /// Each of these that this kernel can build
    All,
}

/// A line to be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The kernel knows what it is.
    Built(Topology),
    /// It is plain to the kernel.
    Crafted(Link),
}

/// Who is measured where the kernel knows what the WAN is.
const ROUTERS: [Contender; 3] =
    [Contender::Nftables, Contender::Masq(Mode::Tc), Contender::Masq(Mode::Xdp)];
/// And where it does not: what the measurement costs itself, and masq.
const FAST: [Contender; 2] = [Contender::Alone, Contender::Masq(Mode::Xdp)];

/// The topologies of which the kernel has its own row, besides the plain one.
pub const BUILT: [Topology; 3] = [Topology::Bridge, Topology::Vlan, Topology::Pppoe];
/// What is crafted.
pub const CRAFTED: [Link; 2] = [Link::Vlan, Link::PppoeOnVlan];

/// Key of a contender on a topology.
pub fn key(contender: Contender, topology: Topology) -> String {
    format!("{}/{}", contender.key(), Kind::Built(topology).title())
}

/// Key of masq in XDP on a crafted line.
pub fn crafted_key(link: Link) -> String {
    format!("{}/{}", Contender::Masq(Mode::Xdp).key(), Kind::Crafted(link).title())
}

impl Kind {
    fn title(self) -> String {
        match self {
            Self::Built(topology) => topology.title().to_owned(),
            Self::Crafted(link) => format!("{}, crafted", link.title()),
        }
    }
}

/// What these choices come to, in a fixed order and each once; the plain topology is always among them.
fn kinds(choices: &[Choice]) -> Vec<Kind> {
    let is_chosen = |choice| choices.contains(&choice) || choices.contains(&Choice::All);
    let built = BUILT.into_iter().zip([Choice::Bridge, Choice::Vlan, Choice::Pppoe]);
    let built = built.filter(|(_, choice)| is_chosen(*choice));
    let crafted = CRAFTED.into_iter().filter(|_| is_chosen(Choice::Crafted));
    let kinds = [Kind::Built(Topology::Plain)].into_iter();
    let kinds = kinds.chain(built.map(|(topology, _)| Kind::Built(topology)));
    kinds.chain(crafted.map(Kind::Crafted)).collect()
}

/// Measures. What the kernel lacks is an error if it was asked for by name.
pub fn measure(run: &mut Run<'_>) -> Result<(), String> {
    let (kinds, missing) = possible(kinds(&run.effort.topologies));
    let by_name = !run.effort.topologies.contains(&Choice::All);
    if by_name && !missing.is_empty() {
        return Err(missing.join("; "));
    }
    for reason in missing {
        run.record.skipped.push(Failure { section: run.section, reason });
    }
    let one = Flows::new(Profile::OneHost, 1);
    let all = Flows::new(Profile::OneHost, run.effort.flows);
    let many = Stream::outbound(all);
    let situations = [
        (rate::ONE.to_owned(), Stream::outbound(one)),
        (rate::many(run.effort.flows), many),
        ("answers".to_owned(), Stream { direction: Direction::Inbound, ..many }),
    ];
    let mut benches = benches(run, &kinds, all)?;
    let rounds = run.effort.rounds;
    for round in 1..=rounds {
        for (kind, bench) in &mut benches {
            let contender = bench.contender();
            let title = kind.title();
            run.say(&format!("round {round} of {rounds}, {}, {title}", contender.title()));
            let failed = |e| format!("{title}: {e}");
            bench.open(all).map_err(failed)?;
            bench.settle_down(many);
            let key = format!("{}/{title}", contender.key());
            for (situation, stream) in &situations {
                if contender == Contender::Alone && stream.direction == Direction::Inbound {
                    continue;
                }
                let sample = bench.measure(*stream, run.effort.packets).map_err(failed)?;
                run.push_sample_of(&key, situation, &sample);
            }
        }
    }
    run.say("removing the networks");
    Ok(())
}

/// Those that this kernel can build, and what it lacks for the others.
fn possible(kinds: Vec<Kind>) -> (Vec<Kind>, Vec<String>) {
    let mut missing = Vec::new();
    let is_possible = |kind: &Kind| {
        let Kind::Built(topology) = kind else { return true };
        let lacking = topology.lacking();
        missing.extend(lacking.iter().map(|why| format!("{}: {why}", topology.title())));
        lacking.is_none()
    };
    let kinds = kinds.into_iter().filter(is_possible).collect();
    (kinds, missing)
}

/// A line for each contender on each of these, alive.
fn benches(run: &Run<'_>, kinds: &[Kind], flows: Flows) -> Result<Vec<(Kind, Bench)>, String> {
    let mut benches = Vec::new();
    for kind in kinds {
        let (topology, contenders) = match kind {
            Kind::Built(Topology::Plain) => (Topology::Plain, [&FAST[..1], &ROUTERS].concat()),
            Kind::Built(topology) => (*topology, ROUTERS.to_vec()),
            Kind::Crafted(_) => (Topology::Plain, FAST.to_vec()),
        };
        for contender in run.wanted(&contenders) {
            run.say(&format!("setting up {}, {}", contender.title(), kind.title()));
            let layout = Layout { topology, ..Layout::default() };
            let mut bench = Bench::new(contender, layout, &[]);
            if let Kind::Crafted(link) = kind {
                // First packets take the kernel's way, which knows nothing of it.
                bench.open(flows)?;
                bench.craft(*link)?;
            }
            benches.push((*kind, bench));
        }
    }
    Ok(benches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_topology_is_always_measured_and_each_once() {
        let plain = Kind::Built(Topology::Plain);
        assert_eq!(kinds(&[Choice::Plain]), [plain]);
        let bridge = Kind::Built(Topology::Bridge);
        assert_eq!(kinds(&[Choice::Bridge, Choice::Plain, Choice::Bridge]), [plain, bridge]);
        let all = kinds(&[Choice::All]);
        assert_eq!(all.len(), 1 + BUILT.len() + CRAFTED.len());
        assert_eq!(kinds(&[Choice::Pppoe, Choice::All]), all);
    }

    #[test]
    fn what_is_plain_and_what_is_crafted_is_never_missing() {
        let kinds = kinds(&[Choice::Plain, Choice::Crafted]);
        assert_eq!(possible(kinds.clone()), (kinds, Vec::new()));
    }
}
