//! Idle sessions end, and are swept away.

use std::{
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use masq_tests::{
    daemon,
    lab::{SERVER_1, SERVER_2},
    packet::Packet,
    sockets::eventually,
    traffic::{echo, probe},
};

use crate::{in_both_modes, scene::Setup};

in_both_modes!(idle_sessions_end, busy_sessions_stay);

const SHORT: [&str; 5] = ["--udp-timeout", "1s", "--icmp-timeout", "1s", "--allow-short-timeouts"];

fn idle_sessions_end(setup: Setup) {
    setup.arguments(&SHORT).run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let server = SocketAddrV4::new(SERVER_1, 53);
        let socket = lab.a.udp_bind(40_000);
        let external = echo::ask(&socket, server, b"question").expect("an answer");
        probe::ping(&lab.a, SERVER_1, 7).expect("a reply");
        eventually("end of the sessions", || {
            let stats = daemon::stats(&lab.router);
            let table = |name: &str| stats["tables"][name]["used"].as_u64();
            (table("sessions") == Some(0) && table("mappings") == Some(0)).then_some(())
        });
        let stats = daemon::stats(&lab.router);
        assert_eq!(daemon::counter(&stats, "session_closed"), 2);
        assert_eq!(stats["tables"]["ports"][0]["used"], 0);
        // Nothing comes in through a session that has ended.
        lab.server1
            .send_packet(&Packet::udp((SERVER_1, 53), (*external.ip(), 40_000), b"late").bytes());
        probe::ping(&lab.a, SERVER_1, 8).expect("a reply");
        socket.set_nonblocking(true).expect("set O_NONBLOCK");
        socket.recv(&mut [0; 10]).expect_err("nothing was asked for");
        // And the next packet opens another one.
        socket.set_nonblocking(false).expect("clear O_NONBLOCK");
        assert_eq!(echo::ask(&socket, server, b"question").expect("an answer"), external);
    });
}

fn busy_sessions_stay(setup: Setup) {
    // Longer than a busy machine pauses a test between two questions.
    let timeout = ["--udp-timeout", "4s", "--allow-short-timeouts"];
    setup.arguments(&timeout).run(|scene| {
        let lab = scene.lab;
        let _servers = [&lab.server1, &lab.server2].map(|server| echo::Server::start(server, 53));
        let busy = lab.a.udp_bind(40_000);
        let idle = lab.b.udp_bind(40_000);
        let server = SocketAddrV4::new(SERVER_1, 53);
        let seen = echo::ask(&busy, server, b"question").expect("an answer");
        echo::ask(&idle, SocketAddrV4::new(SERVER_2, 53), b"question").expect("an answer");
        // The other one goes; this one is kept alive by what is asked meanwhile, and outlives its
        // timer. Where the machine has paused the test for too long, both may rightly have gone:
        // that round says nothing.
        eventually("a session that outlives its timer, and the end of the idle one", || {
            let asked = Instant::now();
            assert_eq!(echo::ask(&busy, server, b"question").expect("an answer"), seen);
            let sessions = daemon::sessions(&lab.router, &["--protocol", "udp"]);
            if asked.elapsed() > Duration::from_secs(3) {
                return None;
            }
            let of = |remote: &str| {
                sessions.iter().find(|session| session["remote"]["address"] == remote)
            };
            let busy = of("198.51.100.1").unwrap_or_else(|| panic!("gone: {sessions:?}"));
            let outlived = busy["age_ms"].as_u64() >= Some(6000);
            (outlived && of("198.51.100.2").is_none()).then_some(())
        });
    });
}
