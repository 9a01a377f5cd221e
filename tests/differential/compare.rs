//! Where two gateways differ, and whether that is on the list.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::bench::Outcome;

/// The differences that remain, each with its reason. See the file itself.
const LIST: &str = include_str!("differences.toml");

/// A step after which the two sides have not seen the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Group, case and step.
    pub at: String,
    /// What was seen only with the kernel's masquerade.
    pub kernel: Vec<String>,
    /// What was seen only with masq.
    pub masq: Vec<String>,
}

/// A difference that is known and meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is about.
    name: String,
    /// Where it occurs: patterns of group/case/step, each of which has to occur.
    at: Vec<String>,
    /// What only the kernel's masquerade sends, a pattern for each kind of line.
    kernel: Vec<String>,
    /// What only masq sends.
    masq: Vec<String>,
    /// Why masq does it so.
    why: String,
    /// RFCs and the numbers of their requirements.
    #[serde(default)]
    rows: Vec<String>,
}

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    difference: Vec<Entry>,
}

impl List {
    /// Reads the list in the repository.
    ///
    /// # Panics
    /// If it is damaged.
    pub fn read() -> Self {
        toml::from_str(LIST).unwrap_or_else(|e| panic!("differences.toml: {e}"))
    }

    /// What is wrong with the differences that a group has shown: those that are not on the list,
    /// and what the list says of this group and did not occur. Empty if all is as listed.
    pub fn judge(&self, group: &str, differences: &[Difference]) -> String {
        let mut report = String::new();
        for difference in differences {
            if !self.difference.iter().any(|entry| entry.explains(difference)) {
                let Difference { at, kernel, masq } = difference;
                let _ = write!(
                    report,
                    "not on the list: {at}\n  kernel {kernel:#?}\n  masq {masq:#?}\n"
                );
            }
        }
        for entry in &self.difference {
            for at in entry.at.iter().filter(|at| at.starts_with(&format!("{group}/"))) {
                let occurs = |d: &&Difference| matches(at, &d.at) && entry.explains(d);
                if !differences.iter().any(|difference| occurs(&difference)) {
                    let _ =
                        writeln!(report, "on the list, but no longer so: {:?} at {at}", entry.name);
                }
            }
        }
        report
    }
}

impl Entry {
    fn explains(&self, difference: &Difference) -> bool {
        self.at.iter().any(|at| matches(at, &difference.at))
            && cover(&self.kernel, &difference.kernel)
            && cover(&self.masq, &difference.masq)
    }
}

/// Whether each line has its pattern and each pattern its line.
fn cover(patterns: &[String], lines: &[String]) -> bool {
    lines.iter().all(|line| patterns.iter().any(|pattern| matches(pattern, line)))
        && patterns.iter().all(|pattern| lines.iter().any(|line| matches(pattern, line)))
}

/// Whether a text is like a pattern, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// The packets that have left with an inside address as their source, or in what they quote. If the
/// kernel's masquerade does the same, that is no difference, but no excuse either.
pub fn leaks(masq: &[Outcome]) -> String {
    let inside = |word: &&str| {
        let address = word.split(':').next().unwrap_or_default();
        matches!(address, "a" | "b" | "narrow" | "lan") || address.starts_with("192.168.")
    };
    let mut report = String::new();
    for Outcome { at, packets } in masq {
        for packet in packets.iter().filter(|packet| packet.starts_with("wan: ")) {
            let words: Vec<_> = packet.split(' ').collect();
            let quote = words.iter().position(|word| *word == "quotes").map(|at| at + 3);
            let quoted = quote.into_iter().flat_map(|from| [words[from], words[from + 2]]);
            if [words[1]].into_iter().chain(quoted).any(|word| inside(&word)) {
                let _ = writeln!(report, "an inside address on the WAN: {at}\n  {packet}");
            }
        }
    }
    report
}

/// The steps after which something else was seen. Lines in common are left out; if only the order
/// differs, all are there.
pub fn compare(kernel: &[Outcome], masq: &[Outcome]) -> Vec<Difference> {
    assert_eq!(kernel.len(), masq.len(), "both have run the same steps");
    kernel
        .iter()
        .zip(masq)
        .filter(|(kernel, masq)| kernel != masq)
        .map(|(kernel, masq)| {
            let at = kernel.at.clone();
            match (without(&kernel.packets, &masq.packets), without(&masq.packets, &kernel.packets))
            {
                (only_kernel, only_masq) if only_kernel.is_empty() && only_masq.is_empty() => {
                    Difference { at, kernel: kernel.packets.clone(), masq: masq.packets.clone() }
                }
                (kernel, masq) => Difference { at, kernel, masq },
            }
        })
        .collect()
}

/// The lines that `other` has not, counting repetitions.
fn without(lines: &[String], other: &[String]) -> Vec<String> {
    let mut left = other.to_vec();
    let mut only = lines.to_vec();
    only.retain(|line| match left.iter().position(|other| other == line) {
        Some(at) => {
            left.remove(at);
            false
        }
        None => true,
    });
    only
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(at: &str, packets: &[&str]) -> Outcome {
        Outcome { at: at.to_owned(), packets: packets.iter().map(|p| (*p).to_owned()).collect() }
    }

    /// What a list with one entry says about one step of the group `g`.
    fn report(kernel: &[&str], masq: &[&str]) -> String {
        let list = "[[difference]]\nname = 'n'\nat = ['g/*/s']\nkernel = ['wan: a > *']\n\
                    masq = ['wan: w > *', 'b: *']\nwhy = 'y'\n";
        let list: List = toml::from_str(list).expect("a list");
        list.judge("g", &compare(&[outcome("g/c/s", kernel)], &[outcome("g/c/s", masq)]))
    }

    #[test]
    fn what_is_on_the_list_is_no_fault() {
        assert_eq!(report(&["wan: a > r"], &["wan: w > r", "b: x"]), "");
        assert_eq!(
            report(&["wan: a > r", "wan: a > s", "same"], &["same", "b: x", "wan: w > r"]),
            ""
        );
    }

    #[test]
    fn what_is_not_on_the_list_is_told() {
        for masq in [&["wan: w > r"][..], &["wan: w > r", "b: x", "a: y"], &[]] {
            assert!(
                report(&["wan: a > r"], masq).starts_with("not on the list: g/c/s"),
                "{masq:?}"
            );
        }
    }

    #[test]
    fn what_no_longer_occurs_is_told() {
        assert!(report(&["same"], &["same"]).starts_with("on the list, but no longer so: \"n\""));
    }

    #[test]
    fn an_inside_address_on_the_wan_is_told() {
        let good =
            ["wan: wan:<a:1> > r1:53 udp", "a: r1:53 > a:1 udp", "wan: r1:5 > 192.168.7.7:5 u"];
        assert_eq!(leaks(&[outcome("g/c/s", &good)]), "");
        let quote = "wan: wan > r1 icmp 3/1 quotes 28 bytes: r1:53 > a:1 udp";
        for bad in ["wan: a:1 > r1:53 udp", "wan: 192.168.7.7 > r1 protocol 4", quote] {
            assert!(leaks(&[outcome("g/c/s", &[bad])]).contains(bad), "{bad}");
        }
    }

    #[test]
    fn another_order_is_a_difference() {
        let found = compare(&[outcome("g/c/s", &["1", "2"])], &[outcome("g/c/s", &["2", "1"])]);
        assert_eq!((found[0].kernel.len(), found[0].masq.len()), (2, 2));
    }

    #[test]
    fn every_entry_has_its_reason() {
        for entry in List::read().difference {
            let Entry { name, at, why, rows, .. } = entry;
            assert!(!at.is_empty() && why.trim_end().ends_with('.'), "{name}: {why}");
            assert!(rows.iter().all(|row| row.starts_with("RFC ")), "{name}: {rows:?}");
        }
    }
}
