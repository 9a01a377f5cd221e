//! Files and command lines, and what they come to.

use serde_json::json;

use super::*;
use crate::{cli::FilteringPolicy, commands::SAMPLE};

/// What a file and the rest of a command line come to, or all that is wrong.
fn read(text: &str, rest: &str) -> Result<Reading, Vec<String>> {
    let words = format!("masq run --config /x {rest}");
    let source = Source::new(
        words.split_whitespace().map(OsString::from).collect(),
        Some(Path::new("/x/masq.toml")),
    );
    let texts = |problem: &Problem| match problem.line {
        Some(line) => format!("{line}: {}", problem.text),
        None => problem.text.clone(),
    };
    match file::entries(text) {
        Ok(entries) => source.combine(entries).map_err(|problem| vec![texts(&problem)]),
        Err(problems) => Err(problems.iter().map(texts).collect()),
    }
}

fn good(text: &str, rest: &str) -> Reading {
    read(text, rest).unwrap_or_else(|problems| panic!("{problems:?} in {text:?}"))
}

/// The only thing wrong with a file.
fn fault(text: &str) -> String {
    let text = format!("lan = \"a\"\nwan = \"b\"\n{text}\n");
    let problems = read(&text, "").expect_err(&text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].clone()
}

fn value<'a>(reading: &'a Reading, option: &str) -> &'a Value {
    reading.values.0.iter().find(|value| value.option == option).expect(option)
}

#[test]
fn keys_are_options_of_every_kind() {
    let text = r#"
        lan = ["eth1", "wg0"]
        wan = "ppp0"
        udp-timeout = "10m"
        icmp-timeout = 90
        max-sessions = 1_000_000
        reserve-ports = ["5350-5351", 8080]
        exhaustion-icmp = 1
        allow-short-timeouts = true
        wait-interfaces = false
        verbose = 2
        filtering-udp = "eif"
        mode = "kernel"
        tc-attach = "clsact"
    "#;
    let words = "--lan eth1 --lan wg0 --wan ppp0 --udp-timeout 10m --icmp-timeout 90 \
        --max-sessions 1000000 --reserve-ports 5350-5351,8080 --exhaustion-icmp 1 \
        --allow-short-timeouts -vv --filtering-udp eif --mode kernel --tc-attach clsact";
    let (file, line) = (good(text, "").config, good("", words).config);
    assert_eq!(format!("{file:?}"), format!("{line:?}"));
    assert_eq!(file.max_sessions, 1_000_000);
}

#[test]
fn the_command_line_overrides_the_file_with_whole_lists() {
    let text = "lan = [\"a\", \"b\"]\nwan = \"w\"\nudp-timeout = \"10m\"\nfiltering = \"adf\"\n\
        verbose = 2\nsource = [\"10.0.0.0/8\", \"10.1.0.0/16\"]\n";
    let reading = good(text, "--lan c --udp-timeout 20m --source 192.168.0.0/16 -v");
    let Config { lans, wans, sources, settings, verbose, .. } = &reading.config;
    assert_eq!((lans.as_slice(), wans.as_slice()), (&["c".to_owned()][..], &["w".to_owned()][..]));
    assert_eq!(*sources, ["192.168.0.0/16".parse().unwrap()]);
    assert_eq!(settings.timeouts.udp, masq_common::time::Span::from_secs(1200));
    let filtering = masq_common::settings::Filtering::from(FilteringPolicy::AddressDependent);
    assert_eq!((settings.filtering_udp, *verbose), (filtering as u8, 1));
    let from = |option| (value(&reading, option).from, value(&reading, option).line);
    assert_eq!(from("lan"), (Origin::CommandLine, None));
    assert_eq!(from("filtering"), (Origin::File, Some(4)));
    assert_eq!(from("icmp-timeout"), (Origin::Default, None));
}

#[test]
fn interfaces_come_from_either_and_have_to_come_from_one() {
    assert_eq!(good("lan = \"a\"", "--wan b").config.wans, ["b"]);
    assert_eq!(good("", "--lan a --wan b").config.lans, ["a"]);
    for (text, rest, missing) in [("", "--lan a", "wan"), ("wan = \"b\"\nlan = []", "", "lan")] {
        let problems = read(text, rest).unwrap_err();
        assert!(problems[0].contains(&format!("--{missing}")), "{problems:?}");
    }
}

#[test]
fn faults_have_lines_and_say_what_to_do() {
    for (text, line, says) in [
        ("udp-timeout = \"soon\"", 3, "2h4m"),
        ("\nudp-timeout = \"5s\"", 4, "--allow-short-timeouts"),
        ("udp_timeout = \"5m\"", 3, "did you mean \"udp-timeout\"?"),
        ("udp-timout = \"5m\"", 3, "did you mean \"udp-timeout\"?"),
        ("Verbose = 1", 3, "did you mean \"verbose\"?"),
        ("nonsense = 1", 3, "masq config sample"),
        ("config = \"x\"", 3, "command line"),
        ("help = true", 3, "command line"),
        ("[timeouts]\nudp-timeout = 5", 3, "section"),
        ("udp-timeout = 5.5", 3, "fraction"),
        ("udp-timeout = [300]", 3, "list"),
        ("allow-short-timeouts = \"yes\"", 3, "true or false"),
        ("verbose = true", 3, "whole number"),
        ("verbose = 200", 3, "0 to 9"),
        ("source = [\"10.0.0.0/8\", 1.5]", 3, "fraction"),
        ("source = \"10.0.0.1/8\"", 3, "10.0.0.0/8"),
        ("mode = \"fast\"", 3, "xdp"),
        ("max-sessions = -1", 3, "--max-sessions"),
        ("instance = \"a\\u0000b\"", 3, "control"),
        ("udp-timeout = ", 3, ""),
        ("lan = \"c\"", 3, "duplicate"),
    ] {
        let fault = fault(text);
        assert!(fault.starts_with(&format!("{line}: ")), "{text}: {fault}");
        assert!(fault.contains(says), "{text}: {fault}");
        assert!(!fault.contains('\n'), "{text}: {fault}");
    }
}

#[test]
fn all_faults_are_told_in_the_order_of_their_lines() {
    let text = "wan = \"a/b\"\nmode = \"fast\"\nlan = \"a\"\nflitering = \"adf\"\n";
    let problems = read(text, "").unwrap_err();
    let starts: Vec<_> = problems.iter().map(|problem| &problem[..2]).collect();
    assert_eq!(starts, ["1:", "2:", "4:"], "{problems:?}");
}

#[test]
fn a_fault_of_the_command_line_is_not_laid_at_the_files_door() {
    let words = "masq run --config /x --lan a --wan b --udp-timeout 5s".split_whitespace();
    let source = Source::new(words.map(OsString::from).collect(), Some(Path::new("/x")));
    let entries = file::entries("icmp-timeout = \"2m\"").unwrap();
    let problem = source.combine(entries).unwrap_err();
    assert_eq!((problem.file, problem.line), (None, None), "{}", problem.text);
}

#[test]
fn changes_are_told_by_option_and_nothing_else_is() {
    let old = good("lan = \"a\"\nwan = \"b\"\nudp-timeout = \"10m\"", "");
    let new = good("wan = \"b\"\nlan = [\"a\", \"c\"]\nports = 4000", "-v");
    let changes: Vec<_> = new.values.changes(&old.values).iter().map(|c| c.to_string()).collect();
    let expected =
        ["lan: a → a, c", "ports: not set → 4000", "udp-timeout: 10m → 5m", "verbose: 0 → 1"];
    assert_eq!(changes, expected);
    assert!(old.values.changes(&old.values).is_empty());
}

#[test]
fn what_check_prints_is_a_file_that_comes_to_the_same() {
    let text = "lan = [\"a\", \"c\"]\nwan = \"b\"\nudp-timeout = 600\nfiltering-tcp = \"eif\"\n\
        reserve-ports = [\"1-2\", 3]\nhost-rate = 5\nwait-interfaces = true";
    let reading = good(text, "--ports 4000-5000 -v");
    let printed: String = reading.values.shown().map(|value| format!("{value}\n")).collect();
    assert_eq!(format!("{:?}", good(&printed, "").config), format!("{:?}", reading.config));
    assert!(printed.contains("# line 3") && printed.contains("# command line"), "{printed}");
    assert!(!printed.contains("tc-attach"), "for developers only: {printed}");
}

/// The lines of the sample that have a key, as they are without the `#` before them.
fn sample() -> String {
    let key = |line: &&str| {
        let name = line.split(" = ").next().unwrap_or_default();
        line.contains(" = ") && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    let lines = SAMPLE.lines().filter_map(|line| line.strip_prefix('#')).filter(key);
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_sample_says_nothing_until_it_is_edited() {
    assert_eq!(file::entries(SAMPLE), Ok(Vec::new()));
    assert!(SAMPLE.lines().all(|line| line.is_empty() || line.starts_with('#')));
    assert!(SAMPLE.lines().all(|line| line.len() <= 102), "it is read in terminals");
}

#[test]
fn the_sample_has_every_option_with_its_default() {
    let text = sample();
    let reading = good(&text, "");
    let run = file::command();
    for arg in file::options(&run).filter(|arg| !arg.is_hide_set()) {
        let option = arg.get_long().unwrap();
        let shown = value(&reading, option);
        assert_eq!(shown.from, Origin::File, "--{option} is not in masq.toml");
        let defaults = arg.get_default_values();
        let plain = value(&good("", "--lan a --wan b"), option).value.clone();
        let takes_values = arg.get_action().takes_values();
        if !takes_values || !defaults.is_empty() {
            assert_eq!(shown.value, plain, "the default of --{option}");
        }
    }
    assert_eq!(value(&reading, "lan").value, json!(["eth1"]));
}
