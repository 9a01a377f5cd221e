//! The programs for devices without link-layer header, on two TUN devices with the kernel's own
//! routing in between: a packet written to one device comes out of the other, or does not.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    ops::{Deref, DerefMut},
    thread,
    time::{Duration, Instant},
};

use aya::programs::{LinkOrder, Program, TcAttachType, tc::TcAttachOptions};
use masq_common::abi::programs;

use super::Tables;
use crate::{
    lab::{ISP, ROUTER_LAN, ROUTER_WAN},
    netns::Namespace,
    patience::patience,
    tun,
};

/// One of the two devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// `lan0`.
    Lan,
    /// `wan0`.
    Wan,
}

/// A router with a TUN device on each side and the programs attached to them.
#[derive(Debug)]
pub struct RawLine {
    tables: Tables,
    // The devices vanish with their files, and with them what is attached.
    lan: File,
    wan: File,
    namespace: Namespace,
}

impl RawLine {
    /// Builds the namespace, loads the programs of the kernel `object` and attaches them.
    ///
    /// # Panics
    /// If this process is not root, or the kernel refuses a program.
    pub fn new(object: &[u8]) -> Self {
        let namespace = Namespace::new("router");
        let [lan, wan] = ["lan0", "wan0"].map(|name| tun::open(&namespace, name));
        namespace.ip(&format!(
            "addr add {ROUTER_LAN}/24 dev lan0\naddr add {ROUTER_WAN} peer {ISP} dev wan0\n\
             link set lan0 up\nlink set wan0 up\nroute add default dev wan0"
        ));
        namespace.set_sysctl("net.ipv4.ip_forward", "1");
        namespace.set_sysctl("net.ipv4.conf.all.rp_filter", "0");
        let attachments = [
            (programs::WAN_OUT_RAW, "wan0", TcAttachType::Egress),
            (programs::WAN_IN_RAW, "wan0", TcAttachType::Ingress),
            (programs::LAN_IN_RAW, "lan0", TcAttachType::Ingress),
        ];
        let indices = ["lan0", "wan0"].map(|name| namespace.interface_index(name));
        let mut tables = Tables::load(object, indices[0], indices[1], false);
        for (name, interface, direction) in attachments {
            let Program::SchedClassifier(program) = tables.program(name) else {
                panic!("{name} is a TC program")
            };
            let options = || TcAttachOptions::TcxOrder(LinkOrder::default());
            namespace
                .run(|| program.attach_with_options(interface, direction, options()))
                .unwrap_or_else(|e| panic!("attach {name} to {interface}: {e:?}"));
        }
        Self { tables, lan, wan, namespace }
    }

    /// Sends a packet into one device and returns what comes out of one.
    ///
    /// # Panics
    /// If nothing comes.
    #[track_caller]
    pub fn send(&self, into: Side, out_of: Side, packet: &[u8]) -> Vec<u8> {
        self.device(into).write_all(packet).expect("write a packet to a TUN device");
        self.receive(out_of)
    }

    /// Sends a packet of the router itself and returns what comes out of the WAN.
    ///
    /// # Panics
    /// If nothing comes.
    #[track_caller]
    pub fn send_own(&self, packet: &[u8]) -> Vec<u8> {
        self.namespace.send_packet(packet);
        self.receive(Side::Wan)
    }

    fn device(&self, side: Side) -> &File {
        match side {
            Side::Lan => &self.lan,
            Side::Wan => &self.wan,
        }
    }

    #[track_caller]
    fn receive(&self, side: Side) -> Vec<u8> {
        let mut to = self.device(side);
        let end = Instant::now() + patience();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match to.read(&mut buffer) {
                Ok(length) => return buffer[..length].to_vec(),
                Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(e) => panic!("nothing came out of {side:?}: {e}"),
            }
        }
    }
}

impl Deref for RawLine {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl DerefMut for RawLine {
    fn deref_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }
}
