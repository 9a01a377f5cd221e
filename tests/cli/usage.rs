//! Help, and command lines that make no sense: exit code 2, and nothing is touched.

use masq_tests::{daemon::run, netns::Namespace};

use crate::text;

#[test]
fn help_explains_every_option() {
    let namespace = Namespace::new("router");
    let expected: [(&[&str], &[&str]); 12] = [
        (
            &["--help"],
            &["run", "check", "sessions", "stats", "instances", "reload", "config", "Exit codes"],
        ),
        (
            &["run", "--help"],
            &[
                "--config",
                "--lan",
                "--wan",
                "--source",
                "--mode",
                "--filtering",
                "--ports",
                "--max-sessions",
                "--udp-timeout",
                "--instance",
                "ready",
                "Examples",
            ],
        ),
        (&["sessions", "--help"], &["--json", "--instance", "--inside", "--remote", "--sort"]),
        (&["events", "--help"], &["--json", "--drops", "--duration", "Exit codes", "Examples"]),
        (&["flush", "--help"], &["--all", "--dry-run", "--inside", "Examples"]),
        (&["trace", "--help"], &["--json", "--drops", "--write", "Exit codes", "Examples"]),
        (&["stats", "--help"], &["--json", "--instance"]),
        (&["instances", "--help"], &["--json"]),
        (&["reload", "--help"], &["--json", "--instance", "SIGHUP"]),
        (&["config", "--help"], &["check", "sample"]),
        (&["config", "check", "--help"], &["--json", "FILE", "Exit codes"]),
        (
            &["check", "--help"],
            &["--lan", "--wan", "--json", "--strict", "Severities", "Exit codes"],
        ),
    ];
    for (arguments, words) in expected {
        let output = run(&namespace, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        let help = text(&output.stdout);
        for word in words {
            assert!(help.contains(word), "{arguments:?} does not mention {word}:\n{help}");
        }
    }
    let version = run(&namespace, ["--version"]);
    assert!(version.status.success() && text(&version.stdout).starts_with("masq "));
}

#[test]
fn wrong_command_lines_are_refused_with_the_reason() {
    let namespace = Namespace::new("router");
    let run_with = |rest: &'static str| [&["run"], &*rest.split(' ').collect::<Vec<_>>()].concat();
    let cases = [
        (vec![], "Usage"),
        (vec!["dance"], "dance"),
        (vec!["run"], "--lan"),
        (run_with("--lan lan0"), "--wan"),
        (run_with("--lan lan0 --wan lan0"), "cannot be LAN and WAN"),
        (run_with("--lan lan0 --lan lan0 --wan wan0"), "named twice"),
        (run_with("--lan lan0 --wan wan0 --source 192.168.1.5/16"), "192.168.0.0/16"),
        (run_with("--lan lan0 --wan wan0 --source 192.168.0.0/33"), "192.168.0.0/33"),
        (run_with("--lan lan0 --wan wan0 --source fd00::/8"), "IPv4"),
        (run_with("--lan lan0 --wan wan0 --ports 5000-4000"), "4000-5000"),
        (run_with("--lan lan0 --wan wan0 --ports 0-70000"), "ports"),
        (run_with("--lan lan0 --wan wan0 --max-sessions 0"), "--max-sessions"),
        (run_with("--lan lan0 --wan wan0 --mode fast"), "xdp"),
        (run_with("--lan lan0 --wan wan0 --filtering none"), "endpoint-independent"),
        (run_with("--lan lan0 --wan wan0 --udp-timeout 5s"), "--allow-short-timeouts"),
        (run_with("--lan lan0 --wan wan0 --udp-timeout soon"), "90s"),
        (vec!["sessions", "--inside", "nonsense"], "nonsense"),
        (vec!["sessions", "--phase", "open"], "established"),
        (vec!["sessions", "--sort", "colour"], "remaining"),
        (vec!["sessions", "--reverse"], "--sort"),
        (vec!["events", "--duration", "soon"], "90s"),
        (vec!["trace", "nonsense"], "nonsense"),
        (vec!["trace", "192.168.1.10", "192.168.1.11", "192.168.1.12"], "192.168.1.12"),
        (vec!["trace", "--reason", "session_opened"], "masq stats --all"),
        (vec!["trace", "--count", "0"], "0"),
        (vec!["trace", "--json", "--write", "file"], "--write"),
        (vec!["flush"], "--all"),
        (vec!["flush", "--dry-run"], "--all"),
        (vec!["flush", "--all", "--inside", "192.168.1.10"], "--all"),
        (vec!["stats", "--instance", "../../etc/passwd"], "letters"),
    ];
    for (arguments, word) in cases {
        let output = run(&namespace, &arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(error.contains(word), "{arguments:?} does not mention {word}:\n{error}");
    }
}
