//! What a driver says about its device: name, queues, features; and turning a feature on or off. Asked
//! through SIOCETHTOOL, which every kernel has and which, other than ethtool's netlink interface, names
//! the driver.

use std::{
    collections::BTreeMap,
    ffi::c_char,
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
    ptr,
};

const GDRVINFO: u32 = 0x03;
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const SFEATURES: u32 = 0x3b;
const GCHANNELS: u32 = 0x3c;

/// The set of strings that names features.
const SS_FEATURES: u32 = 4;

/// Length of each string in a set.
const STRING: usize = 32;

/// More features than this no kernel has; bounds what is read.
const MAX_FEATURES: usize = 1024;

/// What a driver says.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Ethtool {
    /// Name of the driver.
    pub driver: Option<String>,
    /// Queues for each direction in use, and how many there could be.
    pub queues: Option<(u32, u32)>,
    /// Features by the names of `ethtool -k`'s kernel side (`rx-lro`, `hw-tc-offload`), on or off.
    pub features: BTreeMap<String, bool>,
}

impl Ethtool {
    /// Asks; what the driver does not answer is absent.
    pub fn gather(name: &str) -> Self {
        let Ok(socket) = UnixDatagram::unbound() else { return Self::default() };
        let ask = |request: &mut [u32]| ask(&socket, name, request);
        Self { driver: driver(&ask), queues: queues(&ask), features: features(&ask) }
    }

    /// Whether a feature is on; `None` if the device does not know it.
    pub fn feature(&self, name: &str) -> Option<bool> {
        self.features.get(name).copied()
    }
}

/// Whether a feature of a device is on; `None` if the device does not know it.
pub fn feature(name: &str, feature: &str) -> Option<bool> {
    let socket = UnixDatagram::unbound().ok()?;
    features(&|request| ask(&socket, name, request)).get(feature).copied()
}

/// Turns a feature of a device on or off; whether it is so now. Some drivers do not let it be changed,
/// and some only together with others.
pub fn set_feature(name: &str, feature: &str, on: bool) -> bool {
    let Ok(socket) = UnixDatagram::unbound() else { return false };
    let ask = |request: &mut [u32]| ask(&socket, name, request);
    let names = feature_names(&ask);
    let Some(index) = names.iter().position(|other| other == feature) else { return false };
    // struct ethtool_sfeatures: blocks of 32 features, two words each: which to change, to what.
    let blocks = names.len().div_ceil(32);
    let mut request = vec![0_u32; 2 + blocks * 2];
    request[..2].copy_from_slice(&[SFEATURES, blocks as u32]);
    let (block, bit) = (index / 32 * 2, 1 << (index % 32));
    request[2 + block] = bit;
    request[3 + block] = if on { bit } else { 0 };
    // Not the answer: the kernel says "done" in several ways.
    ask(&mut request);
    features(&ask).get(feature) == Some(&on)
}

/// Fills in a request, whose first word is the command; whether the driver has.
type Ask<'a> = dyn Fn(&mut [u32]) -> bool + 'a;

fn driver(ask: &Ask<'_>) -> Option<String> {
    // struct ethtool_drvinfo: 196 bytes, the driver's name at 4.
    let mut request = [0_u32; 196 / 4];
    request[0] = GDRVINFO;
    ask(&mut request).then(|| text(&bytes(&request)[4..4 + STRING])).filter(|name| !name.is_empty())
}

fn queues(ask: &Ask<'_>) -> Option<(u32, u32)> {
    // struct ethtool_channels: max_rx, max_tx, max_other, max_combined, then the same in use.
    let mut request = [0_u32; 9];
    request[0] = GCHANNELS;
    if !ask(&mut request) {
        return None;
    }
    let [_, max_rx, _, _, max_combined, rx, _, _, combined] = request;
    Some((combined + rx, max_combined.max(max_rx))).filter(|(used, _)| *used > 0)
}

/// The names of all features, by their number; a feature without a name is not for users.
fn feature_names(ask: &Ask<'_>) -> Vec<String> {
    // struct ethtool_sset_info: a mask of 64 bits, then the length of each set in it.
    let mut request = [GSSET_INFO, 0, 1 << SS_FEATURES, 0, 0];
    if !ask(&mut request) || request[2] == 0 {
        return Vec::new();
    }
    let count = (request[4] as usize).min(MAX_FEATURES);
    // struct ethtool_gstrings: the set, its length, the strings.
    let mut names = vec![0_u32; 3 + count * STRING / 4];
    names[..3].copy_from_slice(&[GSTRINGS, SS_FEATURES, count as u32]);
    if !ask(&mut names) {
        return Vec::new();
    }
    bytes(&names[3..]).chunks(STRING).map(text).collect()
}

fn features(ask: &Ask<'_>) -> BTreeMap<String, bool> {
    let names = feature_names(ask);
    // struct ethtool_gfeatures: blocks of 32 features, four words each: available, requested,
    // active, never changed.
    let blocks = names.len().div_ceil(32);
    let mut values = vec![0_u32; 2 + blocks * 4];
    values[..2].copy_from_slice(&[GFEATURES, blocks as u32]);
    if names.is_empty() || !ask(&mut values) {
        return BTreeMap::new();
    }
    let active = |index: usize| values[2 + index / 32 * 4 + 2] & 1 << (index % 32) != 0;
    let named = names.into_iter().enumerate().map(|(index, name)| (name, active(index)));
    named.filter(|(name, _)| !name.is_empty()).collect()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// One question to the driver of a device. `request` has to be as long as the command, its first
/// word, makes the kernel write.
fn ask(socket: &UnixDatagram, name: &str, request: &mut [u32]) -> bool {
    if name.len() >= libc::IFNAMSIZ {
        return false;
    }
    let mut letters = [0 as c_char; libc::IFNAMSIZ];
    for (letter, byte) in letters.iter_mut().zip(name.bytes()) {
        *letter = byte as c_char;
    }
    let mut ifreq = libc::ifreq {
        ifr_name: letters,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: request.as_mut_ptr().cast() },
    };
    // SAFETY: the descriptor is open; `ifreq` is a whole one whose pointer leads to `request`, which
    // lives until after the call and has room for all that the command writes, see the callers.
    unsafe {
        // An int to musl, a long to glibc.
        libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, ptr::from_mut(&mut ifreq)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_answers() {
        let lo = Ethtool::gather("lo");
        assert_eq!(lo.feature("loopback"), Some(true), "{lo:?}");
        assert!(lo.features.len() > 20);
        assert_eq!(lo.feature("no-such-feature"), None);
    }

    #[test]
    fn a_device_that_does_not_exist_says_nothing() {
        assert_eq!(Ethtool::gather("no-such-device"), Ethtool::default());
        assert_eq!(Ethtool::gather("a-name-that-is-too-long"), Ethtool::default());
        assert_eq!(feature("no-such-device", "loopback"), None);
    }

    #[test]
    fn what_cannot_be_changed_is_not_said_to_be() {
        assert!(!set_feature("lo", "loopback", false), "the loopback device has it fixed");
        assert!(!set_feature("lo", "no-such-feature", true));
    }
}
