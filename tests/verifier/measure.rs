//! Loads every program of the object, each way that `masq` loads it, and asks what it cost.

use std::{io, path::PathBuf};

use aya::{
    EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramError, ProgramInfo},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::baseline::Row;

/// The global of aya-log that `masq run --trace` sets. At 0 the verifier removes all logging code.
const LOG_LEVEL: &str = "AYA_LOG_LEVEL";

/// How `masq` loads programs: alone, with their development log, and for `masq trace`.
const LEVELS: [(&str, u8, u8); 3] = [("off", 0, 0), ("on", 5, 0), ("pkts", 0, 1)];

/// Compiles the object, or takes the finished one that the environment names.
pub fn build() -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = xtask::object::build_object("masq-ebpf", &folder)
        .unwrap_or_else(|error| panic!("{error:#}"));
    std::fs::read(&path).expect("the object that was just built")
}

/// One row for each program and level, by name.
pub fn all(object: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (trace, level, traced) in LEVELS {
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global(LOG_LEVEL, &level, false)
            .override_global(masq_common::abi::TRACED, &traced, true)
            .load(object)
            .expect("create the maps");
        for (name, program) in ebpf.programs_mut() {
            rows.push(measure(name, trace, program));
        }
    }
    rows.sort_by(|a, b| (&a.program, &a.trace).cmp(&(&b.program, &b.trace)));
    rows
}

fn measure(name: &str, trace: &str, program: &mut Program) -> Row {
    let stack = stack_depth(name, program);
    load(program).unwrap_or_else(|error| panic!("program {name}, trace {trace}: {error}"));
    let info = info(program).expect("ask the kernel about a loaded program");
    Row {
        program: name.to_owned(),
        trace: trace.to_owned(),
        instructions: info.verified_instruction_count().expect("a kernel since 5.16"),
        stack,
        code: info.size_translated().expect("the size of the translated program"),
    }
}

/// The stack of the program and of its functions together, from the verifier's statistics.
///
/// aya hands out the verifier's log only when loading fails. So it is made to fail, after the
/// verifier is done: the last step is a file descriptor for the program, and there is none left.
fn stack_depth(name: &str, program: &mut Program) -> u32 {
    let result = without_file_descriptors(|| load(program));
    let Err(ProgramError::LoadError { io_error, verifier_log }) = result else {
        panic!("program {name} did not fail to load for want of a file descriptor: {result:?}");
    };
    let log = verifier_log.to_string();
    assert_eq!(io_error.raw_os_error(), Some(nix::libc::EMFILE), "{name}: {io_error}\n{log}");
    parse_stack(&log).unwrap_or_else(|| panic!("{name}: no stack depth in the log:\n{log}"))
}

/// The sum of a line such as `stack depth 208+16+0`: one number for each function.
fn parse_stack(log: &str) -> Option<u32> {
    let depths = log.lines().find_map(|line| line.trim().strip_prefix("stack depth "))?;
    depths.split('+').map(|depth| depth.trim().parse::<u32>().ok()).sum()
}

fn without_file_descriptors<T>(act: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("ask for a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).expect("lower a limit");
    let result = act();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("restore a limit");
    result
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        other => panic!("masq has no programs of type {:?}", other.prog_type()),
    }
}

fn info(program: &Program) -> Result<ProgramInfo, ProgramError> {
    match program {
        Program::Xdp(program) => program.info(),
        Program::SchedClassifier(program) => program.info(),
        Program::RawTracePoint(program) => program.info(),
        _ => Err(ProgramError::IOError(io::Error::from(io::ErrorKind::Unsupported))),
    }
}

#[test]
fn stack_depths_of_functions_add_up() {
    let log = "verification time 812 usec\nstack depth 208+16+0\nprocessed 1180 insns\n";
    assert_eq!(parse_stack(log), Some(224));
    assert_eq!(parse_stack("processed 1180 insns\n"), None);
}
