//! Tells want of memory from other failures of a start, and says what to do about it. How much is
//! needed is known before ([`crate::check`]); what is not is the limit of a control group, and what
//! others have taken.

use std::io;

use anyhow::Error;

use crate::config::Config;

/// The same failure; if it was memory that the kernel had none of, with what helps.
pub fn explain(error: Error, config: &Config) -> Error {
    let no_memory = |cause: &io::Error| cause.kind() == io::ErrorKind::OutOfMemory;
    if !error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(no_memory)) {
        return error;
    }
    let need = config.memory() >> 20;
    error.context(format!(
        "no memory for {} sessions ({need} MiB when all are there): choose a smaller --max-sessions, \
         free memory, or raise the limit of the control group that masq runs in (MemoryMax= of its \
         service)",
        config.max_sessions
    ))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use nix::libc;

    use super::*;
    use crate::check::made_up::usual;

    fn explained(number: i32) -> String {
        let error = Err::<(), _>(io::Error::from_raw_os_error(number)).context("no map");
        format!("{:#}", explain(error.unwrap_err(), &usual()))
    }

    #[test]
    fn want_of_memory_is_explained_and_other_errors_are_left_as_they_are() {
        let text = explained(libc::ENOMEM);
        assert!(text.contains("--max-sessions") && text.contains("no map"), "{text}");
        assert_eq!(explained(libc::EPERM), "no map: Operation not permitted (os error 1)");
    }
}
