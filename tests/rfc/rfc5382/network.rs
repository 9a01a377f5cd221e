//! What needs the kernel's own TCP at both ends.

use std::io::{ErrorKind, Read, Write};

use masq_tests::{
    lab::{ROUTER_WAN, SERVER_1},
    sockets::{stop_listening, v4},
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

mod req_4a {
    use super::*;
    use masq_tests::{
        packet::{Packet, tcp::SYN},
        traffic::probe,
    };

    in_both_modes!(with_a_rule_that_drops_nothing_answers_a_syn);

    fn with_a_rule_that_drops_nothing_answers_a_syn(setup: Setup) {
        setup.run(|scene| {
            let lab = scene.lab;
            let rules = "table ip filter { chain input { type filter hook input priority 0; \
                         iifname wan0 tcp flags syn drop; }; }";
            lab.router.feed("nft", &["-f", "-"], rules);
            for port in 5000..5100 {
                let syn = Packet::tcp((SERVER_1, 80), (ROUTER_WAN, port), SYN, b"");
                lab.server1.send_packet(&syn.bytes());
            }
            // What was sent before a ping's reply has arrived before it.
            probe::ping(&lab.server1, ROUTER_WAN, 1).expect("a reply");
            let mut answers = scene.capture.packets();
            answers.retain(|packet| packet.received && packet.protocol() == 6);
            assert_eq!(answers, []);
            // A connection that the inside wants is not held up by it.
            let listener = lab.server1.tcp_listen(80);
            lab.a.tcp_connect_from((lab.a.address, 5000), (SERVER_1, 80)).expect("connect");
            listener.accept().expect("accept");
        });
    }
}

mod req_8 {
    use super::*;

    in_both_modes!(a_host_connects_to_another_ones_external_endpoint);

    const OPEN: [&str; 2] = ["--filtering", "endpoint-independent"];

    fn a_host_connects_to_another_ones_external_endpoint(setup: Setup) {
        setup.arguments(&OPEN).run(exchange);
    }

    fn exchange(scene: &Scene) {
        const PORT: u16 = 45_000;
        const LENGTH: usize = 200_000;
        let lab = scene.lab;
        // B opens its mapping by a connection to a server, and listens on the same port.
        let server = lab.server1.tcp_listen(80);
        let to_server = lab.b.tcp_socket((lab.b.address, PORT));
        to_server.set_reuse_port(true).expect("set SO_REUSEPORT");
        let to_server = lab.b.tcp_connect_from((lab.b.address, PORT), (SERVER_1, 80));
        let _to_server = to_server.expect("connect to the server");
        let (_accepted, external) = server.accept().expect("accept");
        let listener = lab.b.tcp_listen(PORT);
        let mut client = lab.a.tcp_connect(external).expect("connect to B's external endpoint");
        let (mut accepted, peer) = listener.accept().expect("accept");
        assert_eq!(*v4(peer).ip(), ROUTER_WAN, "B sees A's external address");
        std::thread::scope(|scope| {
            scope.spawn(|| client.write_all(&vec![0x5a; LENGTH]).expect("send"));
            let mut data = vec![0; LENGTH];
            accepted.read_exact(&mut data).expect("receive");
            assert_eq!(data, vec![0x5a; LENGTH]);
        });
        accepted.write_all(b"thanks").expect("answer");
        let mut answer = [0; 6];
        client.read_exact(&mut answer).expect("the answer");
        assert_eq!(&answer, b"thanks");
        // A port of B that nobody listens on refuses, as it does without masq.
        stop_listening(&listener);
        let error = lab.a.tcp_connect(external).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
