//! The options of `masq check`, and what `masq run` would make of them.

use clap::{Args, Parser as _};

use super::{Cli, Command, RunArgs, values};

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
pub struct CheckArgs {
    /// Interface to the inside, as for `masq run`. Default: those of the running instance.
    #[arg(long, value_name = "IF", requires = "wan", value_parser = values::interface_name)]
    pub lan: Vec<String>,

    /// Interface to the outside, as for `masq run`. Default: those of the running instance.
    #[arg(long, value_name = "IF", requires = "lan", value_parser = values::interface_name)]
    pub wan: Vec<String>,

    /// Name of the running instance whose interfaces are looked at. Default: the only one in this
    /// network namespace.
    #[arg(long, value_name = "NAME", conflicts_with = "lan", value_parser = values::instance_name)]
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

impl CheckArgs {
    /// The command line of `masq run` that is to be checked, with these interfaces. What is not
    /// named has the default that it has there.
    pub fn run(&self, lans: &[String], wans: &[String]) -> Result<RunArgs, clap::Error> {
        let mode = self.mode.and_then(|mode| {
            Some(clap::ValueEnum::to_possible_value(&mode)?.get_name().to_owned())
        });
        let single = [
            ("--mode", mode.as_ref()),
            ("--ports", self.ports.as_ref()),
            ("--max-sessions", self.max_sessions.as_ref()),
            ("--mss-clamp", self.mss_clamp.as_ref()),
        ];
        let mut words = vec!["masq".to_owned(), "run".to_owned()];
        let named = lans.iter().map(|lan| ("--lan", lan));
        let named = named.chain(wans.iter().map(|wan| ("--wan", wan)));
        let given = single.into_iter().filter_map(|(option, value)| Some((option, value?)));
        for (option, value) in named.chain(given) {
            words.push(format!("{option}={value}"));
        }
        if self.wait_interfaces {
            words.push("--wait-interfaces".to_owned());
        }
        match Cli::try_parse_from(words)?.command {
            Command::Run(args) => Ok(*args),
            _ => unreachable!("the second word is run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rest: &str) -> Result<CheckArgs, clap::Error> {
        let words = format!("masq check {rest}");
        match Cli::try_parse_from(words.split_whitespace())?.command {
            Command::Check(args) => Ok(args),
            _ => unreachable!("the second word is check"),
        }
    }

    #[test]
    fn what_is_checked_is_what_run_would_do() {
        let args = check("--lan a --lan b --wan c --mode tc --ports 2000-3000").unwrap();
        let run = args.run(&args.lan, &args.wan).unwrap();
        assert_eq!(
            (run.lan.len(), &run.wan[..], run.mode),
            (2, &["c".to_owned()][..], values::Mode::Tc)
        );
        assert_eq!(run.ports.map(|ports| ports.low), Some(2000));
        assert_eq!(run.max_sessions, 262_144);
        let run = check("--lan a --wan c --max-sessions 5 --wait-interfaces").unwrap();
        let run = run.run(&run.lan, &run.wan).unwrap();
        assert!(run.max_sessions == 5 && run.wait_interfaces && run.mode == values::Mode::Auto);
    }

    #[test]
    fn wrong_values_are_refused_as_run_refuses_them() {
        for rest in ["--lan a", "--wan b", "--lan lo --wan b", "--instance x --lan a --wan b"] {
            assert_eq!(check(rest).expect_err(rest).exit_code(), 2, "{rest}");
        }
        for rest in ["--ports 3-2", "--max-sessions 0", "--mss-clamp 7"] {
            let args = check(&format!("--lan a --wan b {rest}")).unwrap();
            assert_eq!(args.run(&args.lan, &args.wan).expect_err(rest).exit_code(), 2, "{rest}");
        }
    }
}
