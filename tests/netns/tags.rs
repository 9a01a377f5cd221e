//! VLAN tags stay in the frames of a port while the program is in its driver: what is turned off at the
//! device for that is on again afterwards, whatever happens meanwhile, and a port that does not let it be
//! turned off leaves the driver in order.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use aya::maps::{HashMap, Map, MapData};
use masq_common::{abi::maps, link::Exit};
use masq_tests::{
    daemon::{self, Masq, StopAtEnd},
    lab::{HOST_B, Lab, LanKind, Layout, ROUTER_WAN, SERVER_1, set_features, veth},
    netns::Namespace,
    sockets::eventually,
    syscalls::{self, Answer, Answerer, Call},
    traffic::probe,
};
use nix::libc;

use crate::flow::{Connection, Datagrams};

/// The ports of the lab's bridge.
const PORTS: [&str; 2] = ["port0", "port1"];

fn bridged() -> Lab {
    let lab = Lab::new(Layout::default().lan(LanKind::Bridge));
    lab.prepare_for_xdp();
    for port in PORTS {
        assert!(takes_tags_off(&lab.router, port), "as every veth");
    }
    lab
}

/// Whether a device takes tags off the frames that it receives.
fn takes_tags_off(namespace: &Namespace, interface: &str) -> bool {
    let features = namespace.output("ethtool", &["-k", interface]);
    let line = features.lines().find(|line| line.starts_with("rx-vlan-offload:"));
    line.expect("the feature").contains(": on")
}

/// Starts masq whose system calls `answer` decides.
fn start(
    lab: &Lab,
    wan: &str,
    answer: impl FnMut(Call) -> Answer + Send + 'static,
) -> (Masq, Answerer) {
    let name = lab.router.name();
    let arguments = ["run", "--lan", "lan0", "--wan", wan, "--mode", "xdp", "--instance", name];
    syscalls::spawn(daemon::masq(&lab.router, arguments), answer)
}

#[test]
fn they_are_put_back_under_another_name() {
    let lab = bridged();
    let masq = Masq::start(&lab, ["--mode", "xdp"]);
    for port in PORTS {
        assert!(!takes_tags_off(&lab.router, port));
    }
    lab.router.ip("link set port0 down\nlink set port0 name renamed\nlink set renamed up");
    eventually("the new name", || {
        daemon::output(&lab.router, ["stats"]).contains("renamed").then_some(())
    });
    assert!(!takes_tags_off(&lab.router, "renamed"));
    masq.stop();
    for port in ["renamed", PORTS[1]] {
        assert!(takes_tags_off(&lab.router, port), "{port}");
    }
}

/// Starts masq and has it killed when it has just turned something off and asks whether it is.
fn be_killed_after_turning_off(lab: &Lab) {
    let mut turned_off = false;
    let (masq, _answers) = start(lab, "wan0", move |call| match call {
        Call::AskDriver if turned_off => Answer::Kill,
        Call::ChangeFeatures => {
            turned_off = true;
            Answer::Go
        }
        _ => Answer::Go,
    });
    let (status, log) = masq.outcome();
    assert!(status.code().is_none(), "{status}: {log}");
    let off = PORTS.iter().filter(|port| !takes_tags_off(&lab.router, port));
    assert_eq!(off.count(), 1, "{log}");
}

fn assert_put_back(lab: &Lab) {
    for port in PORTS {
        assert!(takes_tags_off(&lab.router, port), "{port}");
    }
}

#[test]
fn a_kill_in_the_middle_is_mended_by_whoever_stops_it() {
    let lab = bridged();
    let _clean = StopAtEnd(&lab.router);
    be_killed_after_turning_off(&lab);
    daemon::output(&lab.router, ["stop"]);
    assert_put_back(&lab);
}

#[test]
fn a_kill_in_the_middle_is_mended_by_the_next_one() {
    let lab = bridged();
    let _clean = StopAtEnd(&lab.router);
    be_killed_after_turning_off(&lab);
    let masq = Masq::start(&lab, ["--mode", "xdp", "--instance", lab.router.name()]);
    masq.wait_for("taken over from an earlier masq");
    masq.stop();
    assert_put_back(&lab);
    // One that does without XDP leaves nothing turned off from the beginning.
    be_killed_after_turning_off(&lab);
    let masq = Masq::start(&lab, ["--mode", "tc", "--instance", lab.router.name()]);
    assert_put_back(&lab);
    masq.stop();
}

/// Between the start of a daemon that cannot take over and the end of what was there before.
#[test]
fn a_second_kill_at_a_cold_start_is_mended_too() {
    let lab = bridged();
    let _clean = StopAtEnd(&lab.router);
    veth(&lab.router, "wan9", &lab.isp, "isp9");
    lab.router.ip(&format!("link set wan9 up\naddr add {ROUTER_WAN}/32 dev wan9"));
    let masq = Masq::start(&lab, ["--mode", "xdp", "--instance", lab.router.name()]);
    crate::restart::kill(masq);
    let (masq, _answers) = start(&lab, "wan9", |call| match call {
        Call::LinkDetach => Answer::Kill,
        _ => Answer::Go,
    });
    let (status, log) = masq.outcome();
    assert!(status.code().is_none() && log.contains("cold start"), "{status}: {log}");
    daemon::output(&lab.router, ["stop"]);
    assert_put_back(&lab);
}

/// Before anything of the new one is attached.
#[test]
fn a_cold_start_that_fails_leaves_what_was_there_to_the_next_one() {
    let lab = bridged();
    let _clean = StopAtEnd(&lab.router);
    veth(&lab.router, "wan9", &lab.isp, "isp9");
    lab.router.ip(&format!("link set wan9 up\naddr add {ROUTER_WAN}/32 dev wan9"));
    let name = lab.router.name();
    let masq = Masq::start(&lab, ["--mode", "xdp", "--instance", name]);
    crate::restart::kill(masq);
    // Nobody can listen there.
    let socket = Path::new("/run/masq").join(format!("{name}.sock"));
    fs::remove_file(&socket).expect("the socket of the one that was killed");
    fs::create_dir(&socket).expect("a folder in its place");
    let arguments = ["run", "--lan", "lan0", "--wan", "wan9", "--mode", "xdp", "--instance", name];
    let (status, log) = Masq::spawn(daemon::masq(&lab.router, arguments)).outcome();
    fs::remove_dir(&socket).expect("the folder");
    assert!(!status.success() && log.contains("cold start"), "{status}: {log}");
    assert!(log.contains("Is a directory") || log.contains("Address already in use"), "{log}");
    for port in PORTS {
        assert!(!takes_tags_off(&lab.router, port), "{port}: it translates on");
    }
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply without a daemon");
    let masq = Masq::start(&lab, ["--mode", "xdp", "--instance", name]);
    masq.wait_for("taken over from an earlier masq");
    masq.stop();
    assert_put_back(&lab);
}

/// The exits that the programs know, by interface.
fn exits(pins: &str) -> Vec<u32> {
    let map = MapData::from_pin(Path::new(pins).join("maps").join(maps::EXITS)).expect("the map");
    let map = Map::from_map_data(map).expect("a map");
    let exits: HashMap<MapData, u32, Exit> = map.try_into().expect("a hash");
    exits.keys().map(|key| key.expect("a key")).collect()
}

#[test]
fn a_port_that_does_not_leave_them_in_any_more_leaves_the_driver_in_order() {
    let lab = bridged();
    let _clean = StopAtEnd(&lab.router);
    let index = lab.router.interface_index(PORTS[0]);
    let (refuses, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    // How often the port could be sent to when a program left a driver, and how often it could not.
    let left = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let pins = Arc::new(std::sync::OnceLock::<String>::new());
    let (masq, answers) = {
        let (refuses, asked) = (Arc::clone(&refuses), Arc::clone(&asked));
        let (left, pins) = (Arc::clone(&left), Arc::clone(&pins));
        start(&lab, "wan0", move |call| match call {
            Call::ChangeFeatures if refuses.load(Ordering::SeqCst) => {
                asked.fetch_add(1, Ordering::SeqCst);
                Answer::Refuse(libc::EOPNOTSUPP)
            }
            Call::LinkDetach if refuses.load(Ordering::SeqCst) => {
                let known = exits(pins.get().expect("where they are")).contains(&index);
                left[usize::from(known)].fetch_add(1, Ordering::SeqCst);
                Answer::Go
            }
            _ => Answer::Go,
        })
    };
    masq.wait_for("ready");
    let stats = daemon::stats(&lab.router);
    let found = stats["survival"]["pins"].as_str().expect("the pins").to_owned();
    assert!(exits(&found).contains(&index));
    pins.set(found).expect("once");
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
    refuses.store(true, Ordering::SeqCst);
    set_features(&lab.router, PORTS[0], "rxvlan on");
    masq.wait_for("does not let that be turned off");
    let link = lab.router.output("ip", &["-details", "link", "show", PORTS[0]]);
    assert!(!link.contains("xdp"), "it leaves: {link}");
    assert!(asked.load(Ordering::SeqCst) > 0);
    let left = [0, 1].map(|known| left[known].load(Ordering::SeqCst));
    assert_eq!(left, [1, 0], "nobody sends to it any more when the program leaves");
    udp.go_on(20);
    // And comes back as soon as it can.
    refuses.store(false, Ordering::SeqCst);
    eventually("the program in the driver", || {
        let link = lab.router.output("ip", &["-details", "link", "show", PORTS[0]]);
        link.contains("xdp").then_some(())
    });
    assert!(!takes_tags_off(&lab.router, PORTS[0]));
    udp.go_on(20);
    udp.assert_all_answered();
    tcp.assert_whole();
    masq.stop();
    drop(answers);
    assert_put_back(&lab);
}
