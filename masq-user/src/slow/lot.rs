//! Where fragments wait for the first one of their datagram (RFC 4787 REQ-14). Pure: the clock is
//! an argument.
//!
//! What a flood of fragments without first ones can take is bounded (REQ-14a), and one that is
//! too much is dropped itself: nobody else's fragment gives way to it. In-order fragments never
//! come here.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use masq_common::{be::Addr, fragment::Datagram, slow::Head};

/// How long fragments of a datagram wait, from the first of them to come. Packets that overtake
/// each other do so within milliseconds.
pub const TIME: Duration = Duration::from_secs(2);

/// How many bytes wait in all, from the IP header on.
pub const BYTES: usize = 256 * 1024;

/// Of how many datagrams of one source address fragments wait.
pub const DATAGRAMS: usize = 64;

/// How many fragments of one datagram wait.
pub const FRAGMENTS: usize = 16;

/// A waiting fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// How it came.
    pub head: Head,
    /// The packet from the IP header on, as received.
    pub packet: Vec<u8>,
}

/// Which bound a fragment has met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// [`BYTES`].
    Bytes,
    /// [`DATAGRAMS`].
    Source,
    /// [`FRAGMENTS`].
    Datagram,
}

/// A datagram whose first fragment is missing.
#[derive(Debug)]
struct Waiting {
    /// Its place in the order of expiry.
    place: Place,
    fragments: Vec<Parked>,
}

/// When something expires; the number tells those of the same instant apart.
type Place = (Instant, u64);

/// The parking lot.
#[derive(Debug, Default)]
pub struct Lot {
    datagrams: HashMap<Datagram, Waiting>,
    /// How many of them each source has; none that has none.
    sources: HashMap<Addr, usize>,
    expiry: BTreeMap<Place, Datagram>,
    /// Number of the next place.
    next: u64,
    bytes: usize,
    fragments: usize,
}

impl Lot {
    /// Lets a fragment of `datagram` wait, if there is room.
    pub fn park(&mut self, now: Instant, datagram: Datagram, parked: Parked) -> Result<(), Full> {
        if self.bytes + parked.packet.len() > BYTES {
            return Err(Full::Bytes);
        }
        let bytes = parked.packet.len();
        if let Some(waiting) = self.datagrams.get_mut(&datagram) {
            if waiting.fragments.len() >= FRAGMENTS {
                return Err(Full::Datagram);
            }
            waiting.fragments.push(parked);
        } else {
            let count = self.sources.get(&datagram.source).copied().unwrap_or_default();
            if count >= DATAGRAMS {
                return Err(Full::Source);
            }
            self.sources.insert(datagram.source, count + 1);
            let place = (now + TIME, self.next);
            self.next += 1;
            self.expiry.insert(place, datagram);
            self.datagrams.insert(datagram, Waiting { place, fragments: vec![parked] });
        }
        self.bytes += bytes;
        self.fragments += 1;
        Ok(())
    }

    /// Takes all waiting fragments of a datagram, in the order in which they came.
    pub fn take(&mut self, datagram: &Datagram) -> Vec<Parked> {
        let Some(Waiting { place, fragments }) = self.datagrams.remove(datagram) else {
            return Vec::new();
        };
        self.expiry.remove(&place);
        if let Some(count) = self.sources.get_mut(&datagram.source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&datagram.source);
            }
        }
        self.fragments -= fragments.len();
        self.bytes -= fragments.iter().map(|parked| parked.packet.len()).sum::<usize>();
        fragments
    }

    /// Drops the fragments whose time is over; returns how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        let before = self.fragments;
        while let Some((&(until, _), &datagram)) = self.expiry.first_key_value()
            && until <= now
        {
            self.take(&datagram);
        }
        before - self.fragments
    }

    /// When the next fragments expire.
    pub fn deadline(&self) -> Option<Instant> {
        self.expiry.first_key_value().map(|(&(until, _), _)| until)
    }

    /// How many fragments wait.
    pub const fn fragments(&self) -> usize {
        self.fragments
    }

    /// How many bytes they are.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(source: u8, identification: u16) -> Datagram {
        let source = Addr::from_octets([192, 168, 1, source]);
        Datagram { source, identification, protocol: 17, ..Datagram::default() }
    }

    fn parked(tag: u8, length: usize) -> Parked {
        Parked { head: Head::default(), packet: vec![tag; length] }
    }

    #[test]
    fn fragments_are_taken_once_and_in_order() {
        let (mut lot, now) = (Lot::default(), Instant::now());
        for tag in [3, 1, 2] {
            assert_eq!(lot.park(now, datagram(1, 7), parked(tag, 30)), Ok(()));
        }
        assert_eq!(lot.park(now, datagram(2, 7), parked(9, 30)), Ok(()), "another datagram");
        assert_eq!((lot.fragments(), lot.bytes()), (4, 120));
        let tags: Vec<u8> = lot.take(&datagram(1, 7)).iter().map(|p| p.packet[0]).collect();
        assert_eq!(tags, [3, 1, 2]);
        assert_eq!(lot.take(&datagram(1, 7)), []);
        assert_eq!((lot.fragments(), lot.bytes()), (1, 30));
    }

    #[test]
    fn nothing_waits_longer_than_its_time() {
        let (mut lot, begin) = (Lot::default(), Instant::now());
        let later = begin + TIME / 2;
        lot.park(begin, datagram(1, 1), parked(0, 30)).unwrap();
        lot.park(later, datagram(1, 1), parked(0, 30)).unwrap();
        lot.park(later, datagram(1, 2), parked(0, 30)).unwrap();
        assert_eq!(lot.deadline(), Some(begin + TIME));
        assert_eq!(lot.expire(begin + TIME - Duration::from_nanos(1)), 0);
        assert_eq!(lot.expire(begin + TIME), 2);
        assert_eq!(lot.deadline(), Some(later + TIME));
        assert_eq!(lot.expire(later + TIME), 1);
        assert_eq!((lot.deadline(), lot.fragments(), lot.bytes()), (None, 0, 0));
    }

    #[test]
    fn each_bound_turns_the_new_one_away() {
        let (mut lot, now) = (Lot::default(), Instant::now());
        for _ in 0..FRAGMENTS {
            lot.park(now, datagram(1, 0), parked(0, 30)).unwrap();
        }
        assert_eq!(lot.park(now, datagram(1, 0), parked(0, 30)), Err(Full::Datagram));
        for identification in 1..DATAGRAMS as u16 {
            lot.park(now, datagram(1, identification), parked(0, 30)).unwrap();
        }
        assert_eq!(lot.park(now, datagram(1, 9999), parked(0, 30)), Err(Full::Source));
        assert_eq!(lot.park(now, datagram(2, 9999), parked(0, 30)), Ok(()), "another source");
        let rest = BYTES - lot.bytes();
        assert_eq!(lot.park(now, datagram(3, 1), parked(0, rest + 1)), Err(Full::Bytes));
        assert_eq!(lot.park(now, datagram(3, 1), parked(0, rest)), Ok(()));
        assert_eq!(lot.bytes(), BYTES);
        assert_eq!(lot.take(&datagram(1, 0)).len(), FRAGMENTS, "nothing has given way");
    }

    proptest! {
        #[test]
        fn the_books_balance_and_no_bound_is_crossed(
            steps in proptest::collection::vec((0_u8..4, 0_u8..3, 0_u16..80, 20_usize..9000), 1..400),
        ) {
            let (mut lot, begin) = (Lot::default(), Instant::now());
            let (mut now, mut came, mut gone) = (begin, 0, 0);
            for (step, source, identification, length) in steps {
                let datagram = datagram(source, identification);
                match step {
                    0 => gone += lot.take(&datagram).len(),
                    1 => {
                        now += Duration::from_millis(length as u64 / 20);
                        gone += lot.expire(now);
                    }
                    _ => came += usize::from(lot.park(now, datagram, parked(1, length)).is_ok()),
                }
                prop_assert_eq!(lot.fragments(), came - gone);
                prop_assert!(lot.bytes() <= BYTES);
                prop_assert!(lot.deadline().is_none_or(|end| end > now - TIME && end <= now + TIME));
                prop_assert!(lot.sources.values().all(|&count| (1..=DATAGRAMS).contains(&count)));
                let held = lot.datagrams.values();
                prop_assert_eq!(held.map(|w| w.fragments.len()).sum::<usize>(), lot.fragments());
                prop_assert_eq!(lot.expiry.len(), lot.datagrams.len());
            }
            lot.expire(now + TIME);
            prop_assert_eq!((lot.fragments(), lot.bytes(), lot.sources.len()), (0, 0, 0));
        }
    }
}
