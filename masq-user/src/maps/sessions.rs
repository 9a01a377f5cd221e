//! The session table: single halves by key, all of them in batches. Read only, but for its header;
//! sessions are removed by [`crate::plane::Plane::retire`].
//!
//! It is mapped into our memory: to read it takes no system call, and nobody has to wait meanwhile.

use std::{
    num::NonZeroUsize,
    ops::Range,
    os::fd::AsFd as _,
    ptr::{self, NonNull},
    sync::atomic::{Ordering, fence},
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapInfo},
};
use masq_common::{
    abi::maps::SESSIONS,
    flow::{FlowKey, NONE},
    session::SessionHalf,
    table::{Count, Header, NEAR, RESERVED, Slot, State, distance},
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::{convert, take};

/// So many places are looked at for each half that a batch may have: a table that is nearly empty is gone
/// through in slices, too.
const PLACES_PER_HALF: usize = 8;

/// The session table.
pub struct Sessions {
    map: Array<MapData, Slot>,
    id: u32,
    memory: Memory,
}

impl Sessions {
    /// Takes the map out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let map = take(ebpf, SESSIONS)?;
        let Map::Array(data) = &map else { bail!("map {SESSIONS} is not an array") };
        let info = data.info().context("cannot ask about the session table")?;
        let memory = Memory::of(data, &info)?;
        Ok(Self { map: convert(SESSIONS, map)?, id: info.id(), memory })
    }

    /// Makes a new table of the map, which has to be empty, for as many sessions.
    pub fn make(&mut self, sessions: u32, random: [u64; 5]) -> Result<()> {
        let header: Slot = bytemuck::cast(Header::new(sessions, random));
        self.map.set(Header::PLACE, header, 0).context("cannot make the session table")
    }

    /// Demands that the table has been made, for as many sessions.
    pub fn check(&self, sessions: u32) -> Result<()> {
        let found = self.header();
        if found != Header::new(sessions, found.random) {
            bail!("the session table of the earlier masq is not one: `masq stop` removes it");
        }
        Ok(())
    }

    fn header(&self) -> Header {
        self.memory.read(Header::PLACE as usize).map_or(Header::default(), bytemuck::cast)
    }

    /// What the kernel numbers the table by.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The half that translates packets of `key`.
    pub fn get(&self, key: &FlowKey) -> Option<SessionHalf> {
        let header = self.header();
        if header.homes == 0 {
            return None;
        }
        let home = header.home(key.words()) as usize;
        let near = State(self.memory.read(home)?.state).near();
        let places = (0..NEAR).filter(|step| near >> step & 1 != 0);
        let mut halves = places.filter_map(|step| self.memory.half(home + distance(step) as usize));
        halves.find(|half| half.belongs_to(key))
    }

    /// The other half of a session of which one was read a while ago, if it has not been created anew since.
    pub fn partner(&self, half: &SessionHalf) -> Option<SessionHalf> {
        self.get(&half.partner()).filter(|other| other.created == half.created)
    }

    /// Goes through all halves, at most `size` at once.
    pub fn batches(&self, size: usize) -> SessionBatches<'_> {
        let count =
            self.memory.read(Count::PLACE as usize).map_or(Count::default(), bytemuck::cast);
        let places = if count.used == 0 { 0 } else { self.memory.places };
        let rest = RESERVED as usize..places;
        SessionBatches { memory: &self.memory, rest, halves: Vec::with_capacity(size), size }
    }
}

/// A walk through the session table. Halves that are inserted or removed meanwhile may or may not be seen;
/// all others are seen exactly once, since a half stays where it is.
pub struct SessionBatches<'a> {
    memory: &'a Memory,
    rest: Range<usize>,
    halves: Vec<SessionHalf>,
    size: usize,
}

impl SessionBatches<'_> {
    /// The next halves, which may be none; `None` at the end.
    pub fn next_batch(&mut self) -> Option<impl Iterator<Item = &SessionHalf>> {
        if self.rest.is_empty() {
            return None;
        }
        self.halves.clear();
        let places = self.rest.by_ref().take(self.size * PLACES_PER_HALF);
        let found = places.filter_map(|place| self.memory.half(place));
        self.halves.extend(found.take(self.size));
        Some(self.halves.iter())
    }
}

/// The memory of the table, which the programs write all the time.
#[derive(Debug)]
struct Memory {
    slots: NonNull<Slot>,
    places: usize,
    length: NonZeroUsize,
}

// SAFETY: the memory belongs to nobody and is only read, by volatile reads.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn of(map: &MapData, info: &MapInfo) -> Result<Self> {
        if info.value_size() as usize != size_of::<Slot>() {
            bail!("map {SESSIONS} has another layout");
        }
        let places = info.max_entries() as usize;
        let length = NonZeroUsize::new(places * size_of::<Slot>());
        let length = length.with_context(|| format!("map {SESSIONS} has no entries"))?;
        let (read, shared) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        // SAFETY: a new mapping, wherever there is room, of a map that is as long.
        let slots = unsafe { mmap(None, length, read, shared, map.fd().as_fd(), 0) };
        let slots = slots.context("cannot map the session table into memory")?.cast();
        Ok(Self { slots, places, length })
    }

    /// What lies at a place, of one piece or not; `None` if there is no such place.
    fn read(&self, place: usize) -> Option<Slot> {
        // SAFETY: there are as many places, and any bytes are a value of this type.
        (place < self.places).then(|| unsafe { ptr::read_volatile(self.slots.as_ptr().add(place)) })
    }

    /// The half that lies at a place, of one piece. What is just being written or removed is none.
    fn half(&self, place: usize) -> Option<SessionHalf> {
        if place >= self.places {
            return None;
        }
        // SAFETY: there are as many places.
        let slot = unsafe { self.slots.as_ptr().add(place) };
        // SAFETY: an aligned word of it.
        let state = || State(unsafe { ptr::read_volatile(&raw const (*slot).state) });
        // SAFETY: an aligned byte of it.
        let protocol = || unsafe { ptr::read_volatile(&raw const (*slot).half.protocol) };
        // It is written last: a half that is seen is whole, and if the place has not been taken again
        // meanwhile, all that was read is of that one.
        let generation = state().generation();
        fence(Ordering::Acquire);
        if protocol() == NONE {
            return None;
        }
        fence(Ordering::Acquire);
        // SAFETY: a part of it, of which any bytes are a value.
        let half = unsafe { ptr::read_volatile(&raw const (*slot).half) };
        fence(Ordering::Acquire);
        (protocol() != NONE && state().generation() == generation).then_some(half)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: what `of` has mapped, of which no reference is left.
        let unmapped = unsafe { munmap(self.slots.cast(), self.length.get()) };
        if let Err(error) = unmapped {
            tracing::debug!("the session table was not unmapped: {error}");
        }
    }
}
