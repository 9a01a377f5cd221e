//! The kernel refuses to exchange a program when `masq trace` begins: some hooks have the new program by
//! then and some the old one. Each translates, nothing is lost, it is told, and done again.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use masq_tests::{
    daemon::{self, StopAtEnd},
    lab::{HOST_B, Lab, Layout},
    sockets::eventually,
    syscalls::{self, Answer, Call},
};
use nix::libc;

use crate::{
    flow::{Connection, Datagrams},
    state::{State, programs},
};

/// Refuses one of the updates at each attempt to trace: those with these numbers.
fn an_exchange_is_refused(mode: &str, updates: [u32; 2]) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let _clean = StopAtEnd(&lab.router);
    // The updates until the one that is refused; 0 for none.
    let until = Arc::new(AtomicU32::new(0));
    let arguments = ["run", "--lan", "lan0", "--wan", "wan0", "--mode", mode];
    let (masq, answers) = {
        let until = Arc::clone(&until);
        syscalls::spawn(daemon::masq(&lab.router, arguments), move |call| {
            let refused = call == Call::LinkUpdate
                && until.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    == Ok(1);
            if refused { Answer::Refuse(libc::ENOMEM) } else { Answer::Go }
        })
    };
    masq.wait_for("ready");
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
    let before = programs(&lab, &State::of(&lab.router));
    let restored = || (programs(&lab, &State::of(&lab.router)) == before).then_some(());
    for number in updates {
        until.store(number, Ordering::SeqCst);
        let refused = daemon::run(&lab.router, ["trace", "--count", "1"]);
        assert_eq!(until.load(Ordering::SeqCst), 0, "update {number} was refused");
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains("cannot exchange"), "{number}: {text}");
        eventually("the programs of before", restored);
        udp.go_on(10);
    }
    masq.wait_for("trying again until it works");
    // With nothing in the way it works.
    let traced = daemon::run(&lab.router, ["trace", "--count", "5", ":53"]);
    assert!(traced.status.success(), "{traced:?}");
    eventually("the programs of before", restored);
    udp.assert_all_answered();
    tcp.assert_whole();
    masq.stop();
    drop(answers);
}

#[test]
fn the_first_and_the_last_exchange_in_tc() {
    an_exchange_is_refused("tc", [1, 3]);
}

#[test]
fn each_exchange_in_a_driver() {
    an_exchange_is_refused("xdp", [4, 5]);
}
