//! What is run on bytes that anybody may send: everything in `masq-user` that parses, and the
//! shared logic of `masq-common`. Each target takes any bytes, and panics if what must hold does
//! not.
//!
//! They are run in two ways: by the suite `fuzz`, on the corpus and on a fixed stream of mutations,
//! which needs nothing but the stable toolchain; and by libFuzzer, which follows the code that it
//! covers (`cargo xtask fuzz`, which installs cargo-fuzz). That is why this is a library: the suite
//! includes it as a module.

pub mod control;
pub mod netlink;
pub mod options;
pub mod records;
pub mod rules;
pub mod shared;
pub mod slow;

/// Something to run on bytes.
pub struct Target {
    /// Its name: of the binary of libFuzzer, and of the folder in `corpus`.
    pub name: &'static str,
    /// What is run.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 16] = [
    Target { name: "request", run: control::request },
    Target { name: "answer", run: control::answer },
    Target { name: "link", run: netlink::link },
    Target { name: "address", run: netlink::address },
    Target { name: "options", run: options::options },
    Target { name: "event", run: records::event },
    Target { name: "slow_record", run: records::slow },
    Target { name: "slow_path", run: slow::handler },
    Target { name: "icmp_answer", run: slow::answer },
    Target { name: "note", run: records::note },
    Target { name: "manifest", run: records::manifest },
    Target { name: "nft", run: rules::nft },
    Target { name: "iptables", run: rules::iptables },
    Target { name: "checksum", run: shared::checksum },
    Target { name: "tcp", run: shared::tcp },
    Target { name: "ports", run: shared::ports },
];
