//! The loaded kernel object: programs and maps. Loading it, and running the program that removes
//! sessions. Attaching is the business of [`crate::attach`].

use std::{
    cell::RefCell,
    hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState},
    io,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{Array, MapData, RingBuf},
    programs::{Program, ProgramError, SchedClassifier, TestRun as _, Xdp},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use masq_common::{
    abi::{maps, programs},
    event::{CloseCause, RetireRequest},
    flow::FlowKey,
    ports::Pool,
    settings::{Settings, switches},
    trace::Filter,
};

use crate::{
    cli::{Mode, TraceLevel},
    config::Config,
    maps::{Accounts, Counters, Fragments, NextHops, Policy, Ports, PortsHeld, Sessions, take},
    next_hops::{self, Offsets},
    reserved,
    survival::{self, Definition, pins::Pins},
};

/// The kernel programs, as built by this crate's build script.
pub(crate) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/masq-ebpf"));

/// Programs for XDP.
const XDP_PROGRAMS: [&str; 3] = [programs::FAST_XDP, programs::RETIRE, programs::FORGET];

/// The ring buffer of aya-log.
pub(crate) const LOG_MAP: &str = "AYA_LOGS";

/// The maps of the kernel object that outlive a daemon.
pub fn definitions() -> Result<Vec<Definition>> {
    survival::definitions(OBJECT, LOG_MAP)
}

/// Tells this kernel object from others.
pub fn object() -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(OBJECT);
    format!("{:016x}", hasher.finish())
}

/// The data plane of this instance: everything that was loaded into the kernel.
pub struct Plane {
    /// The session table.
    pub sessions: Arc<Sessions>,
    /// What the inside hosts have had in ended sessions.
    pub accounts: Arc<Accounts>,
    /// Counters by reason.
    pub counters: Counters,
    /// Held ports of each WAN and protocol.
    pub ports_held: PortsHeld,
    /// The fragmented datagrams that are under way.
    pub fragments: Fragments,
    /// The table of next hops.
    pub next_hops: NextHops,
    /// Why sessions do not remember their next hops; `None` if they do.
    pub asks_always: Option<String>,
    /// Why nothing may be sent to the ports of bridges past the kernel; `None` if it may.
    pub bridges_untold: Option<String>,
    /// What the programs are told.
    pub policy: RefCell<Policy>,
    ebpf: RefCell<Ebpf>,
    /// The same programs, which record packets; attached in place of the others while they are here.
    traced: RefCell<Option<Ebpf>>,
}

/// What is consumed by one owner each.
pub struct Streams {
    /// Events of the programs.
    pub events: RingBuf<MapData>,
    /// Packets for the slow path.
    pub slow: RingBuf<MapData>,
    /// The programs' own log, if it was asked for and if they have one.
    pub trace: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

impl Plane {
    /// Loads maps and XDP programs, and tells the programs their settings. Nothing is attached. Maps
    /// are pinned in `pins`; with `adopt` those that are there are used on, with all that is in them.
    pub fn load(config: &Config, pins: Option<&Pins>, adopt: bool) -> Result<(Self, Streams)> {
        let level = trace_level(config.trace);
        let offsets = Offsets::of_the_kernel();
        let paths = pins.map_or(Ok(Vec::new()), paths)?;
        let sizes = survival::sizes(config);
        let mut loader = loader(&level, offsets.as_ref().ok(), &sizes, &paths);
        let mut ebpf = loader.load(OBJECT).context("the kernel refused the maps of masq")?;
        for name in XDP_PROGRAMS {
            let program: &mut Xdp = program(&mut ebpf, name)?;
            load(name, || program.load())?;
        }
        let mut streams = streams(&mut ebpf, config.trace.is_some())?;
        let mut policy = Policy::take(&mut ebpf)?;
        let mut sessions = Sessions::take(&mut ebpf)?;
        let (watched, stations) = match &offsets {
            Ok(offsets) => {
                let watched = next_hops::watch_neighbours(&mut ebpf, pins);
                let watched = watched.and_then(|()| forget(&ebpf, false));
                (watched, next_hops::watch_stations(&mut ebpf, offsets, pins))
            }
            Err(error) => (Err(anyhow!("{error:#}")), Err(anyhow!("{error:#}"))),
        };
        let bridges_untold = stations.err().map(|error| format!("{error:#}"));
        let asks_always = watched.err().map(|error| format!("{error:#}"));
        let mut settings = settings(config, asks_always.is_none());
        if adopt {
            // Packets of the time without a daemon: their senders have sent them again since.
            while streams.slow.next().is_some() {}
            settings.clock_offset = policy.settings.get()?.clock_offset;
            sessions.check(config.max_sessions)?;
        } else {
            reserve_ports(config, Ports::of(&mut ebpf)?)?;
            sessions.make(config.max_sessions, [(); 5].map(|()| random()))?;
        }
        policy.settings.set(&settings)?;
        if let Some(why) = &asks_always {
            tracing::warn!(
                "slower than it could be, every packet asks the kernel's routing: {why}"
            );
        }
        // What was remembered by other settings, or while nobody would say any more that it is not true.
        let _ = forget(&ebpf, false);
        let plane = Self {
            sessions: Arc::new(sessions),
            accounts: Arc::new(Accounts::take(&mut ebpf)?),
            counters: Counters::take(&mut ebpf)?,
            ports_held: PortsHeld::take(&mut ebpf)?,
            fragments: Fragments::take(&mut ebpf)?,
            next_hops: NextHops::take(&mut ebpf)?,
            asks_always,
            bridges_untold,
            policy: RefCell::new(policy),
            ebpf: RefCell::new(ebpf),
            traced: RefCell::new(None),
        };
        Ok((plane, streams))
    }

    /// Tells the programs other settings. Sessions that exist are judged by them from now on.
    pub fn change_settings(&self, config: &Config) -> Result<()> {
        let mut policy = self.policy.borrow_mut();
        let before = policy.settings.get()?;
        let now = Settings {
            clock_offset: before.clock_offset,
            // Packets that have it are on their way.
            pass: before.pass,
            ..settings(config, self.asks_always.is_none())
        };
        policy.settings.set(&now)
    }

    /// Loads a TC program, if it is not loaded yet. The verifier takes a good part of a second for
    /// each, and most machines need half of them.
    pub fn load_classifier(&self, name: &str) -> Result<()> {
        classifier(&mut self.ebpf.borrow_mut(), name).map(|_| ())
    }

    /// The TC programs that are loaded.
    pub fn classifiers(&self) -> Vec<String> {
        let ebpf = self.ebpf.borrow();
        let loaded = ebpf.programs().filter(|(_, program)| {
            matches!(program, Program::SchedClassifier(program) if program.fd().is_ok())
        });
        loaded.map(|(name, _)| name.to_owned()).collect()
    }

    /// Gives a TC program to `attach`, loaded.
    pub fn with_classifier<T>(
        &self,
        name: &str,
        attach: impl FnOnce(&mut SchedClassifier) -> Result<T>,
    ) -> Result<T> {
        let (mut ebpf, mut traced) = (self.ebpf.borrow_mut(), self.traced.borrow_mut());
        attach(classifier(traced.as_mut().unwrap_or(&mut ebpf), name)?)
    }

    /// Gives the fast XDP program to `attach`.
    pub fn with_fast_xdp<T>(&self, attach: impl FnOnce(&mut Xdp) -> Result<T>) -> Result<T> {
        let (mut ebpf, mut traced) = (self.ebpf.borrow_mut(), self.traced.borrow_mut());
        attach(program(traced.as_mut().unwrap_or(&mut ebpf), programs::FAST_XDP)?)
    }

    /// Has `traced` attached from now on, which is this object once more, loaded to record packets.
    pub fn trace(&self, traced: Ebpf) {
        self.traced.replace(Some(traced));
    }

    /// Tells the programs that record, if they are here, which packets to record.
    pub fn record(&self, filter: &Filter) -> Result<()> {
        self.traced.borrow_mut().as_mut().map_or(Ok(()), |traced| record(traced, filter))
    }

    /// Has the programs attached that do not record; returns those that did, to be kept until they are
    /// off.
    pub fn untrace(&self) -> Option<Ebpf> {
        self.traced.take()
    }

    /// Lets all sessions ask for their next hop anew, as they have to when what we tell the programs
    /// of the devices has changed.
    pub fn forget_next_hops(&self) -> Result<()> {
        // As it is, without a place to remember next hops.
        if self.asks_always.is_some() { Ok(()) } else { forget(&self.ebpf.borrow(), false) }
    }

    /// Makes room in the table of next hops, if it is nearly full.
    pub fn renew_next_hops(&self) -> Result<()> {
        if self.next_hops.is_nearly_full()? { forget(&self.ebpf.borrow(), true) } else { Ok(()) }
    }

    /// Removes sessions, given the key of one half of each; returns how many. With
    /// [`CloseCause::Expired`] those that are not expired stay.
    pub fn retire(&self, cause: CloseCause, keys: &[FlowKey]) -> Result<u64> {
        let ebpf = self.ebpf.borrow();
        let program = ebpf.program(programs::RETIRE).ok_or_else(|| missing(programs::RETIRE))?;
        let program: &Xdp = program.try_into()?;
        let mut removed = 0;
        for keys in keys.chunks(RetireRequest::MAX_KEYS) {
            let request = retire_request(cause, keys);
            let options = TestRunOptions { data_in: Some(&request), ..TestRunOptions::new() };
            let result = program.test_run(options).context("cannot remove sessions")?;
            removed += u64::from(result.return_value);
        }
        Ok(removed)
    }
}

/// Loads a program. The verifier stops with EAGAIN where a signal is waiting: then once more, but
/// not for ever, since the signal may mean that masq is to stop.
pub(crate) fn load(name: &str, mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<()> {
    const RETRIES: usize = 4;
    let interrupted = |error: &ProgramError| {
        matches!(error, ProgramError::LoadError { io_error, .. }
            if io_error.kind() == io::ErrorKind::WouldBlock)
    };
    let mut result = load();
    for _ in 0..RETRIES {
        match &result {
            Err(error) if interrupted(error) => result = load(),
            _ => break,
        }
    }
    result.with_context(|| format!("the kernel refused program {name}"))
}

/// Where all maps are pinned that may be, by name.
pub(crate) fn paths(pins: &Pins) -> Result<Vec<(String, PathBuf)>> {
    let names = definitions()?.into_iter().map(|map| map.name);
    Ok(names.map(|name| (name.clone(), pins.map(&name))).collect())
}

/// What loads the kernel object, however often: programs that log what `level` says, with tables of these
/// `sizes`, those of `pins` that are there.
pub(crate) fn loader<'a>(
    level: &'a u8,
    offsets: Option<&'a Offsets>,
    sizes: &[(&'a str, u32)],
    pins: &'a [(String, PathBuf)],
) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.override_global(aya_log::LEVEL, level, false);
    if let Some(offsets) = offsets {
        offsets.tell(&mut loader);
    }
    for &(name, entries) in sizes {
        loader.map_max_entries(name, entries);
    }
    for (name, path) in pins {
        loader.map_pin_path(name, path.as_path());
    }
    if *level == 0 {
        // Nobody reads it and nothing is written: a page, the smallest ring buffer.
        loader.map_max_entries(LOG_MAP, 4096);
    }
    loader
}

/// Tells the programs of a traced object which packets to record.
pub(crate) fn record(traced: &mut Ebpf, filter: &Filter) -> Result<()> {
    let map = traced.map_mut(maps::TRACE_FILTER);
    let map = map.ok_or_else(|| anyhow!("the kernel object has no map {}", maps::TRACE_FILTER))?;
    let mut known: Array<_, Filter> = map.try_into()?;
    known.set(0, filter, 0).context("cannot say what is to be recorded")
}

/// Ends the generation of all next hops, and the epoch of their table if asked to.
fn forget(ebpf: &Ebpf, epoch: bool) -> Result<()> {
    let program = ebpf.program(programs::FORGET).ok_or_else(|| missing(programs::FORGET))?;
    let program: &Xdp = program.try_into()?;
    // The least that the kernel takes for a frame.
    let mut data = [0; 14];
    data[0] = u8::from(epoch);
    let options = TestRunOptions { data_in: Some(&data), ..TestRunOptions::new() };
    let result = program.test_run(options).context("cannot renew the next hops")?;
    if result.return_value == 0 {
        bail!("the kernel does not let the count of its routes' changes be read");
    }
    Ok(())
}

/// What the programs are told that the user has no say in, besides what the user wants.
fn settings(config: &Config, next_hops: bool) -> Settings {
    let mut settings = config.settings;
    if next_hops {
        settings.switches |= switches::NEXT_HOPS;
    }
    if config.mode == Mode::Kernel {
        settings.switches |= switches::NO_FAST_PATH;
    }
    let random = random();
    settings.pass = [random as u32 | 1, (random >> 32) as u32];
    settings
}

/// A random number of the kernel's: the keys of a hash map are.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Keeps the reserved ports of all WANs from LAN hosts.
fn reserve_ports(config: &Config, mut ports: Ports<'_>) -> Result<()> {
    for Pool { low, high } in reserved::all(config)? {
        for wan in 0..config.wans.len() as u8 {
            (low..=high).try_for_each(|port| ports.reserve(wan, port))?;
        }
    }
    Ok(())
}

/// The data that the `retire` program reads: a head and the keys.
fn retire_request(cause: CloseCause, keys: &[FlowKey]) -> Bytes {
    let head = RetireRequest { count: keys.len() as u32, cause: cause as u8, zero: [0; 11] };
    let mut data = BytesMut::with_capacity(size_of_val(&head) + size_of_val(keys));
    data.put_slice(bytemuck::bytes_of(&head));
    data.put_slice(bytemuck::cast_slice(keys));
    data.freeze()
}

fn streams(ebpf: &mut Ebpf, trace: bool) -> Result<Streams> {
    let events = take(ebpf, maps::EVENTS)?.try_into().context("map EVENTS is no ring buffer")?;
    let slow = take(ebpf, maps::SLOW)?.try_into().context("map SLOW is no ring buffer")?;
    let trace = if trace && ebpf.map(LOG_MAP).is_some() {
        Some(aya_log::EbpfLogger::init(ebpf).context("cannot read the programs' log")?)
    } else {
        None
    };
    Ok(Streams { events, slow, trace })
}

/// A TC program, loaded.
fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program: &mut SchedClassifier = program(ebpf, name)?;
    if program.fd().is_err() {
        load(name, || program.load())?;
    }
    Ok(program)
}

/// A program of this name and type.
pub(crate) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program>,
    <&'a mut P as TryFrom<&'a mut Program>>::Error: std::error::Error + Send + Sync + 'static,
{
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().with_context(|| format!("program {name} has an unexpected type"))
}

fn missing(name: &str) -> anyhow::Error {
    anyhow!("the kernel object has no program {name}")
}

/// The number that the programs compare their log level with; 0 logs nothing, and the verifier
/// removes the logging code.
fn trace_level(level: Option<TraceLevel>) -> u8 {
    level.map_or(0, |level| match level {
        TraceLevel::Error => aya_log::Level::Error as u8,
        TraceLevel::Warn => aya_log::Level::Warn as u8,
        TraceLevel::Info => aya_log::Level::Info as u8,
        TraceLevel::Debug => aya_log::Level::Debug as u8,
        TraceLevel::Trace => aya_log::Level::Trace as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_request_fits_the_kernels_test_data() {
        let keys = vec![FlowKey::default(); RetireRequest::MAX_KEYS];
        let request = retire_request(CloseCause::Flushed, &keys);
        assert_eq!(request.len(), 16 + 200 * 16);
        // A page less the head-room of XDP (256) and the kernel's tail (320 on 64-bit).
        assert!(request.len() <= 4096 - 256 - 320);
        assert_eq!(request[..5], [200, 0, 0, 0, 2]);
    }
}
