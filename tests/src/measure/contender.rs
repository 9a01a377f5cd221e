//! What the router of a line does: the things that are compared.

use super::{
    frames::BareForwarding,
    line::{LAN_IF, Line},
};
use crate::{
    daemon::{Masq, Mode, masq},
    lab::WAN_IF,
    reference,
};

/// One kind of router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// Nothing: a sink takes the frames where the router would begin. What is left of a packet's
    /// time when this is taken away is the router's.
    Alone,
    /// The kernel forwards; no translation.
    Plain,
    /// The kernel forwards and masquerades, with nftables.
    Nftables,
    /// An XDP program forwards; no translation.
    BareXdp,
    /// masq.
    Masq(Mode),
}

impl Contender {
    /// All of them, the yardsticks first.
    pub const ALL: [Self; 6] = [
        Self::Alone,
        Self::Plain,
        Self::Nftables,
        Self::BareXdp,
        Self::Masq(Mode::Tc),
        Self::Masq(Mode::Xdp),
    ];

    /// What it is called in tables.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Alone => "generator and sink, no router",
            Self::Plain => "kernel forwarding, no NAT",
            Self::Nftables => "nftables masquerade",
            Self::BareXdp => "bare XDP forwarding, no NAT",
            Self::Masq(Mode::Tc) => "masq, TC",
            Self::Masq(Mode::Xdp) => "masq, XDP",
            Self::Masq(Mode::Kernel) => "masq without fast path",
        }
    }

    /// What it is called in JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Plain => "forward",
            Self::Nftables => "nftables",
            Self::BareXdp => "xdp_forward",
            Self::Masq(Mode::Tc) => "masq_tc",
            Self::Masq(Mode::Xdp) => "masq_xdp",
            Self::Masq(Mode::Kernel) => "masq_kernel",
        }
    }

    /// Whether packets leave with another address than they came with.
    pub const fn translates(self) -> bool {
        matches!(self, Self::Nftables | Self::Masq(_))
    }

    /// Whether frames are received by an XDP program.
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::Alone | Self::BareXdp | Self::Masq(Mode::Xdp))
    }

    /// Starts it in the router of `line`, which must be new.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(self, line: &Line) -> Running {
        let forwarding = || line.router.set_sysctl("net.ipv4.ip_forward", "1");
        if !self.translates() {
            line.route_back();
        }
        match self {
            Self::Alone => Running::Kernel,
            Self::Plain => {
                forwarding();
                Running::Kernel
            }
            Self::Nftables => {
                forwarding();
                let rules = reference::rules(&[LAN_IF], WAN_IF, &["192.168.0.0/16"]);
                line.router.feed("nft", &["-f", "-"], &rules);
                Running::Kernel
            }
            Self::BareXdp => {
                forwarding();
                Running::BareXdp(BareForwarding::attach(&line.router, &[LAN_IF, WAN_IF]))
            }
            Self::Masq(mode) => {
                let options = ["run", "--mode", mode.as_str(), "--lan", LAN_IF, "--wan", WAN_IF];
                let daemon = Masq::spawn(masq(&line.router, options));
                daemon.wait_for("ready");
                Running::Masq(daemon)
            }
        }
    }
}

/// A started contender; ends when dropped.
#[derive(Debug)]
pub enum Running {
    /// Nothing but settings of the namespace.
    Kernel,
    /// The program stays attached as long as this lives.
    BareXdp(BareForwarding),
    /// The daemon.
    Masq(Masq),
}
