//! TCP: transfers, many connections, and the ways in which a connection ends.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use masq_tests::{
    lab::{ROUTER_WAN, SERVER_1, SERVER_2},
    sockets::{eventually, v4},
    traffic::http,
};
use socket2::SockRef;

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    a_download_arrives_byte_for_byte,
    an_upload_arrives_byte_for_byte,
    ten_downloads_at_once,
    two_hundred_connections_at_once,
    the_server_closes_first,
    the_client_closes_first,
    a_half_closed_connection_goes_on,
    a_reset_by_the_server_reaches_the_client,
    a_reset_by_the_client_reaches_the_server,
    a_closed_port_refuses_at_once,
    a_port_can_be_used_again_after_a_connection,
);

fn a_download_arrives_byte_for_byte(setup: Setup) {
    setup.run(|scene| {
        let _server = http::Server::start(&scene.lab.server1, 80);
        for length in [1, 1000, 10_000_000] {
            http::download(&scene.lab.a, (SERVER_1, 80), length).expect("a whole download");
        }
    });
}

fn an_upload_arrives_byte_for_byte(setup: Setup) {
    setup.run(|scene| {
        let _server = http::Server::start(&scene.lab.server1, 80);
        for length in [1, 1000, 10_000_000] {
            http::upload(&scene.lab.a, (SERVER_1, 80), length).expect("a whole upload");
        }
    });
}

fn ten_downloads_at_once(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let _servers = [&lab.server1, &lab.server2].map(|s| http::Server::start(s, 80));
        let hosts = [&lab.a, &lab.b].into_iter().cycle();
        let remotes = [SERVER_1, SERVER_2, SERVER_2].into_iter().cycle();
        thread::scope(|scope| {
            for (host, remote) in hosts.zip(remotes).take(10) {
                scope.spawn(move || {
                    http::download(host, (remote, 80), 1_000_000).expect("a whole download");
                });
            }
        });
    });
}

fn two_hundred_connections_at_once(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let listener = lab.server1.tcp_listen(80);
        let mut connections: Vec<_> = (0..200)
            .map(|i| {
                let host = if i % 2 == 0 { &lab.a } else { &lab.b };
                let client = host.tcp_connect((SERVER_1, 80)).expect("connect");
                let (server, peer) = listener.accept().expect("accept");
                assert_eq!(*v4(peer).ip(), ROUTER_WAN);
                (client, patient(server))
            })
            .collect();
        for (i, (client, _)) in connections.iter_mut().enumerate() {
            client.write_all(format!("question {i:3}").as_bytes()).expect("ask");
        }
        for (i, (_, server)) in connections.iter_mut().enumerate() {
            assert_eq!(read(server, 12), format!("question {i:3}").as_bytes());
            server.write_all(format!("answer {i:3}").as_bytes()).expect("answer");
        }
        for (i, (client, _)) in connections.iter_mut().enumerate() {
            assert_eq!(read(client, 10), format!("answer {i:3}").as_bytes());
        }
    });
}

fn the_server_closes_first(setup: Setup) {
    setup.run(|scene| {
        let (mut client, mut server) = connection(scene);
        server.write_all(b"goodbye").expect("send");
        drop(server);
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the end of the stream");
        assert_eq!(received, b"goodbye");
    });
}

fn the_client_closes_first(setup: Setup) {
    setup.run(|scene| {
        let (mut client, mut server) = connection(scene);
        client.write_all(b"goodbye").expect("send");
        drop(client);
        let mut received = Vec::new();
        server.read_to_end(&mut received).expect("the end of the stream");
        assert_eq!(received, b"goodbye");
    });
}

fn a_half_closed_connection_goes_on(setup: Setup) {
    setup.run(|scene| {
        let (mut client, mut server) = connection(scene);
        client.shutdown(Shutdown::Write).expect("close one direction");
        assert_eq!(server.read(&mut [0]).expect("the end of the stream"), 0);
        for _ in 0..3 {
            server.write_all(b"still here").expect("send");
            assert_eq!(read(&mut client, 10), b"still here");
        }
    });
}

fn a_reset_by_the_server_reaches_the_client(setup: Setup) {
    setup.run(|scene| {
        let (mut client, server) = connection(scene);
        reset(server);
        let error = client.read(&mut [0]).expect_err("the connection is broken");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

fn a_reset_by_the_client_reaches_the_server(setup: Setup) {
    setup.run(|scene| {
        let (client, mut server) = connection(scene);
        reset(client);
        let error = server.read(&mut [0]).expect_err("the connection is broken");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

fn a_closed_port_refuses_at_once(setup: Setup) {
    setup.run(|scene| {
        let error = scene.lab.a.tcp_connect((SERVER_1, 80)).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

fn a_port_can_be_used_again_after_a_connection(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        let listener = lab.server1.tcp_listen(80);
        for round in 0..5 {
            let local = (lab.a.address, 50_001);
            // The last segment of the connection before may still be on its way.
            let mut client = eventually("connection from the same port", || {
                lab.a.tcp_connect_from(local, (SERVER_1, 80)).ok()
            });
            let (server, _) = listener.accept().expect("accept");
            let mut server = patient(server);
            client.write_all(b"hello").expect("send");
            assert_eq!(read(&mut server, 5), b"hello");
            // By turns with FIN and with RST. The server closes first, so that the client's port
            // does not stay in TIME-WAIT.
            if round % 2 == 0 {
                drop(server);
                assert_eq!(client.read(&mut [0]).expect("the end of the stream"), 0);
            } else {
                reset(client);
            }
        }
    });
}

/// An open connection of host A to server 1: both ends.
fn connection(scene: &Scene) -> (TcpStream, TcpStream) {
    let listener = scene.lab.server1.tcp_listen(80);
    let client = scene.lab.a.tcp_connect((SERVER_1, 80)).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (client, patient(server))
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(masq_tests::patience::patience())).expect("set a timeout");
    stream
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    stream.read_exact(&mut data).expect("receive");
    data
}

/// Closes with RST instead of FIN.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set SO_LINGER");
}
