//! Compiles the kernel programs of the benchmark and leaves the object in OUT_DIR, from where
//! `measure::frames` embeds it.

use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let out_dir = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let result = xtask::object::rerun_instructions().and_then(|instructions| {
        instructions.iter().for_each(|line| println!("{line}"));
        xtask::object::build_object("traffic", Path::new(&out_dir))
    });
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
