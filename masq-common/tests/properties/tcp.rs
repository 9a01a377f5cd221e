//! The phase of a TCP connection, against a model that knows the whole history.

use masq_common::tcp::{ACK, FIN, Phase, RST, SYN, believed, is_near, observe, phase};
use proptest::{collection::vec, prelude::*};

/// A segment: whether it goes out, and its flags.
type Segment = (bool, u8);

fn segment() -> impl Strategy<Value = Segment> {
    let flags = prop_oneof![
        4 => prop::sample::select(vec![SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK, ACK | 8]),
        1 => any::<u8>(),
    ];
    (any::<bool>(), flags)
}

fn run(segments: &[Segment]) -> Phase {
    let seen = |out| {
        segments.iter().filter(|(o, _)| *o == out).fold(0, |seen, (_, flags)| observe(seen, *flags))
    };
    phase(seen(true), seen(false))
}

/// The definition, over the whole history instead of one byte a direction.
fn model(segments: &[Segment]) -> Phase {
    let sent = |out| segments.iter().filter(move |(o, _)| *o == out).map(|(_, flags)| *flags);
    let reset = |out| sent(out).next_back().is_some_and(|flags| flags & RST != 0);
    let syn = |out| sent(out).any(|flags| flags & (SYN | RST) == SYN);
    let later = |out, bit| sent(out).any(|flags| flags & (SYN | RST) == 0 && flags & bit != 0);
    let acked = |out| sent(out).any(|flags| flags & RST == 0 && flags & ACK != 0);
    if reset(true) || reset(false) {
        Phase::Reset
    } else if later(true, FIN) && later(false, FIN) {
        Phase::Closing
    } else if syn(true) && syn(false) && acked(true) && acked(false) {
        Phase::Established
    } else {
        Phase::Opening
    }
}

const HANDSHAKE: [Segment; 3] = [(true, SYN), (false, SYN | ACK), (true, ACK)];
const SIMULTANEOUS: [Segment; 4] =
    [(true, SYN), (false, SYN), (true, SYN | ACK), (false, SYN | ACK)];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_phase_is_that_of_the_history(segments in vec(segment(), 0..12)) {
        prop_assert_eq!(run(&segments), model(&segments));
    }

    #[test]
    fn nothing_whose_last_word_is_a_reset_is_established(
        segments in vec(segment(), 0..12), outbound: bool, others in 0_u8..,
    ) {
        let mut segments = segments;
        segments.push((outbound, RST | others));
        prop_assert_eq!(run(&segments), Phase::Reset);
        // What the other direction goes on to send does not change that.
        segments.extend([(!outbound, ACK), (!outbound, SYN | ACK), (!outbound, SYN)]);
        prop_assert_eq!(run(&segments), Phase::Reset);
    }

    #[test]
    fn data_after_a_forged_reset_restores(
        prefix in vec(segment(), 0..8),
        forged in vec(any::<u8>(), 1..4),
        outbound: bool,
        flags in prop::sample::select(vec![ACK, ACK | 8, FIN | ACK]),
    ) {
        let with: Vec<_> = prefix
            .iter()
            .copied()
            .chain(forged.iter().map(|others| (outbound, RST | others)))
            .chain([(outbound, flags)])
            .collect();
        let without: Vec<_> = prefix.into_iter().chain([(outbound, flags)]).collect();
        prop_assert_eq!(run(&with), run(&without));
    }

    #[test]
    fn a_handshake_in_any_order_and_with_repeats_establishes(
        simultaneous: bool, repeats in vec(any::<prop::sample::Index>(), 0..6), seed: u64,
    ) {
        let handshake: &[Segment] = if simultaneous { &SIMULTANEOUS } else { &HANDSHAKE };
        let mut segments = handshake.to_vec();
        segments.extend(repeats.iter().map(|at| handshake[at.index(handshake.len())]));
        shuffle(&mut segments, seed);
        prop_assert_eq!(run(&segments), Phase::Established);
    }

    #[test]
    fn a_handshake_that_lacks_a_part_does_not_establish(
        missing in 0_usize..3, noise in vec(any::<prop::sample::Index>(), 0..8), seed: u64,
    ) {
        let mut rest = HANDSHAKE.to_vec();
        rest.remove(missing);
        let mut segments = rest.clone();
        segments.extend(noise.iter().map(|at| rest[at.index(2)]));
        shuffle(&mut segments, seed);
        prop_assert_eq!(run(&segments), Phase::Opening);
    }

    #[test]
    fn segments_of_one_direction_alone_never_establish(flags in vec(any::<u8>(), 0..20)) {
        let segments: Vec<_> = flags.into_iter().map(|flags| (false, flags)).collect();
        prop_assert_ne!(run(&segments), Phase::Established);
    }

    /// Whoever does not know the sequence numbers cannot shorten a timer, and cannot move the mark
    /// so that he could the next time.
    #[test]
    fn what_is_far_away_changes_nothing(
        highest: u16, blind in vec((any::<u8>(), any::<u16>()), 0..50),
    ) {
        let (mut seen, mut mark) = (SYN | ACK, highest);
        for (flags, sequence) in blind {
            if is_near(highest, sequence) {
                continue;
            }
            let (flags, moved) = believed(seen, mark, flags, sequence);
            seen = observe(seen, flags);
            mark = moved;
        }
        prop_assert_eq!((seen, mark), (SYN | ACK, highest));
    }

    /// The mark follows a sender over the whole range of numbers, and its FIN is believed.
    #[test]
    fn the_mark_follows_the_sender(start: u32, steps in vec(0_u32..4_000_000, 0..2000)) {
        let mut sequence = start;
        let mut mark = (start >> 16) as u16;
        for step in steps {
            sequence = sequence.wrapping_add(step);
            (_, mark) = believed(SYN, mark, ACK, (sequence >> 16) as u16);
            prop_assert_eq!(mark, (sequence >> 16) as u16);
        }
        prop_assert_eq!(believed(SYN, mark, FIN, (sequence >> 16) as u16).0, FIN);
    }

    #[test]
    fn an_established_connection_closes_only_by_reset_or_two_fins(
        segments in vec(segment(), 0..12), outbound: bool,
    ) {
        let mut all = HANDSHAKE.to_vec();
        all.extend(segments.iter().filter(|(out, flags)| {
            flags & RST == 0 && (*out == outbound || flags & FIN == 0)
        }));
        prop_assert_eq!(run(&all), Phase::Established);
        all.extend([(true, FIN | ACK), (false, FIN | ACK)]);
        prop_assert_eq!(run(&all), Phase::Closing);
    }
}

/// A Fisher–Yates shuffle by a number that shrinks.
fn shuffle(segments: &mut [Segment], mut seed: u64) {
    for last in (1..segments.len()).rev() {
        let choices = last as u64 + 1;
        segments.swap(last, (seed % choices) as usize);
        seed /= choices;
    }
}

/// With RST, SYN, FIN and ACK in any combination: all histories of up to four segments.
#[test]
fn all_short_histories_agree_with_the_model() {
    let letters: Vec<Segment> = (0..32).map(|n| (n >= 16, flags_of(n % 16))).collect();
    let mut histories: Vec<Vec<Segment>> = vec![vec![]];
    for _ in 0..4 {
        histories = histories
            .iter()
            .flat_map(|head| letters.iter().map(move |tail| [head.as_slice(), &[*tail]].concat()))
            .collect();
        for history in &histories {
            assert_eq!(run(history), model(history), "{history:?}");
        }
    }
}

fn flags_of(number: u8) -> u8 {
    [FIN, SYN, RST, ACK]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| number >> bit & 1 == 1)
        .fold(0, |flags, (_, flag)| flags | flag)
}
