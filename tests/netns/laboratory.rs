//! The laboratory itself, with plain forwarding.

use std::io::{Read, Write};

use masq_tests::{
    lab::{HOST_A, Lab, LanKind, Layout, SERVER_1},
    sockets::v4,
};

fn a_reaches_a_server(layout: Layout) {
    let lab = Lab::new(layout);
    lab.forward_plainly();
    let listener = lab.server1.tcp_listen(80);
    let mut client = lab.a.tcp_connect((SERVER_1, 80)).expect("connect");
    let (mut server, peer) = listener.accept().expect("accept");
    assert_eq!(*v4(peer).ip(), HOST_A);
    client.write_all(b"hello").expect("send");
    drop(client);
    let mut received = Vec::new();
    server.read_to_end(&mut received).expect("receive");
    assert_eq!(received, b"hello");
}

#[test]
fn hosts_behind_a_switch() {
    a_reaches_a_server(Layout::default());
}

#[test]
fn hosts_behind_a_bridge() {
    a_reaches_a_server(Layout::default().lan(LanKind::Bridge));
}

#[test]
fn an_interface_for_each_host() {
    a_reaches_a_server(Layout::default().lan(LanKind::InterfacePerHost));
}

#[test]
fn a_line_without_link_layer_header() {
    a_reaches_a_server(Layout::default().tun());
}

#[test]
fn a_narrow_hop() {
    a_reaches_a_server(Layout::default().hop_mtu(1400));
}
