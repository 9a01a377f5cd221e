//! What cannot be taken over, or not be kept at all: a cold start, and nothing left behind.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, thread, time::Duration};

use masq_tests::{
    capture::Capture,
    daemon::{self, Masq, StopAtEnd},
    lab::{ISP_IF, Lab, Layout, ROUTER_WAN, SERVER_1, veth},
    syscalls::{self, Answer, Call},
    traffic::probe,
};
use nix::sys::signal::Signal;

use crate::{
    flow::Datagrams,
    restart::kill,
    state::{State, assert_all_gone, maps_of, programs},
};

/// The file in which masq has written down what it leaves, in a namespace.
fn manifest(state: &State) -> String {
    let files = &state.run_files;
    let file = files.iter().find(|file| file.ends_with(".json"));
    file.unwrap_or_else(|| panic!("a manifest: {files:?}")).clone()
}

/// Kills a daemon, changes what it has written down, starts another one and demands that this one
/// says why it cannot go on with the sessions, translates, and leaves nothing.
fn starts_cold(arguments: &[&str], what: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let capture = Capture::start(&lab.isp, ISP_IF);
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, arguments);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let running = State::of(&lab.router);
    let programs = programs(&lab, &running);
    let maps = maps_of(&programs);
    kill(masq);
    let path = manifest(&running);
    let text = fs::read(&path).expect("read the manifest");
    let mut json = serde_json::from_slice(&text).expect("the manifest is JSON");
    change(&mut json);
    fs::write(&path, json.to_string()).expect("write the manifest");
    let masq = Masq::start(&lab, arguments);
    let line = masq.wait_for("cold start");
    assert!(line.contains(what), "{line}");
    assert_eq!(daemon::stats(&lab.router)["survival"]["adopted"], false);
    // Of the old data plane nothing is left.
    assert_all_gone(&programs, &maps);
    // The flow begins anew, and nothing has left untranslated meanwhile.
    udp.go_on(50);
    let (sent, answered, _) = udp.finish();
    assert!((sent - 30..sent).any(|number| answered.contains(&number)), "{sent} sent");
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    masq.stop();
    before.assert_restored(&lab.router);
    capture.finish().assert_clean();
}

#[test]
fn another_layout_is_a_cold_start_in_tc() {
    starts_cold(&["--mode", "tc"], "layout 4711", |json| json["abi"] = 4711.into());
}

#[test]
fn another_layout_is_a_cold_start_in_xdp() {
    starts_cold(&["--mode", "xdp"], "layout 4711", |json| json["abi"] = 4711.into());
}

#[test]
fn another_layout_is_a_cold_start_with_clsact() {
    let arguments = ["--mode", "tc", "--tc-attach", "clsact"];
    starts_cold(&arguments, "layout 4711", |json| json["abi"] = 4711.into());
}

#[test]
fn a_start_that_was_not_finished_is_a_cold_start() {
    starts_cold(&["--mode", "tc"], "not finished", |json| json["ready"] = false.into());
}

#[test]
fn a_manifest_that_is_none_is_a_cold_start() {
    starts_cold(&["--mode", "tc"], "cannot understand", |json| *json = 5.into());
}

#[test]
fn a_daemon_that_is_killed_as_it_starts_leaves_nothing_in_the_way() {
    for mode in ["tc", "xdp"] {
        let lab = Lab::new(Layout::default());
        lab.prepare_for_xdp();
        let before = State::of(&lab.router);
        let capture = Capture::start(&lab.isp, ISP_IF);
        let _clean = StopAtEnd(&lab.router);
        for delay in [2, 10, 40, 160, 640, 1280] {
            let arguments = ["run", "--lan", "lan0", "--wan", "wan0", "--mode", mode];
            let masq = Masq::spawn(daemon::masq(&lab.router, arguments));
            thread::sleep(Duration::from_millis(delay));
            kill(masq);
            // With what is left, or without: both have to work.
            if delay == 40 {
                daemon::run(&lab.router, ["stop"]);
                before.assert_restored(&lab.router);
            }
        }
        let masq = Masq::start(&lab, ["--mode", mode]);
        probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
        masq.stop();
        before.assert_restored(&lab.router);
        capture.finish().assert_clean();
    }
}

/// Until the new one is attached, nobody else keeps packets with inside sources from leaving.
#[test]
fn what_a_start_was_to_replace_translates_until_the_next_one_does() {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    veth(&lab.router, "wan9", &lab.isp, "isp9");
    lab.router.ip(&format!("link set wan9 up\naddr add {ROUTER_WAN}/32 dev wan9"));
    let before = State::of(&lab.router);
    let capture = Capture::start(&lab.isp, ISP_IF);
    let _clean = StopAtEnd(&lab.router);
    let name = lab.router.name();
    let masq = Masq::start(&lab, ["--mode", "tc", "--instance", name]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    kill(masq);
    // As it begins to take off what it replaces.
    let other = ["run", "--lan", "lan0", "--wan", "wan9", "--mode", "tc", "--instance", name];
    let (masq, _answers) = syscalls::spawn(daemon::masq(&lab.router, other), |call| match call {
        Call::LinkDetach => Answer::Kill,
        _ => Answer::Go,
    });
    let (status, log) = masq.outcome();
    assert!(status.code().is_none() && log.contains("cold start"), "{status}: {log}");
    // The next one comes no further than that: nobody can listen there.
    let socket = Path::new("/run/masq").join(format!("{name}.sock"));
    fs::remove_file(&socket).expect("the socket of one that was killed");
    fs::create_dir(&socket).expect("a folder in its place");
    let again = ["run", "--lan", "lan0", "--wan", "wan0", "--mode", "tc", "--instance", name];
    let (status, log) = Masq::spawn(daemon::masq(&lab.router, again)).outcome();
    fs::remove_dir(&socket).expect("the folder");
    assert!(!status.success() && log.contains("not finished"), "{status}: {log}");
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply by what was to be replaced");
    let masq = Masq::start(&lab, ["--mode", "tc", "--instance", name]);
    masq.wait_for("taken over from an earlier masq");
    udp.go_on(20);
    masq.stop();
    udp.finish();
    before.assert_restored(&lab.router);
    capture.finish().assert_clean();
}

#[test]
fn another_name_on_the_same_interfaces_is_a_cold_start() {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let capture = Capture::start(&lab.isp, ISP_IF);
    let _clean = StopAtEnd(&lab.router);
    kill(Masq::start(&lab, ["--mode", "xdp"]));
    let name = format!("other-{}", std::process::id());
    let masq = Masq::start(&lab, ["--mode", "xdp", "--instance", &name]);
    masq.wait_for("has ended without `masq stop` and holds the same interfaces");
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    let instances = daemon::output(&lab.router, ["instances"]);
    assert_eq!(instances.matches("in this network namespace").count(), 1, "{instances}");
    masq.stop();
    before.assert_restored(&lab.router);
    capture.finish().assert_clean();
}

/// `masq stop` removes everything, with a daemon and without.
fn stop_leaves_nothing(arguments: &[&str], killed: bool) {
    let lab = Lab::new(Layout::default());
    lab.prepare_for_xdp();
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, arguments);
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    let running = State::of(&lab.router);
    let programs = programs(&lab, &running);
    let maps = maps_of(&programs);
    if killed {
        kill(masq);
        probe::ping(&lab.a, SERVER_1, 2).expect("a reply without a daemon");
        let instances = daemon::output(&lab.router, ["instances"]);
        assert!(instances.contains("translates without a daemon"), "{instances}");
        let error = daemon::run(&lab.router, ["stop", "--keep-data-plane"]);
        assert_eq!(error.status.code(), Some(1));
        daemon::output(&lab.router, ["stop"]);
    } else {
        daemon::output(&lab.router, ["stop"]);
        let (status, log) = masq.outcome();
        assert!(status.success(), "{status}: {log}");
    }
    before.assert_restored(&lab.router);
    assert_all_gone(&programs, &maps);
    let again = daemon::run(&lab.router, ["stop"]);
    assert_eq!(again.status.code(), Some(1), "nothing is there to stop");
}

#[test]
fn stop_without_a_daemon_leaves_nothing_in_tc() {
    stop_leaves_nothing(&["--mode", "tc"], true);
}

#[test]
fn stop_without_a_daemon_leaves_nothing_in_xdp() {
    stop_leaves_nothing(&["--mode", "xdp"], true);
}

#[test]
fn stop_without_a_daemon_leaves_nothing_with_clsact() {
    stop_leaves_nothing(&["--mode", "tc", "--tc-attach", "clsact"], true);
}

#[test]
fn stop_with_a_daemon_leaves_nothing() {
    stop_leaves_nothing(&["--mode", "xdp"], false);
}

#[test]
fn a_daemon_that_hangs_is_not_robbed() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    masq.signal(Signal::SIGSTOP);
    let stop = daemon::run(&lab.router, ["stop"]);
    assert_eq!(stop.status.code(), Some(1));
    let error = String::from_utf8_lossy(&stop.stderr);
    assert!(error.contains("does not answer"), "{error}");
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    masq.signal(Signal::SIGCONT);
    masq.stop();
}

#[test]
fn pins_are_for_root_only() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let stats = daemon::stats(&lab.router);
    let pins = Path::new(stats["survival"]["pins"].as_str().expect("a directory"));
    for directory in [pins.to_owned(), pins.join("maps"), pins.join("links")] {
        let mode = fs::metadata(&directory).expect("a directory").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
    }
    masq.stop();
}

/// Starts `masq run` in a mount namespace of its own that `prepare` has changed.
fn start_elsewhere(lab: &Lab, prepare: &str) -> Masq {
    let script = format!("{prepare}\nexec $WRAP \"$0\" \"$@\"");
    let mut unshare: Command = lab.router.command("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-e", "-c", &script]);
    unshare.arg(daemon::program());
    unshare.args(["run", "--lan", "lan0", "--wan", "wan0", "--mode", "tc"]);
    let masq = Masq::spawn(unshare);
    masq.wait_for("ready");
    masq
}

/// Runs `masq run` in a mount namespace of its own that `prepare` has changed, and demands that it
/// translates, says that it will not survive, and ends as it should.
fn translates_without_survival(prepare: &str, why: &str) {
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let masq = start_elsewhere(&lab, prepare);
    let line = masq.wait_for("sessions end with this process");
    assert!(line.contains(why), "{line}");
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    let stats = daemon::output(&lab.router, ["stats"]);
    assert!(stats.contains("sessions end with the daemon: "), "{stats}");
    let keep = daemon::run(&lab.router, ["stop", "--keep-data-plane"]);
    assert!(String::from_utf8_lossy(&keep.stderr).contains("cannot go on without"), "{keep:?}");
    masq.signal(Signal::SIGUSR2);
    masq.wait_for("SIGUSR2 ignored");
    masq.stop();
    before.assert_restored(&lab.router);
}

#[test]
fn a_bpffs_that_cannot_be_written_is_no_reason_not_to_run() {
    // Other tests mount and remove the directory at the same time. Without CAP_SYS_ADMIN masq cannot
    // look for a better one in the namespace that they do that in.
    let prepare = "
        until mkdir -p /run/masq/bpf && mount -t bpf -o ro none /run/masq/bpf; do sleep 0.1; done
        WRAP='setpriv --bounding-set -sys_admin'";
    translates_without_survival(prepare, "Read-only file system");
}

/// Without CAP_SYS_ADMIN no bpffs can be mounted; the four capabilities that masq asks for are enough for
/// everything else.
const NO_BPFFS: &str = "
    while umount /run/masq/bpf 2>/dev/null; do :; done
    while umount /sys/fs/bpf 2>/dev/null; do :; done
    WRAP='setpriv --bounding-set -sys_admin'";

/// What does not end is killed by a service manager, and would leave forwarding on; so masq ends.
#[test]
fn a_restart_by_a_service_manager_is_a_stop_without_survival() {
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let masq = start_elsewhere(&lab, &format!("{NO_BPFFS}\nexport NOTIFY_SOCKET=/nowhere"));
    masq.signal(Signal::SIGUSR2);
    masq.wait_for("SIGUSR2 removes everything");
    let (status, log) = masq.outcome();
    assert!(status.success(), "{status}: {log}");
    before.assert_restored(&lab.router);
}

#[test]
fn no_bpffs_is_no_reason_not_to_run() {
    translates_without_survival(NO_BPFFS, "cannot be");
}

#[test]
fn forwarding_is_off_again_after_a_kill_without_survival() {
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let masq = start_elsewhere(&lab, NO_BPFFS);
    assert_eq!(lab.router.sysctl("net.ipv4.ip_forward").as_deref(), Some("1"));
    kill(masq);
    let stop = daemon::run(&lab.router, ["stop"]);
    assert!(stop.status.success(), "{stop:?}");
    before.assert_restored(&lab.router);
    // Once.
    let again = daemon::run(&lab.router, ["stop"]);
    assert!(!again.status.success(), "{again:?}");
}

#[test]
fn a_directory_of_somebody_else_is_not_used() {
    let prepare = "
        while umount /run/masq/bpf 2>/dev/null; do :; done
        mount -t bpf none /sys/fs/bpf
        mkdir /sys/fs/bpf/masq
        chown 1000 /sys/fs/bpf/masq";
    translates_without_survival(prepare, "belongs to others");
}

#[test]
fn a_mount_namespace_of_its_own_is_no_hindrance() {
    // What `ip netns exec` does: a fresh /sys, in which no bpffs is mounted.
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let start = || {
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", lab.router.name()]).arg(daemon::program());
        ip.args(["run", "--lan", "lan0", "--wan", "wan0", "--mode", "tc"]);
        let masq = Masq::spawn(ip);
        masq.wait_for("ready");
        masq
    };
    kill(start());
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let masq = start();
    masq.wait_for("taken over from an earlier masq");
    udp.assert_all_answered();
    masq.stop();
    before.assert_restored(&lab.router);
}
