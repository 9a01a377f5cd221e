//! The same traffic through the kernel's masquerade and through masq: both sides of the router have
//! to see the same, up to the choice of port.
//!
//! All of it runs in four laboratories: one with nftables, one with masq in each mode, the one without
//! a fast path among them.
//! What the router sends to either side after each step is put into words ([`normal`]) and compared
//! ([`compare`]). The differences that remain are in `differences.toml`, each with its reason: one
//! that is not there fails, and so does one that is there and no longer occurs.
//!
//! Traffic is generated from a seed. `MASQ_DIFFERENTIAL_ROUNDS=20` runs so many rounds of generated
//! cases instead of one, `MASQ_DIFFERENTIAL_SEED` makes them others.

mod bench;
mod case;
mod compare;
mod errors;
mod fragments;
mod generate;
mod headers;
mod icmp;
mod narrow;
mod normal;
mod protocols;
mod segment;
mod stacks;
mod strangers;
mod tcp;
mod udp;

use std::{env, panic::resume_unwind, sync::LazyLock, thread};

use masq_tests::daemon::Mode;

use crate::{
    bench::{Outcome, Who},
    case::Case,
    compare::List,
    generate::Generator,
};

/// Makes a test of each module with a function `cases`.
macro_rules! groups {
    ($($group:ident),+ $(,)?) => {
        /// The groups of cases with packets made by hand.
        const GROUPS: &[(&str, fn(&mut Generator) -> Vec<Case>)] =
            &[$((stringify!($group), $group::cases)),+];

        $(#[test]
        fn $group() {
            judge(stringify!($group), &CRAFTED);
        })+
    };
}

groups!(errors, fragments, headers, icmp, narrow, protocols, strangers, tcp, udp);

#[test]
fn stacks() {
    judge("stacks", &everywhere(stacks::run));
}

/// What was seen with the kernel, and with masq in each mode.
type Everywhere = [(Who, Vec<Outcome>); 4];

/// All groups run one after the other in one laboratory for each gateway: to build it takes longer.
static CRAFTED: LazyLock<Everywhere> = LazyLock::new(|| {
    let seed = setting("MASQ_DIFFERENTIAL_SEED", 1);
    let rounds = setting("MASQ_DIFFERENTIAL_ROUNDS", 1);
    let mut generator = Generator::new(seed);
    let mut cases = |make: fn(&mut Generator) -> Vec<Case>| {
        (0..rounds).flat_map(|_| make(&mut generator)).collect::<Vec<_>>()
    };
    let groups: Vec<_> = GROUPS.iter().map(|(name, make)| (*name, cases(*make))).collect();
    everywhere(|who| bench::run(who, &groups))
});

/// Runs something with each gateway, at the same time.
fn everywhere(run: impl Fn(Who) -> Vec<Outcome> + Sync) -> Everywhere {
    let all = [
        Who::Kernel,
        Who::Masq(Mode::Tc),
        Who::Masq(Mode::Xdp),
        // The fast path changes nothing but the speed.
        Who::Masq(Mode::Kernel),
    ];
    thread::scope(|scope| {
        let threads = all.map(|who| {
            (
                who,
                scope.spawn({
                    let run = &run;
                    move || run(who)
                }),
            )
        });
        threads
            .map(|(who, thread)| (who, thread.join().unwrap_or_else(|panic| resume_unwind(panic))))
    })
}

/// Demands that all differences that a group has shown are on the list, and all of the list there.
fn judge(group: &str, [(_, kernel), modes @ ..]: &Everywhere) {
    let prefix = format!("{group}/");
    let of_group = |all: &[Outcome]| -> Vec<_> {
        all.iter().filter(|outcome| outcome.at.starts_with(&prefix)).cloned().collect()
    };
    let list = List::read();
    let mut reports = String::new();
    for (who, masq) in modes {
        let masq = of_group(masq);
        let differences = compare::compare(&of_group(kernel), &masq);
        let report = list.judge(group, &differences) + &compare::leaks(&masq);
        if !report.is_empty() {
            reports += &format!("{who:?} and the kernel:\n{report}");
        }
    }
    let seed = setting("MASQ_DIFFERENTIAL_SEED", 1);
    assert!(reports.is_empty(), "MASQ_DIFFERENTIAL_SEED={seed}\n{reports}");
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text}, which is no number")),
        Err(_) => default,
    }
}
