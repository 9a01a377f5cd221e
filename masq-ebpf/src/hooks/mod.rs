//! What happens at which point of a packet's way.
//!
//! ```text
//!            LAN interface                                  WAN interface
//!  in  ──▶ [fast (XDP)] ─▶ [lan_in (TC)] ─▶ kernel: route, ─▶ [wan_out (TC)] ──▶ out
//!              └──────────────┴─ redirect ─ filter, TTL ──────▶ (established flows)
//!
//!  out ◀──────────────────────────────────── kernel ◀── [wan_in (TC)] ◀─ [fast (XDP)] ◀── in
//!       (established flows) ◀──────────────── redirect ──────┴────────────────┘
//! ```
//!
//! [`fast`] is the same code on both sides and in XDP and TC, since each half of a session carries
//! its own rewrite. It never decides anything new: what it cannot finish it leaves untouched.

pub mod fast;
pub mod lan_in;
pub mod wan_in;
pub mod wan_out;
