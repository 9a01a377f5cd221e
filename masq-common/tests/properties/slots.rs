//! Who owns an external port: the packed words, and the claim under real concurrency.
//!
//! The threads below follow the protocol of the kernel programs step by step (see
//! `masq_common::mapping`): the words of the slots change by compare-and-swap only, and the
//! mapping table can insert without overwriting and delete, nothing more.

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
    mapping::{Mapping, Owner, SLOTS_PER_WAN, SlotState, protocol_index, slot_index},
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
const THREADS: u64 = 4;
const STEPS: u32 = 40_000;

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
    mappings: Mutex<HashMap<u16, Mapping>>,
    claims: AtomicU64,
    joins: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
    invited: AtomicU64,
}

/// A session that holds a port.
struct Session {
    endpoint: u16,
    mapping: Mapping,
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

    /// A new session of `endpoint`; `None` if there is no port for it at the moment.
    fn open(&self, endpoint: u16, dice: &mut Dice) -> Option<Session> {
        let known = self.mappings.lock().unwrap().get(&endpoint).copied();
        dice.maybe_interrupt();
        match known {
            Some(mapping) => self.join(endpoint, mapping, dice),
            None => self.create(endpoint, dice),
        }
    }

    fn join(&self, endpoint: u16, mapping: Mapping, dice: &mut Dice) -> Option<Session> {
        let session = Session { endpoint, mapping };
        loop {
            let state = self.state(session.port());
            let Some(joined) = state.joined(mapping.generation) else {
                self.refused.fetch_add(1, SeqCst);
                return None;
            };
            dice.maybe_interrupt();
            if self.swap(session.port(), state, joined) {
                self.joins.fetch_add(1, SeqCst);
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
        let session = self.join(holder.id.get(), mapping, dice);
        self.invited.fetch_add(u64::from(session.is_some()), SeqCst);
        session
    }

    fn create(&self, endpoint: u16, dice: &mut Dice) -> Option<Session> {
        let start = dice.roll(PORTS as u64) as usize;
        let (port, free) = (0..PORTS).map(|n| (start + n) % PORTS).find_map(|port| {
            let state = self.state(port);
            dice.maybe_interrupt();
            let reserved = state.is_free() && self.swap(port, state, state.reserved());
            reserved.then_some((port, state))
        })?;
        self.claims.fetch_add(1, SeqCst);
        let before = self.slots[port].witness.swap(owner(endpoint), SeqCst);
        assert_eq!(before, 0, "port {port} claimed while it was owned");
        dice.maybe_interrupt();
        self.slots[port].owner.store(owner(endpoint), SeqCst);
        assert!(self.swap(port, free.reserved(), free.claimed()), "a reserved slot was changed");
        dice.maybe_interrupt();

        let external = Id::new(port as u16);
        let mapping = Mapping { generation: free.claimed().generation(), external, zero: 0 };
        let theirs = {
            let mut mappings = self.mappings.lock().unwrap();
            let theirs = mappings.get(&endpoint).copied();
            theirs.is_none().then(|| mappings.insert(endpoint, mapping));
            theirs
        };
        match theirs {
            None => Some(Session { endpoint, mapping }),
            Some(theirs) => {
                self.lost.fetch_add(1, SeqCst);
                // Somebody outside may have joined: then that session is the last one to go.
                self.close(&Session { endpoint, mapping }, dice);
                self.join(endpoint, theirs, dice)
            }
        }
    }

    fn close(&self, session: &Session, dice: &mut Dice) {
        let port = session.port();
        let before = SlotState(self.slots[port].state.fetch_sub(1, SeqCst));
        if !before.left().expect("a session held the port").is_retiring() {
            return;
        }
        dice.maybe_interrupt();
        let mut mappings = self.mappings.lock().unwrap();
        if mappings.get(&session.endpoint) == Some(&session.mapping) {
            mappings.remove(&session.endpoint);
        }
        drop(mappings);
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
        assert_eq!(slot.owner.load(SeqCst), owner(session.endpoint), "slot names another owner");
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
    assert_eq!(generations, shared.claims.load(SeqCst), "each claim is one generation");
    // The threads did meet: otherwise the above says little.
    let Shared { joins, refused, lost, invited, .. } = &shared;
    for (what, counter) in
        [("joined", joins), ("refused", refused), ("lost", lost), ("invited", invited)]
    {
        assert!(counter.load(SeqCst) > 100, "{what} {counter:?} times only");
    }
}
