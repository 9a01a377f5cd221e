//! Facts about the kernel, about what this process may do, and about memory.

use std::{collections::BTreeMap, fs, io::Read as _, path::Path, thread};

use aya::programs::{ProgramError, loaded_programs};
use flate2::read::GzDecoder;
use nix::sys::utsname::uname;

use crate::{
    error::{Error, Result},
    preflight::Release,
    survival::bpffs,
};

pub use crate::survival::bpffs::Mounted as Bpffs;

/// The kernel's description of its own types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// What is known about the kernel.
#[derive(Clone, Default, Debug)]
pub struct Kernel {
    /// As `uname -r` has it.
    pub release: String,
    /// Whether it describes its types.
    pub btf: bool,
    /// Effective capabilities of this process, a bit each.
    pub capabilities: u64,
    /// All memory of the machine, in bytes.
    pub memory: Option<u64>,
    /// Memory that could be had now, in bytes.
    pub available: Option<u64>,
    /// Whether BPF programs are compiled; `None` where that cannot be asked.
    pub jit: Option<bool>,
    /// Whether the kernel has the system call bpf at all.
    pub bpf: bool,
    /// What the kernel keeps even from root: `none`, `integrity`, `confidentiality`.
    pub lockdown: Option<String>,
    /// The bpffs in which sessions would outlive the daemon.
    pub bpffs: Option<Bpffs>,
    /// How it was built: `CONFIG_BPF_JIT` to `y` or `m`; `None` if it does not tell.
    pub options: Option<BTreeMap<String, String>>,
    /// CPUs that are at work.
    pub cpus: usize,
}

impl Kernel {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no `/proc`.
    pub fn gather() -> Result<Self> {
        let name = uname().map_err(|error| Error::Refused(format!("uname failed: {error}")))?;
        let release = name.release().to_string_lossy().into_owned();
        let meminfo = read("/proc/meminfo")?;
        let missing = |error: &ProgramError| match error {
            ProgramError::SyscallError(error) => {
                error.io_error.raw_os_error() == Some(libc::ENOSYS)
            }
            _ => false,
        };
        Ok(Self {
            btf: Path::new(BTF).exists(),
            capabilities: capabilities(&read("/proc/self/status")?),
            memory: memory(&meminfo, "MemTotal:"),
            available: memory(&meminfo, "MemAvailable:"),
            // The initial network namespace has it alone.
            jit: fs::read_to_string("/proc/sys/net/core/bpf_jit_enable")
                .ok()
                .map(|value| value.trim() != "0"),
            bpf: !loaded_programs().next().is_some_and(|first| first.is_err_and(|e| missing(&e))),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .and_then(|text| chosen(&text)),
            bpffs: bpffs::mounted(),
            options: options(&release),
            cpus: thread::available_parallelism().map_or(1, Into::into),
            release,
        })
    }

    /// Major and minor version; `None` if the kernel has no such.
    pub fn version(&self) -> Option<Release> {
        Release::parse(&self.release)
    }

    /// Whether it is known to be built without this option (`CONFIG_...`).
    pub fn lacks(&self, option: &str) -> bool {
        self.options.as_ref().is_some_and(|options| !options.contains_key(option))
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        Error::Refused(format!("cannot read {path}: {error}; see that /proc is mounted"))
    })
}

/// Effective capabilities in `/proc/self/status`; none if it does not say.
fn capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// A line of `/proc/meminfo`, in bytes.
fn memory(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The word in brackets: `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// How the kernel was built, from itself or from the file that distributions put beside it.
fn options(release: &str) -> Option<BTreeMap<String, String>> {
    let own = || {
        let file = fs::File::open("/proc/config.gz").ok()?;
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text).ok()?;
        Some(text)
    };
    let text = own().or_else(|| fs::read_to_string(format!("/boot/config-{release}")).ok())?;
    Some(parse_options(&text))
}

fn parse_options(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| line.starts_with("CONFIG_"));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(capabilities("Name:\tx\nCapEff:\t000000c000003000\n"), 0xc0_0000_3000);
        assert_eq!(capabilities("Name:\tx\n"), 0);
        let meminfo = "MemTotal:        1024 kB\nMemFree: 1 kB\n";
        assert_eq!(memory(meminfo, "MemTotal:"), Some(1 << 20));
        assert_eq!(memory(meminfo, "MemAvailable:"), None);
        assert_eq!(chosen("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(chosen("nothing"), None);
        let options = parse_options("# x\nCONFIG_BPF=y\n# CONFIG_XDP is not set\nCONFIG_HZ=250\n");
        assert_eq!(options.len(), 2);
        assert_eq!(options["CONFIG_BPF"], "y");
    }

    #[test]
    fn this_kernel_can_be_read() {
        let kernel = Kernel::gather().unwrap();
        assert!(kernel.version().is_some() && kernel.bpf && kernel.cpus > 0, "{kernel:?}");
        assert!(kernel.memory >= kernel.available && kernel.available > Some(0));
    }
}
