//! Both formats say what `masq stats` says, and whatever the dashboard and the alerts name exists.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::control::sample;

const DASHBOARD: &str = include_str!("../../../../docs/observe/dashboard.json");
const ALERTS: &str = include_str!("../../../../docs/observe/alerts.yml");

/// A host, and those that share an account.
fn hosts() -> Arc<[Host]> {
    let host = Host {
        address: Some([192, 168, 1, 10].into()),
        sessions: 3,
        sessions_ended: 9,
        packets_out: 11,
        bytes_out: u64::MAX,
        packets_in: 12,
        bytes_in: 2_000,
    };
    let others = Host { address: None, bytes_in: 7, ..Host::default() };
    [host, others].into()
}

fn scrape(format: Format) -> String {
    write(sample::stats(), hosts(), format).unwrap()
}

/// The samples of a scrape: name and labels, value.
fn samples(text: &str) -> BTreeMap<String, u64> {
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    let samples: Vec<_> = rows.map(sample).collect();
    let count = samples.len();
    let samples: BTreeMap<_, _> = samples.into_iter().collect();
    assert_eq!(samples.len(), count, "no sample twice");
    samples
}

#[test]
fn a_scrape_says_what_stats_says() {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let samples = samples(&scrape(format));
        let stats = sample::stats();
        for counter in &stats.counters {
            let name = format!(
                "masq_packets_total{{reason=\"{}\",class=\"{}\"}}",
                counter.reason, counter.class
            );
            assert_eq!(samples.get(&name), Some(&counter.count), "{name}");
        }
        for (name, value) in [
            ("masq_build_info{version=\"0.1.0\"}", 1),
            ("masq_instance_info{name=\"ppp0\",netns=\"4026531840\"}", 1),
            ("masq_uptime_seconds", 7_440),
            ("masq_survives_daemon", 1),
            ("masq_table_entries{table=\"sessions\"}", 131_072),
            ("masq_table_max_entries{table=\"mappings\"}", 262_144),
            ("masq_ports_used{wan=\"ppp0\",protocol=\"tcp\"}", 60_000),
            ("masq_ports_max{wan=\"ppp1\",protocol=\"tcp\"}", 64_512),
            (
                "masq_interface_info{interface=\"ppp0\",role=\"wan\",mode=\"tc\",address=\"203.0.113.5\"}",
                1,
            ),
            ("masq_interface_info{interface=\"ppp1\",role=\"wan\",mode=\"none\",address=\"\"}", 1),
            ("masq_interface_attached{interface=\"eth1\",role=\"lan\"}", 1),
            ("masq_interface_attached{interface=\"ppp1\",role=\"wan\"}", 0),
            ("masq_wan_has_address{wan=\"ppp0\"}", 1),
            ("masq_wan_has_address{wan=\"ppp1\"}", 0),
            ("masq_slow_path_waiting{what=\"first_packets\"}", 7),
            ("masq_slow_path_waiting{what=\"fragments\"}", 1),
            ("masq_slow_path_waiting_bytes", 1_480),
            ("masq_host_bytes_total{host=\"192.168.1.10\",direction=\"out\"}", u64::MAX),
            ("masq_host_bytes_total{host=\"192.168.1.10\",direction=\"in\"}", 2_000),
            ("masq_host_bytes_total{host=\"others\",direction=\"in\"}", 7),
            ("masq_host_packets_total{host=\"192.168.1.10\",direction=\"out\"}", 11),
            ("masq_host_packets_total{host=\"192.168.1.10\",direction=\"in\"}", 12),
            ("masq_host_sessions{host=\"192.168.1.10\"}", 3),
        ] {
            assert_eq!(samples.get(name), Some(&value), "{name} in {samples:#?}");
        }
        for (name, value, _) in stats.slow_path.rows() {
            let counter = format!("masq_slow_path_total{{what=\"{name}\"}}");
            let expected = (!SLOW_PATH_NOW.contains(&name)).then_some(value);
            assert_eq!(samples.get(&counter).copied(), expected, "{counter}");
        }
        assert!(!samples.contains_key("masq_wan_has_address{wan=\"eth1\"}"));
    }
}

#[test]
fn without_hosts_nothing_is_said_of_them() {
    let text = write(sample::stats(), Arc::default(), Format::Prometheus).unwrap();
    assert!(!text.contains("masq_host"), "{text}");
}

#[test]
fn a_client_gets_the_format_that_it_asks_for() {
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4";
    assert_eq!(Format::wanted(prometheus), Format::OpenMetrics);
    for accept in ["", "*/*", "text/plain;version=0.0.4", "application/json"] {
        assert_eq!(Format::wanted(accept), Format::Prometheus, "{accept}");
    }
    assert!(scrape(Format::OpenMetrics).ends_with("# EOF\n"));
    assert!(scrape(Format::OpenMetrics).contains("# TYPE masq_packets counter\n"));
    assert!(scrape(Format::Prometheus).contains("# TYPE masq_packets_total counter\n"));
}

#[test]
fn every_metric_has_a_help_text_and_a_type() {
    let text = scrape(Format::Prometheus);
    let described: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    let names: BTreeSet<_> =
        samples(&text).keys().map(|name| name.split('{').next().unwrap().to_owned()).collect();
    assert_eq!(described, names.iter().map(String::as_str).collect());
}

/// All expressions in a tree: the values of the keys `expr`, and of those of a template's query.
fn expressions(tree: &Value, found: &mut Vec<String>) {
    match tree {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if matches!(key.as_str(), "expr" | "query") => {
                        found.push(text.clone());
                    }
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// The words of an expression that begin like our metrics, each with the matchers behind it.
fn named(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in expression.match_indices("masq_") {
        if expression[..at].ends_with(is_word) {
            continue;
        }
        let rest = &expression[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or("");
        let matcher = |part: &str| {
            let (label, value) = part.split_once('=')?;
            let value = value.trim_start_matches('~').trim_matches('"');
            Some((label.trim_end_matches('!').trim().to_owned(), value.to_owned()))
        };
        found.push((name.to_owned(), inside.split(',').filter_map(matcher).collect()));
    }
    found
}

#[test]
fn the_dashboard_and_the_alerts_name_what_is_exported() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("a dashboard in JSON");
    let alerts: Value = serde_saphyr::from_str(ALERTS).expect("alerts in YAML");
    let samples = samples(&scrape(Format::Prometheus));
    for (file, tree, least) in [("dashboard", &dashboard, 10), ("alerts", &alerts, 8)] {
        let mut found = Vec::new();
        expressions(tree, &mut found);
        let metrics: Vec<_> = found.iter().flat_map(|e| named(e)).collect();
        assert!(metrics.len() >= least, "{file}: only {metrics:?}");
        for (name, matchers) in metrics {
            let of_name: Vec<_> =
                samples.keys().filter(|sample| sample.split('{').next() == Some(&name)).collect();
            assert!(!of_name.is_empty(), "{file}: masq exports no {name}");
            for (label, value) in matchers {
                // What the user chooses, and labels that Prometheus adds.
                if value.contains('$') || matches!(label.as_str(), "job" | "instance") {
                    continue;
                }
                for value in value.split('|') {
                    let wanted = format!("{label}=\"{value}\"");
                    let known = of_name.iter().any(|sample| sample.contains(&wanted));
                    assert!(known, "{file}: {name} has no {wanted}");
                }
            }
        }
    }
}

#[test]
fn alerts_say_what_to_do() {
    let alerts: Value = serde_saphyr::from_str(ALERTS).expect("alerts in YAML");
    let groups = alerts["groups"].as_array().expect("groups");
    let rules: Vec<_> = groups.iter().flat_map(|g| g["rules"].as_array().unwrap()).collect();
    assert!(rules.len() >= 7, "{rules:?}");
    for rule in rules {
        for field in ["alert", "expr"] {
            assert!(rule[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {rule}");
        }
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning" | "info")), "{rule}");
        for field in ["summary", "description"] {
            assert!(rule["annotations"][field].as_str().is_some(), "{field} of {rule}");
        }
    }
}
