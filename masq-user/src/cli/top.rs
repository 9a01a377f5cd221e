//! Options of `masq top`, and the filter that can also be typed while it runs.

use clap::{Args, Command, FromArgMatches as _};

use super::{InstanceArg, SessionFilter};
use crate::control::filter::Filter;

/// Options of `masq top`.
#[derive(Args, Debug)]
#[command(after_help = TOP_HELP)]
pub struct TopArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,

    /// Which sessions are shown and counted for hosts.
    #[command(flatten)]
    pub filter: SessionFilter,
}

const TOP_HELP: &str = "\
Keys: q quits, ? shows all keys, TAB switches between sessions and hosts, s changes the order, / asks \
for a filter, p holds the screen, ENTER shows one session in full, k removes the chosen session or all \
of the chosen host, after a question.

Rates are differences between two looks at the session table, mostly a second apart; with a million \
sessions the looks are further apart, so that the daemon has little to do. While more than 57,344 \
sessions live, idle ones are not remembered from look to look, and what they send first is missing \
from the rates.

NO_COLOR turns colours off. For scripts: `masq stats --json` and `masq sessions --json`.";

impl SessionFilter {
    /// Reads a filter as it is typed while `masq top` runs: the options of the command line, whose
    /// dashes may be left out, and whose value may follow after `=` or a blank. Nothing is no filter.
    pub fn read(line: &str) -> Result<Self, String> {
        let names = ["protocol", "inside", "external", "remote", "phase"];
        let words = line.split_whitespace().map(|word| {
            let name = word.split('=').next().unwrap_or_default();
            if names.contains(&name) { format!("--{word}") } else { word.to_owned() }
        });
        // The name that clap takes from the front.
        let words = std::iter::once("filter".to_owned()).chain(words);
        let command = Self::augment_args(Command::new("filter")).disable_help_flag(true);
        let read = command.try_get_matches_from(words).and_then(|m| Self::from_arg_matches(&m));
        read.map_err(|error| {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        })
    }
}

/// As it is typed.
pub fn written(filter: &Filter) -> String {
    let mut words = Vec::new();
    if let Some(protocol) = filter.protocol {
        words.push(format!("protocol {}", crate::control::proto::protocol_name(protocol)));
    }
    for (name, end) in
        [("inside", filter.inside), ("external", filter.external), ("remote", filter.remote)]
    {
        words.extend(end.map(|end| format!("{name} {end}")));
    }
    words.extend(filter.phase.as_ref().map(|phase| format!("phase {phase}")));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_typed_like_the_options() {
        let expected = Filter {
            protocol: Some(6),
            inside: Some("192.168.1.0/24".parse().unwrap()),
            phase: Some("established".into()),
            ..Filter::default()
        };
        for line in [
            "--protocol tcp --inside 192.168.1.0/24 --phase established",
            "protocol tcp inside 192.168.1.0/24 phase established",
            "  protocol=tcp inside=192.168.1.0/24   phase=established ",
        ] {
            assert_eq!(
                SessionFilter::read(line).map(|f| f.filter()),
                Ok(expected.clone()),
                "{line}"
            );
        }
        assert_eq!(SessionFilter::read(" ").map(|f| f.filter()), Ok(Filter::default()));
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        let line = "protocol udp external 203.0.113.5/32:53 remote 0.0.0.0/0:443";
        let filter = SessionFilter::read(line).unwrap().filter();
        assert_eq!(written(&filter), line);
        assert_eq!(written(&Filter::default()), "");
    }

    #[test]
    fn nonsense_is_told_in_one_line() {
        for line in ["inside", "inside x", "192.168.1.1", "phase open", "instance x", "protocol q"]
        {
            let error = SessionFilter::read(line).expect_err(line);
            assert!(!error.is_empty() && !error.contains('\n'), "{line}: {error}");
        }
    }
}
