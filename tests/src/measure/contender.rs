//! What the router of a line does: the things that are compared.

use super::{
    frames::BareForwarding,
    line::{LAN_IF, Line, SOURCES},
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
    /// masq, told where to attach its fast path.
    Masq(Mode),
    /// masq that chooses itself, which is the default: on veth it takes TC.
    Auto,
}

impl Contender {
    /// All of them, the yardsticks first; without masq that chooses itself, since it is one of the
    /// others then.
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
            Self::Auto => "masq, auto",
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
            Self::Auto => "masq_auto",
        }
    }

    /// Whether packets leave with another address than they came with.
    pub const fn translates(self) -> bool {
        matches!(self, Self::Nftables | Self::Masq(_) | Self::Auto)
    }

    /// Whether frames are received by an XDP program.
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::Alone | Self::BareXdp | Self::Masq(Mode::Xdp))
    }

    /// Starts it in the router of `line`, which must be new. masq gets these options besides; the
    /// others know no limits but the machine's (see [`conntrack`](super::conntrack)).
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(self, line: &Line, options: &[String]) -> Running {
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
                let rules = reference::rules(&[LAN_IF], WAN_IF, &SOURCES);
                line.router.feed("nft", &["-f", "-"], &rules);
                // A flow that nobody answers would be forgotten after 30 s, in the middle of a
                // measurement; masq keeps it for five minutes.
                for state in ["", "_stream"] {
                    let key = format!("net.netfilter.nf_conntrack_udp_timeout{state}");
                    line.router.set_sysctl(&key, "300");
                }
                Running::Kernel
            }
            Self::BareXdp => {
                forwarding();
                Running::BareXdp(BareForwarding::attach(&line.router, &[LAN_IF, WAN_IF]))
            }
            Self::Masq(_) | Self::Auto => {
                let mode = if let Self::Masq(mode) = self { mode.as_str() } else { "auto" };
                let call = ["run", "--mode", mode, "--lan", LAN_IF, "--wan", WAN_IF];
                let call = call.into_iter().chain(options.iter().map(String::as_str));
                let daemon = Masq::spawn(masq(&line.router, call));
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

impl Running {
    /// The process id of the daemon, if there is one.
    pub fn daemon(&self) -> Option<u32> {
        match self {
            Self::Masq(daemon) => Some(daemon.id()),
            Self::Kernel | Self::BareXdp(_) => None,
        }
    }
}
