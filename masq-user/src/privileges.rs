//! What the daemon may do once everything is attached: as little as it needs from then on. Under the unit
//! for systemd it has no more from the beginning; whoever starts it as root gives it everything.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::set_no_new_privs;

/// Loading and attaching programs, also those that trace; sending packets; interfaces, filters, sysctls.
const NEEDED: [Capability; 4] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_PERFMON,
];

/// Unmounting in the mount namespace of process 1.
const TO_UNMOUNT: [Capability; 3] =
    [Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_CHROOT, Capability::CAP_SYS_PTRACE];

/// Reading what root may not read as its owner.
const TO_READ: Capability = Capability::CAP_DAC_READ_SEARCH;

/// Gives up for good whatever is not needed any more, in this thread and those that it will start.
/// `file` is the configuration that is read again at a reload; `unmounts` says that a bpffs is to be
/// unmounted at the end.
///
/// # Errors
/// If the kernel refuses; some may be given up by then.
pub fn give_up(file: Option<&Path>, unmounts: bool) -> Result<()> {
    let may = caps::read(None, CapSet::Permitted).context("cannot read capabilities")?;
    let mut needed: CapsHashSet = NEEDED.into();
    if unmounts {
        needed.extend(TO_UNMOUNT);
    }
    if [Capability::CAP_BPF, Capability::CAP_PERFMON].iter().any(|one| !may.contains(one)) {
        // Stands for them where there is no more than that, as in some containers.
        needed.insert(Capability::CAP_SYS_ADMIN);
    }
    // While it may be: what this process may have at most.
    for capability in caps::all() {
        let kept = needed.contains(&capability) || capability == TO_READ;
        if !kept && may.contains(&Capability::CAP_SETPCAP) {
            caps::drop(None, CapSet::Bounding, capability)
                .context("cannot give up a capability")?;
        }
    }
    keep(&may, &needed, CapSet::Effective)?;
    if file.is_some_and(|file| File::open(file).is_err()) {
        // Somebody else's, behind a door that is open to its owner only.
        needed.insert(TO_READ);
        keep(&may, &needed, CapSet::Effective)?;
    }
    keep(&may, &needed, CapSet::Permitted)?;
    caps::clear(None, CapSet::Inheritable).context("cannot give up capabilities")?;
    set_no_new_privs().context("cannot give up new privileges")
}

/// Keeps of what the process may do what is needed.
fn keep(may: &CapsHashSet, needed: &CapsHashSet, set: CapSet) -> Result<()> {
    let kept = may.intersection(needed).copied().collect();
    caps::set(None, set, &kept).context("cannot give up capabilities")
}
