//! What is true of which addresses: the content of the prefix table. Pure.
//!
//! The table answers with the longest match only, so every entry has to repeat what holds for the
//! shorter ones that cover it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use masq_common::settings::prefix::{EXTERNAL, INSIDE, ROUTER, SOURCE, WAN_SHIFT};

use crate::netlink::Address;

/// Prefixes and their flags of [`masq_common::settings::prefix`].
pub type Prefixes = BTreeMap<Ipv4Net, u32>;

/// The content of the table, and sentences about what could not be done as asked. `external` are
/// the addresses that the WANs translate to, each with the index of its WAN.
pub fn prefixes(
    sources: &[Ipv4Net],
    lan: &[Address],
    wan: &[Address],
    external: &[(Ipv4Addr, u8)],
) -> (Prefixes, Vec<String>) {
    let mut warnings = Vec::new();
    let mut statements: Vec<(Ipv4Net, u32)> = sources.iter().map(|&net| (net, SOURCE)).collect();
    for address in lan {
        statements.push((Ipv4Net::from(address.local), ROUTER));
        match conflict(address.network, wan) {
            None => {
                statements.push((address.network, INSIDE));
                statements.push((Ipv4Net::from(address.local), INSIDE));
            }
            Some(other) => warnings.push(format!(
                "the LAN prefix {} is also on the WAN side ({other}); packets from the WAN with \
                 such addresses are not filtered; give LAN and WAN different prefixes",
                address.network
            )),
        }
    }
    // One address on both sides: it must be reachable from the WAN.
    for address in wan {
        statements.retain(|(net, flags)| *flags != INSIDE || !net.contains(&address.local));
    }
    let mut seen = BTreeSet::new();
    for &(address, wan) in external {
        // Flags of two WANs would mix.
        if seen.insert(address) {
            statements.push((address.into(), EXTERNAL | u32::from(wan) << WAN_SHIFT));
        } else {
            warnings.push(format!(
                "two WANs have the address {address}; LAN hosts reach each other through it by the \
                 mappings of the first one only"
            ));
        }
    }
    (merge(&statements), warnings)
}

/// The WAN network that forbids to treat a LAN prefix as inside, if there is one.
fn conflict(lan: Ipv4Net, wan: &[Address]) -> Option<Ipv4Net> {
    let same = |address: &&Address| address.network == lan || lan.contains(&address.local);
    wan.iter().find(same).map(|address| address.network)
}

/// Gives each prefix the flags of all those that cover it.
fn merge(statements: &[(Ipv4Net, u32)]) -> Prefixes {
    let flags_of = |net: &Ipv4Net| {
        let covering = statements.iter().filter(|(other, _)| other.contains(net));
        covering.fold(0, |flags, (_, more)| flags | more)
    };
    statements.iter().map(|(net, _)| (*net, flags_of(net))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Address {
        let net = net(text);
        Address { index: 1, local: net.addr(), network: net.trunc(), usable: true }
    }

    fn lookup(prefixes: &Prefixes, address: Ipv4Addr) -> u32 {
        let covering = prefixes.iter().filter(|(net, _)| net.contains(&address));
        covering.max_by_key(|(net, _)| net.prefix_len()).map_or(0, |(_, flags)| *flags)
    }

    #[test]
    fn without_source_everything_is_translated_and_the_lan_is_inside() {
        let lan = [address("192.168.1.1/24")];
        let wan = [address("203.0.113.5/24")];
        let (prefixes, warnings) = prefixes(&[Ipv4Net::default()], &lan, &wan, &[]);
        assert!(warnings.is_empty());
        assert_eq!(lookup(&prefixes, [192, 168, 1, 9].into()), SOURCE | INSIDE);
        assert_eq!(lookup(&prefixes, [192, 168, 1, 1].into()), SOURCE | INSIDE | ROUTER);
        assert_eq!(lookup(&prefixes, [8, 8, 8, 8].into()), SOURCE);
    }

    #[test]
    fn the_external_address_is_known_with_its_wan() {
        let wan = [address("203.0.113.5/24")];
        let external = [([203, 0, 113, 5].into(), 1)];
        let (prefixes, _) = prefixes(&[Ipv4Net::default()], &[], &wan, &external);
        let flags = SOURCE | EXTERNAL | 1 << WAN_SHIFT;
        assert_eq!(lookup(&prefixes, [203, 0, 113, 5].into()), flags);
        assert_eq!(lookup(&prefixes, [203, 0, 113, 6].into()), SOURCE);
    }

    #[test]
    fn a_source_inside_the_lan_keeps_the_flags_of_the_lan() {
        let lan = [address("10.0.0.1/8")];
        let (prefixes, _) = prefixes(&[net("10.1.0.0/16")], &lan, &[], &[]);
        assert_eq!(lookup(&prefixes, [10, 1, 2, 3].into()), SOURCE | INSIDE);
        assert_eq!(lookup(&prefixes, [10, 2, 2, 3].into()), INSIDE);
        assert_eq!(lookup(&prefixes, [11, 0, 0, 1].into()), 0);
    }

    #[test]
    fn a_lan_that_covers_the_wan_address_is_not_inside() {
        let lan = [address("10.0.0.1/8"), address("192.168.1.1/24")];
        let wan = [address("10.9.0.2/24")];
        let (prefixes, warnings) = prefixes(&[Ipv4Net::default()], &lan, &wan, &[]);
        assert_eq!(warnings.len(), 1);
        assert_eq!(lookup(&prefixes, [10, 9, 0, 2].into()), SOURCE);
        assert_eq!(lookup(&prefixes, [10, 0, 0, 1].into()), SOURCE | ROUTER);
        assert_eq!(lookup(&prefixes, [192, 168, 1, 2].into()), SOURCE | INSIDE);
    }

    #[test]
    fn the_same_prefix_on_both_sides_is_not_inside() {
        let lan = [address("192.168.1.1/24")];
        let wan = [address("192.168.1.77/24")];
        let (prefixes, warnings) = prefixes(&[Ipv4Net::default()], &lan, &wan, &[]);
        assert_eq!(warnings.len(), 1);
        assert_eq!(lookup(&prefixes, [192, 168, 1, 9].into()), SOURCE);
    }

    #[test]
    fn a_lan_that_is_part_of_the_wans_prefix_is_inside() {
        let lan = [address("192.168.1.129/25")];
        let wan = [address("192.168.1.5/24")];
        let (prefixes, warnings) = prefixes(&[Ipv4Net::default()], &lan, &wan, &[]);
        assert!(warnings.is_empty());
        assert_eq!(lookup(&prefixes, [192, 168, 1, 200].into()) & INSIDE, INSIDE);
        assert_eq!(lookup(&prefixes, [192, 168, 1, 5].into()) & INSIDE, 0);
    }

    #[test]
    fn an_address_that_is_on_both_sides_is_not_inside() {
        let lan = [Address { network: net("192.168.7.2/32"), ..address("203.0.113.5/32") }];
        let wan = [address("203.0.113.5/24")];
        let (prefixes, _) = prefixes(&[Ipv4Net::default()], &lan, &wan, &[]);
        assert_eq!(lookup(&prefixes, [203, 0, 113, 5].into()), SOURCE | ROUTER);
        assert_eq!(lookup(&prefixes, [192, 168, 7, 2].into()), SOURCE | INSIDE);
    }

    #[test]
    fn an_external_address_names_its_wan_and_only_one() {
        let twice = [([203, 0, 113, 5].into(), 1), ([203, 0, 113, 5].into(), 2)];
        let (prefixes, warnings) = prefixes(&[Ipv4Net::default()], &[], &[], &twice);
        let flags = lookup(&prefixes, [203, 0, 113, 5].into());
        assert_eq!((flags & EXTERNAL, flags >> WAN_SHIFT), (EXTERNAL, 1));
        assert_eq!(lookup(&prefixes, [203, 0, 113, 6].into()), SOURCE);
        assert_eq!(warnings.len(), 1);
    }

    proptest! {
        #[test]
        fn the_longest_match_knows_all_that_cover_it(
            nets in proptest::collection::vec((0_u8..=32, 0_u32..4, any::<u32>()), 1..12),
            probe: u32,
        ) {
            let statements: Vec<_> = nets
                .into_iter()
                // Few distinct high bits, so that prefixes nest.
                .map(|(length, flag, bits)| {
                    let address = Ipv4Addr::from(bits & 0x8080_00ff);
                    (Ipv4Net::new(address, length).unwrap().trunc(), 1 << flag)
                })
                .collect();
            let merged = merge(&statements);
            let probe = Ipv4Addr::from(probe & 0x8080_00ff);
            let expected = statements
                .iter()
                .filter(|(net, _)| net.contains(&probe))
                .fold(0, |flags, (_, more)| flags | more);
            prop_assert_eq!(lookup(&merged, probe), expected);
        }
    }
}
