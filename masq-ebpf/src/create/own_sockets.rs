//! The router's own sockets: a port that one of them would answer on is never given to a LAN host.
//!
//! Asked is the question that matters, precisely: if the remote endpoint of the new session sends
//! to this port of ours, is there a socket that gets it? That covers established connections,
//! listeners and bound UDP sockets without any list of reserved ports.

use aya_ebpf::{
    bindings::{
        bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
    },
    helpers::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use masq_common::{
    be::Id,
    flow::{TCP, UDP},
};

use crate::create::Request;

/// The network namespace that the device of the packet is in.
const CURRENT_NAMESPACE: u64 = u64::MAX;

/// Whether a packet from the session's remote endpoint to `port` belongs to a socket of the
/// router.
#[inline(never)]
pub fn own(request: &Request<'_>, port: Id) -> bool {
    let key = request.key;
    let mut tuple = bpf_sock_tuple {
        __bindgen_anon_1: bpf_sock_tuple__bindgen_ty_1 {
            ipv4: bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
                saddr: key.tuple.destination.raw(),
                daddr: request.external.raw(),
                sport: key.tuple.destination_id.raw(),
                dport: port.raw(),
            },
        },
    };
    let size = size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>() as u32;
    let (skb, tuple) = (request.skb.cast(), &raw mut tuple);
    // SAFETY: the context and the tuple are valid for the call; a socket that was found is given
    // back before anything else happens.
    unsafe {
        let socket = match key.protocol {
            TCP => bpf_skc_lookup_tcp(skb, tuple, size, CURRENT_NAMESPACE, 0),
            UDP => bpf_sk_lookup_udp(skb, tuple, size, CURRENT_NAMESPACE, 0),
            _ => return false,
        };
        if socket.is_null() {
            return false;
        }
        bpf_sk_release(socket.cast());
        true
    }
}
