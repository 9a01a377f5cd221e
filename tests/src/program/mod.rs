//! The kernel programs without masq around them: packets go in, verdict and packet come out.
//!
//! [`Bench`] runs them through BPF_PROG_TEST_RUN; [`RawLine`] attaches the programs for devices
//! without link-layer header to two TUN devices, which BPF_PROG_TEST_RUN knows nothing of, and
//! lets the kernel route between. Both fill the maps by hand, as the daemon would, through
//! [`Tables`].

mod below;
mod bench;
mod counting;
mod raw;
mod table;
mod tables;

use std::collections::BTreeMap;

use masq_common::{
    abi::programs,
    reason::{Class, Reason},
};

pub use self::{
    bench::{Bench, INNER_ROUTER, MAC_INNER_ROUTER},
    raw::{RawLine, Side},
    tables::{TABLE_SIZE, Tables, now, pair},
};
use crate::lab::{MAC_HOST_A, MAC_ISP, MAC_ROUTER_LAN, MAC_ROUTER_WAN};

/// Where a packet meets masq, on devices with an Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hook {
    /// XDP on `lan0`.
    LanXdp,
    /// XDP on `wan0`.
    WanXdp,
    /// TC ingress of `lan0`.
    LanIn,
    /// TC ingress of `wan0`.
    WanIn,
    /// TC egress of `wan0`, of a packet that came in through `lan0`.
    WanOut,
    /// TC egress of `wan0`, of a packet that the router has made.
    WanOutOwn,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::LanXdp, Self::WanXdp, Self::LanIn, Self::WanIn, Self::WanOut, Self::WanOutOwn];

    const fn program(self) -> &'static str {
        match self {
            Self::LanXdp | Self::WanXdp => programs::FAST_XDP,
            Self::LanIn => programs::LAN_IN_ETHER,
            Self::WanIn => programs::WAN_IN_ETHER,
            Self::WanOut | Self::WanOutOwn => programs::WAN_OUT_ETHER,
        }
    }

    /// Whether packets come in here.
    pub const fn is_ingress(self) -> bool {
        !matches!(self, Self::WanOut | Self::WanOutOwn)
    }

    /// Whether packets come from the LAN.
    pub const fn is_from_lan(self) -> bool {
        matches!(self, Self::LanXdp | Self::LanIn | Self::WanOut)
    }

    /// Whether this is a hook of XDP, and not of TC.
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::LanXdp | Self::WanXdp)
    }

    /// Destination and source address of the frames that this hook sees.
    pub fn link_addresses(self) -> [[u8; 6]; 2] {
        let (to, from) = match self {
            Self::LanXdp | Self::LanIn => (MAC_ROUTER_LAN, MAC_HOST_A),
            Self::WanXdp | Self::WanIn => (MAC_ROUTER_WAN, MAC_ISP),
            Self::WanOut | Self::WanOutOwn => (MAC_ISP, MAC_ROUTER_WAN),
        };
        [mac(to), mac(from)]
    }
}

/// What a program wants to be done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on: to the next program and then to the kernel, or out.
    Pass,
    /// It is dropped.
    Drop,
    /// It is sent through another interface.
    Redirect,
    /// A number that masq has no reason to return.
    Strange(u32),
}

/// What came out of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// What is to be done with the packet.
    pub verdict: Verdict,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Every reason that was counted, and how often.
    pub counted: BTreeMap<&'static str, u64>,
}

impl Output {
    /// The packet from the IP header on.
    pub fn packet(&self) -> &[u8] {
        &self.frame[14..]
    }

    /// The reasons that packets have ended for, and how often: what was counted besides events.
    pub fn ends(&self) -> impl Iterator<Item = (Reason, u64)> {
        let ends = Reason::ALL.iter().filter(|reason| reason.class() != Class::Event);
        ends.filter_map(|reason| Some((*reason, *self.counted.get(reason.label())?)))
    }

    /// The reason that the packet has ended for.
    ///
    /// # Panics
    /// If not exactly one was counted.
    #[track_caller]
    pub fn reason(&self) -> Reason {
        let ends: Vec<_> = self.ends().collect();
        match ends[..] {
            [(reason, 1)] => reason,
            _ => panic!("a packet ends once: {:?}", self.counted),
        }
    }
}

/// The bytes of a MAC address.
///
/// # Panics
/// If the text is none.
pub fn mac(text: &str) -> [u8; 6] {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a MAC address"));
    bytes.collect::<Vec<_>>().try_into().expect("six bytes")
}
