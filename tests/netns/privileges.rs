//! What the daemon may do once it has started, whoever has started it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use masq_tests::{
    daemon::{self, Masq},
    lab::{Lab, Layout, SERVER_1},
    netns::Namespace,
    traffic::probe,
};
use serde_json::json;

use crate::reload::reload;

/// By their numbers in linux/capability.h: NET_ADMIN, NET_RAW, PERFMON, BPF.
const NEEDED: u64 = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;
/// SYS_CHROOT, SYS_PTRACE, SYS_ADMIN: where a bpffs of masq's own is to be unmounted.
const TO_UNMOUNT: u64 = 1 << 18 | 1 << 19 | 1 << 21;
/// DAC_READ_SEARCH.
const TO_READ: u64 = 1 << 2;

/// Looks at every thread of the daemon that runs there.
#[track_caller]
fn assert_no_more_than(router: &Namespace, allowed: u64) {
    // Has it start a thread of its own for the work.
    daemon::output(router, ["sessions"]);
    let pid = daemon::stats(router)["pid"].as_u64().expect("a process");
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let threads: Vec<_> = threads.map(|thread| thread.expect("a thread").path()).collect();
    assert!(threads.len() > 1, "{threads:?}");
    for thread in threads {
        let status = fs::read_to_string(thread.join("status")).expect("its status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            u64::from_str_radix(line.expect("the line").trim(), 16).expect("a number")
        };
        for set in ["CapPrm", "CapEff"] {
            let has = field(set);
            assert_eq!(has & NEEDED, NEEDED, "{set}: {has:#x}");
            assert_eq!(has & !allowed, 0, "{set}: {has:#x}");
        }
        let most = field("CapBnd");
        assert_eq!(most & !(allowed | TO_READ), 0, "{most:#x}");
        assert_eq!((field("CapInh"), field("CapAmb"), field("NoNewPrivs")), (0, 0, 1));
    }
}

#[test]
fn what_the_daemon_does_not_need_it_has_given_up() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    assert_no_more_than(&lab.router, NEEDED | TO_UNMOUNT);
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    masq.stop();
}

#[test]
fn a_file_that_only_its_owner_may_read_is_read_again_all_the_same() {
    const OWNER: u32 = 4_711;
    let lab = Lab::new(Layout::default());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("masq.toml");
    let write = |timeout: &str| {
        let text = format!("lan = [\"lan0\"]\nwan = [\"wan0\"]\nudp-timeout = \"{timeout}\"\n");
        fs::write(&file, text).expect("write a configuration file");
    };
    write("5m");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("its own");
    for path in [folder.path(), &file] {
        chown(path, Some(OWNER), Some(OWNER)).expect("somebody else's");
    }
    let path = file.to_str().expect("a path of UTF-8");
    let masq = Masq::spawn(daemon::masq(&lab.router, ["run", "--config", path]));
    masq.wait_for("ready");
    assert_no_more_than(&lab.router, NEEDED | TO_UNMOUNT | TO_READ);
    write("7m");
    reload(&lab.router, json!([{ "option": "udp-timeout", "old": "5m", "new": "7m" }]));
    masq.stop();
}
