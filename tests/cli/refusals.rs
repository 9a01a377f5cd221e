//! What a machine does not allow: exit code 1, one sentence, and nothing is touched.

use std::{fs, os::unix::process::CommandExt};

use masq_tests::{
    daemon::{Masq, masq, program, run},
    lab::{Lab, Layout, SERVER_1, veth},
    netns::Namespace,
    traffic::probe,
};

use crate::failure;

#[test]
fn a_missing_interface_is_named_and_so_are_those_that_exist() {
    let namespace = Namespace::new("router");
    namespace.ip("link add eth7 type veth peer name eth8");
    let output = run(&namespace, ["run", "--lan", "eth7", "--wan", "ppp0"]);
    let error = failure(&output, 1);
    assert!(error.contains("ppp0") && error.contains("eth8"), "{error}");
    let output = run(&namespace, ["run", "--lan", "br-lan", "--wan", "eth7"]);
    assert!(failure(&output, 1).contains("br-lan"));
}

#[test]
fn an_interface_may_be_waited_for() {
    let lab = Lab::new(Layout::default());
    lab.remove_wan();
    let arguments = ["run", "--lan", "lan0", "--wan", "wan0", "--wait-interfaces"];
    let instance = Masq::spawn(masq(&lab.router, arguments));
    instance.wait_for("wan0");
    lab.restore_wan();
    lab.connect_wan();
    instance.wait_for("ready");
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    instance.stop();
}

#[test]
fn without_privileges_the_answer_is_sudo() {
    let namespace = Namespace::new("router");
    namespace.ip("link add lan0 type veth peer name wan0");
    // Nobody may not be allowed to look into the directory that masq was built in.
    let directory = std::env::temp_dir().join(namespace.name());
    fs::create_dir(&directory).expect("make a directory");
    let copy = directory.join("masq");
    fs::copy(program(), &copy).expect("copy masq");
    let mut command = namespace.command(&copy);
    command.args(["run", "--lan", "lan0", "--wan", "wan0"]);
    let become_nobody = || Ok(nix::unistd::setuid(65534.into())?);
    // SAFETY: the closure makes one system call and allocates nothing. It runs after the one that
    // enters the namespace, which needs privileges.
    unsafe { command.pre_exec(become_nobody) };
    let output = command.output();
    fs::remove_dir_all(&directory).expect("remove the directory");
    let error = failure(&output.expect("start masq"), 1);
    assert!(error.contains("root") && error.contains("sudo"), "{error}");
}

#[test]
fn an_interface_belongs_to_one_instance() {
    let lab = Lab::new(Layout::default());
    let other = Namespace::new("other");
    veth(&lab.router, "wan1", &other, "eth0");
    lab.router.ip("addr add 192.0.2.9/24 dev wan1\nlink set wan1 up");
    let first = Masq::start(&lab, ["--mode", "tc"]);
    for (lan, wan, taken) in [("lan0", "wan1", "lan0"), ("wan1", "wan0", "wan0")] {
        let output = run(&lab.router, ["run", "--lan", lan, "--wan", wan, "--instance", "second"]);
        let error = failure(&output, 1);
        assert!(error.contains(taken) && error.contains("taken"), "{error}");
    }
    // Nothing of the first one was touched.
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    first.stop();
    // And now they are free.
    Masq::start(&lab, ["--mode", "tc"]).stop();
}

#[test]
fn a_driver_without_xdp_is_named_if_xdp_is_demanded() {
    let lab = Lab::new(Layout::default());
    lab.router.ip("link add mac0 link lan0 type macvlan");
    let arguments = ["run", "--lan", "mac0", "--wan", "wan0", "--mode", "xdp"];
    let (status, log) = Masq::spawn(masq(&lab.router, arguments)).outcome();
    assert_eq!(status.code(), Some(1), "{log}");
    let error = log.lines().last().expect("a sentence");
    assert!(error.contains("mac0") && error.contains("--mode"), "{log}");
}

#[test]
fn there_has_to_be_an_instance_to_ask() {
    let namespace = Namespace::new("router");
    for command in ["sessions", "stats"] {
        let output = run(&namespace, [command, "--instance", "no-such-instance"]);
        let error = failure(&output, 1);
        assert!(error.contains("no-such-instance"), "{error}");
    }
}
