//! The tests of the suite `netns` that `cargo xtask vm --suite kernel` runs.
//!
//! All of it takes hours on an emulated processor, where loading the programs alone is half a minute.
//! These exercise what a kernel may do differently: every way to attach and to let go, the helpers that
//! the programs call, what offloads and drivers make of packets, netlink, pinning and replacing. What
//! masq decides by itself is the same on each kernel and left to `cargo xtask test`; so is what needs a
//! fast processor, such as floods.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

/// Whole names, so that `udp::` does not take `discovery::rfc5780_t1::…udp…` along.
pub const TESTS: &[&str] = &[
    // The full path and the fast one, at each hook.
    "udp::questions_are_answered::tc",
    "udp::questions_are_answered::xdp",
    "tcp::a_download_arrives_byte_for_byte::tc",
    "tcp::a_download_arrives_byte_for_byte::xdp",
    "icmp::traceroute_shows_every_hop::tc",
    "icmp::traceroute_shows_every_hop::xdp",
    "fast::established_flows_are_translated_at_ingress::tc",
    "fast::established_flows_are_translated_at_ingress::xdp",
    "fast::without_a_fast_path_the_kernel_routes_every_packet",
    // Checksums that are not there, and packets that the daemon sends on.
    "udp::a_datagram_without_checksum_arrives::xdp",
    "udp::a_datagram_in_fragments_arrives::tc",
    "safety::unsolicited_packets_reach_no_host::tc",
    // Super-packets, and sizes.
    "gso::an_upload_leaves_in_super_packets",
    "gso::a_download_through_a_bridge_arrives_in_super_packets",
    "gso::super_packets_are_cut_for_a_narrow_wan",
    "mtu::transfers_cross_a_narrow_wan::tc",
    "mtu::transfers_cross_a_narrow_wan::xdp",
    // Kinds of interfaces, and the drivers below a bridge and VLANs.
    "links::tun_as_wan",
    "links::a_wan_on_a_vlan::tc",
    "links::auto_chooses_tc_for_virtual_links_and_says_why",
    "fast::below_a_bridge_of_vlans_too::tc",
    "fast::below_a_bridge_of_vlans_too::xdp",
    "below::a_host_that_roams_is_followed::xdp",
    "below::a_port_that_leaves_and_returns::xdp",
    // What netlink tells.
    "wan::new_traffic_has_a_new_address_at_once::tc",
    "wan::an_interface_that_returns_is_used_again::xdp",
    "lines::flows_follow_the_routes_and_end_with_their_wan::tc",
    // Attaching and letting go: tcx (the filters of clsact where there is none), clsact, XDP.
    "stop::tc_leaves_nothing",
    "stop::clsact_leaves_nothing",
    "stop::xdp_leaves_nothing",
    "stop::a_clsact_qdisc_of_somebody_else_stays",
    "restart::a_kill_is_not_noticed_in_tc",
    "restart::a_kill_is_not_noticed_with_clsact",
    "restart::a_kill_is_not_noticed_in_xdp",
    "reload::lans_come_and_stay_with_tcx",
    "reload::settings_change_under_traffic_in_xdp",
    "trace::filters_of_clsact_are_exchanged_too",
    "trace::packets_are_shown_and_none_is_lost::xdp",
    // Ring buffers, and the kernel's own translation beside.
    "events::sessions_are_recorded_with_their_translation::tc",
    "beside::the_kernels_masquerade_translates_and_masq_lets_it::tc",
];

/// Makes sure that `program` has all of them: a name that it does not know would be left out silently.
pub fn check(program: &Path) -> Result<()> {
    let output = Command::new(program).args(["--list", "--exact"]).args(TESTS).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let missing: Vec<_> = TESTS.iter().filter(|name| !has(&listed, name)).collect();
    ensure!(missing.is_empty(), "the suite netns has no tests {missing:?}: see vm/choice.rs");
    Ok(())
}

fn has(listed: &str, name: &str) -> bool {
    listed.lines().any(|line| line.strip_suffix(": test") == Some(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{TESTS, has};

    #[test]
    fn no_test_is_named_twice() {
        assert_eq!(TESTS.iter().collect::<BTreeSet<_>>().len(), TESTS.len());
    }

    #[test]
    fn a_name_has_to_be_the_whole_one() {
        let listed = "udp::many::tc: test\nudp::many::xdp: test\n";
        assert!(has(listed, "udp::many::tc"));
        assert!(!has(listed, "udp::many") && !has(listed, "many::tc"));
    }
}
