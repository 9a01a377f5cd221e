//! The rules of the packet filter, as far as masq cares: nftables and iptables in one model. Read by
//! [`nft`] and [`iptables`]; [`walk`] follows packets through them.
//!
//! A condition that is not understood is kept as such: whether it holds is not known then, and what
//! follows from it is never said to be certain.

pub mod iptables;
pub mod nft;
pub mod walk;

use ipnet::Ipv4Net;

/// All rules that IPv4 packets may meet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ruleset {
    /// The chains.
    pub chains: Vec<Chain>,
    /// Fast paths of the kernel.
    pub flowtables: Vec<Flowtable>,
}

/// Whose chain it is; decides which program changes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tool {
    /// nftables, also where iptables has made the chain with them.
    Nft,
    /// The older tables, of this program: `iptables`, or `iptables-legacy` beside nftables.
    Iptables(&'static str),
}

/// A list of rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Whose it is.
    pub tool: Tool,
    /// `ip` or `inet`.
    pub family: String,
    /// Name of the table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where packets come into it by themselves; `None` if rules have to lead there.
    pub base: Option<Base>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where the kernel gives packets to a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base {
    /// `filter`, `nat`, `route`.
    pub kind: String,
    /// `forward`, `postrouting` and so on.
    pub hook: String,
    /// Whether packets that reach its end are dropped.
    pub drops: bool,
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its number in nftables.
    pub handle: Option<u64>,
    /// In the words of iptables, from the name of the chain on.
    pub words: Option<String>,
    /// All have to hold.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub action: Action,
}

/// What a rule asks of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Came in by one of these; `*` or `+` at the end stands for anything. True: by none of them.
    In(Vec<String>, bool),
    /// Leaves by one of these, likewise.
    Out(Vec<String>, bool),
    /// Its source is in one of these, or in none of them.
    Source(Vec<Ipv4Net>, bool),
    /// Its destination, likewise.
    Destination(Vec<Ipv4Net>, bool),
    /// Connection tracking says one of these (`new`, `established`, `invalid`), or none of them.
    State(Vec<String>, bool),
    /// No packet of IPv4.
    Never,
    /// Something else.
    Unknown,
}

/// What a rule does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Ends this base chain well.
    Accept,
    /// Drops, or refuses with an answer.
    Drop,
    /// Goes through another chain and comes back.
    Jump(String),
    /// Goes to another chain for good.
    Goto(String),
    /// Back to where it came from.
    Return,
    /// Replaces the source address.
    Translate,
    /// Nothing to the packet's fate: counts, marks, logs.
    Nothing,
    /// Something that is not understood and may end it.
    Unknown,
}

/// A fast path of the kernel (`flowtable`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flowtable {
    /// `ip` or `inet`.
    pub family: String,
    /// Name of its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The devices that it takes packets from.
    pub devices: Vec<String>,
    /// Whether the network card is asked to do it, as far as that is told.
    pub hardware: bool,
}

impl Ruleset {
    /// The base chains of this kind at this hook.
    pub fn base_chains<'a>(
        &'a self,
        kind: &'a str,
        hook: &'a str,
    ) -> impl Iterator<Item = &'a Chain> {
        let is = move |base: &Base| base.kind == kind && base.hook == hook;
        self.chains.iter().filter(move |chain| chain.base.as_ref().is_some_and(is))
    }

    /// A chain of the same table.
    pub fn beside(&self, chain: &Chain, name: &str) -> Option<&Chain> {
        let is = |other: &&Chain| {
            other.name == name
                && other.table == chain.table
                && other.family == chain.family
                && other.tool == chain.tool
        };
        self.chains.iter().find(is)
    }
}

impl Chain {
    /// Whether iptables manages it, with its own tables or with those of nftables.
    pub fn is_of_iptables(&self) -> bool {
        let known = ["filter", "nat", "mangle", "raw", "security"];
        let upper = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase());
        matches!(self.tool, Tool::Iptables(_))
            || self.family == "ip"
                && known.contains(&self.table.as_str())
                && (self.base.is_none() || upper(&self.name))
    }

    /// The program that changes it if iptables manages it.
    pub const fn iptables(&self) -> &'static str {
        match self.tool {
            Tool::Nft => "iptables",
            Tool::Iptables(program) => program,
        }
    }

    /// As people name it.
    pub fn shown(&self) -> String {
        match self.tool {
            Tool::Nft => format!("chain {} of table {} {}", self.name, self.family, self.table),
            Tool::Iptables(program) => {
                format!("chain {} of table {} ({program})", self.name, self.table)
            }
        }
    }
}
