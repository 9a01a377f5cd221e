//! The stack that each program needs on Linux 6.1, which rounds the frame of every function up to 32
//! bytes and allows 512 along any chain of calls. Newer kernels, where the tests run, round up to 16
//! for programs that are compiled, so that they would not notice.
//!
//! Read from the object: the stores to and addresses of the frame, and the calls. The verifier itself
//! sees no more than that.

use std::collections::{BTreeMap, BTreeSet};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SymbolKind};

/// What a chain of calls may need.
pub const LIMIT: u64 = 512;
/// What a frame is rounded up to.
const ROUNDING: u64 = 32;

/// Section and offset.
type Place = (usize, u64);

/// Bytes of an instruction.
const STEP: usize = 8;
/// Number of the register that points to the end of the frame.
const FRAME: u8 = 10;
/// A call, and a load of 64 bits (two instructions long; also of a function's address).
const CALL: u8 = 0x85;
const LOAD_64: u8 = 0x18;
/// Copy of a register, and addition of a constant to one.
const COPY: u8 = 0xbf;
const ADD: u8 = 0x07;

/// A function of the object.
struct Function {
    name: String,
    frame: u64,
    calls: BTreeSet<Place>,
}

/// For each program the chain of calls that needs most, and how much.
pub fn deepest(object: &[u8]) -> BTreeMap<String, (u64, Vec<String>)> {
    let file = object::File::parse(object).expect("an ELF object");
    let functions = functions(&file);
    let is_program = |place: &Place| {
        file.sections()
            .nth(place.0 - 1)
            .is_some_and(|section| section.name().is_ok_and(|name| name != ".text"))
    };
    let programs = functions.iter().filter(|(place, _)| is_program(place));
    programs.map(|(place, function)| (function.name.clone(), chain(&functions, *place))).collect()
}

fn chain(functions: &BTreeMap<Place, Function>, from: Place) -> (u64, Vec<String>) {
    let function = &functions[&from];
    let frame = function.frame.max(1).next_multiple_of(ROUNDING);
    let called = function.calls.iter().filter(|place| functions.contains_key(place));
    let (rest, mut names) = called.map(|place| chain(functions, *place)).max().unwrap_or_default();
    names.insert(0, format!("{} ({frame})", function.name));
    (frame + rest, names)
}

fn functions(file: &object::File<'_>) -> BTreeMap<Place, Function> {
    let symbols = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let sized = symbols.filter_map(|symbol| {
        let section = symbol.section_index().filter(|_| symbol.size() > 0)?;
        Some(((section.0, symbol.address()), symbol))
    });
    sized
        .map(|(place, symbol)| {
            let name = symbol.name().expect("a name").to_owned();
            let section = file.sections().nth(place.0 - 1).expect("the symbol's section");
            assert_eq!(section.index().0, place.0, "sections are numbered from 1");
            let code = section.data().expect("code");
            let range = place.1 as usize..(place.1 + symbol.size()) as usize;
            let targets = targets(file, &section);
            (place, read(name, place.0, &code[range], place.1, &targets))
        })
        .collect()
}

/// Where the relocations of a section lead to: the place of a function, or a section.
fn targets(file: &object::File<'_>, section: &object::Section<'_, '_>) -> BTreeMap<u64, Target> {
    let target = |target| {
        let RelocationTarget::Symbol(index) = target else { return None };
        let symbol = file.symbol_by_index(index).ok()?;
        let section = symbol.section_index()?.0;
        match symbol.kind() {
            SymbolKind::Text => Some(Target::Function((section, symbol.address()))),
            SymbolKind::Section => Some(Target::Section(section)),
            _ => None,
        }
    };
    section.relocations().filter_map(|(at, to)| Some((at, target(to.target())?))).collect()
}

#[derive(Clone, Copy)]
enum Target {
    Function(Place),
    Section(usize),
}

fn read(
    name: String,
    section: usize,
    code: &[u8],
    start: u64,
    targets: &BTreeMap<u64, Target>,
) -> Function {
    let mut function = Function { name, frame: 0, calls: BTreeSet::new() };
    // Registers that hold the frame pointer, until something is added to them.
    let mut pointers = BTreeSet::new();
    let mut instructions = code.chunks_exact(STEP).zip((start..).step_by(STEP)).peekable();
    while let Some((bytes, at)) = instructions.next() {
        let (code, registers) = (bytes[0], bytes[1]);
        let offset = i64::from(i16::from_le_bytes([bytes[2], bytes[3]]));
        let constant = i64::from(i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]));
        let (destination, source) = (registers & 15, registers >> 4);
        let mut reaches = |down: i64| function.frame = function.frame.max(down.max(0) as u64);
        match code & 7 {
            // Loads, and stores of a constant or a register.
            1 if source == FRAME => reaches(-offset),
            2 | 3 if destination == FRAME => reaches(-offset),
            _ => {}
        }
        match code {
            COPY if source == FRAME => {
                let next = instructions.peek().map(|(next, _)| (next[0], next[1] & 15));
                assert_eq!(next, Some((ADD, destination)), "an address that is not followed");
                pointers.insert(destination);
            }
            ADD if pointers.contains(&destination) => {
                reaches(-constant);
                pointers.remove(&destination);
            }
            COPY => {
                pointers.remove(&destination);
            }
            CALL if source == 1 => {
                let behind = |base: u64| base.wrapping_add_signed((constant + 1) * STEP as i64);
                function.calls.insert(match targets.get(&at) {
                    Some(Target::Function(place)) => *place,
                    Some(Target::Section(section)) => (*section, behind(0)),
                    None => (section, behind(at)),
                });
            }
            LOAD_64 => {
                match targets.get(&at) {
                    Some(Target::Function(place)) => {
                        function.calls.insert(*place);
                    }
                    Some(Target::Section(section)) => {
                        // The address of a function that a helper calls, or of something else.
                        function.calls.insert((*section, constant as u64));
                    }
                    None => {}
                }
                instructions.next();
            }
            _ => {}
        }
    }
    function
}
