//! What masq may leave of itself on a machine: told before and after, and compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::Path,
};

use aya::programs::{ProgramError, SchedClassifier, TcAttachType, loaded_programs};
use masq_tests::{
    lab::{Lab, WAN_IF},
    netns::Namespace,
    sockets::eventually,
};

/// What of a machine `masq` could have changed and not put back, as far as it belongs to one
/// network namespace.
#[derive(PartialEq, Eq, Debug)]
pub struct State {
    /// Interfaces.
    pub links: String,
    /// Queueing disciplines.
    pub qdiscs: String,
    /// Filters of clsact.
    pub filters: String,
    /// Programs on tcx hooks, by id.
    pub tcx: Vec<u32>,
    /// Addresses and routes.
    pub addresses_and_routes: String,
    /// Policy rules.
    pub rules: String,
    /// All of `net.ipv4` that is a setting.
    pub sysctls: BTreeMap<String, String>,
    /// Files and pins that name this namespace.
    pub run_files: Vec<String>,
}

impl State {
    pub fn of(namespace: &Namespace) -> Self {
        let ip =
            |arguments: &str| namespace.output("ip", &arguments.split(' ').collect::<Vec<_>>());
        let filters = |hook: &str| {
            let show = |interface| {
                let arguments = ["filter", "show", "dev", interface, hook];
                let output = namespace.command("tc").args(arguments).output().expect("start tc");
                // Without a clsact qdisc there is nothing to show, and an error.
                String::from_utf8_lossy(&output.stdout).into_owned()
            };
            ["lan0", WAN_IF].map(show).concat()
        };
        Self {
            links: without_peers(&ip("-d link show")),
            qdiscs: namespace.output("tc", &["qdisc", "show"]),
            filters: filters("ingress") + &filters("egress"),
            tcx: tcx_programs(namespace),
            addresses_and_routes: ip("-4 addr show") + &ip("-4 route show table all"),
            rules: ip("rule show"),
            sysctls: sysctls(namespace),
            run_files: run_files(namespace),
        }
    }

    /// Demands that all is as it was, and names what is not.
    #[track_caller]
    pub fn assert_restored(&self, namespace: &Namespace) {
        let now = Self::of(namespace);
        assert_eq!(now.links, self.links, "interfaces");
        assert_eq!(now.sysctls, self.sysctls, "sysctls");
        assert_eq!(now.addresses_and_routes, self.addresses_and_routes, "addresses and routes");
        assert_eq!(now, *self);
    }
}

/// What `ip link` says, without the namespaces that the far ends are in: it looks for their names
/// among namespaces that other tests make and delete at the same time.
fn without_peers(links: &str) -> String {
    let words = links.split(' ').collect::<Vec<_>>();
    let peer = |i: usize| i > 0 && words[i - 1].starts_with("link-netns");
    let kept = (0..words.len()).filter(|&i| !peer(i) && !words[i].starts_with("link-netns"));
    kept.map(|i| words[i]).collect::<Vec<_>>().join(" ")
}

/// Whether the kernel has tcx hooks (Linux 6.6); without them masq uses the filters of clsact.
pub fn has_tcx() -> bool {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
        Ok(_) => true,
        // An attach type that it does not know.
        Err(ProgramError::SyscallError(e)) if e.io_error.kind() == ErrorKind::InvalidInput => false,
        Err(e) => panic!("query tcx: {e}"),
    }
}

/// Programs on the tcx hooks, by id.
fn tcx_programs(namespace: &Namespace) -> Vec<u32> {
    if !has_tcx() {
        return Vec::new();
    }
    let directions = [TcAttachType::Ingress, TcAttachType::Egress];
    namespace.run(|| {
        let query = |interface| {
            directions.into_iter().flat_map(move |direction| {
                let (_, programs) =
                    SchedClassifier::query_tcx(interface, direction).expect("query tcx");
                programs.into_iter().map(|program| program.id())
            })
        };
        ["lan0", WAN_IF].into_iter().flat_map(query).collect()
    })
}

/// The program in the driver of an interface, by id.
fn xdp_program(namespace: &Namespace, interface: &str) -> Option<u32> {
    let link = namespace.output("ip", &["-d", "link", "show", interface]);
    let (_, rest) = link.split_once("prog/xdp id ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Programs in the filters of clsact, by id.
fn filter_programs(state: &State) -> Vec<u32> {
    let ids = state.filters.split(" id ").skip(1);
    ids.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}

/// All of `net.ipv4` that is a setting.
fn sysctls(namespace: &Namespace) -> BTreeMap<String, String> {
    fn read(directory: &Path, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).expect("read /proc/sys").flatten() {
            let path = entry.path();
            if path.is_dir() {
                read(&path, into);
            } else if let Ok(value) = fs::read_to_string(&path) {
                into.insert(path.display().to_string(), value);
            }
        }
    }
    let mut sysctls = BTreeMap::new();
    namespace.run(|| read(Path::new("/proc/sys/net/ipv4"), &mut sysctls));
    sysctls
}

/// Files of `masq` that name this namespace.
fn run_files(namespace: &Namespace) -> Vec<String> {
    let inode = namespace.run(|| fs::metadata("/proc/thread-self/ns/net").expect("stat").ino());
    let mut files = Vec::new();
    let pins = ["/run/masq/bpf", "/sys/fs/bpf", "/sys/fs/bpf/masq"];
    for directory in ["/run/masq", "/run/masq/locks"].into_iter().chain(pins) {
        // No directory, no files.
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.path().display().to_string());
        files.extend(names.filter(|name| name.contains(&inode.to_string())));
    }
    files
}

/// Everything that is attached to the router's interfaces.
pub fn programs(lab: &Lab, state: &State) -> BTreeSet<u32> {
    let xdp = ["lan0", WAN_IF].into_iter().filter_map(|name| xdp_program(&lab.router, name));
    state.tcx.iter().copied().chain(filter_programs(state)).chain(xdp).collect()
}

pub fn maps_of(programs: &BTreeSet<u32>) -> BTreeSet<u32> {
    let loaded = loaded_programs().filter_map(Result::ok);
    let ours = loaded.filter(|program| programs.contains(&program.id()));
    ours.flat_map(|program| program.map_ids().ok().flatten().unwrap_or_default()).collect()
}

/// Demands that the kernel has let go of the programs and maps, which it does a moment after the
/// last reference has gone.
pub fn assert_all_gone(programs: &BTreeSet<u32>, maps: &BTreeSet<u32>) {
    assert!(!maps.is_empty(), "the programs have maps");
    eventually("end of the programs", || {
        let left = loaded_programs().filter_map(Result::ok).any(|p| programs.contains(&p.id()));
        (!left).then_some(())
    });
    eventually("end of the maps", || {
        let left = aya::maps::loaded_maps().filter_map(Result::ok).any(|m| maps.contains(&m.id()));
        (!left).then_some(())
    });
}
