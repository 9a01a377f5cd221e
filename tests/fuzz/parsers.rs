//! The parsers of the daemon and the shared logic, on the corpus of the [fuzz targets](user) and on
//! a fixed stream of mutations of it. libFuzzer runs the same targets for longer, and finds its way
//! into the code by itself: `cargo xtask fuzz`.

use std::{fs, panic, path::Path};

use fastrand::Rng;

use crate::{
    case::hex,
    user::{TARGETS, Target},
};

/// Mutations for each target.
const MUTATIONS: u32 = 20_000;

/// What the parsers look for.
const WORDS: [&[u8]; 16] = [
    b"{",
    b"}",
    b"\"",
    b"null",
    b"-1",
    b"4294967296",
    b"1e999",
    b"/32",
    b"/33",
    b":0",
    b"-",
    b"\\u0000",
    b"[[[[[[[[",
    b"0",
    b"\xff\xff",
    b"\0\0\0\0",
];

#[test]
fn parsers_take_any_bytes() {
    let mut faults = Vec::new();
    for target in &TARGETS {
        let corpus = corpus(target.name);
        let run = corpus.iter().try_for_each(|bytes| run(target, bytes));
        faults.extend(run.and_then(|()| mutations(target, &corpus)).err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_target_can_be_run_by_libfuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/user/fuzz_targets");
    let manifest = include_str!("user/Cargo.toml");
    for Target { name, .. } in &TARGETS {
        assert!(folder.join(format!("{name}.rs")).is_file(), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    let files = fs::read_dir(&folder).expect("the folder of the targets").count();
    assert_eq!(files, TARGETS.len());
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/user/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    // The order decides what a seed makes of them.
    paths.sort();
    let files: Vec<_> = paths.iter().map(|path| fs::read(path).expect("read a file")).collect();
    assert!(!files.is_empty(), "no corpus for {name}");
    files
}

fn mutations(target: &Target, corpus: &[Vec<u8>]) -> Result<(), String> {
    let mut rng = Rng::with_seed(0x6d61_7371);
    for _ in 0..MUTATIONS {
        let mut bytes = rng.choice(corpus).cloned().unwrap_or_default();
        for _ in 0..rng.u32(1..=6) {
            mutate(&mut rng, &mut bytes, corpus);
        }
        run(target, &bytes)?;
    }
    Ok(())
}

fn run(target: &Target, bytes: &[u8]) -> Result<(), String> {
    // What a target panics with is printed as it happens.
    panic::catch_unwind(|| (target.run)(bytes)).map_err(|_| {
        let text = String::from_utf8_lossy(bytes);
        format!("{} on {} ({text:?}): see above", target.name, hex(bytes))
    })
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = rng.usize(..=bytes.len());
    match rng.u8(..7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, rng.u8(..)),
        2 => {
            let word = WORDS[rng.usize(..WORDS.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        3 => {
            let other = rng.choice(corpus).map_or(&[][..], Vec::as_slice);
            let from = rng.usize(..=other.len());
            bytes.truncate(at);
            bytes.extend(&other[from..]);
        }
        _ if at == bytes.len() => {}
        4 => bytes[at] = rng.u8(..),
        5 => bytes[at] ^= 1 << rng.u8(..8),
        _ => {
            bytes.remove(at);
        }
    }
}
