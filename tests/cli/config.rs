//! `masq config` and `masq run --config`: files that are good, and what is said about others.

use std::{fs, path::PathBuf};

use masq_tests::{
    daemon::{json, output, run},
    netns::{Namespace, random},
};

use crate::{failure, text};

/// A file, for as long as it is needed.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("masq-test-{:x}.toml", random()));
        fs::write(&path, text).expect("write a file");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_sample_needs_two_lines_to_be_good() {
    let namespace = Namespace::new("router");
    let sample = output(&namespace, ["config", "sample"]);
    let file = File::new(&sample);
    let error = failure(&run(&namespace, ["config", "check", file.path()]), 2);
    assert!(error.contains("lan = [") && error.contains(file.path()), "{error}");
    let edited = sample.replace("#lan = ", "lan = ").replace("#wan = ", "wan = ");
    let file = File::new(&edited);
    let printed = output(&namespace, ["config", "check", file.path()]);
    assert!(printed.contains("lan = [\"eth1\"]") && printed.contains("# default"), "{printed}");
    // What is printed is a file itself.
    let again = File::new(&printed);
    let options = |file: &File| {
        let report = json(&namespace, ["config", "check", "--json", file.path()]);
        let options = report["options"].as_array().expect("an array").clone();
        options.into_iter().map(|option| option["value"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(options(&again), options(&file));
}

#[test]
fn options_after_two_dashes_stand_above_the_file() {
    let namespace = Namespace::new("router");
    let file = File::new("lan = \"eth1\"\nudp-timeout = \"9m\"\n");
    let rest = ["--", "--wan", "ppp0", "--udp-timeout", "7m"];
    let report =
        json(&namespace, [&["config", "check", "--json", file.path()], &rest[..]].concat());
    let options = report["options"].as_array().expect("an array");
    let option = |name: &str| options.iter().find(|o| o["option"] == name).expect("the option");
    assert_eq!(option("udp-timeout")["value"], "7m");
    assert_eq!(option("udp-timeout")["from"], "command_line");
    assert_eq!((&option("lan")["from"], &option("lan")["line"]), (&"file".into(), &1.into()));
    assert_eq!(report["errors"].as_array().map(Vec::len), Some(0));
}

#[test]
fn every_fault_has_its_line_and_nothing_is_started() {
    let namespace = Namespace::new("router");
    let file = File::new("lan = \"eth1\"\nwan = \"ppp0\"\nudp-timout = 5\n\nmode = \"fast\"\n");
    for command in [&["config", "check", file.path()][..], &["run", "--config", file.path()]] {
        let output = run(&namespace, command);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert_eq!(text(&output.stdout), "");
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 2, "{error}");
        assert!(lines[0].contains(&format!("{}:3: ", file.path())), "{error}");
        assert!(lines[0].contains("did you mean \"udp-timeout\"?"), "{error}");
        assert!(lines[1].contains(":5: ") && lines[1].contains("kernel"), "{error}");
    }
    let output = run(&namespace, ["config", "check", "--json", file.path()]);
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["errors"][0]["line"], &report["errors"][1]["line"]),
        (&3.into(), &5.into())
    );
}

#[test]
fn what_is_no_file_is_told_from_what_is_wrong_in_it() {
    let namespace = Namespace::new("router");
    for (path, says) in [("/nonexistent/masq.toml", "masq config sample"), ("/dev/zero", "regular")]
    {
        for command in [&["config", "check", path][..], &["run", "--config", path]] {
            let error = failure(&run(&namespace, command), 1);
            assert!(error.contains(path) && error.contains(says), "{error}");
        }
    }
}
