//! A network laboratory in namespaces, and the tools that the test suites, the demo and the
//! benchmarks share.
//!
//! A test in ten lines:
//!
//! ```no_run
//! use masq_tests::{lab::{Lab, Layout, SERVER_1}, sockets::v4};
//! use std::io::Write;
//!
//! let lab = Lab::new(Layout::default());
//! lab.router.set_sysctl("net.ipv4.ip_forward", "1"); // or start a gateway
//! let listener = lab.server1.tcp_listen(80);
//! let mut client = lab.a.tcp_connect((SERVER_1, 80)).expect("connect");
//! let (_, peer) = listener.accept().expect("accept");
//! client.write_all(b"hello").expect("send");
//! println!("the server sees {}", v4(peer));
//! ```
//!
//! Reading order: [`netns`], [`sockets`], [`tun`], [`lab`].
//!
//! Functions in here panic when something cannot be set up: a test wants the place and the
//! message, and values clean up behind themselves while the panic unwinds. Programs that want to
//! go on (the demo) use `std::panic::catch_unwind` around a step.

pub mod lab;
pub mod netns;
pub mod sockets;
pub mod tun;
