//! The kernel programs under packets that nobody has thought of: mutations of a corpus, in a
//! stream that a seed decides, through every hook, with an [oracle] that says of each frame how it
//! may end. A case that fails is made small and printed, in the form of the files in
//! `corpus/regressions`, which are run first.
//!
//! CI runs a fixed number of frames of a fixed seed. `cargo xtask fuzz` runs for as long as one
//! likes, of a random one.

mod case;
mod machine;
mod mutate;
mod oracle;
mod parsers;
mod scene;
mod shrink;
#[path = "user/src/lib.rs"]
mod user;
mod wire;

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use fastrand::Rng;
use masq_common::reason::Reason;

use crate::{
    case::{Case, POLICIES, Step, corpus},
    machine::Machine,
    shrink::shrink,
};

/// Seconds to run, instead of a number of frames.
const SECONDS: &str = "MASQ_FUZZ_SECONDS";
/// The seed, instead of the fixed one, or of a random one where there are seconds to run.
const SEED: &str = "MASQ_FUZZ_SEED";

/// Frames that are run where nobody asks for more.
const FRAMES: u64 = 100_000;
/// Mutated cases between two resets of the programs' state.
const ROUND: usize = 150;

/// The kernel object (see `xtask::object`).
static OBJECT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = xtask::object::build_object("masq-ebpf", folder)
        .unwrap_or_else(|error| panic!("{error:#}"));
    fs::read(&path).expect("the object that was just built")
});

#[test]
fn the_corpus_ends_as_the_oracle_says() {
    let mut machine = Machine::new(&OBJECT);
    let cases = [corpus("seeds"), corpus("regressions")].concat();
    assert!(cases.len() > 60, "only {} cases", cases.len());
    let mut faults = Vec::new();
    for (name, case) in cases {
        if let Err((step, fault)) = machine.run(&case) {
            faults.push(format!("{name}, frame {}: {fault}", step + 1));
        }
    }
    assert!(faults.is_empty(), "{} cases:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn mutations_of_the_corpus_end_as_the_oracle_says() {
    let limit = Limit::from_environment();
    let number = |name| env::var(name).ok().map(|text| text.parse().expect("a number"));
    let fixed = matches!(limit, Limit::Frames(_)).then_some(0x6d61_7371);
    let seed = number(SEED).or(fixed).unwrap_or_else(|| fastrand::u64(..));
    println!("{SEED}={seed}");
    let mut campaign = Campaign::new(seed);
    while !limit.is_reached(&campaign) {
        campaign.round();
    }
    let Campaign { frames, ends, pool, .. } = &campaign;
    println!("{frames} frames, {} ends, {} cases in the pool", ends.len(), pool.len());
    campaign.must_have_been_everywhere();
}

/// How long to go on.
enum Limit {
    Frames(u64),
    Until(Instant),
}

impl Limit {
    fn from_environment() -> Self {
        match env::var(SECONDS) {
            Ok(text) => {
                let seconds = text.parse().unwrap_or_else(|e| panic!("{SECONDS}={text}: {e}"));
                Self::Until(Instant::now() + Duration::from_secs(seconds))
            }
            Err(_) => Self::Frames(FRAMES),
        }
    }

    fn is_reached(&self, campaign: &Campaign) -> bool {
        match self {
            Self::Frames(frames) => campaign.frames >= *frames,
            Self::Until(end) => Instant::now() >= *end,
        }
    }
}

/// A stream of mutated cases.
struct Campaign {
    machine: Machine,
    seed: u64,
    rng: Rng,
    /// What is mutated: the corpus, and every case that has ended in a new way.
    pool: Vec<Vec<Step>>,
    ends: BTreeSet<machine::Signature>,
    frames: u64,
}

impl Campaign {
    fn new(seed: u64) -> Self {
        let pool = corpus("seeds").into_iter().map(|(_, case)| case.steps).collect();
        let (machine, rng) = (Machine::new(&OBJECT), Rng::with_seed(seed));
        Self { machine, seed, rng, pool, ends: BTreeSet::new(), frames: 0 }
    }

    /// Some cases, each on top of what the ones before have left.
    fn round(&mut self) {
        let filtering = POLICIES[self.rng.usize(..POLICIES.len())].0;
        self.machine.reset(filtering).unwrap_or_else(|fault| panic!("{fault}"));
        let mut done = Case { filtering, steps: Vec::new() };
        for _ in 0..ROUND {
            if self.machine.is_old() {
                return;
            }
            let mut steps = self.pool[self.rng.usize(..self.pool.len())].clone();
            mutate::mutate(&mut self.rng, &mut steps);
            let mut is_new = false;
            for step in &steps {
                self.frames += 1;
                done.steps.push(step.clone());
                match self.machine.step(step) {
                    Ok(end) => is_new |= self.ends.insert(end),
                    Err(fault) => self.fail(done, &fault),
                }
            }
            if is_new {
                steps.truncate(4);
                self.pool.push(steps);
            }
        }
    }

    /// Ends the test with the smallest case that fails.
    fn fail(&mut self, case: Case, first: &str) -> ! {
        let seed = self.seed;
        match self.machine.run(&case) {
            Ok(()) => panic!(
                "{SEED}={seed}: {first}\nnot when it was run again; all of its frames:\n{case}"
            ),
            Err((step, fault)) => {
                let mut case = case;
                case.steps.truncate(step + 1);
                let (case, fault) = shrink(&mut self.machine, case, fault);
                panic!(
                    "{SEED}={seed}: {fault}\nthe case, for a file in corpus/regressions:\n{case}"
                )
            }
        }
    }

    /// A stream that ends early everywhere would find nothing.
    fn must_have_been_everywhere(&self) {
        let seen: BTreeSet<u8> = self.ends.iter().map(|(_, reason, ..)| *reason).collect();
        let unseen: Vec<_> = EVERYWHERE.iter().filter(|r| !seen.contains(&(**r as u8))).collect();
        assert!(unseen.is_empty(), "no packet has ended as {unseen:?}");
    }
}

/// Ends that some packet of every stream has to come to.
const EVERYWHERE: [Reason; 36] = [
    Reason::OutboundFast,
    Reason::OutboundSlow,
    Reason::InboundFast,
    Reason::InboundSlow,
    Reason::IcmpErrorOutbound,
    Reason::IcmpErrorInbound,
    Reason::IcmpErrorOwn,
    Reason::OwnTranslated,
    Reason::Fragment,
    Reason::Hairpin,
    Reason::NotIpv4,
    Reason::Tagged,
    Reason::NoSession,
    Reason::Own,
    Reason::AlreadyTranslated,
    Reason::Unusual,
    Reason::TtlExpired,
    Reason::TooBig,
    Reason::NoRoute,
    Reason::NotForUs,
    Reason::WrongSide,
    Reason::Malformed,
    Reason::NoTcpSession,
    Reason::FragmentEarly,
    Reason::FragmentTiny,
    Reason::SpoofedSource,
    Reason::UnsolicitedToLan,
    Reason::IcmpErrorUnknown,
    Reason::IcmpOther,
    Reason::NoIcmpSession,
    Reason::HairpinFiltered,
    Reason::UnsupportedProtocol,
    Reason::ProtocolConflict,
    Reason::IcmpBadChecksum,
    Reason::SourceRoute,
    Reason::MartianSource,
];
