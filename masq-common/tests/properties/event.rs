//! Numbers and bytes from the other side of the kernel boundary: nothing panics, nothing is
//! mistaken for something else.

use masq_common::{
    event::{CloseCause, Event},
    reason::{COUNTERS, Class, Reason},
    settings::Filtering,
};
use proptest::{collection::vec, prelude::*};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn only_bytes_of_the_right_length_are_an_event(bytes in vec(any::<u8>(), 0..200)) {
        let event = Event::from_bytes(&bytes);
        prop_assert_eq!(event.is_some(), bytes.len() == size_of::<Event>());
    }

    #[test]
    fn any_bytes_decode_to_themselves(bytes in vec(any::<u8>(), 80), shift in 0_usize..8) {
        // Records of the ring buffer stand at any alignment once they are copied.
        let mut padded = vec![0; shift];
        padded.extend_from_slice(&bytes);
        let event = Event::from_bytes(&padded[shift..]).unwrap();
        prop_assert_eq!(bytemuck::bytes_of(&event), bytes.as_slice());
        prop_assert_eq!(event.reason().map(|reason| reason as u8),
            Reason::ALL.iter().map(|&r| r as u8).find(|&n| n == event.reason));
        prop_assert!(!CloseCause::from_number(event.cause).as_str().is_empty());
    }
}

#[test]
fn every_number_is_a_reason_or_none() {
    let known: Vec<_> = (0..=u8::MAX).filter_map(Reason::from_number).collect();
    assert_eq!(known, Reason::ALL);
    assert!(known.iter().all(|&reason| u32::from(reason as u8) < COUNTERS));
}

#[test]
fn only_packets_of_hooks_have_a_verdict_below_the_events() {
    for reason in Reason::ALL {
        let class = match *reason as u8 {
            0..32 => Class::Translated,
            32..64 => Class::Untouched,
            64..96 => Class::Dropped,
            _ => Class::Event,
        };
        assert_eq!(reason.class(), class, "{}", reason.label());
    }
}

#[test]
fn unknown_numbers_are_taken_for_the_careful_choice() {
    for number in 0..=u8::MAX {
        let filtering = Filtering::from_number(number);
        let known = [0, 1, 2].contains(&number);
        assert_eq!(filtering as u8, if known { number } else { 0 });
        let cause = CloseCause::from_number(number) as u8;
        assert_eq!(cause, if known { number } else { CloseCause::Expired as u8 });
    }
}
