//! What sessions cost in memory: the kernel's own accounts.

use std::{fs, thread, time::Duration};

/// Bytes by which accounts may change between two looks.
const CALM: f64 = 256.0 * 1024.0;
/// Bytes that may be left of what has gone.
const LEFT: f64 = 4.0 * 1024.0 * 1024.0;
/// Time between two looks, and how many at most.
const BETWEEN: Duration = Duration::from_millis(500);
const LOOKS: u32 = 60;

/// What the kernel has given away for good, in bytes: to slabs that cannot be reclaimed, to vmalloc
/// and to each CPU. Memory of programs and files is not in it, so other programs hardly disturb it;
/// sessions of masq, entries of connection tracking and all tables are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel(u64);

impl Kernel {
    /// When it no longer changes much: what is freed waits for the end of RCU grace periods, and
    /// namespaces are taken down, with all their connections, some time after their last use.
    ///
    /// # Panics
    /// If the kernel does not tell.
    pub fn settled() -> Self {
        let mut before = Self::now();
        for _ in 0..LOOKS {
            thread::sleep(BETWEEN);
            let now = Self::now();
            let calm = now.since(before).abs() < CALM;
            before = now;
            if calm {
                break;
            }
        }
        before
    }

    /// The same once no more than some MiB are left of what has come since `earlier`, which has gone
    /// or is going; after half a minute in any case.
    ///
    /// # Panics
    /// If the kernel does not tell.
    pub fn settled_from(earlier: Self) -> Self {
        for _ in 0..LOOKS {
            if Self::now().since(earlier) < LEFT {
                break;
            }
            thread::sleep(BETWEEN);
        }
        Self::settled()
    }

    fn now() -> Self {
        let text = fs::read_to_string("/proc/meminfo").expect("read /proc/meminfo");
        let of = |name| field(&text, name).unwrap_or_else(|| panic!("/proc/meminfo has no {name}"));
        Self(of("SUnreclaim:") + of("VmallocUsed:") + of("Percpu:"))
    }

    /// Bytes more than there were `earlier`; less than 0 if something was freed.
    pub fn since(self, earlier: Self) -> f64 {
        self.0 as f64 - earlier.0 as f64
    }
}

/// Bytes that are free, or could be.
///
/// # Panics
/// If the kernel does not tell.
pub fn available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("read /proc/meminfo");
    field(&text, "MemAvailable:").expect("/proc/meminfo has MemAvailable")
}

/// Bytes of memory that a process has for itself at the moment.
///
/// # Panics
/// If there is no such process.
pub fn resident(process: u32) -> u64 {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    field(&text, "RssAnon:").unwrap_or_else(|| panic!("{path} has no RssAnon"))
}

/// Bytes that the kernel charges for the maps and programs that a process has open.
///
/// # Panics
/// If there is no such process.
pub fn charged(process: u32) -> u64 {
    let path = format!("/proc/{process}/fdinfo");
    let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    let mut seen = std::collections::HashSet::new();
    let mut sum = 0;
    for entry in entries.flatten() {
        // A descriptor that was closed meanwhile.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let word = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        let id = word("map_id:").map(|id| ("map", id));
        let id = id.or_else(|| word("prog_id:").map(|id| ("program", id)));
        // One map may have several descriptors.
        if id.is_some_and(|id| seen.insert(id)) {
            sum += word("memlock:").unwrap_or(0);
        }
    }
    sum
}

/// A line of the kind `Name:  123 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_read_in_bytes() {
        let text = "MemTotal:       24684248 kB\nSUnreclaim:       123 kB\n";
        assert_eq!(field(text, "SUnreclaim:"), Some(123 * 1024));
        assert_eq!(field(text, "Slab:"), None);
    }
}
