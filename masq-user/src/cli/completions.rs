//! Arguments of `masq completions` and `masq manual`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

const COMPLETIONS_HELP: &str = "\
The Debian package brings the scripts along. Without it:
  masq completions bash > /etc/bash_completion.d/masq
  masq completions zsh  > /usr/local/share/zsh/site-functions/_masq
  masq completions fish > /etc/fish/completions/masq.fish";

/// Options of `masq completions`.
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct CompletionsArgs {
    /// The shell that is to complete.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Options of `masq manual`.
#[derive(Args, Debug)]
pub struct ManualArgs {
    /// Where to write masq.1, masq-run.1 and so on; an existing directory.
    #[arg(value_name = "DIRECTORY", value_hint = clap::ValueHint::DirPath)]
    pub directory: PathBuf,
}
