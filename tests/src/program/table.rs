//! The session table of loaded programs, read and written in its memory while none of them runs. The
//! programs' own way to insert and remove is what tests are about, so this one shares nothing with it but
//! the layout.

use std::{num::NonZeroUsize, os::fd::AsFd as _, ptr::NonNull, slice};

use aya::maps::{Map, MapData};
use masq_common::{
    flow::FlowKey,
    session::SessionHalf,
    table::{Count, Header, NEAR, RESERVED, Slot, State, distance},
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// What homes depend on in tests: always the same, so that they are the same everywhere.
const RANDOM: [u64; 5] = [
    0x0123_4567_89ab_cdef,
    0x0f1e_2d3c_4b5a_6978,
    0xd1b5_4a32_d192_ed03,
    0x8cb9_2ba7_2f3d_8dd7,
    0xa24b_aed4_963e_e407,
];

/// The memory of a session table.
#[derive(Debug)]
pub struct Table {
    slots: NonNull<Slot>,
    length: NonZeroUsize,
}

impl Table {
    /// Of the map that has it.
    ///
    /// # Panics
    /// If it cannot be mapped into memory.
    pub fn of(map: &Map) -> Self {
        let data: &MapData = match map {
            Map::Array(data) => data,
            other => panic!("the session table is no array: {other:?}"),
        };
        let entries = data.info().expect("ask about the session table").max_entries() as usize;
        let length = NonZeroUsize::new(entries * size_of::<Slot>()).expect("entries");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, wherever there is room, of a map that is as long.
        let slots =
            unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, data.fd().as_fd(), 0) };
        Self { slots: slots.expect("map the session table").cast(), length }
    }

    fn slots(&mut self) -> &mut [Slot] {
        // SAFETY: as long as that, and nobody else uses it while no program runs.
        unsafe {
            slice::from_raw_parts_mut(self.slots.as_ptr(), self.length.get() / size_of::<Slot>())
        }
    }

    /// Makes a new table for as many sessions.
    pub fn make(&mut self, sessions: u32) {
        self.slots().fill(Slot::default());
        self.slots()[Header::PLACE as usize] = bytemuck::cast(Header::new(sessions, RANDOM));
    }

    /// What stands at its beginning.
    pub fn header(&mut self) -> Header {
        bytemuck::cast(self.slots()[Header::PLACE as usize])
    }

    /// All halves.
    ///
    /// # Panics
    /// If the table contradicts itself: what homes say of the places behind them, what places say of
    /// themselves, what lies there, and how much that is counted to be.
    pub fn halves(&mut self) -> Vec<SessionHalf> {
        let header = self.header();
        let slots = self.slots();
        let mut halves = Vec::new();
        let mut known = 0;
        for (place, slot) in slots.iter().enumerate().skip(RESERVED as usize) {
            let (state, half) = (State(slot.state), slot.half);
            assert_eq!(state.0 & State::LOCKED, 0, "place {place} is locked");
            let taken = state.0 & State::TAKEN != 0;
            assert_eq!(taken, half.protocol != 0, "place {place} holds {half:?}");
            if taken {
                let home = header.home(half.key().words()) as usize;
                let step = (0..NEAR).find(|&step| home + distance(step) as usize == place);
                let near = State(slots[home].state).near();
                assert!(step.is_some_and(|step| near >> step & 1 != 0), "nobody finds {half:?}");
                assert!(halves.iter().all(|other: &SessionHalf| other.key() != half.key()));
                halves.push(half);
            }
            known += state.near().count_ones() as usize;
        }
        assert_eq!(known, halves.len(), "halves that homes know of, and those that lie there");
        let count: Count = bytemuck::cast(slots[Count::PLACE as usize]);
        assert_eq!(count.used as usize, halves.len(), "halves that are counted");
        halves
    }

    /// Where the half of a key lies if that place is free.
    pub fn home(&mut self, key: &FlowKey) -> usize {
        self.header().home(key.words()) as usize
    }

    /// Where the half of a key lies.
    pub fn place(&mut self, key: &FlowKey) -> Option<usize> {
        let begin = RESERVED as usize;
        let places = &self.slots()[begin..];
        places.iter().position(|slot| slot.half.belongs_to(key)).map(|place| begin + place)
    }

    /// Locks the home of a key for ever, or lets it go.
    pub fn lock(&mut self, key: &FlowKey, locked: bool) {
        let home = self.home(key);
        let state = &mut self.slots()[home].state;
        *state = if locked { *state | State::LOCKED } else { *state & !State::LOCKED };
    }

    /// Inserts a half, or replaces the one of the same key.
    ///
    /// # Panics
    /// If there is no room near its home.
    pub fn insert(&mut self, half: SessionHalf) {
        let home = self.home(&half.key());
        if let Some(step) = self.step(home, |slot| slot.half.belongs_to(&half.key())) {
            self.slots()[home + distance(step) as usize].half = half;
            return;
        }
        let free = self.step(home, |slot| slot.state & State::TAKEN == 0);
        let step = free.expect("a free place near the home of a half");
        let slot = &mut self.slots()[home + distance(step) as usize];
        slot.half = half;
        slot.state = State(slot.state).taken().expect("a free place").0;
        self.slots()[home].state |= 1 << step;
        self.count(1);
    }

    /// Removes the half of a key.
    ///
    /// # Panics
    /// If there is none.
    pub fn remove(&mut self, key: &FlowKey) {
        let home = self.home(key);
        let step = self.step(home, |slot| slot.half.belongs_to(key)).expect("a half");
        let slot = &mut self.slots()[home + distance(step) as usize];
        slot.half = SessionHalf::default();
        slot.state &= !State::TAKEN;
        self.slots()[home].state &= !(1 << step);
        self.count(-1);
    }

    /// The first place of a home, by its number, that is as wanted.
    fn step(&mut self, home: usize, wanted: impl Fn(&Slot) -> bool) -> Option<u32> {
        let slots = self.slots();
        (0..NEAR).find(|&step| wanted(&slots[home + distance(step) as usize]))
    }

    fn count(&mut self, by: i64) {
        let slot = &mut self.slots()[Count::PLACE as usize];
        let mut count: Count = bytemuck::cast(*slot);
        count.used = count.used.checked_add_signed(by).expect("no fewer than none");
        *slot = bytemuck::cast(count);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: what `of` has mapped, of which no reference is left.
        let _ = unsafe { munmap(self.slots.cast(), self.length.get()) };
    }
}
