//! End to end: real sockets in namespaces, through masq in a router.
//!
//! Every test runs in a network of its own, with a capture on the WAN that must be clean at the
//! end ([`scene`]). With `MASQ_TEST_GATEWAY=nftables` the same tests run through the kernel's
//! masquerade, which shows that they ask for what a LAN host may expect.

mod accounting;
mod below;
mod beside;
mod discovery;
mod events;
mod exhaustion;
mod fast;
mod faults;
mod filtering;
mod flow;
mod flush;
mod fragments;
mod group;
mod gso;
mod hairpin;
mod halted;
mod icmp;
mod laboratory;
mod lines;
mod links;
mod mtu;
mod ports;
mod privileges;
mod reload;
mod restart;
mod restart_changes;
mod restart_refused;
mod safety;
mod scene;
mod service;
mod state;
mod stop;
mod tags;
mod tcp;
mod timeouts;
mod trace;
mod trace_ends;
mod trace_refused;
mod udp;
mod wan;
