//! The PPPoE sessions of this network namespace, which netlink says nothing of: `/proc/net/pppoe`.
//!
//! The kernel does not tell which session is below which PPP device, nor when a session is replaced by
//! another one below the same device; so the file is read again and again while somebody needs it.

use std::fs;

/// Where they are listed; absent while the kernel's module is not loaded.
const LIST: &str = "/proc/self/net/pppoe";

/// A session that is established.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Its id as it stands in frames (network byte order).
    pub id: u16,
    /// Link-layer address of the other end.
    pub peer: [u8; 6],
    /// Name of the Ethernet device that it runs over.
    pub device: String,
    /// Whether its packets may be compressed or encrypted (CCP of RFC 1962, MPPE of RFC 3078).
    pub transformed: bool,
}

/// The kernel's compressors and its only encryption. PPP holds the module while a channel uses it; which
/// one does, the kernel does not say.
const TRANSFORMERS: [&str; 3] = ["ppp_mppe", "ppp_deflate", "bsd_comp"];

/// All sessions; none where the kernel knows no PPPoE.
pub fn sessions() -> Vec<Session> {
    let mut sessions = fs::read_to_string(LIST).map_or_else(|_| Vec::new(), |text| parse(&text));
    if !sessions.is_empty() {
        let in_use = |module| {
            let count = fs::read_to_string(format!("/sys/module/{module}/refcnt"));
            count.is_ok_and(|count| is_in_use(&count))
        };
        let transformed = TRANSFORMERS.into_iter().any(in_use);
        sessions.iter_mut().for_each(|session| session.transformed = transformed);
    }
    sessions
}

/// Whether somebody holds a module with this reference count.
fn is_in_use(count: &str) -> bool {
    count.trim().parse().is_ok_and(|count: u32| count > 0)
}

/// Reads the list: a heading, then id, peer and device of one session on each line. The id is printed
/// as the number that its two bytes are on this machine.
pub fn parse(text: &str) -> Vec<Session> {
    text.lines().skip(1).filter_map(line).collect()
}

fn line(line: &str) -> Option<Session> {
    let mut words = line.split_whitespace();
    let (id, peer, device) = (words.next()?, words.next()?, words.next()?);
    let id = u16::try_from(u32::from_str_radix(id, 16).ok()?).ok()?;
    let device = device.to_owned();
    (id != 0).then_some(Session { id, peer: mac(peer)?, device, transformed: false })
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_as_the_kernel_lists_them() {
        let text = "Id       Address              Device\n\
                    00001200 02:00:00:00:0b:01     eth0\n\
                    0000FFFE 02:00:00:00:0b:02   eth0.7\n";
        let [first, second] = &parse(text)[..] else { panic!("two sessions") };
        let peer = [2, 0, 0, 0, 0x0b, 1];
        let device = "eth0".to_owned();
        assert_eq!(first, &Session { id: 0x1200, peer, device, transformed: false });
        assert_eq!((second.id, second.device.as_str()), (0xfffe, "eth0.7"));
    }

    #[test]
    fn a_module_is_in_use_if_somebody_holds_it() {
        assert!(is_in_use("1\n") && is_in_use("12"));
        assert!(!is_in_use("0\n") && !is_in_use("") && !is_in_use("-1"));
    }

    #[test]
    fn what_is_no_session_is_left_out() {
        assert_eq!(parse(""), []);
        assert_eq!(parse("Id       Address              Device\n"), []);
        for line in ["00000000 02:00:00:00:0b:01 eth0", "12 02:00:00:00:0b eth0", "10000 x eth0"] {
            assert_eq!(parse(&format!("heading\n{line}\n")), [], "{line}");
        }
    }
}
