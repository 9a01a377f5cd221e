//! What each half of a session had sent at the last look.
//!
//! Bounded: some 57 thousand sessions are remembered whatever they do, and as many more that send, in
//! about ten megabytes. As long as all are, every rate is exact.

use std::collections::{HashMap, hash_map::Entry};

use masq_common::{
    flow::FlowKey,
    session::SessionHalf,
    time::{Span, Tick},
};

/// Halves that are remembered: what fits a hash table of 2^18 places.
const ROOM: usize = (1 << 18) / 8 * 7;

/// Whoever has sent so shortly before the first look will send until the second one, as far as anybody
/// can tell.
const RECENT: Span = Span::from_secs(1);

/// One half at the last look.
#[derive(Clone, Copy, Debug)]
struct Past {
    /// Bytes by then.
    bytes: u64,
    /// How many of them since the look before.
    sent: u64,
    /// In which look it was seen.
    look: u32,
    /// Whether a packet of it has passed since the look before; before the first one, [recently](RECENT).
    active: bool,
}

/// See the module text.
#[derive(Debug)]
pub struct Memory {
    halves: HashMap<FlowKey, Past>,
    room: usize,
    look: u32,
    /// Time since the look before; none in the first.
    elapsed: Option<Span>,
    not_remembered: u64,
}

impl Memory {
    /// Remembers nothing.
    pub fn new() -> Self {
        Self { halves: HashMap::new(), room: ROOM, look: 0, elapsed: None, not_remembered: 0 }
    }

    /// A look begins, so long after the one before.
    pub fn begin(&mut self, elapsed: Option<Span>) {
        self.look = self.look.wrapping_add(1);
        self.elapsed = elapsed;
        self.not_remembered = 0;
    }

    /// What a half has sent since the last look; nothing in the first one.
    pub fn sent(&mut self, half: &SessionHalf, now: Tick) -> u64 {
        let Self { look, elapsed, .. } = *self;
        let count = self.halves.len();
        let active = now.since(half.last_seen) <= elapsed.unwrap_or(RECENT);
        match self.halves.entry(half.key()) {
            Entry::Occupied(mut past) => {
                let past = past.get_mut();
                // Fewer bytes than before: another session of the same tuple.
                let sent = half.bytes.checked_sub(past.bytes).unwrap_or(half.bytes);
                *past = Past { bytes: half.bytes, sent, look, active };
                sent
            }
            Entry::Vacant(place) => {
                // An old one may have been there without being remembered.
                let is_new = elapsed.is_some_and(|elapsed| now.since(half.created) <= elapsed);
                let sent = if is_new { half.bytes } else { 0 };
                if count < self.room / 2 || count < self.room && active {
                    place.insert(Past { bytes: half.bytes, sent, look, active });
                } else {
                    self.not_remembered += 1;
                }
                sent
            }
        }
    }

    /// The look is over: forgets what has gone, and the idle if there was not enough room. Returns how
    /// many halves found none.
    pub fn end(&mut self) -> u64 {
        let Self { look, not_remembered, .. } = *self;
        self.halves.retain(|_, past| past.look == look && (not_remembered == 0 || past.active));
        not_remembered
    }

    /// What a half has sent between the last two looks.
    pub fn last_sent(&self, key: &FlowKey) -> u64 {
        self.halves.get(key).map_or(0, |past| past.sent)
    }
}

#[cfg(test)]
mod tests {
    use masq_common::{
        be::{Addr, Id},
        flow::{Tuple, UDP},
        session::SessionPair,
    };

    use super::*;

    fn half(port: u16, bytes: u64, created: u32, last_seen: u32) -> SessionHalf {
        let key = Tuple {
            source: Addr::from_octets([192, 168, 1, 10]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(port),
            destination_id: Id::new(53),
        }
        .key(UDP);
        let external = Addr::from_octets([203, 0, 113, 5]);
        let pair = SessionPair::masquerade(key, external, Id::new(port), 0, 0, Tick(created));
        SessionHalf { bytes, last_seen: Tick(last_seen), ..pair.outbound }
    }

    fn memory(room: usize) -> Memory {
        Memory { room, ..Memory::new() }
    }

    #[test]
    fn what_was_sent_between_two_looks_is_the_difference() {
        let mut memory = memory(100);
        memory.begin(None);
        assert_eq!(memory.sent(&half(1, 5_000, 10, 10), Tick(20)), 0, "the first look");
        memory.end();
        memory.begin(Some(Span(8)));
        assert_eq!(memory.sent(&half(1, 5_700, 10, 25), Tick(28)), 700);
        assert_eq!(memory.sent(&half(2, 90, 22, 25), Tick(28)), 90, "all of a new session");
        assert_eq!(memory.sent(&half(3, 90, 10, 25), Tick(28)), 0, "an old one, never seen");
        assert_eq!(memory.end(), 0);
        assert_eq!(memory.last_sent(&half(1, 0, 0, 0).key()), 700);
        memory.begin(Some(Span(8)));
        assert_eq!(memory.sent(&half(1, 30, 30, 35), Tick(36)), 30, "another of the same tuple");
    }

    #[test]
    fn what_has_gone_is_forgotten() {
        let mut memory = memory(100);
        memory.begin(None);
        memory.sent(&half(1, 100, 1, 1), Tick(2));
        memory.end();
        memory.begin(Some(Span(8)));
        memory.end();
        assert!(memory.halves.is_empty());
    }

    #[test]
    fn without_room_those_that_send_are_remembered() {
        let mut memory = memory(8);
        let mut bytes = [0_u64; 20];
        let mut last = [0_u64; 20];
        for look in 0..4_u32 {
            memory.begin((look > 0).then_some(Span(8)));
            let now = 100 + look * 8;
            for port in 0..20_u16 {
                // The last three send all the time.
                let sends = port >= 17;
                bytes[usize::from(port)] += if sends { 1_000 } else { 0 };
                let seen = if sends { now } else { 1 };
                let half = half(port, bytes[usize::from(port)], 1, seen);
                last[usize::from(port)] = memory.sent(&half, Tick(now));
            }
            let not_remembered = memory.end();
            assert!(memory.halves.len() <= 8);
            assert!(not_remembered >= 12, "{not_remembered}");
            // From the second look on.
            assert_eq!(last[17..], [if look > 0 { 1_000 } else { 0 }; 3], "look {look}");
            assert_eq!(last[..17], [0; 17], "look {look}");
        }
    }
}
