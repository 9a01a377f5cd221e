//! Who owns an external port: the packed words, and the claim under real concurrency.
//!
//! The threads below follow the protocol of the kernel programs step by step (see
//! `masq_common::mapping`): the words of the slots change by compare-and-swap only, the hash of mappings can
//! insert without overwriting and delete, nothing more, and a lock is tried for some time only.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use masq_common::{
    be::{Addr, Id},
    flow::{ICMP, TCP, UDP},
    mapping::{Making, Mapping, Owner, SLOTS_PER_WAN, SlotState, protocol_index, slot_index},
    settings::MAX_WANS,
};
use proptest::prelude::*;

use crate::packet::{addr, id};

/// Any word; few sessions, very many and none are frequent.
fn state() -> impl Strategy<Value = SlotState> {
    let sessions = prop_oneof![0_u32..4, u32::MAX - 3..=u32::MAX, any::<u32>()];
    let generation = prop_oneof![any::<u32>(), Just(0), Just(u32::MAX)];
    (generation, sessions).prop_map(|(g, s)| SlotState(u64::from(g) << 32 | u64::from(s)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_slot_is_free_held_or_retiring(state in state()) {
        let states = [state.is_free(), state.is_held(), state.is_retiring()];
        prop_assert_eq!(states.iter().filter(|&&is| is).count(), 1);
    }

    #[test]
    fn joining_and_leaving_cancel_and_never_change_the_generation(state in state()) {
        let generation = state.generation();
        match state.joined(generation) {
            Some(joined) => {
                prop_assert!(state.is_held() && joined.is_held());
                prop_assert_eq!(joined.generation(), generation);
                prop_assert_eq!(joined.sessions(), state.sessions() + 1);
                prop_assert_eq!(joined.left(), Some(state));
            }
            None => prop_assert!(!state.is_held() || state.sessions() == SlotState::MAX_SESSIONS),
        }
        prop_assert_eq!(state.joined(generation.wrapping_add(1)), None);
    }

    #[test]
    fn leaving_counts_down_to_retiring(state in state()) {
        match state.left() {
            Some(left) if state.sessions() == 1 => {
                prop_assert!(left.is_retiring());
                prop_assert_eq!(left.left(), None);
                prop_assert!(left.freed().is_free());
                prop_assert_eq!(left.freed().generation(), state.generation());
            }
            Some(left) => prop_assert_eq!(left.sessions() + 1, state.sessions()),
            None => prop_assert!(!state.is_held()),
        }
    }

    /// Sessions are given back by a subtraction that does not look: it must come to the same.
    #[test]
    fn leaving_is_a_subtraction(state in state()) {
        if let Some(left) = state.left() {
            prop_assert_eq!(left.0, state.0 - 1);
        }
    }

    #[test]
    fn each_claim_is_a_new_generation(generation: u32) {
        let free = SlotState(u64::from(generation) << 32);
        let (reserved, claimed) = (free.reserved(), free.claimed());
        prop_assert!(!reserved.is_free() && !reserved.is_held());
        prop_assert_eq!(reserved.generation(), claimed.generation());
        prop_assert_eq!(reserved.joined(reserved.generation()), None);
        prop_assert_eq!(claimed.generation(), generation.wrapping_add(1));
        prop_assert_eq!((claimed.sessions(), claimed.is_held()), (1, true));
        prop_assert_eq!(claimed.joined(generation), None);
    }

    #[test]
    fn owners_survive_packing(address in addr(), id in id()) {
        let owner = Owner { address, id };
        prop_assert_eq!(Owner::unpack(owner.pack()), owner);
    }

    #[test]
    fn only_translated_protocols_have_slots(wan: u8, protocol: u8, id in id()) {
        let translated = [TCP, UDP, ICMP].contains(&protocol);
        prop_assert_eq!(slot_index(wan % MAX_WANS as u8, protocol, id).is_some(), translated);
        prop_assert_eq!(protocol_index(protocol).is_some(), translated);
    }
}

#[test]
fn each_slot_has_one_port() {
    let mut taken = vec![false; (MAX_WANS * SLOTS_PER_WAN) as usize];
    for wan in 0..MAX_WANS as u8 {
        for (protocol, id) in
            [TCP, UDP, ICMP].into_iter().flat_map(|p| (0..=u16::MAX).map(move |id| (p, id)))
        {
            let slot = slot_index(wan, protocol, Id::new(id)).unwrap() as usize;
            assert!(!std::mem::replace(&mut taken[slot], true), "slot {slot} twice");
        }
    }
}

const PORTS: usize = 4;
const ENDPOINTS: u16 = 7;
/// Fewer than endpoints: some share one.
const WORDS: usize = 3;
const THREADS: u64 = 4;
const STEPS: u32 = 150_000;

/// One slot, and beside it who owns it as the test sees it: written by plain exchange, so that
/// two owners at once cannot go unnoticed.
#[derive(Default)]
struct Slot {
    state: AtomicU64,
    owner: AtomicU64,
    witness: AtomicU64,
}

/// What the kernel programs share.
#[derive(Default)]
struct Shared {
    slots: [Slot; PORTS],
    /// [`Making`].
    words: [AtomicU64; WORDS],
    mappings: Mutex<HashMap<u16, Mapping>>,
    /// The mapping of each endpoint as the test sees it, and how many of its sessions have it.
    witness: Mutex<HashMap<u16, (Mapping, u32)>>,
    claims: AtomicU64,
    joins: AtomicU64,
    seen_in_hash: AtomicU64,
    seen_in_slot: AtomicU64,
    not_looked_for: AtomicU64,
    refused: AtomicU64,
    invited: AtomicU64,
    preserved: AtomicU64,
}

/// A session that holds a port.
struct Session {
    endpoint: u16,
    mapping: Mapping,
    /// Opened from outside, by who knew the port: perhaps that of an endpoint that then gets another one.
    invited: bool,
}

impl Session {
    fn port(&self) -> usize {
        usize::from(self.mapping.external.get())
    }
}

fn owner(endpoint: u16) -> u64 {
    Owner { address: Addr::from_octets([192, 168, 1, 10]), id: Id::new(endpoint) }.pack()
}

/// Randomness and a scheduler that likes to interrupt.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn maybe_interrupt(&mut self) {
        match self.roll(8) {
            0 => thread::yield_now(),
            1 => (0..self.roll(200)).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }
}

impl Shared {
    fn state(&self, port: usize) -> SlotState {
        SlotState(self.slots[port].state.load(SeqCst))
    }

    fn swap(&self, port: usize, from: SlotState, to: SlotState) -> bool {
        self.slots[port].state.compare_exchange(from.0, to.0, SeqCst, SeqCst).is_ok()
    }

    /// The mapping of an endpoint that has preserved its port, and whether it can be joined. Endpoints without
    /// such a port have none.
    fn preserved(&self, endpoint: u16, dice: &mut Dice) -> Option<(Mapping, bool)> {
        let slot = self.slots.get(usize::from(endpoint))?;
        let state = SlotState(slot.state.load(SeqCst));
        dice.maybe_interrupt();
        let there = slot.owner.load(SeqCst) == owner(endpoint) | Owner::PRESERVED;
        let (generation, external) = (state.generation(), Id::new(endpoint));
        let mapping = Mapping { generation, external, zero: 0 };
        (!state.is_free() && there).then_some((mapping, state.is_held()))
    }

    /// A new session of `endpoint`; `None` if there is no port for it at the moment.
    fn open(&self, endpoint: u16, dice: &mut Dice) -> Option<Session> {
        let preserved = self.preserved(endpoint, dice);
        dice.maybe_interrupt();
        let known = match preserved {
            Some((_, false)) => {
                self.refused.fetch_add(1, SeqCst);
                return None;
            }
            Some((mapping, true)) => Some(mapping),
            None => self.listed(endpoint, dice),
        };
        dice.maybe_interrupt();
        match known {
            Some(mapping) => self.join(Session { endpoint, mapping, invited: false }, dice),
            None => self.create(endpoint, dice),
        }
    }

    fn word(&self, endpoint: u16) -> &AtomicU64 {
        &self.words[usize::from(endpoint) % WORDS]
    }

    /// The mapping of an endpoint that is in the hash.
    fn listed(&self, endpoint: u16, dice: &mut Dice) -> Option<Mapping> {
        if !Making(self.word(endpoint).load(SeqCst)).is_listed() {
            self.not_looked_for.fetch_add(1, SeqCst);
            return None;
        }
        dice.maybe_interrupt();
        self.mappings.lock().unwrap().get(&endpoint).copied()
    }

    fn join(&self, session: Session, dice: &mut Dice) -> Option<Session> {
        loop {
            let state = self.state(session.port());
            let Some(joined) = state.joined(session.mapping.generation) else {
                self.refused.fetch_add(1, SeqCst);
                return None;
            };
            dice.maybe_interrupt();
            if self.swap(session.port(), state, joined) {
                self.joins.fetch_add(1, SeqCst);
                self.appear(&session);
                return Some(session);
            }
        }
    }

    /// A new session that somebody outside has opened: whoever holds the port is asked first, and
    /// must still be the one when the session has joined.
    fn open_from_outside(&self, port: usize, dice: &mut Dice) -> Option<Session> {
        let state = self.state(port);
        dice.maybe_interrupt();
        let holder = Owner::unpack(self.slots[port].owner.load(SeqCst));
        dice.maybe_interrupt();
        if !state.is_held() {
            return None;
        }
        let external = Id::new(port as u16);
        let mapping = Mapping { generation: state.generation(), external, zero: 0 };
        let session = Session { endpoint: holder.id.get(), mapping, invited: true };
        let session = self.join(session, dice);
        self.invited.fetch_add(u64::from(session.is_some()), SeqCst);
        session
    }

    fn lock(&self, endpoint: u16, dice: &mut Dice) -> bool {
        let word = self.word(endpoint);
        (0..200).any(|_| {
            let there = Making(word.load(SeqCst));
            dice.maybe_interrupt();
            there.locked().is_some_and(|locked| {
                word.compare_exchange(there.0, locked.0, SeqCst, SeqCst).is_ok()
            })
        })
    }

    fn unlock(&self, endpoint: u16) {
        self.word(endpoint).fetch_sub(Making::LOCKED, SeqCst);
    }

    /// Takes a port if it is free.
    fn claim(&self, port: usize, endpoint: u16, mark: u64, dice: &mut Dice) -> Option<Mapping> {
        let free = self.state(port);
        dice.maybe_interrupt();
        if !free.is_free() || !self.swap(port, free, free.reserved()) {
            return None;
        }
        self.claims.fetch_add(1, SeqCst);
        let before = self.slots[port].witness.swap(owner(endpoint), SeqCst);
        assert_eq!(before, 0, "port {port} claimed while it was owned");
        dice.maybe_interrupt();
        self.slots[port].owner.store(owner(endpoint) | mark, SeqCst);
        assert!(self.swap(port, free.reserved(), free.claimed()), "a reserved slot was changed");
        dice.maybe_interrupt();
        let external = Id::new(port as u16);
        Some(Mapping { generation: free.claimed().generation(), external, zero: 0 })
    }

    fn create(&self, endpoint: u16, dice: &mut Dice) -> Option<Session> {
        let session = |mapping| Session { endpoint, mapping, invited: false };
        if let Some(mapping) = self.preserve(endpoint, dice)? {
            self.preserved.fetch_add(1, SeqCst);
            self.appear(&session(mapping));
            return Some(session(mapping));
        }
        let start = dice.roll(PORTS as u64) as usize;
        let mut ports = (0..PORTS).map(|n| (start + n) % PORTS);
        let mapping = ports.find_map(|port| self.claim(port, endpoint, 0, dice))?;
        if !self.enter(endpoint, mapping, dice) {
            // Somebody outside may have joined: then that session is the last one to go.
            self.leave(&session(mapping), dice);
            return None;
        }
        self.appear(&session(mapping));
        Some(session(mapping))
    }

    /// A mapping with the endpoint's own port, if that is to be had; `None` if it is to try again.
    fn preserve(&self, endpoint: u16, dice: &mut Dice) -> Option<Option<Mapping>> {
        let port = usize::from(endpoint);
        if port >= PORTS || !self.state(port).is_free() {
            return Some(None);
        }
        if !self.lock(endpoint, dice) {
            return None;
        }
        let listed = self.listed(endpoint, dice).is_some();
        dice.maybe_interrupt();
        let mapping =
            (!listed).then(|| self.claim(port, endpoint, Owner::PRESERVED, dice)).flatten();
        self.unlock(endpoint);
        self.seen_in_hash.fetch_add(u64::from(listed), SeqCst);
        (!listed).then_some(mapping)
    }

    /// Enters a mapping into the hash, unless there is one for the endpoint.
    fn enter(&self, endpoint: u16, mapping: Mapping, dice: &mut Dice) -> bool {
        if !self.lock(endpoint, dice) {
            return false;
        }
        let preserved = self.preserved(endpoint, dice).is_some();
        self.seen_in_slot.fetch_add(u64::from(preserved), SeqCst);
        dice.maybe_interrupt();
        let entered = !preserved && {
            self.word(endpoint).fetch_add(Making::LISTED, SeqCst);
            dice.maybe_interrupt();
            let mut mappings = self.mappings.lock().unwrap();
            let free = !mappings.contains_key(&endpoint);
            free.then(|| mappings.insert(endpoint, mapping));
            drop(mappings);
            dice.maybe_interrupt();
            if !free {
                self.word(endpoint).fetch_sub(Making::LISTED, SeqCst);
            }
            free
        };
        dice.maybe_interrupt();
        self.unlock(endpoint);
        entered
    }

    /// At any time, all sessions that an endpoint has opened itself have the same mapping.
    fn appear(&self, session: &Session) {
        if session.invited {
            return;
        }
        let mut witness = self.witness.lock().unwrap();
        let (mapping, count) = witness.entry(session.endpoint).or_insert((session.mapping, 0));
        assert_eq!(*mapping, session.mapping, "two mappings of endpoint {}", session.endpoint);
        *count += 1;
    }

    fn close(&self, session: &Session, dice: &mut Dice) {
        if !session.invited {
            let mut witness = self.witness.lock().unwrap();
            let (_, count) = witness.get_mut(&session.endpoint).expect("it has appeared");
            *count -= 1;
            if *count == 0 {
                witness.remove(&session.endpoint);
            }
        }
        self.leave(session, dice);
    }

    fn leave(&self, session: &Session, dice: &mut Dice) {
        let port = session.port();
        let before = SlotState(self.slots[port].state.fetch_sub(1, SeqCst));
        if !before.left().expect("a session held the port").is_retiring() {
            return;
        }
        dice.maybe_interrupt();
        // A slot that is retiring keeps its owner.
        if self.slots[port].owner.load(SeqCst) & Owner::PRESERVED == 0 {
            let found = self.listed(session.endpoint, dice);
            dice.maybe_interrupt();
            if found == Some(session.mapping) {
                self.mappings.lock().unwrap().remove(&session.endpoint);
                dice.maybe_interrupt();
                self.word(session.endpoint).fetch_sub(Making::LISTED, SeqCst);
            }
        }
        dice.maybe_interrupt();
        let witness = self.slots[port].witness.swap(0, SeqCst);
        assert_eq!(witness, owner(session.endpoint), "port {port} freed by another than its owner");
        let state = self.state(port);
        assert!(state.is_retiring() && self.swap(port, state, state.freed()), "still retiring");
    }

    /// What must hold from the moment a session holds a port until it lets go.
    fn check(&self, session: &Session) {
        let slot = &self.slots[session.port()];
        let state = self.state(session.port());
        assert!(state.is_held());
        assert_eq!(state.generation(), session.mapping.generation);
        assert_eq!(slot.witness.load(SeqCst), owner(session.endpoint), "port has another owner");
        let named = slot.owner.load(SeqCst) & !Owner::PRESERVED;
        assert_eq!(named, owner(session.endpoint), "slot names another owner");
    }

    /// One thread: opens and closes sessions at random, holds few, closes all in the end.
    fn live(&self, seed: u64) {
        let dice = &mut Dice(seed);
        let mut held: Vec<Session> = Vec::new();
        for _ in 0..STEPS {
            if held.len() < 3 && dice.roll(2) == 0 {
                let endpoint = dice.roll(u64::from(ENDPOINTS)) as u16;
                held.extend(match dice.roll(4) {
                    0 => self.open_from_outside(dice.roll(PORTS as u64) as usize, dice),
                    _ => self.open(endpoint, dice),
                });
            } else if !held.is_empty() {
                let session = held.swap_remove(dice.roll(held.len() as u64) as usize);
                self.check(&session);
                self.close(&session, dice);
            }
            held.iter().for_each(|session| self.check(session));
        }
        held.iter().for_each(|session| self.close(session, dice));
    }
}

#[test]
fn a_port_never_has_two_owners_and_all_are_free_in_the_end() {
    let shared = Shared::default();
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let shared = &shared;
            scope.spawn(move || shared.live(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        }
    });

    let mut generations = 0;
    for slot in &shared.slots {
        let state = SlotState(slot.state.load(SeqCst));
        assert!(state.is_free() && state.sessions() == 0, "{state:?}");
        assert_eq!(slot.witness.load(SeqCst), 0);
        generations += u64::from(state.generation());
    }
    assert!(shared.mappings.lock().unwrap().is_empty());
    assert!(shared.words.iter().all(|word| word.load(SeqCst) == 0), "{:?}", shared.words);
    assert_eq!(generations, shared.claims.load(SeqCst), "each claim is one generation");
    // The threads did meet: otherwise the above says little.
    for (what, counter, enough) in [
        ("joined", &shared.joins, 100),
        ("refused", &shared.refused, 100),
        ("not looked for", &shared.not_looked_for, 100),
        ("invited", &shared.invited, 100),
        ("preserved", &shared.preserved, 100),
        // The other one was faster in the moment between two looks.
        ("seen in the hash", &shared.seen_in_hash, 1),
        ("seen in the slot", &shared.seen_in_slot, 1),
    ] {
        let counter = counter.load(SeqCst);
        println!("{what} {counter} times");
        assert!(counter >= enough, "{what} {counter} times only");
    }
}
