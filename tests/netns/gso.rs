//! Super-packets of segmentation offload: in TC mode they cross the gateway whole, which is where
//! the throughput of virtual machines and containers comes from.

use masq_tests::{
    capture::Capture,
    daemon::Mode,
    lab::{HOST_IF, Lab, Layout, SERVER_1},
    traffic::http,
};

use crate::scene::Setup;

const TRANSFER: usize = 30_000_000;

#[test]
fn an_upload_leaves_in_super_packets() {
    Setup::new(Mode::Tc).run(|scene| {
        let _server = http::Server::start(&scene.lab.server1, 80);
        http::upload(&scene.lab.a, (SERVER_1, 80), TRANSFER).expect("a whole upload");
        let sizes = scene.capture.packets().into_iter().filter(|p| p.received).map(|p| p.length);
        assert_mostly_super_packets(sizes);
    });
}

#[test]
fn a_download_arrives_in_super_packets() {
    Setup::new(Mode::Tc).run(|scene| assert_download_is_super(scene.lab));
}

#[test]
fn a_download_through_a_bridge_arrives_in_super_packets() {
    let layout = Layout::default().lan(masq_tests::lab::LanKind::Bridge);
    Setup::new(Mode::Tc).layout(layout).run(|scene| assert_download_is_super(scene.lab));
}

#[test]
fn super_packets_are_cut_for_a_narrow_wan() {
    Setup::new(Mode::Tc).layout(Layout::default().wan_mtu(1400)).run(|scene| {
        let _server = http::Server::start(&scene.lab.server1, 80);
        http::upload(&scene.lab.a, (SERVER_1, 80), TRANSFER).expect("a whole upload");
        http::download(&scene.lab.a, (SERVER_1, 80), TRANSFER).expect("a whole download");
    });
}

fn assert_download_is_super(lab: &Lab) {
    let _server = http::Server::start(&lab.server1, 80);
    let capture = Capture::start(&lab.a, HOST_IF);
    http::download(&lab.a, (SERVER_1, 80), TRANSFER).expect("a whole download");
    let record = capture.finish();
    assert_mostly_super_packets(
        record.packets.iter().filter(|packet| packet.received).map(|packet| packet.length),
    );
}

/// Demands that most bytes have come in packets larger than any MTU here.
#[track_caller]
fn assert_mostly_super_packets(sizes: impl Iterator<Item = usize>) {
    let (large, small): (Vec<_>, Vec<_>) = sizes.partition(|size| *size > 1500);
    let sum = |sizes: &[usize]| sizes.iter().sum::<usize>();
    let (large, small) = (sum(&large), sum(&small));
    assert!(large > 10 * small, "{large} bytes in super-packets, {small} in others");
}
