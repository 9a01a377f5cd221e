//! What listens on this machine. Connections are not looked at: the kernel programs ask for each port
//! before they give it away.

use std::{fs, net::Ipv4Addr};

/// A socket that waits for strangers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listener {
    /// Whether it is TCP, else UDP.
    pub tcp: bool,
    /// Its address, 0.0.0.0 for all.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
}

/// Reads them from `/proc/net`, in the network namespace of this thread.
pub(super) fn gather() -> Vec<Listener> {
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
    };
    let mut found = listeners(&read("tcp"), true, false);
    found.extend(listeners(&read("tcp6"), true, true));
    found.extend(listeners(&read("udp"), false, false));
    found.extend(listeners(&read("udp6"), false, true));
    found.sort_unstable();
    found.dedup();
    found
}

/// Reads one of the tables. Sockets of IPv6 count if they are for all addresses: most of them take
/// IPv4 too.
fn listeners(table: &str, tcp: bool, v6: bool) -> Vec<Listener> {
    let lines = table.lines().skip(1).map(str::split_whitespace).map(|mut words| {
        let local = words.nth(1)?;
        let (remote, state) = (words.next()?, words.next()?);
        // Listening, or not connected; the kernel lists listeners first, so the rest need no reading.
        Some((local, remote, state)).filter(|(_, _, state)| *state == if tcp { "0A" } else { "07" })
    });
    let mut found = Vec::new();
    for line in lines {
        let Some((local, remote, _)) = line else { if tcp { break } else { continue } };
        let Some((address, port)) = local.split_once(':') else { continue };
        let Ok(port) = u16::from_str_radix(port, 16) else { continue };
        let is_any = |text: &str| text.bytes().all(|byte| byte == b'0');
        let address = if v6 {
            if !is_any(address) {
                continue;
            }
            Ipv4Addr::UNSPECIFIED
        } else {
            let Ok(word) = u32::from_str_radix(address, 16) else { continue };
            // Written as a number of this machine's byte order.
            Ipv4Addr::from(word.to_ne_bytes())
        };
        if is_any(&remote.replace(':', "")) {
            found.push(Listener { tcp, address, port });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   2: 0501A8C0:0016 0A01A8C0:C000 01 00000000:00000000 00:00000000 00000000     0
";

    #[test]
    fn tables_are_read() {
        let listener =
            |address: [u8; 4], port| Listener { tcp: true, address: address.into(), port };
        let expected = [listener([127, 0, 0, 1], 8080), listener([0; 4], 22)];
        assert_eq!(listeners(TCP, true, false), expected);
        assert_eq!(listeners("", true, false), []);
        assert_eq!(listeners("header\nnonsense\n", false, false), []);
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(gather().iter().any(|found| found.tcp && found.port == port));
    }
}
