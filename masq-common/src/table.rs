//! The session table: where in its array a half lies, and how it is found there.
//!
//! A hash table of masq's own, in one array of the kernel's. A lookup in a hash map of the kernel touches
//! a bucket, the head of an element with its key, and its value, one after the other: with many sessions
//! each of them waits for memory. Here a place is one line of the caches, with the half and all that is
//! needed to go on, and it is the first one that is looked at for most halves, or the second. Nor is anything
//! allocated when a session begins.
//!
//! * The *home* of a half follows from its key and random numbers of the table's, so that nobody who does not
//!   know them can choose keys that meet.
//! * A half lies at its home or at one of [`NEAR`] - 1 places behind it, and stays there until its
//!   session ends: nothing ever moves. The first 15 of these follow right behind it, where a line is fetched along
//!   with the last one; the others are strewn ([`distance`]), so that where halves crowd they are out of the
//!   crowd.
//! * The home knows which of these places hold a half of its own ([`State::near`]): whoever looks up a key
//!   that is not there looks at its home, and at those of the few halves that have the same.
//! * There are seven homes for four halves ([`homes`]). So that none of these places is free, or that [`MOST`]
//!   halves have one home already, happens to about one new half of a hundred million where a table is
//!   full for long. It is refused as if there were no room at all.
//!
//! Readers take no lock: a place without a half has protocol 0 ([`crate::flow::NONE`]), which is set before a half goes and is written
//! last when one comes; and the state of a place tells one half from the next ([`State::generation`]). Whoever
//! inserts or removes has the homes of both halves to himself meanwhile ([`State::LOCKED`]).

use bytemuck::{Pod, Zeroable};

#[cfg(doc)]
use crate::flow::FlowKey;
use crate::session::SessionHalf;

/// At how many places a half may lie, its home being the first.
pub const NEAR: u32 = 48;

/// How many halves of the same home there may be.
pub const MOST: u32 = 9;

/// How far behind its home a place is at which a half may lie; the first one is home. Without a branch, for the
/// verifier.
#[inline(always)]
pub const fn distance(step: u32) -> u32 {
    let (sixteen, one) = (step >> 4, step & 15);
    // The first sixteen together; the others in two groups, each place of them almost a page behind the last.
    let apart = 1 + 60 * ((sixteen + 1) >> 1);
    sixteen * 1024 + one * apart
}

/// How many places a home and all that a half of it may lie at are within.
pub const REACH: u32 = distance(NEAR - 1) + 1;

/// The most sessions that a table may be made for, which take 14 GiB.
pub const MAX_SESSIONS: u32 = 1 << 26;

/// Places at the beginning that hold no half: header and count, each without a neighbour that others write,
/// since processors fetch lines in pairs.
pub const RESERVED: u32 = 4;

/// A place of the table, as large as a line of the caches.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Slot {
    /// The half that lies here; of protocol [`NONE`](crate::flow::NONE) if none does.
    pub half: SessionHalf,
    /// See [`State`].
    pub state: u64,
}

/// What [`Slot::state`] says: of the halves whose home this place is, and of the place itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State(pub u64);

impl State {
    /// One bit for each of the places that a half may lie at: it holds one whose home this is.
    const NEIGHBOURS: u64 = (1 << NEAR) - 1;
    /// A number that changes whenever the place is taken.
    const GENERATION: u64 = ((1 << 14) - 1) << NEAR;
    /// The lowest bit of [`generation`](Self::generation).
    pub const LOWEST_GENERATION: u64 = 1 << NEAR;
    /// Somebody inserts or removes a half whose home this is.
    pub const LOCKED: u64 = 1 << 62;
    /// A half lies here, of whatever home, or is about to.
    pub const TAKEN: u64 = 1 << 63;

    /// The same, locked; `None` if it is already.
    #[inline(always)]
    pub const fn locked(self) -> Option<Self> {
        if self.0 & Self::LOCKED == 0 { Some(Self(self.0 | Self::LOCKED)) } else { None }
    }

    /// The same, taken, in the next generation; `None` if it is taken already.
    #[inline(always)]
    pub const fn taken(self) -> Option<Self> {
        if self.0 & Self::TAKEN != 0 {
            return None;
        }
        let next = (self.0 + (1 << NEAR)) & Self::GENERATION;
        Some(Self(self.0 & !Self::GENERATION | next | Self::TAKEN))
    }

    /// The places that hold a half whose home this is: the lowest bit is this place.
    #[inline(always)]
    pub const fn near(self) -> u64 {
        self.0 & Self::NEIGHBOURS
    }

    /// Changes when the place is given to another half, and has no other meaning.
    #[inline(always)]
    pub const fn generation(self) -> u64 {
        self.0 & (Self::GENERATION | Self::TAKEN)
    }
}

/// What stands at the beginning of the table, in the room of a place, and never changes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Header {
    /// Random numbers that homes depend on.
    pub random: [u64; 5],
    /// Number of homes; 0 if the table has not been made yet, and holds nothing.
    pub homes: u32,
    /// Most halves that may lie in it.
    pub limit: u32,
    /// Nothing.
    pub zero: [u64; 2],
}

impl Header {
    /// Where it stands.
    pub const PLACE: u32 = 0;

    /// Of a table for as many sessions. The random numbers must never have been anybody's to choose.
    pub const fn new(sessions: u32, random: [u64; 5]) -> Self {
        Self { random, homes: homes(sessions), limit: sessions * 2, zero: [0; 2] }
    }

    /// Where in the array the home of a key is, told by its [words](FlowKey::words). At least
    /// [`RESERVED`], and less than [`entries`].
    #[inline(always)]
    pub const fn home(&self, [addresses, rest]: [u64; 2]) -> u32 {
        // Each part times a number that nobody knows: two keys have the same sum for few of these numbers. The
        // upper half, which depends on more of the sum, decides.
        let [start, a, b, c, d] = self.random;
        let sum = start
            .wrapping_add((addresses & 0xffff_ffff).wrapping_mul(a | 1))
            .wrapping_add((addresses >> 32).wrapping_mul(b | 1))
            .wrapping_add((rest & 0xffff_ffff).wrapping_mul(c | 1))
            .wrapping_add((rest >> 32).wrapping_mul(d | 1));
        let mixed = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        RESERVED + (((mixed >> 32) * self.homes as u64) >> 32) as u32
    }
}

/// How many halves lie in the table: on a line of its own, because all CPUs write it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Count {
    /// The number; changed atomically.
    pub used: u64,
    /// Nothing.
    pub zero: [u64; 7],
}

impl Count {
    /// Where it stands.
    pub const PLACE: u32 = 2;
}

/// How many homes a table for as many sessions has. With more of them, halves would lie nearer to their homes
/// and more memory would lie idle: with twice as many as halves, half of the halves lie at home in a table that
/// is full for long, with these 43 of 100, with one and a half as many 33.
const fn homes(sessions: u32) -> u32 {
    sessions * 7 / 2
}

/// How many entries the array of a table for as many sessions has: what stands at its beginning, the homes, and
/// room behind the last one.
pub const fn entries(sessions: u32) -> u32 {
    RESERVED + homes(sessions) + REACH - 1
}

/// For how many sessions an array of as many entries is.
pub const fn sessions(entries: u32) -> u32 {
    (entries.saturating_sub(RESERVED + REACH - 1) * 2).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, vec, vec::Vec};

    use super::*;
    use crate::{
        be::{Addr, Id},
        flow::{FlowKey, Tuple, UDP},
    };

    const RANDOM: [u64; 5] = [
        0x0123_4567_89ab_cdef,
        0x0f1e_2d3c_4b5a_6978,
        0xd1b5_4a32_d192_ed03,
        0x8cb9_2ba7_2f3d_8dd7,
        0xa24b_aed4_963e_e407,
    ];

    fn key(host: u32, port: u16) -> FlowKey {
        Tuple {
            source: Addr::from_raw((0x0a00_0000 + host).to_be()),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(port),
            destination_id: Id::new(53),
        }
        .key(UDP)
    }

    /// One host with many ports, many hosts with one port, and their answers.
    fn populations(count: u32) -> [Vec<FlowKey>; 3] {
        let ports = |number: u32| key(number / 60_000, (number % 60_000) as u16);
        let hosts = |number: u32| key(number, 40_000);
        [
            (0..count).map(ports).collect(),
            (0..count).map(hosts).collect(),
            (0..count).map(|number| ports(number).reversed()).collect(),
        ]
    }

    #[test]
    fn a_size_is_told_by_its_entries() {
        for count in (1..1000).chain([262_143, 262_144, MAX_SESSIONS]) {
            assert_eq!(sessions(entries(count)), count);
        }
        assert_eq!(sessions(0), 0);
    }

    #[test]
    fn no_place_is_another_one_too() {
        let places: Vec<_> = (0..NEAR).map(distance).collect();
        assert!(places.is_sorted_by(|one, next| one < next));
        assert_eq!(places[..16], *(0..16).collect::<Vec<_>>());
        assert_eq!(places[NEAR as usize - 1], REACH - 1);
    }

    #[test]
    fn a_home_leaves_room_for_header_and_neighbours() {
        for count in [1, 7, 100_000] {
            let header = Header::new(count, RANDOM);
            for keys in populations(10_000) {
                let mut homes = keys.iter().map(|key| header.home(key.words()));
                assert!(homes.all(|home| home >= RESERVED && home + REACH <= entries(count)));
            }
        }
    }

    /// Neighbouring keys meet as often as keys drawn by lot would, whatever the random numbers.
    #[test]
    fn homes_are_spread_evenly() {
        const COUNT: u32 = 1 << 17;
        for random in [RANDOM, RANDOM.map(|number| number.rotate_left(31))] {
            let header = Header::new(COUNT / 2, random);
            for keys in populations(COUNT) {
                let mut homes = HashMap::new();
                for key in &keys {
                    *homes.entry(header.home(key.words())).or_insert(0) += 1;
                }
                // As many as a Poisson distribution of mean 4/7 has, within a hundredth.
                let share = |count: f64| count / f64::from(header.homes);
                let alone = homes.values().filter(|&&keys| keys == 1).count() as f64;
                assert!((share(alone) - 0.3227).abs() < 0.003, "{}", share(alone));
                assert!((share(homes.len() as f64) - 0.4353).abs() < 0.003);
                assert!(homes.values().all(|&keys| keys < 12));
            }
        }
    }

    #[test]
    fn other_random_numbers_give_other_homes() {
        let homes = |random| {
            let header = Header::new(100_000, random);
            populations(1000)[0].iter().map(|key| header.home(key.words())).collect::<Vec<_>>()
        };
        // Keys that meet with one meet no more with the other.
        let meet = |homes: &[u32]| {
            let mut pairs = Vec::new();
            for (first, home) in homes.iter().enumerate() {
                let same = (first + 1..homes.len()).filter(|&other| homes[other] == *home);
                pairs.extend(same.map(|second| (first, second)));
            }
            pairs
        };
        let one = homes(RANDOM);
        for number in 0..RANDOM.len() {
            let mut random = RANDOM;
            random[number] ^= 1 << 40;
            let other = homes(random);
            assert_ne!(one, other, "number {number}");
            // The first one moves all of them.
            let both = meet(&other).iter().filter(|pair| meet(&one).contains(pair)).count();
            assert!(number == 0 || both <= 1, "number {number}: {both}");
        }
    }

    /// A table that puts halves where the kernel programs do.
    struct Model {
        header: Header,
        taken: Vec<bool>,
        residents: Vec<u32>,
    }

    impl Model {
        fn new(count: u32) -> Self {
            let places = entries(count) as usize;
            let header = Header::new(count, RANDOM);
            Self { header, taken: vec![false; places], residents: vec![0; places] }
        }

        fn insert(&mut self, key: &FlowKey) -> Option<(usize, usize)> {
            let home = self.header.home(key.words()) as usize;
            let mut places = (0..NEAR).map(|step| home + distance(step) as usize);
            let place = places.find(|&place| !self.taken[place])?;
            if self.residents[home] == MOST {
                return None;
            }
            self.residents[home] += 1;
            self.taken[place] = true;
            Some((home, place))
        }

        fn remove(&mut self, (home, place): (usize, usize)) {
            self.residents[home] -= 1;
            self.taken[place] = false;
        }
    }

    /// A table that is full, and stays so while halves come and go, for as long as it takes to exchange each of
    /// them ten times.
    #[test]
    fn a_full_table_has_room_for_all() {
        const SESSIONS: u32 = 50_000;
        let mut table = Model::new(SESSIONS);
        let mut living = Vec::new();
        let (mut offered, mut refused, mut seed) = (0_u32, 0, 1_u64);
        let mut next = 0;
        while offered < SESSIONS * 20 {
            if living.len() == SESSIONS as usize * 2 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let gone = living.swap_remove((seed % living.len() as u64) as usize);
                table.remove(gone);
            }
            offered += 1;
            next += 1;
            match table.insert(&key(next / 60_000, (next % 60_000) as u16)) {
                Some(place) => living.push(place),
                None => refused += 1,
            }
        }
        assert_eq!(refused, 0, "of {offered}");
    }

    #[test]
    fn states_are_taken_and_locked_once() {
        let state = State(5);
        let both = state.locked().unwrap().taken().unwrap();
        assert_eq!((both.locked(), both.taken(), both.near()), (None, None, 5));
        assert_eq!(both.0 & !State::GENERATION, 5 | State::LOCKED | State::TAKEN);
    }

    #[test]
    fn a_generation_changes_with_each_half_and_with_nothing_else() {
        let mut state = State(5);
        let mut seen = Vec::new();
        for _ in 0..1 << 14 {
            let taken = state.taken().unwrap();
            assert_eq!(taken.generation(), taken.locked().unwrap().generation());
            assert_eq!(taken.generation(), State(taken.0 + (1 << 30)).generation());
            assert_ne!(taken.generation(), state.generation());
            seen.push(taken.generation());
            // As the programs give a place back.
            state = State(taken.0.wrapping_sub(State::TAKEN));
            assert_eq!(state.0 & !State::GENERATION, 5);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1 << 14);
    }
}
