//! The daemon and the command line of masq.
//!
//! The daemon sets the data plane up and keeps it in step with the machine. No packet of a session
//! passes through it; what the kernel programs cannot decide does. Reading order:
//!
//! 1. [`cli`], [`options`] and [`config`]: what the user asks for, on the command line and in a file,
//!    and what that means.
//! 2. [`daemon`]: the story of `masq run`; it uses everything below.
//! 3. [`check`], [`preflight`] and [`claims`]: what has to be true before anything is touched.
//!    [`shortage`]: what could not be known before. [`privileges`]: what the daemon gives up once all is
//!    done.
//! 4. [`survival`]: what an earlier daemon has left, and where this one leaves its own.
//! 5. [`plane`], [`maps`] and [`reserved`]: the loaded kernel object, with types; ports kept from
//!    LAN hosts. [`next_hops`] and [`kernel_types`]: being told by the kernel when next hops change.
//! 6. [`netlink`]: the interfaces as they are, and being told of changes.
//! 7. [`plan`], [`prefixes`] and [`topology`]: what should be, and what lies below the interfaces; pure.
//! 8. [`reconcile`] and [`attach`]: making it so; [`ethtool`]: what drivers have to be asked for it.
//!    [`stations`]: who is behind which port of a bridge.
//! 9. [`sysctl`]: forwarding, for as long as masq runs.
//! 10. [`sweep`], [`slow`] and [`events`]: the services besides: ending sessions, packets that the
//!     kernel programs cannot decide, logging. [`vitals`]: whether they get on.
//! 11. [`status`], [`control`] and [`metrics`]: telling others.
//! 12. [`trace`]: packets before and after, while somebody wants to see them.
//! 13. [`commands`]: asking, from the command line.

pub mod attach;
pub mod check;
pub mod claims;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod daemon;
pub mod duration;
pub mod error;
pub mod ethtool;
pub mod events;
pub mod kernel_types;
pub mod log;
pub mod maps;
pub mod metrics;
pub mod netlink;
pub mod next_hops;
pub mod options;
pub mod plan;
pub mod plane;
pub mod prefixes;
pub mod preflight;
pub mod privileges;
pub mod reconcile;
pub mod reserved;
pub mod shortage;
pub mod slow;
pub mod stations;
pub mod status;
pub mod survival;
pub mod sweep;
pub mod sysctl;
pub mod topology;
pub mod trace;
pub mod vitals;
