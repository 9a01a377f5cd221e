//! Compiles the kernel programs of the benchmark, and those of masq, which it also runs alone, and
//! leaves the objects in OUT_DIR, from where `measure::frames` and `measure::program` embed them.

use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let out_dir = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let result = xtask::object::rerun_instructions().and_then(|instructions| {
        instructions.iter().for_each(|line| println!("{line}"));
        let build = |name| xtask::object::build_object(name, Path::new(&out_dir));
        build("traffic")?;
        build(xtask::object::PACKAGE)
    });
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
