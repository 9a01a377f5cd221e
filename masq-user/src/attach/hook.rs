//! The points where programs of masq can be, and which program belongs to which.

use aya::programs::TcAttachType;
use masq_common::abi::programs;
use serde::{Deserialize, Serialize};

use crate::{check::kernel::TCX, cli::TcAttach, plan::Role, preflight::Release};

/// A point where a program of masq can be, in the order of attaching.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hook {
    /// Packets that leave through a WAN.
    WanOut,
    /// Packets that come in through a WAN.
    WanIn,
    /// Packets that come in through a LAN.
    LanIn,
    /// Packets of both kinds of interface, before the kernel makes a socket buffer of them: a hook of
    /// the ports below the interfaces.
    Fast,
}

impl Hook {
    /// All hooks, in the order of attaching.
    pub const ALL: [Self; 4] = [Self::WanOut, Self::WanIn, Self::LanIn, Self::Fast];

    /// Those of the interfaces themselves, which are TC's.
    pub const TC: [Self; 3] = [Self::WanOut, Self::WanIn, Self::LanIn];

    /// The hook in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WanOut => "wan_out",
            Self::WanIn => "wan_in",
            Self::LanIn => "lan_in",
            Self::Fast => "fast",
        }
    }

    /// Whether an interface of this role has this hook.
    pub(super) const fn belongs_to(self, role: Role) -> bool {
        match self {
            Self::WanOut | Self::WanIn => matches!(role, Role::Wan(_)),
            Self::LanIn => matches!(role, Role::Lan),
            Self::Fast => false,
        }
    }

    pub(super) const fn program(self, ethernet: bool) -> &'static str {
        match (self, ethernet) {
            (Self::WanOut, true) => programs::WAN_OUT_ETHER,
            (Self::WanOut, false) => programs::WAN_OUT_RAW,
            (Self::WanIn, true) => programs::WAN_IN_ETHER,
            (Self::WanIn, false) => programs::WAN_IN_RAW,
            (Self::LanIn, true) => programs::LAN_IN_ETHER,
            (Self::LanIn, false) => programs::LAN_IN_RAW,
            (Self::Fast, _) => programs::FAST_XDP,
        }
    }

    pub(super) const fn direction(self) -> TcAttachType {
        match self {
            Self::WanOut => TcAttachType::Egress,
            Self::WanIn | Self::LanIn | Self::Fast => TcAttachType::Ingress,
        }
    }
}

/// How TC programs are attached on this kernel.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum TcKind {
    /// tcx links: gone with the process that holds them, unless they are pinned.
    Tcx,
    /// Filters of a clsact qdisc: stay until removed.
    Clsact,
}

impl TcKind {
    /// By the wish of the user or else by the version of the kernel.
    pub fn choose(wish: TcAttach, release: Release) -> Self {
        match wish {
            TcAttach::Tcx => Self::Tcx,
            TcAttach::Clsact => Self::Clsact,
            TcAttach::Auto if release >= TCX => Self::Tcx,
            TcAttach::Auto => Self::Clsact,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wan_egress_is_the_first_to_come_and_fast_the_last() {
        assert!(Hook::ALL.is_sorted());
        assert_eq!((Hook::ALL[0], Hook::ALL[3]), (Hook::WanOut, Hook::Fast));
    }

    #[test]
    fn each_role_has_its_hooks() {
        let hooks = |role| Hook::ALL.into_iter().filter(move |hook| hook.belongs_to(role));
        assert!(hooks(Role::Lan).eq([Hook::LanIn]));
        assert!(hooks(Role::Wan(1)).eq([Hook::WanOut, Hook::WanIn]));
    }

    #[test]
    fn tcx_is_for_kernels_that_have_it() {
        assert_eq!(TcKind::choose(TcAttach::Auto, Release::new(6, 5)), TcKind::Clsact);
        assert_eq!(TcKind::choose(TcAttach::Auto, Release::new(6, 6)), TcKind::Tcx);
        assert_eq!(TcKind::choose(TcAttach::Clsact, Release::new(6, 18)), TcKind::Clsact);
    }
}
