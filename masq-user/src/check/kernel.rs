//! Judging the kernel, what this process may do, and whether there is memory enough.

use super::{Finding, facts::Kernel};
use crate::{
    config::Config,
    preflight::{OLDEST, Release},
};

/// The kernel from which on TC programs are attached as tcx links (kernel e420bed02507).
pub const TCX: Release = Release::new(6, 6);

/// The capabilities that masq needs, with their numbers.
const NEEDED: [(&str, u32); 4] =
    [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13), ("CAP_BPF", 39), ("CAP_PERFMON", 38)];
const SYS_ADMIN: u32 = 21;

/// Everything about the kernel; what is fatal keeps masq from starting.
pub fn judge(config: &Config, kernel: &Kernel) -> Vec<Finding> {
    [
        vec![privileges(kernel), version(kernel), types(kernel)],
        system_call(kernel),
        memory(config, kernel),
        compiler(kernel),
        hooks(kernel),
        vec![survival(kernel)],
        lockdown(kernel),
    ]
    .concat()
}

fn privileges(kernel: &Kernel) -> Finding {
    const CHECK: &str = "kernel.capabilities";
    let have = |number: u32| kernel.capabilities & 1 << number != 0;
    // CAP_SYS_ADMIN contains the two that were split off from it.
    let may = |(_, number): &(&str, u32)| have(*number) || (*number > 37 && have(SYS_ADMIN));
    let missing: Vec<_> =
        NEEDED.iter().filter(|needed| !may(needed)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, "this process may do all that masq has to");
    }
    let text = format!(
        "masq needs root, or the capabilities CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON; \
         missing: {}",
        missing.join(", ")
    );
    Finding::fatal(CHECK, text).advice("run it with sudo")
}

fn version(kernel: &Kernel) -> Finding {
    const CHECK: &str = "kernel.version";
    let release = &kernel.release;
    match kernel.version() {
        Some(found) if found >= OLDEST => Finding::ok(CHECK, format!("Linux {release}")),
        _ => Finding::fatal(
            CHECK,
            format!("this kernel is {release}; masq needs Linux {OLDEST} or newer"),
        )
        .advice("boot a newer one"),
    }
}

fn types(kernel: &Kernel) -> Finding {
    const CHECK: &str = "kernel.btf";
    if kernel.btf {
        return Finding::ok(CHECK, "the kernel describes its types (BTF)");
    }
    Finding::fatal(
        CHECK,
        "the kernel has no type information (/sys/kernel/btf/vmlinux is missing)",
    )
    .advice(
        "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the ones of Debian, Ubuntu and Fedora \
         are, and see that /sys is mounted",
    )
}

fn system_call(kernel: &Kernel) -> Vec<Finding> {
    const CHECK: &str = "kernel.bpf";
    if kernel.bpf {
        return Vec::new();
    }
    let text = "the kernel has no BPF (CONFIG_BPF_SYSCALL is off)";
    vec![Finding::fatal(CHECK, text).advice("boot a kernel that has it, as all distributions do")]
}

/// Tables that could not be filled with all the memory of the machine are refused.
fn memory(config: &Config, kernel: &Kernel) -> Vec<Finding> {
    const CHECK: &str = "kernel.memory";
    let (Some(all), need) = (kernel.memory, config.memory()) else { return Vec::new() };
    let mib = |bytes: u64| bytes >> 20;
    let text = format!("{} sessions take up to {} MiB", config.max_sessions, mib(need));
    let finding = if need > all / 10 * 8 {
        let text = format!("{text}, and the machine has {} MiB", mib(all));
        Finding::fatal(CHECK, text).advice("choose a smaller --max-sessions")
    } else if kernel.available.is_some_and(|available| need > available) {
        let available = kernel.available.unwrap_or(0);
        let text = format!(
            "{text}, and {} MiB are free now: with a full table the machine runs out of memory",
            mib(available)
        );
        Finding::warning(CHECK, text).advice("choose a smaller --max-sessions, or free memory")
    } else {
        Finding::ok(CHECK, format!("{text}, of {} MiB", mib(all)))
    };
    vec![finding]
}

fn compiler(kernel: &Kernel) -> Vec<Finding> {
    const CHECK: &str = "kernel.jit";
    let slow = "BPF programs are interpreted, which makes each packet several times as expensive";
    match kernel.jit {
        Some(true) => vec![Finding::ok(CHECK, "BPF programs are compiled (JIT)")],
        Some(false) => vec![
            Finding::warning(CHECK, format!("the JIT compiler is off: {slow}"))
                .command("sysctl -w net.core.bpf_jit_enable=1"),
        ],
        None if kernel.lacks("CONFIG_BPF_JIT") => vec![
            Finding::warning(CHECK, format!("the kernel has no JIT compiler: {slow}"))
                .advice("boot a kernel built with CONFIG_BPF_JIT=y"),
        ],
        None => Vec::new(),
    }
}

/// How programs are attached.
fn hooks(kernel: &Kernel) -> Vec<Finding> {
    const CHECK: &str = "kernel.hooks";
    let tcx = kernel.version().is_some_and(|version| version >= TCX);
    let needed: &[&str] = if tcx {
        &["CONFIG_NET_XGRESS"]
    } else {
        &["CONFIG_NET_SCH_INGRESS", "CONFIG_NET_CLS_BPF", "CONFIG_NET_CLS_ACT"]
    };
    let missing: Vec<_> = needed.iter().filter(|option| kernel.lacks(option)).copied().collect();
    if !missing.is_empty() {
        let text =
            format!("the kernel is built without {}: nothing can be attached", missing.join(", "));
        return vec![Finding::fatal(CHECK, text).advice("boot a kernel that has it")];
    }
    vec![if tcx {
        Finding::ok(CHECK, "programs are attached as tcx links")
    } else {
        Finding::note(
            CHECK,
            format!(
                "before Linux {TCX}, programs are attached as filters of a clsact qdisc: they stay \
                 after a kill, until `masq run` or `masq stop`"
            ),
        )
    }]
}

/// Whether sessions outlive the daemon.
fn survival(kernel: &Kernel) -> Finding {
    const CHECK: &str = "kernel.bpffs";
    let ends = "sessions will end with the daemon";
    match &kernel.bpffs {
        Some(bpffs) if bpffs.writable => Finding::ok(
            CHECK,
            format!("sessions outlive the daemon, in the bpffs at {}", bpffs.path),
        ),
        Some(bpffs) => {
            Finding::note(CHECK, format!("the bpffs at {} is read-only: {ends}", bpffs.path))
                .command(format!("mount -o remount,rw {}", bpffs.path))
        }
        None if kernel.capabilities & 1 << SYS_ADMIN != 0 => Finding::ok(
            CHECK,
            "no bpffs is mounted; masq mounts its own, in which sessions outlive it",
        ),
        None => Finding::note(
            CHECK,
            format!("no bpffs is mounted, and without CAP_SYS_ADMIN masq cannot mount one: {ends}"),
        )
        .command("mount -t bpf bpf /sys/fs/bpf"),
    }
}

fn lockdown(kernel: &Kernel) -> Vec<Finding> {
    const CHECK: &str = "kernel.lockdown";
    match kernel.lockdown.as_deref() {
        Some("confidentiality") => vec![
            Finding::note(
                CHECK,
                "kernel lockdown (confidentiality) hides when routes change: masq asks the routing \
                 for each packet, which makes it slower",
            )
            .advice("boot with lockdown=integrity if speed matters more"),
        ],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Severity::{Fatal, Note, Warning},
            facts::Bpffs,
            made_up::{complaints, config, kernel, only, usual},
        },
        *,
    };

    fn judged(kernel: &Kernel) -> Vec<Finding> {
        judge(&usual(), kernel)
    }

    #[test]
    fn old_kernels_are_refused_by_name() {
        for release in ["5.15.0-91-generic", "6.0.19", "4.9", "nonsense"] {
            let old = Kernel { release: release.into(), ..kernel() };
            let findings = judged(&old);
            let finding = only(&findings, "kernel.version");
            assert_eq!(finding.severity, Fatal);
            assert!(finding.text.contains(release) && finding.text.contains("6.1"), "{finding:?}");
        }
        for release in ["6.6.0", "6.18.44-fc", "7.0-rc1"] {
            let new = Kernel { release: release.into(), ..kernel() };
            assert_eq!(complaints(&judged(&new)), [], "{release}");
        }
    }

    #[test]
    fn kernels_without_tcx_are_told_of() {
        let old = Kernel { release: "6.1.0-13-amd64".into(), ..kernel() };
        assert_eq!(complaints(&judged(&old)), [(Note, "kernel.hooks")]);
        let options = [("CONFIG_NET_CLS_BPF", "m"), ("CONFIG_NET_CLS_ACT", "y")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let bare = Kernel { options: Some(options.into()), ..old };
        let findings = judged(&bare);
        let finding = only(&findings, "kernel.hooks");
        assert_eq!(finding.severity, Fatal);
        assert!(finding.text.contains("CONFIG_NET_SCH_INGRESS"), "{finding:?}");
        assert!(!finding.text.contains("CLS_BPF"), "{finding:?}");
    }

    #[test]
    fn privileges_are_root_or_the_four_capabilities() {
        let missing = |capabilities: u64| {
            let findings = judged(&Kernel { capabilities, ..kernel() });
            let finding = only(&findings, "kernel.capabilities").clone();
            let (_, missing) = finding.text.split_once("missing: ")?;
            assert!(finding.severity == Fatal && finding.sentence().contains("sudo"));
            Some(missing.to_owned())
        };
        assert_eq!(missing(0x0000_01ff_ffff_ffff), None);
        assert_eq!(missing(0x0000_00c0_0000_3000), None);
        assert_eq!(missing(0x0000_0000_0020_3000), None, "CAP_SYS_ADMIN contains two");
        assert_eq!(missing(0x0000_00c0_0000_1000).as_deref(), Some("CAP_NET_RAW"));
        assert_eq!(missing(0x0000_0080_0000_3000).as_deref(), Some("CAP_PERFMON"));
        assert_eq!(missing(0x0000_0000_0000_3000).as_deref(), Some("CAP_BPF, CAP_PERFMON"));
        assert_eq!(missing(0x0000_00c0_0000_2000).as_deref(), Some("CAP_NET_ADMIN"));
    }

    #[test]
    fn tables_larger_than_memory_are_refused_with_the_number() {
        let small = Kernel { memory: Some(1 << 30), available: Some(1 << 29), ..kernel() };
        let findings = judge(&config("--lan a --wan b --max-sessions 10000000"), &small);
        let finding = only(&findings, "kernel.memory");
        assert_eq!(finding.severity, Fatal);
        assert!(finding.text.contains("10000000") && finding.text.contains("1024 MiB"));
        assert_eq!(complaints(&judged(&small)), []);
        let full = Kernel { available: Some(1 << 20), ..small };
        assert_eq!(complaints(&judged(&full)), [(Warning, "kernel.memory")]);
    }

    #[test]
    fn what_the_kernel_lacks_is_told() {
        let none = Kernel { btf: false, bpf: false, jit: Some(false), ..kernel() };
        let expected = [(Fatal, "kernel.btf"), (Fatal, "kernel.bpf"), (Warning, "kernel.jit")];
        assert_eq!(complaints(&judged(&none)), expected);
        let locked = Kernel { lockdown: Some("confidentiality".into()), ..kernel() };
        assert_eq!(complaints(&judged(&locked)), [(Note, "kernel.lockdown")]);
        let integrity = Kernel { lockdown: Some("integrity".into()), ..kernel() };
        assert_eq!(complaints(&judged(&integrity)), []);
    }

    #[test]
    fn survival_needs_a_bpffs_or_the_right_to_mount_one() {
        let may = Kernel { bpffs: None, ..kernel() };
        assert_eq!(complaints(&judged(&may)), []);
        let may_not = Kernel { capabilities: 0x0000_00c0_0000_3000, ..may };
        assert_eq!(complaints(&judged(&may_not)), [(Note, "kernel.bpffs")]);
        let bpffs = Some(Bpffs { path: "/sys/fs/bpf".into(), writable: false });
        let findings = judged(&Kernel { bpffs, ..kernel() });
        assert!(only(&findings, "kernel.bpffs").commands[0].contains("remount"));
    }
}
