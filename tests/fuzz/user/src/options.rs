//! The values of options: what a person, or a script with a mistake in it, may write.

use clap::Parser as _;
use masq_user::{
    cli::{Cli, Command, RunArgs},
    control::filter::EndpointFilter,
    duration::{Secs, parse_secs},
};

/// The first byte says which option it is, the rest is its value.
pub fn options(bytes: &[u8]) {
    let Some((choice, value)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(value) else { return };
    if text.contains('\0') {
        // An argument ends there.
        return;
    }
    match choice % 6 {
        0 => duration(text),
        1 => filter(text),
        2 => {
            for prefix in run("--source", text).iter().flat_map(|args| &args.source) {
                assert_eq!(*prefix, prefix.trunc());
            }
        }
        3 => {
            if let Some(pool) = run("--ports", text).and_then(|args| args.ports) {
                assert!(0 < pool.low && pool.low <= pool.high);
                let again = run("--ports", &format!("{}-{}", pool.low, pool.high));
                assert_eq!(again.and_then(|args| args.ports), Some(pool));
            }
        }
        4 => {
            if let Some(name) = run("--instance", text).and_then(|args| args.instance) {
                // It becomes part of a file's name.
                assert!(!name.contains('/') && !name.starts_with('.') && name.len() <= 64);
            }
        }
        _ => {
            for name in run("--lan", text).iter().flat_map(|args| &args.lan) {
                // It is given to the kernel, and becomes part of a file's name.
                assert!(!name.contains(['/', '\0']) && (1..16).contains(&name.len()), "{name:?}");
                assert!(name != "." && name != "..");
            }
        }
    }
}

/// `masq run` with one option more than it needs.
fn run(option: &str, value: &str) -> Option<RunArgs> {
    let line = ["masq", "run", "--lan", "lan0", "--wan", "wan0"].map(str::to_owned);
    let option = format!("{option}={value}");
    match Cli::try_parse_from(line.into_iter().chain([option])).ok()?.command {
        Command::Run(args) => Some(*args),
        _ => None,
    }
}

fn duration(text: &str) {
    let Ok(seconds) = parse_secs(text) else { return };
    assert!((1..=9 * 365 * 86_400).contains(&seconds));
    // What is shown has the two largest units, rounded down, and can be read.
    let shown = parse_secs(&Secs(seconds.into()).to_string()).expect("what is shown can be read");
    assert!(shown <= seconds && seconds - shown < 86_400);
}

fn filter(text: &str) {
    let Ok(filter) = text.parse::<EndpointFilter>() else { return };
    assert_eq!(filter.to_string().parse(), Ok(filter));
}
