//! Nanoseconds of each program of masq alone, without driver, kernel and memory of others.
//!
//! `BPF_PROG_TEST_RUN` repeats a program on the packet that it has left itself; after the first
//! translation that is another one. So what is repeated is a small program
//! (`masq-ebpf/src/bin/traffic/replay.rs`) that writes the headers anew and calls masq's; what it
//! takes itself, with a program that does nothing, is taken away. What can stand before the IP header is
//! in [`below`](super::below).

use std::net::Ipv4Addr;

use aya::{
    Ebpf, EbpfError, TestRun as _, TestRunOptions, include_bytes_aligned,
    maps::{Array, ProgramArray},
    programs::{Program, ProgramFd, SchedClassifier, Xdp},
};
use masq_common::{
    flow::UDP,
    settings::{Settings, switches},
};

use super::{
    below::Crossing,
    frames,
    link::Link,
    plan::{Front, Sample, WORDS},
    series::Series,
    stream::stride,
};
use crate::{
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1},
    packet::Packet,
    program::{Bench, Hook},
};

static MASQ: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/masq-ebpf"));

/// Sessions that there are, and first packets that are sent in one measurement.
pub const FLOWS: u16 = 20_000;
/// Runs at a time, but for first packets.
const REPEAT: u32 = 300_000;
/// How often that is done, in turn with the program that does nothing.
const TURNS: usize = 3;
/// The port of the first session, inside and outside; those of the others follow.
const FIRST_PORT: u16 = 10_000;
/// The remote end.
const REMOTE: (Ipv4Addr, u16) = (SERVER_1, 53);
/// What the replaying program returns if it could not call the other.
const NOT_CALLED: u32 = i32::MAX as u32;

/// What a packet is to a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// Of a session, always the same.
    Established,
    /// Of one session after the other.
    EstablishedMany,
    /// The same, but the other side is in TC, and has been sent to from there.
    OtherInTc,
    /// The same, while the programs in drivers have been told that they could send to nobody.
    AtRest,
    /// Of no session.
    Miss,
    /// Not IPv4.
    NotOurs,
    /// Has been translated at an ingress hook, and passes the egress hook.
    AlreadyTranslated,
    /// Opens a session, each packet another.
    First,
}

impl Path {
    /// In words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::EstablishedMany => "established, 20000 flows",
            Self::OtherInTc => "established, other side in TC",
            Self::AtRest => "established, at rest",
            Self::Miss => "no session",
            Self::NotOurs => "not IPv4",
            Self::AlreadyTranslated => "already translated",
            Self::First => "first packet",
        }
    }
}

/// What is measured.
pub const CASES: [(Hook, Path); 17] = [
    (Hook::LanXdp, Path::Established),
    (Hook::LanXdp, Path::EstablishedMany),
    (Hook::LanXdp, Path::Miss),
    (Hook::LanXdp, Path::NotOurs),
    (Hook::WanXdp, Path::Established),
    (Hook::WanXdp, Path::EstablishedMany),
    (Hook::WanXdp, Path::Miss),
    (Hook::WanXdp, Path::OtherInTc),
    (Hook::WanXdp, Path::AtRest),
    (Hook::LanIn, Path::Established),
    (Hook::LanIn, Path::EstablishedMany),
    (Hook::LanIn, Path::Miss),
    (Hook::LanIn, Path::NotOurs),
    (Hook::WanIn, Path::Established),
    (Hook::WanIn, Path::Miss),
    (Hook::WanOut, Path::AlreadyTranslated),
    (Hook::WanOut, Path::First),
];

/// What a hook is called in tables.
pub const fn title(hook: Hook) -> &'static str {
    match hook {
        Hook::LanXdp => "fast_xdp, from the LAN",
        Hook::WanXdp => "fast_xdp, from the WAN",
        Hook::LanIn => "lan_in",
        Hook::WanIn => "wan_in",
        Hook::WanOut => "wan_out",
        Hook::WanOutOwn => "wan_out, the router's own",
    }
}

/// The programs of masq, with sessions, and the one that calls them.
#[derive(Debug)]
pub struct Programs {
    masq: Bench,
    replay: Ebpf,
}

/// What a program is given.
struct Given {
    hook: Hook,
    frame: Vec<u8>,
    /// Over how many flows it is spread.
    flows: u16,
    /// Whether the program may change where the frame begins.
    moves: bool,
    /// What the frame begins with.
    front: Front,
}

impl Programs {
    /// Loads everything and makes the sessions.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn load() -> Self {
        let mut masq = Bench::with_sessions(MASQ, 4 * u32::from(FLOWS) + 1024);
        masq.remember_next_hops();
        for port in FIRST_PORT..FIRST_PORT + FLOWS {
            masq.install(UDP, (HOST_A, port), port, REMOTE);
        }
        let mut replay = Ebpf::load(frames::OBJECT).expect("load the traffic programs");
        for name in ["replay_xdp", "nothing_xdp", "replay_tc", "nothing_tc"] {
            let program = replay.program_mut(name).unwrap_or_else(|| panic!("a program {name}"));
            let loaded = match program {
                Program::Xdp(program) => program.load(),
                Program::SchedClassifier(program) => program.load(),
                _ => unreachable!("the traffic programs are of two kinds"),
            };
            loaded.unwrap_or_else(|e| panic!("load the program {name}: {e}"));
        }
        Self { masq, replay }
    }

    /// Nanoseconds for each packet. First packets can be measured once only: afterwards there are
    /// sessions.
    ///
    /// # Errors
    /// If the program did something else with the packet than it should, or could not be run.
    pub fn measure(&mut self, hook: Hook, path: Path) -> Result<f64, String> {
        let (frame, flows) = (frame(hook, path), flows(path));
        let given = Given { hook, frame, flows, moves: false, front: Front::default() };
        self.arrange(path, true);
        let result = self.time(&given, path);
        self.arrange(path, false);
        result
    }

    /// Makes the machine as this path has it, or as the others have it.
    fn arrange(&mut self, path: Path, special: bool) {
        let [lan, _] = self.masq.ports();
        match path {
            Path::OtherInTc => {
                self.masq.set_lan_in_driver(lan, !special);
                self.masq.forget_next_hops(false);
                if special {
                    let packet = packet(Hook::WanIn, path).bytes();
                    self.masq.run(Hook::WanIn, &packet);
                }
            }
            Path::AtRest => {
                let rest = if special { switches::NO_XDP } else { 0 };
                let mut settings = Settings::DEFAULT;
                settings.switches |= switches::NEXT_HOPS | rest;
                self.masq.set_settings(&settings);
            }
            _ => {}
        }
    }

    /// Nanoseconds for each established packet, of one flow or many, that comes in or leaves by
    /// something else than plain Ethernet. Bridges have to come last.
    ///
    /// # Errors
    /// As [`Programs::measure`].
    pub fn measure_crossing(&mut self, crossing: Crossing, path: Path) -> Result<f64, String> {
        crossing.tell(&mut self.masq);
        let (hook, link) = (crossing.hook(), crossing.arriving());
        let packet = packet(hook, path).bytes();
        let front = link.front(crossing.addresses(), packet.len() as u16);
        let frame = link.frame(crossing.addresses(), &packet);
        self.time(&Given { hook, frame, flows: flows(path), moves: true, front }, path)
            .map_err(|e| format!("{}: {e}", crossing.title()))
    }

    fn time(&mut self, given: &Given, path: Path) -> Result<f64, String> {
        let hook = given.hook;
        let failed = |e: EbpfError| format!("{hook:?}: {e}");
        let counters = self.masq.counters();
        let repeat = if path == Path::First { u32::from(FLOWS) } else { REPEAT };
        let context = self.masq.context(hook, &given.frame);
        let is_xdp = hook.is_xdp();
        let nothing = if is_xdp { "nothing_xdp" } else { "nothing_tc" };
        let nothing = self.fd(nothing).map_err(failed)?;
        let program = self.masq.fd(hook);
        let mut times = [Series::default(), Series::default()];
        for _ in 0..if path == Path::First { 1 } else { TURNS } {
            for (times, target) in times.iter_mut().zip([&nothing, &program]) {
                self.prepare(given, target).map_err(failed)?;
                times.push(self.run(hook, &given.frame, &context, repeat)?);
            }
        }
        self.is_as_expected(hook, path, repeat, &counters)?;
        let [nothing, program] = times;
        Ok(program.median() - nothing.median())
    }

    fn fd(&self, name: &str) -> Result<ProgramFd, EbpfError> {
        let fd = match self.replay.program(name) {
            Some(Program::Xdp(program)) => program.fd(),
            Some(Program::SchedClassifier(program)) => program.fd(),
            _ => unreachable!("the traffic programs are of two kinds"),
        };
        Ok(fd?.try_clone().expect("duplicate a file descriptor"))
    }

    fn prepare(&mut self, given: &Given, target: &ProgramFd) -> Result<(), EbpfError> {
        let hook = given.hook;
        // From where on it looks as with an Ethernet header.
        let frame = &given.frame[2 * usize::from(given.front.more)..];
        let mut headers = [0; WORDS];
        for (word, pair) in headers.iter_mut().zip(frame.chunks_exact(2)) {
            *word = u16::from_ne_bytes([pair[0], pair[1]]);
        }
        let (end, first_port) = inside_port(hook, frame);
        let flows = u32::from(given.flows);
        let size = if given.moves { given.frame.len() as u32 } else { 0 };
        let sample = Sample {
            headers,
            end,
            first_port,
            zero: 0,
            flows,
            stride: stride(flows),
            flow: 0,
            size,
            front: given.front,
        };
        let missing = "a map of the traffic programs";
        let mut map: Array<_, Sample> = self.replay.map_mut("SAMPLE").expect(missing).try_into()?;
        map.set(0, sample, 0)?;
        let name = if hook.is_xdp() { "XDP_TARGET" } else { "TC_TARGET" };
        let mut map: ProgramArray<_> = self.replay.map_mut(name).expect(missing).try_into()?;
        map.set(0, target, 0)?;
        Ok(())
    }

    fn run(&self, hook: Hook, frame: &[u8], context: &[u32], repeat: u32) -> Result<f64, String> {
        let options = || TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(bytemuck::cast_slice(context)),
            repeat,
            ..TestRunOptions::new()
        };
        let missing = "a program of the traffic programs";
        let run = || {
            if hook.is_xdp() {
                let program = self.replay.program("replay_xdp").expect(missing);
                let program: &Xdp = program.try_into().expect(missing);
                program.test_run(options())
            } else {
                let program = self.replay.program("replay_tc").expect(missing);
                let program: &SchedClassifier = program.try_into().expect(missing);
                program.test_run(options())
            }
        };
        // Routes are looked up in the namespace of whoever runs the program.
        let result = self.masq.namespace().run(run).map_err(|e| format!("{hook:?}: {e}"))?;
        if result.return_value == NOT_CALLED {
            return Err(format!("{hook:?}: the program could not be called"));
        }
        Ok(result.duration.as_nanos() as f64)
    }

    /// Whether every packet has ended as it should.
    fn is_as_expected(
        &self,
        hook: Hook,
        path: Path,
        repeat: u32,
        before: &[u64],
    ) -> Result<(), String> {
        use masq_common::reason::Reason;
        let wanted = match path {
            Path::Established | Path::EstablishedMany if hook.is_from_lan() => Reason::OutboundFast,
            Path::Established | Path::EstablishedMany => Reason::InboundFast,
            Path::OtherInTc => Reason::OtherDevice,
            Path::AtRest => Reason::FastPathOff,
            Path::Miss => Reason::NoSession,
            Path::NotOurs => Reason::NotIpv4,
            Path::AlreadyTranslated => Reason::AlreadyTranslated,
            Path::First => Reason::OutboundSlow,
        };
        let counted = self.masq.counted_since(before);
        match counted.get(wanted.label()) {
            Some(&count) if count >= u64::from(repeat) => Ok(()),
            _ => Err(format!("{hook:?}, {}: counted {counted:?}", path.title())),
        }
    }
}

/// The frame.
fn frame(hook: Hook, path: Path) -> Vec<u8> {
    let mut frame = Link::Ethernet.frame(hook.link_addresses(), &packet(hook, path).bytes());
    if path == Path::NotOurs {
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    }
    frame
}

/// Over how many flows it is spread.
const fn flows(path: Path) -> u16 {
    match path {
        Path::First | Path::EstablishedMany => FLOWS,
        _ => 1,
    }
}

/// The packet.
fn packet(hook: Hook, path: Path) -> Packet {
    let inside = (HOST_A, FIRST_PORT);
    let outside = (ROUTER_WAN, FIRST_PORT);
    let stranger = (HOST_B, FIRST_PORT);
    // Behind the ports that are held, so that its mapping has its own port outside.
    let new = (HOST_B, FIRST_PORT + FLOWS);
    let data = [0; 18];
    match path {
        Path::First => Packet::udp(new, REMOTE, &data),
        Path::AlreadyTranslated => Packet::udp(outside, REMOTE, &data),
        Path::Miss | Path::NotOurs if hook.is_from_lan() => Packet::udp(stranger, REMOTE, &data),
        Path::Miss | Path::NotOurs => Packet::udp((SERVER_1, 54), outside, &data),
        _ if hook.is_from_lan() => Packet::udp(inside, REMOTE, &data),
        _ => Packet::udp(REMOTE, outside, &data),
    }
}

/// Which port is the inside's, or stands for it outside, and what it is.
fn inside_port(hook: Hook, frame: &[u8]) -> (u16, u16) {
    let end = u16::from(!hook.is_from_lan());
    let at = 34 + 2 * usize::from(end);
    (end, u16::from_be_bytes([frame[at], frame[at + 1]]))
}
