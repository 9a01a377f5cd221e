//! Packets that are too big for a hop: the sender has to learn of it, wherever the hop is.

use std::{io, net::UdpSocket};

use masq_tests::{
    daemon,
    lab::{ISP_IF, Lab, Layout, SERVER_1},
    netns::Namespace,
    patience::patience,
    sockets::eventually,
    traffic::{echo, http},
};
use nix::libc;
use socket2::SockRef;
use std::os::fd::AsRawFd;

use crate::{in_both_modes, scene::Setup};

in_both_modes!(
    transfers_cross_a_narrow_hop,
    transfers_cross_a_narrow_wan,
    a_narrow_wan_needs_no_path_mtu_discovery,
    segments_are_as_small_as_asked_for,
    a_datagram_that_is_too_big_for_a_far_hop_is_an_error,
    a_datagram_that_is_too_big_for_the_wan_is_an_error,
);

const TRANSFER: usize = 2_000_000;

fn transfers_cross_a_narrow_hop(setup: Setup) {
    setup.layout(Layout::from_environment().hop_mtu(1400)).run(|scene| {
        transfer_both_ways(scene.lab);
        assert_eq!(path_mtu(&scene.lab.a), Some(1400));
    });
}

fn transfers_cross_a_narrow_wan(setup: Setup) {
    let off = ["--mss-clamp", "off"];
    setup.layout(Layout::from_environment().wan_mtu(1492)).like_the_reference(&off).run(|scene| {
        transfer_both_ways(scene.lab);
        assert_eq!(path_mtu(&scene.lab.a), Some(1492));
    });
}

/// A router that keeps what is too big to itself.
const QUIET: &str = "table ip quiet { chain output { type filter hook output priority 0
    icmp type destination-unreachable drop
}; }";

/// Nobody says that a packet was too big: senders have to know before.
fn a_narrow_wan_needs_no_path_mtu_discovery(setup: Setup) {
    setup.layout(Layout::from_environment().wan_mtu(1492)).masq_only().run(|scene| {
        let lab = scene.lab;
        for router in [&lab.router, &lab.isp] {
            router.feed("nft", &["-f", "-"], QUIET);
        }
        transfer_both_ways(lab);
        assert_eq!(path_mtu(&lab.a), None);
        // The kernel counts the 12 bytes of time stamps as headers.
        assert_eq!(segment_size(lab), 1452 - 12);
        let stats = daemon::stats(&lab.router);
        assert!(daemon::counter(&stats, "mss_lowered") >= 2, "SYN and answer");
        let wan =
            stats["interfaces"].as_array().and_then(|all| all.iter().find(|i| i["role"] == "wan"));
        assert_eq!(wan.map(|wan| &wan["mss"]), Some(&1452.into()));
        // The daemon follows the link.
        lab.router.output("ip", &["link", "set", "wan0", "mtu", "1400"]);
        lab.isp.output("ip", &["link", "set", ISP_IF, "mtu", "1400"]);
        eventually("smaller segments", || (segment_size(lab) == 1360 - 12).then_some(()));
        transfer_both_ways(lab);
    });
}

fn segments_are_as_small_as_asked_for(setup: Setup) {
    setup.arguments(&["--mss-clamp", "1000"]).run(|scene| {
        transfer_both_ways(scene.lab);
        assert_eq!(segment_size(scene.lab), 1000 - 12);
    });
}

/// What a connection of a host takes for the largest segment that it may send.
fn segment_size(lab: &Lab) -> u32 {
    let _server = http::Server::start(&lab.server1, 81);
    let connection = lab.a.tcp_connect((SERVER_1, 81)).expect("a connection");
    SockRef::from(&connection).tcp_mss().expect("its segment size")
}

fn a_datagram_that_is_too_big_for_a_far_hop_is_an_error(setup: Setup) {
    setup.layout(Layout::from_environment().hop_mtu(1400)).run(|scene| {
        exchange_with_path_mtu(scene.lab, 1400);
    });
}

fn a_datagram_that_is_too_big_for_the_wan_is_an_error(setup: Setup) {
    setup.layout(Layout::from_environment().wan_mtu(1492)).run(|scene| {
        exchange_with_path_mtu(scene.lab, 1492);
    });
}

fn transfer_both_ways(lab: &Lab) {
    let _server = http::Server::start(&lab.server1, 80);
    http::upload(&lab.a, (SERVER_1, 80), TRANSFER).expect("a whole upload");
    http::download(&lab.a, (SERVER_1, 80), TRANSFER).expect("a whole download");
}

/// Sends too much with "don't fragment", learns the path's MTU, and sends as much as fits.
fn exchange_with_path_mtu(lab: &Lab, mtu: usize) {
    let _server = echo::Server::start(&lab.server1, 53);
    let socket = lab.a.udp_bind(0);
    never_fragment(&socket).expect("set IP_MTU_DISCOVER");
    socket.connect((SERVER_1, 53)).expect("connect");
    socket.set_read_timeout(Some(patience())).expect("set a timeout");
    // First a small one: the next packet is of an established flow.
    socket.send(b"small").expect("send");
    socket.recv(&mut [0; 1500]).expect("an answer");
    socket.send(&[1; 1472]).expect("the first hop takes 1500 bytes");
    let error = socket.recv(&mut [0; 1500]).expect_err("too big for the path");
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    let error = socket.send(&vec![2; mtu - 27]).expect_err("too big, as is known now");
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    // The answer carries 20 bytes more; the server may fragment or refuse it: do not wait for it.
    socket.send(&vec![3; mtu - 28]).expect("this fits");
    socket.send(&vec![4; mtu - 28 - 40]).expect("this fits with its answer");
    let mut answer = [0; 1500];
    eventually("answer to a datagram that fits", || {
        socket.recv(&mut answer).ok().filter(|_| answer[0] == 4)
    });
}

fn never_fragment(socket: &UdpSocket) -> io::Result<()> {
    let value = libc::IP_PMTUDISC_DO;
    let length = size_of_val(&value) as libc::socklen_t;
    let pointer = (&raw const value).cast();
    let (level, name) = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    // SAFETY: pointer and length describe `value`, which outlives the call.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The MTU towards server 1 that the host has learned.
fn path_mtu(host: &Namespace) -> Option<u32> {
    let route = host.output("ip", &["route", "get", &SERVER_1.to_string()]);
    let mut words = route.split_whitespace();
    words.find(|word| *word == "mtu")?;
    words.next()?.parse().ok()
}
