//! What a check has found: how bad it is, what it means for the user, what mends it. How findings are
//! shown is the business of [`crate::commands`].

use serde::Serialize;

/// How bad a finding is.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works; good to know.
    Note,
    /// Works in part, or slower, or will surprise.
    Warning,
    /// Cannot work: `masq run` refuses.
    Fatal,
}

impl Severity {
    /// The severity in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fatal => "fatal",
        }
    }
}

/// One finding. `masq check --json` prints these fields: they may be added to, never renamed.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at, as in `interfaces.mtu`; never renamed.
    pub check: &'static str,
    /// The interface that it is about; null if it is the machine.
    pub interface: Option<String>,
    /// What was found and what that means; no full stop at the end.
    pub text: String,
    /// What mends it, in words; empty if nothing has to be done or the commands say it all.
    pub advice: String,
    /// Commands that mend it, to be run in this order.
    pub commands: Vec<String>,
}

impl Finding {
    /// A finding about the machine, with nothing to do about it.
    pub fn new(severity: Severity, check: &'static str, text: impl Into<String>) -> Self {
        let (text, advice) = (text.into(), String::new());
        Self { severity, check, interface: None, text, advice, commands: Vec::new() }
    }

    /// All is well.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Ok, check, text)
    }

    /// Good to know.
    pub fn note(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Note, check, text)
    }

    /// To be looked at.
    pub fn warning(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, text)
    }

    /// Cannot work.
    pub fn fatal(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Fatal, check, text)
    }

    /// It is about this interface.
    pub fn of(self, interface: &str) -> Self {
        Self { interface: Some(interface.to_owned()), ..self }
    }

    /// This mends it.
    pub fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..self }
    }

    /// This command mends it, after those that were given before.
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// All of it in one line, for the log and for a refusal.
    pub fn sentence(&self) -> String {
        let mut line = self.text.clone();
        if !self.advice.is_empty() {
            line += &format!("; {}", self.advice);
        }
        if !self.commands.is_empty() {
            let commands: Vec<_> = self.commands.iter().map(|c| format!("`{c}`")).collect();
            line += if self.advice.is_empty() { "; mend it with " } else { ": " };
            line += &commands.join(", then ");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_by_how_bad_they_are() {
        use Severity::{Fatal, Note, Ok, Warning};
        assert!([Ok, Note, Warning, Fatal].is_sorted());
    }

    #[test]
    fn a_finding_is_one_sentence_with_its_commands() {
        let finding = Finding::warning("x.y", "lan0 is down");
        assert_eq!(finding.sentence(), "lan0 is down");
        let finding = finding.command("a").command("b");
        assert_eq!(finding.sentence(), "lan0 is down; mend it with `a`, then `b`");
        assert_eq!(finding.advice("do both").sentence(), "lan0 is down; do both: `a`, then `b`");
    }
}
