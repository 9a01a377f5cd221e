//! Why a command of masq failed, and the exit code that says so.

/// A failure that ends the command. Its text is one sentence that says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line or the configuration file makes no sense. Nothing has been touched.
    #[error("{0}")]
    Usage(String),
    /// This machine, or its present state, does not allow it. Nothing has been touched.
    #[error("{0}")]
    Refused(String),
    /// What was followed has ended. Nothing went wrong.
    #[error("{0}")]
    Ended(String),
    /// Something went wrong on the way.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl Error {
    /// The exit code of the process: 2 for a wrong command line, as clap has it, or file, 3 if the masq
    /// that was followed has ended, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Ended(_) => 3,
            Self::Refused(_) | Self::Failed(_) => 1,
        }
    }
}

/// What commands return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
