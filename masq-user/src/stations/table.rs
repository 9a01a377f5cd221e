//! What a look at the tables of bridges changes in the table of stations. Pure.

use std::collections::HashMap;

use masq_common::link::{Place, STATION_SETS, Station, set};

/// A station as a bridge has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Who, and at which bridge.
    pub station: Station,
    /// Index of the port that it is behind.
    pub port: u32,
}

/// What has to be written.
#[derive(PartialEq, Eq, Default, Debug)]
pub(super) struct Change {
    /// These.
    pub set: Vec<(Station, Place)>,
    /// These go.
    pub remove: Vec<Station>,
    /// Whether one of them was behind another port before, or has gone, without the programs having heard
    /// of it.
    pub moved: bool,
}

/// Compares what was `written` with what was `seen` after the `counts` of the sets had been read.
pub(super) fn update(
    written: &HashMap<Station, Place>,
    seen: &[Sighting],
    counts: &[u32; STATION_SETS],
) -> Change {
    let wanted: HashMap<_, _> = seen
        .iter()
        .map(|seen| {
            let changes = counts[usize::from(set(seen.station.mac))];
            (seen.station, Place { port: seen.port, changes })
        })
        .collect();
    let gone = written.iter().filter(|(station, _)| !wanted.contains_key(station));
    // If the programs have not heard of it, somebody may remember it still.
    let moved = gone.clone().any(|(station, place)| is_true(station, place, counts));
    let remove = gone.map(|(station, _)| *station).collect();
    let mut change = Change { remove, moved, ..Change::default() };
    for (station, place) in wanted {
        let before = written.get(&station);
        change.moved |= before.is_some_and(|before| before.port != place.port);
        if before != Some(&place) {
            change.set.push((station, place));
        }
    }
    change
}

/// Whether what was written of a station holds, for who compares it with `counts`.
pub(super) fn is_true(station: &Station, place: &Place, counts: &[u32; STATION_SETS]) -> bool {
    place.changes == counts[usize::from(set(station.mac))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(last: u8, port: u32) -> Sighting {
        Sighting { station: Station { bridge: 6, mac: [2, 0, 0, 0, 0, last], zero: 0 }, port }
    }

    /// The table after a look.
    fn after(
        written: &HashMap<Station, Place>,
        seen: &[Sighting],
        counts: &[u32; STATION_SETS],
    ) -> (HashMap<Station, Place>, Change) {
        let change = update(written, seen, counts);
        let mut now = written.clone();
        change.remove.iter().for_each(|station| _ = now.remove(station));
        now.extend(change.set.iter().copied());
        (now, change)
    }

    #[test]
    fn only_what_differs_is_written() {
        let counts = [7; STATION_SETS];
        let seen = [sighting(1, 3), sighting(2, 4)];
        let (table, change) = after(&HashMap::new(), &seen, &counts);
        assert_eq!((table.len(), change.set.len(), change.moved), (2, 2, false));
        assert!(table.iter().all(|(station, place)| is_true(station, place, &counts)));
        assert_eq!(update(&table, &seen, &counts), Change::default());
        let (table, change) = after(&table, &seen[..1], &counts);
        assert_eq!((table.len(), change.remove), (1, vec![seen[1].station]));
        assert!(change.moved, "nobody has told the programs");
        let mut heard = counts;
        heard[usize::from(set(seen[0].station.mac))] += 1;
        assert!(!update(&table, &[], &heard).moved);
    }

    #[test]
    fn what_the_programs_have_heard_since_is_written_anew() {
        let mut counts = [7; STATION_SETS];
        let seen = [sighting(1, 3), sighting(2, 4)];
        let (table, _) = after(&HashMap::new(), &seen, &counts);
        counts[usize::from(set(seen[0].station.mac))] += 1;
        assert!(table.iter().any(|(station, place)| !is_true(station, place, &counts)));
        let (table, change) = after(&table, &seen, &counts);
        assert_eq!(change.set, [(seen[0].station, Place { port: 3, changes: 8 })]);
        assert!(!change.moved && table.iter().all(|(s, p)| is_true(s, p, &counts)));
    }

    #[test]
    fn a_station_behind_another_port_is_said_to_have_moved() {
        let counts = [7; STATION_SETS];
        let (table, _) = after(&HashMap::new(), &[sighting(1, 3)], &counts);
        let (table, change) = after(&table, &[sighting(1, 4)], &counts);
        assert!(change.moved);
        assert_eq!(table[&sighting(1, 4).station].port, 4);
        // The same address at another bridge is somebody else.
        let mut other = sighting(1, 9);
        other.station.bridge = 8;
        assert!(!update(&table, &[sighting(1, 4), other], &counts).moved);
    }
}
