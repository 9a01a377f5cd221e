//! A network laboratory in namespaces, and the tools that the test suites, the demo and the
//! benchmarks share.
//!
//! A test in ten lines:
//!
//! ```no_run
//! use masq_tests::{
//!     daemon::Mode, gateway::Gateway, lab::{Lab, Layout, SERVER_1}, sockets::v4,
//! };
//! use std::io::Write;
//!
//! let lab = Lab::new(Layout::default());
//! let gateway = Gateway::masq(&lab, Mode::Tc, &[]);
//! let listener = lab.server1.tcp_listen(80);
//! let mut client = lab.a.tcp_connect((SERVER_1, 80)).expect("connect");
//! let (_, peer) = listener.accept().expect("accept");
//! client.write_all(b"hello").expect("send");
//! println!("the server sees {}", v4(peer));
//! gateway.stop();
//! ```
//!
//! Reading order:
//!
//! 1. [`netns`]: namespaces, and how to do things inside them.
//! 2. [`sockets`]: sockets of a namespace.
//! 3. [`tun`], [`lab`]: the network.
//! 4. [`daemon`], [`mod@reference`], [`gateway`]: masq, or the kernel's masquerade, in its router.
//! 5. [`traffic`]: downloads, UDP exchanges, ping, traceroute, STUN.
//! 6. [`checksum`], [`packet`]: the oracle: sums whole packets, builds packets by hand.
//! 7. [`capture`]: what crosses the WAN during a test, and what must hold of all of it.
//! 8. [`program`]: the kernel programs without traffic.
//! 9. [`measure`]: speed, latency and memory of several kinds of router.
//! 10. [`syscalls`]: programs some of whose system calls the test answers.
//! 11. [`console`], [`supervised`]: for the programs of this crate, the demo and the benchmark.
//!
//! Functions in here panic when something cannot be set up: a test wants the place and the
//! message, and values clean up behind themselves while the panic unwinds. Programs that want to
//! go on (the demo) use `std::panic::catch_unwind` around a step.

pub mod capture;
pub mod checksum;
pub mod console;
pub mod daemon;
pub mod gateway;
pub mod lab;
pub mod measure;
pub mod netns;
pub mod packet;
pub mod patience;
pub mod program;
pub mod reference;
pub mod sockets;
pub mod supervised;
pub mod syscalls;
pub mod traffic;
pub mod tun;
