//! Real stacks at both ends: transfers, exchanges, pings, traceroutes, path MTU discovery.
//!
//! How a stack cuts its data into segments and when it acknowledges them is its own business, so of
//! a TCP connection the facts that do not depend on it are compared, and of all other packets which
//! kinds of them there were.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream},
    time::Duration,
};

use masq_tests::{
    capture::{Capture, Captured},
    lab::{HOST_A, HOST_IF, ISP_IF, Lab, LanKind, Layout, ROUTER_WAN, SERVER_1},
    packet::tcp,
    patience::patience,
    sockets::eventually,
    traffic::{echo, http, probe},
};
use socket2::SockRef;

use crate::bench::{Outcome, Who};

/// What two hosts do, with this port of the server. Each has its own: a process that another test
/// is starting may hold a socket a moment longer.
type Action = fn(&Lab, u16);

/// A network, and what is done in it.
type Network = (&'static str, Layout, &'static [(&'static str, Action)]);

/// In the usual network.
const ACTIONS: [(&str, Action); 10] = [
    ("download", |lab, port| transfer(lab, port, http::download)),
    ("upload", |lab, port| transfer(lab, port, http::upload)),
    ("half-closed connection", half_close),
    ("reset by the client", |lab, port| reset(lab, port, false)),
    ("reset by the server", |lab, port| reset(lab, port, true)),
    ("refused connection", |lab, port| {
        lab.a.tcp_connect((SERVER_1, port)).expect_err("nobody listens");
    }),
    ("questions and answers", questions),
    ("closed udp port", |lab, port| {
        let socket = lab.a.udp_bind(5_000);
        socket.connect((SERVER_1, port)).expect("connect");
        socket.send(b"anybody there?").expect("send");
        socket.recv(&mut [0; 10]).expect_err("nobody there");
    }),
    ("ping", |lab, _| {
        probe::ping(&lab.a, SERVER_1, 77).expect("a reply");
    }),
    ("traceroute", |lab, _| {
        probe::traceroute(&lab.a, SERVER_1).expect("an answer of every hop");
    }),
];

/// Where the WAN is narrow, and a hop behind it is narrower.
const NARROW: [(&str, Action); 2] = [ACTIONS[0], ACTIONS[1]];

/// The port of the first action.
const FIRST_PORT: u16 = 8001;
/// Enough for a few windows.
const TRANSFER: usize = 300_000;

/// All that this group does.
pub fn run(who: Who) -> Vec<Outcome> {
    let networks: [Network; 2] = [
        ("plain", Layout::default(), &ACTIONS),
        ("narrow", Layout::default().wan_mtu(1400).hop_mtu(1300), &NARROW),
    ];
    let run = |(network, layout, actions): &Network| run_in(who, network, *layout, actions);
    networks.iter().flat_map(run).collect()
}

fn run_in(who: Who, network: &str, layout: Layout, actions: &[(&str, Action)]) -> Vec<Outcome> {
    // No switch: it has things to say of its own.
    let lab = Lab::new(layout.lan(LanKind::InterfacePerHost));
    // In every mode: whether a checksum is complete when an error quotes it is not the subject.
    lab.prepare_for_xdp();
    let gateway = who.start(&lab);
    let wan = Capture::start(&lab.isp, ISP_IF);
    let a = Capture::start(&lab.a, HOST_IF);
    let mut outcomes = Vec::new();
    for ((name, action), port) in actions.iter().zip(FIRST_PORT..) {
        let seen = [&wan, &a].map(|capture| capture.packets().len());
        action(&lab, port);
        let is_over = || {
            let packets = wan.packets_since(seen[0]);
            connections_are_over(&packets).then_some(())
        };
        eventually("the end of the connection", is_over);
        for identifier in [65_001, 65_002] {
            probe::ping(&lab.a, SERVER_1, identifier).expect("a reply");
        }
        let packets = summary("wan", &wan.packets_since(seen[0]))
            .chain(summary("a", &a.packets_since(seen[1])))
            .collect();
        outcomes.push(Outcome { at: format!("stacks/{network}/{name}"), packets });
    }
    gateway.stop();
    outcomes
}

fn transfer(
    lab: &Lab,
    port: u16,
    transfer: fn(&masq_tests::netns::Namespace, (Ipv4Addr, u16), usize) -> std::io::Result<()>,
) {
    let _server = http::Server::start(&lab.server1, port);
    transfer(&lab.a, (SERVER_1, port), TRANSFER).expect("a whole transfer");
}

fn questions(lab: &Lab, port: u16) {
    let _server = echo::Server::start(&lab.server1, port);
    let socket = lab.a.udp_bind(5_001);
    for length in [0, 1, 100, 1400, 3000] {
        let data = vec![length as u8; length];
        echo::ask(&socket, SocketAddrV4::new(SERVER_1, port), &data).expect("an answer");
    }
}

/// Both ends of a connection.
fn connection(lab: &Lab, port: u16) -> (TcpStream, TcpStream) {
    let listener = lab.server1.tcp_listen(port);
    let client = lab.a.tcp_connect((SERVER_1, port)).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    server.set_read_timeout(Some(patience())).expect("set a timeout");
    (client, server)
}

fn half_close(lab: &Lab, port: u16) {
    let (mut client, mut server) = connection(lab, port);
    client.shutdown(Shutdown::Write).expect("close one direction");
    assert_eq!(server.read(&mut [0]).expect("the end of the stream"), 0);
    server.write_all(b"still here").expect("send");
    client.read_exact(&mut [0; 10]).expect("receive");
}

fn reset(lab: &Lab, port: u16, by_server: bool) {
    let (client, server) = connection(lab, port);
    let (closes, mut other) = if by_server { (server, client) } else { (client, server) };
    SockRef::from(&closes).set_linger(Some(Duration::ZERO)).expect("set SO_LINGER");
    drop(closes);
    other.read(&mut [0]).expect_err("the connection is broken");
}

/// Whether every TCP connection has ended in both directions.
fn connections_are_over(packets: &[Captured]) -> bool {
    let mut ends = BTreeMap::<Ipv4Addr, u8>::new();
    for packet in packets.iter().filter(|packet| packet.protocol() == 6) {
        *ends.entry(packet.source()).or_default() |= packet.payload()[13];
    }
    let broken = ends.values().any(|flags| flags & tcp::RST != 0);
    broken || ends.values().all(|flags| flags & tcp::FIN != 0)
}

/// What the router has sent, in words; the pings that end an action are among it every time.
fn summary(line: &'static str, packets: &[Captured]) -> impl Iterator<Item = String> {
    let sent: Vec<_> = packets.iter().filter(|packet| packet.received).collect();
    let (tcp, others): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|packet| packet.protocol() == 6);
    let mut lines: BTreeSet<_> = others.into_iter().map(other).collect();
    lines.extend((!tcp.is_empty()).then(|| connection_facts(&tcp)));
    lines.into_iter().map(move |text| format!("{line}: {text}"))
}

/// One direction of a connection.
fn connection_facts(packets: &[&Captured]) -> String {
    let (mut flags, mut end, mut start) = (0, 0, None);
    let (mut looks, mut options) = (BTreeSet::new(), BTreeSet::new());
    for packet in packets {
        let segment = packet.payload();
        let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
        let header = usize::from(segment[12] >> 4) * 4;
        let data = packet.length - (packet.bytes.len() - segment.len()) - header;
        let first = *start.get_or_insert(sequence);
        if data > 0 {
            end = end.max(sequence.wrapping_sub(first).wrapping_add(data as u32));
        }
        flags |= segment[13];
        looks.insert(look(packet));
        if segment[13] & tcp::SYN != 0 {
            // The first option is the maximum segment size.
            let first = segment[20..24].iter().map(|byte| format!("{byte:02x}"));
            options.insert(format!("{header} bytes, {}", first.collect::<String>()));
        }
    }
    let bad = packets.iter().filter(|packet| packet.bad.is_some()).count();
    format!(
        "{} > {} tcp flags {flags:02x} up to {end} syn {options:?} {looks:?} bad sums {bad}",
        host(packets[0].source()),
        host(packets[0].destination())
    )
}

/// Any other packet.
fn other(packet: &Captured) -> String {
    let ends = |bytes: &[u8]| {
        let address =
            |at: usize| host(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]));
        format!("{} > {} protocol {}", address(12), address(16), bytes[9])
    };
    let mut words = vec![ends(&packet.bytes), look(packet), format!("bad {:?}", packet.bad)];
    match packet.quoted() {
        Some(quoted) => {
            words.push(format!(
                "error {:02x?} about {}",
                &packet.payload()[..8][..2],
                ends(quoted)
            ));
            words.push(format!("rest {:02x?}", &packet.payload()[4..8]));
        }
        None => words.push(format!("length {} ports {:?}", packet.length, far_port(packet))),
    }
    words.join(" ")
}

/// The port of the server: the client's is the kernel's choice, and the gateway's.
fn far_port(packet: &Captured) -> Option<u16> {
    let (from, to) = packet.ports()?;
    Some(if packet.source() == SERVER_1 { from } else { to })
}

fn look(packet: &Captured) -> String {
    let whole = packet.bytes[6] & 0x40 != 0;
    format!("ttl {} tos {:02x} df {whole}", packet.ttl(), packet.bytes[1])
}

fn host(address: Ipv4Addr) -> String {
    match address {
        HOST_A => "a".to_owned(),
        ROUTER_WAN => "wan".to_owned(),
        SERVER_1 => "server".to_owned(),
        other => other.to_string(),
    }
}
