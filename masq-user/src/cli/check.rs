//! The options of `masq check`, and the command line of `masq run` that they stand for.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum as _};

use super::values;

const HELP: &str = "\
Looks at kernel, interfaces, addresses, sysctls, the packet filter and ports, and says of each \
finding how bad it is, what it means, and what mends it. It changes nothing and needs no network.

Severities: fatal (`masq run` refuses), warning (works in part, slower, or will surprise; `masq run` \
logs it), note (good to know), ok (shown with -v).

Exit codes: 0 nothing fatal, 1 something fatal (with --strict: or a warning), 2 wrong command line.

Fields of --json: interfaces (name and role), findings (severity, check, interface or null, text, \
advice, commands; those that are ok too), and their numbers: fatal, warnings, notes.

Examples:
  masq check --lan eth1 --wan ppp0
  masq check                           # the interfaces of the running masq
  masq check --json | jq -r '.findings[].commands[]'";

/// Options of `masq check`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct MachineArgs {
    /// Configuration file, as for `masq run`. What stands on the command line overrides it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Interface to the inside, as for `masq run`. Default: those of the running instance.
    #[arg(long, value_name = "IF", value_parser = values::interface_name)]
    pub lan: Vec<String>,

    /// Interface to the outside, as for `masq run`. Default: those of the running instance.
    #[arg(long, value_name = "IF", value_parser = values::interface_name)]
    pub wan: Vec<String>,

    /// Name of the running instance whose interfaces are looked at. Default: the only one in this
    /// network namespace.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["lan", "wan", "config"],
          value_parser = values::instance_name)]
    pub instance: Option<String>,

    /// Where the fast path is to be attached, as for `masq run`. Default: as the running instance
    /// has it, else auto.
    #[arg(long, value_enum)]
    pub mode: Option<values::Mode>,

    /// External ports that are to be used, as for `masq run`.
    #[arg(long, value_name = "LO-HI")]
    pub ports: Option<String>,

    /// How many sessions are to fit, as for `masq run`.
    #[arg(long, value_name = "N")]
    pub max_sessions: Option<String>,

    /// How large segments TCP connections may announce, as for `masq run`.
    #[arg(long, value_name = "auto|off|BYTES")]
    pub mss_clamp: Option<String>,

    /// Interfaces may be missing, as for `masq run`.
    #[arg(long)]
    pub wait_interfaces: bool,

    /// Also show what is as it should be.
    #[arg(short, long)]
    pub verbose: bool,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Let warnings count as failure: exit code 1.
    #[arg(long)]
    pub strict: bool,
}

impl MachineArgs {
    /// The command line of `masq run` that is to be checked, with these interfaces. What is not
    /// named has the value that it has there.
    pub fn words(&self, lans: &[String], wans: &[String]) -> Vec<OsString> {
        let mode = self.mode.and_then(|mode| mode.to_possible_value());
        let mode = mode.map(|mode| mode.get_name().to_owned());
        let single = [
            ("mode", &mode),
            ("ports", &self.ports),
            ("max-sessions", &self.max_sessions),
            ("mss-clamp", &self.mss_clamp),
        ];
        let named = lans.iter().map(|lan| ("lan", lan)).chain(wans.iter().map(|wan| ("wan", wan)));
        let given =
            single.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?)));
        let mut words: Vec<OsString> = vec!["masq".into(), "run".into()];
        words
            .extend(named.chain(given).map(|(option, value)| format!("--{option}={value}").into()));
        if let Some(file) = &self.config {
            words.extend(["--config".into(), file.into()]);
        }
        if self.wait_interfaces {
            words.push("--wait-interfaces".into());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{
        super::{Cli, Command, RunArgs},
        *,
    };

    fn check(rest: &str) -> Result<MachineArgs, clap::Error> {
        let words = format!("masq check {rest}");
        match Cli::try_parse_from(words.split_whitespace())?.command {
            Command::Check(args) => Ok(args),
            _ => unreachable!("the second word is check"),
        }
    }

    fn run(rest: &str) -> Result<RunArgs, clap::Error> {
        let args = check(rest)?;
        match Cli::try_parse_from(args.words(&args.lan, &args.wan))?.command {
            Command::Run(args) => Ok(*args),
            _ => unreachable!("the second word is run"),
        }
    }

    #[test]
    fn what_is_checked_is_what_run_would_do() {
        let args = run("--lan a --lan b --wan c --mode tc --ports 2000-3000").unwrap();
        assert_eq!((args.lan.len(), args.wan.len(), args.mode), (2, 1, values::Mode::Tc));
        assert_eq!(args.ports.map(|ports| ports.low), Some(2000));
        assert_eq!(args.max_sessions, 262_144);
        let args =
            run("--lan a --wan c --max-sessions 5 --wait-interfaces --mss-clamp off").unwrap();
        assert!(args.max_sessions == 5 && args.wait_interfaces && args.mode == values::Mode::Auto);
        assert_eq!(args.mss_clamp, values::MssClamp::Off);
        let args = run("--config /etc/masq/masq.toml --wan c").unwrap();
        assert_eq!(args.config, Some("/etc/masq/masq.toml".into()));
    }

    #[test]
    fn wrong_values_are_refused_as_run_refuses_them() {
        for rest in [
            "--lan a",
            "--wan b",
            "--lan lo --wan b",
            "--instance x --lan a --wan b",
            "--lan a --wan b --ports 3-2",
            "--lan a --wan b --max-sessions 0",
            "--lan a --wan b --mss-clamp 7",
        ] {
            assert_eq!(run(rest).expect_err(rest).exit_code(), 2, "{rest}");
        }
    }
}
