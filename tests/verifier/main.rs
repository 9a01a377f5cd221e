//! What the kernel's verifier says of each program, against `baselines/verifier.txt`.
//!
//! A program that needs many more steps to verify than it did is on its way to being refused, by
//! this kernel or by an older one; a stack that grows is, too. `cargo xtask verifier` shows the
//! table, `cargo xtask verifier --update` records it.

mod baseline;
mod measure;
mod stack;

use std::{env, path::PathBuf};

use baseline::{Baseline, Conditions};

/// Set to record instead of to compare.
const UPDATE: &str = "MASQ_UPDATE_BASELINE";

#[test]
fn no_program_has_become_much_harder_to_verify() {
    let object = measure::build();
    let measured = Baseline { conditions: Conditions::here(), rows: measure::all(&object) };
    assert!(!measured.rows.is_empty(), "the object has no programs");
    let path = xtask::workspace::root().join("baselines/verifier.txt");
    if env::var_os(UPDATE).is_some() {
        record(&path, &measured);
        return;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask verifier --update` makes it", path.display())
    });
    let recorded = Baseline::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let (table, complaints) = baseline::compare(&recorded, &measured);
    assert!(
        complaints.is_empty(),
        "{table}\n{}\nif this is wanted: `cargo xtask verifier --update`",
        complaints.join("\n")
    );
    println!("{table}");
}

#[test]
fn every_program_fits_the_stack_of_linux_6_1() {
    let deepest = stack::deepest(&measure::build());
    // The largest of them are known not to be small: else nothing was read.
    assert!(deepest["wan_out_ether"].0 > stack::LIMIT / 2, "{deepest:?}");
    assert!(deepest["wan_out_ether"].1.len() > 4, "{deepest:?}");
    for (program, (bytes, chain)) in &deepest {
        println!("{program}: {bytes}");
        let chain = chain.join("\n    ");
        assert!(*bytes <= stack::LIMIT, "{program} needs {bytes} bytes of stack:\n    {chain}");
    }
}

fn record(path: &PathBuf, measured: &Baseline) {
    let folder = path.parent().expect("a file of the checkout");
    std::fs::create_dir_all(folder).expect("make the folder of baselines");
    std::fs::write(path, measured.to_string()).expect("write the baseline");
    println!("{measured}\nrecorded in {}", path.display());
}
