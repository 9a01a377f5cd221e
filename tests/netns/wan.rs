//! A WAN that changes: another address, gone and back again, not there yet.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use masq_tests::{
    capture::Capture,
    daemon::{self, Masq, Mode},
    gateway::Gateway,
    lab::{ISP_IF, Lab, Layout, ROUTER_WAN, SERVER_1},
    netns::Namespace,
    patience::patience,
    sockets::eventually,
    traffic::{echo, http, probe},
};
use nix::sys::signal::Signal;

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    new_traffic_has_a_new_address_at_once,
    a_wan_without_address_leaks_nothing,
    an_interface_that_returns_is_used_again,
    a_wan_without_address_is_waited_for,
    a_wan_that_the_daemon_has_not_seen_leaks_nothing,
);

mod tun {
    use super::*;

    #[test]
    fn an_interface_that_returns_is_used_again() {
        let setup = Setup::new(Mode::Tc);
        super::an_interface_that_returns_is_used_again(setup.layout(Layout::default().tun()));
    }

    #[test]
    fn new_traffic_has_a_new_address_at_once() {
        let setup = Setup::new(Mode::Tc);
        // netfilter compares the wrong end of a point-to-point address and keeps old flows.
        let setup = setup.layout(Layout::default().tun()).masq_only();
        super::new_traffic_has_a_new_address_at_once(setup);
    }
}

const NEW_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

fn new_traffic_has_a_new_address_at_once(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let _web = http::Server::start(&lab.server1, 80);
        let sockets: Vec<_> = (0..20).map(|_| lab.a.udp_bind(0)).collect();
        for socket in &sockets {
            assert_eq!(ask(socket), Some(ROUTER_WAN));
        }
        let listener = lab.server1.tcp_listen(81);
        let mut client = lab.b.tcp_connect((SERVER_1, 81)).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        lab.set_wan_address(NEW_ADDRESS);
        // Old sockets go on with the new address; what is sent in the moment between is lost.
        for socket in &sockets {
            socket.set_read_timeout(Some(Duration::from_millis(200))).expect("set a timeout");
            eventually("answer at the new address", || {
                ask(socket).filter(|address| *address == NEW_ADDRESS)
            });
        }
        // So do new ones, without a second try.
        http::download(&lab.b, (SERVER_1, 80), 100_000).expect("a whole download");
        assert_eq!(ask(&lab.b.udp_bind(0)), Some(NEW_ADDRESS));
        // The old connection is dead: its address is gone, and is not used any more.
        let before = scene.capture.packets().len();
        client.write_all(b"still there?").expect("send");
        server.set_read_timeout(Some(Duration::from_millis(300))).expect("set a timeout");
        server.read(&mut [0; 10]).expect_err("nothing comes from an address that is gone");
        let mut with_the_old_address = scene.capture.packets().split_off(before);
        with_the_old_address.retain(|p| p.received && p.source() == ROUTER_WAN);
        assert_eq!(with_the_old_address, []);
        if let Gateway::Masq(_) = scene.gateway {
            let old = ["--external", "203.0.113.5"];
            assert_eq!(daemon::sessions(&lab.router, &old), [] as [serde_json::Value; 0]);
        }
    });
}

fn a_wan_without_address_is_waited_for(setup: Setup) {
    let lab = Lab::new(Layout::default());
    lab.router.ip("addr flush dev wan0");
    if setup.mode() == Mode::Xdp {
        lab.prepare_for_xdp();
    }
    let capture = Capture::start(&lab.isp, ISP_IF);
    let arguments = ["run", "--lan", "lan0", "--wan", "wan0", "--mode", setup.mode().as_str()];
    let masq = Masq::spawn(daemon::masq(&lab.router, arguments));
    masq.wait_for("waiting for an address on wan0");
    assert!(!masq.log().contains("ready"), "it is not ready without an address");
    lab.set_wan_address(NEW_ADDRESS);
    masq.wait_for("ready");
    let _server = echo::Server::start(&lab.server1, 53);
    assert_eq!(ask(&lab.a.udp_bind(0)), Some(NEW_ADDRESS));
    masq.stop();
    capture.finish().assert_clean();
}

fn a_wan_without_address_leaks_nothing(setup: Setup) {
    // netfilter takes the address of another interface then.
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let socket = lab.a.udp_bind(0);
        assert_eq!(ask(&socket), Some(ROUTER_WAN));
        lab.router.ip("addr flush dev wan0\nroute replace default dev wan0");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set a timeout");
        for _ in 0..5 {
            assert_eq!(ask(&socket), None);
        }
        lab.set_wan_address(NEW_ADDRESS);
        eventually("answer at the new address", || {
            ask(&socket).filter(|address| *address == NEW_ADDRESS)
        });
    });
}

fn an_interface_that_returns_is_used_again(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let _web = http::Server::start(&lab.server1, 80);
        let socket = lab.a.udp_bind(0);
        assert_eq!(ask(&socket), Some(ROUTER_WAN));
        for _ in 0..2 {
            lab.remove_wan();
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set a timeout");
            forget_answers(&socket);
            assert_eq!(ask(&socket), None);
            lab.restore_wan();
            prepare_again(scene);
            lab.connect_wan();
            eventually("answer after the interface has returned", || ask(&socket));
            // The first capture has gone with the interface. What leaves before the daemon has
            // attached is the subject of another test.
            let capture = Capture::start(&lab.isp, ISP_IF);
            socket.set_read_timeout(Some(patience())).expect("set a timeout");
            http::download(&lab.b, (SERVER_1, 80), 1_000_000).expect("a whole download");
            capture.finish().assert_clean();
        }
    });
}

fn a_wan_that_the_daemon_has_not_seen_leaks_nothing(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let socket = lab.a.udp_bind(0);
        assert_eq!(ask(&socket), Some(ROUTER_WAN));
        lab.remove_wan();
        scene.gateway.daemon().wait_for("waiting for interface wan0");
        // However long the daemon takes to hear of the new interface.
        scene.gateway.daemon().signal(Signal::SIGSTOP);
        lab.restore_wan();
        prepare_again(scene);
        let capture = Capture::start(&lab.isp, ISP_IF);
        let flood = Flood::start(&lab.b);
        lab.connect_wan();
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set a timeout");
        assert_eq!(ask(&socket), None);
        // The router itself needs no daemon.
        probe::ping(&lab.router, SERVER_1, 1).expect("a reply to the router");
        scene.gateway.daemon().signal(Signal::SIGCONT);
        eventually("answer after the daemon has heard", || ask(&socket));
        drop(flood);
        capture.finish().assert_clean();
    });
}

/// Takes late answers out of a socket.
fn forget_answers(socket: &UdpSocket) {
    socket.set_nonblocking(true).expect("set O_NONBLOCK");
    while socket.recv(&mut [0; 100]).is_ok() {}
    socket.set_nonblocking(false).expect("clear O_NONBLOCK");
}

/// A host that sends all the time, new flows and old ones, until this is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(host: &Namespace) -> Self {
        let sockets: Vec<_> = (0..50).map(|_| host.udp_bind(0)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for socket in &sockets {
                    // It is refused while there is no route; that is what this is about.
                    let _ = socket.send_to(b"flood", (SERVER_1, 9));
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The new interface needs what the old one had.
fn prepare_again(scene: &Scene) {
    if scene.mode == Mode::Xdp {
        scene.lab.prepare_for_xdp();
    }
}

/// The external address that the server has seen; `None` if there is no answer.
fn ask(socket: &UdpSocket) -> Option<Ipv4Addr> {
    let server = SocketAddrV4::new(SERVER_1, 53);
    echo::ask(socket, server, b"who am I?").ok().map(|seen| *seen.ip())
}
