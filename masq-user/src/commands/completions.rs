//! `masq completions` and `masq manual`: what is made of the definition of the command line for
//! shells, and for `man`.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::read_on;
use crate::{
    cli::{Cli, CompletionsArgs, ManualArgs},
    error::Result,
};

/// Prints the completion script of a shell.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    read_on(io::stdout().write_all(&script)).map(|_| ())
}

/// Writes a manual page of each command.
pub fn manual(args: &ManualArgs) -> Result<()> {
    let directory = &args.directory;
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write to {}", directory.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_visible_command_has_a_page_with_all_its_options() {
        let directory = std::env::temp_dir().join(format!("masq-manual-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let written = manual(&ManualArgs { directory: directory.clone() });
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        let pages: Vec<_> = Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| (command.clone(), read(&format!("masq-{}.1", command.get_name()))))
            .collect();
        let main = read("masq.1");
        std::fs::remove_dir_all(&directory).unwrap();
        written.unwrap();
        assert!(pages.len() >= 5);
        for (command, page) in pages {
            assert!(main.contains(&format!("masq\\-{}", command.get_name())));
            let visible = command.get_arguments().filter(|argument| !argument.is_hide_set());
            for option in visible.filter_map(clap::Arg::get_long) {
                let option = option.replace('-', "\\-");
                assert!(page.contains(&format!("\\-\\-{option}")), "{option}:\n{page}");
            }
        }
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "masq", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["sessions", "max-sessions", "endpoint-independent"] {
                let elvish_and_powershell = matches!(shell, Shell::Elvish | Shell::PowerShell);
                // These two complete no values.
                if !(elvish_and_powershell && word == "endpoint-independent") {
                    assert!(script.contains(word), "{shell} does not know {word}");
                }
            }
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = manual(&ManualArgs { directory: "/nowhere/man".into() }).unwrap_err();
        assert!(error.to_string().contains("/nowhere/man"), "{error}");
    }
}
