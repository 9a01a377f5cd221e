//! What the RFCs ask of a NAT, row by row: each module below that of an RFC is named after a row of
//! the table in `rfc/rows`, from which and from this suite `cargo xtask rfc` makes
//! `docs/rfc-compliance.md`.
//!
//! Rows are proved at the cheapest level that proves them: most by packets through the programs
//! ([`nat`]), some by real sockets in a network ([`scene`]). What other suites prove already, the
//! table names instead of having it here again.

mod beyond;
mod nat;
mod rfc1812;
mod rfc3022;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc6056;
mod rfc6864;
mod rfc6888;
mod rfc7857;
#[path = "../netns/scene.rs"]
#[allow(dead_code, reason = "this suite needs less of it than the one that it is from")]
mod scene;
