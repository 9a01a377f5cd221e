//! The router's own sockets: a port that one of them would answer on is never given to a LAN host.
//!
//! Asked is the question that matters, precisely: if the remote endpoint of the new session sends
//! to this port of ours, is there a socket that gets it? That covers established connections,
//! listeners and bound UDP sockets without any list of reserved ports.

use aya_ebpf::{
    bindings::{
        __sk_buff, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
    },
    helpers::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use masq_common::{
    be::Id,
    flow::{TCP, Tuple, UDP},
};

use crate::create::Request;

/// The network namespace that the device of the packet is in.
const CURRENT_NAMESPACE: u64 = u64::MAX;

/// Whether a packet with this tuple, if it came in, would belong to a socket of the router.
#[inline(never)]
pub fn own(skb: *mut __sk_buff, protocol: u8, arrival: &Tuple) -> bool {
    let mut tuple = bpf_sock_tuple {
        __bindgen_anon_1: bpf_sock_tuple__bindgen_ty_1 {
            ipv4: bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
                saddr: arrival.source.raw(),
                daddr: arrival.destination.raw(),
                sport: arrival.source_id.raw(),
                dport: arrival.destination_id.raw(),
            },
        },
    };
    let size = size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>() as u32;
    let (skb, tuple) = (skb.cast(), &raw mut tuple);
    // SAFETY: the context and the tuple are valid for the call; a socket that was found is given
    // back before anything else happens.
    unsafe {
        let socket = match protocol {
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

/// Whether the answers of the request's remote endpoint to `port` would belong to a socket of the
/// router.
#[inline(always)]
pub fn own_port(request: &Request<'_>, port: Id) -> bool {
    let outbound = &request.key.tuple;
    let arrival = Tuple {
        source: outbound.destination,
        destination: request.external,
        source_id: outbound.destination_id,
        destination_id: port,
    };
    own(request.skb, request.key.protocol, &arrival)
}
