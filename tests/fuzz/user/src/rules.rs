//! The rules of the packet filter, as the tools of others print them: whatever they are, they are read,
//! and packets can be followed through them.

use masq_user::check::ruleset::{
    Ruleset, Tool, iptables as saved, nft as listed,
    walk::{Packet, Side, follow, translations},
};

/// What `nft --json list ruleset` prints.
pub fn nft(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(ruleset) = listed::parse(text) {
        walk(&ruleset);
    }
}

/// What iptables-save prints.
pub fn iptables(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    walk(&saved::parse(text, Tool::Nft));
}

fn walk(ruleset: &Ruleset) {
    let packet = |state| Packet {
        input: "lan0",
        output: "wan0",
        source: Side::Unknown,
        destination: Side::Outside,
        state,
    };
    for chain in ruleset.chains.iter().filter(|chain| chain.base.is_some()) {
        for state in ["new", "invalid"] {
            follow(ruleset, chain, &packet(state));
        }
        for (_, rule) in translations(ruleset, chain, &packet("new")) {
            assert_eq!(rule.action, masq_user::check::ruleset::Action::Translate);
        }
    }
}
