//! A control group of its own for a daemon, to have its memory run out. The kernel charges maps and
//! what is in them to the group of who has made them.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use masq_tests::netns::random;

/// A control group for memory; removed when dropped.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    /// Whether it is one of cgroup v2.
    unified: bool,
}

impl Group {
    /// A new one without a limit; `None`, and a line that says so, where the machine lets nobody make one.
    pub fn new() -> Option<Self> {
        let roots = [("/sys/fs/cgroup", true), ("/sys/fs/cgroup/memory", false)];
        for (root, unified) in roots {
            let group = Self { directory: Path::new(root).join(name()), unified };
            if group.controlled(root) && fs::create_dir(&group.directory).is_ok() {
                if group.write(group.limit_file(), &group.number(u64::MAX)).is_ok() {
                    return Some(group);
                }
                let _ = fs::remove_dir(&group.directory);
            }
        }
        println!("left out: no control group for memory can be made on this machine");
        None
    }

    /// Whether memory can be limited in children of `root`.
    fn controlled(&self, root: &str) -> bool {
        if !self.unified {
            return Path::new(root).join("memory.limit_in_bytes").exists();
        }
        let children = Path::new(root).join("cgroup.subtree_control");
        fs::read_to_string(children)
            .is_ok_and(|list| list.split_whitespace().any(|c| c == "memory"))
    }

    /// Puts a process that is to be started into the group.
    pub fn join(&self, command: &mut Command) {
        let file = fs::OpenOptions::new().write(true).open(self.directory.join("cgroup.procs"));
        let file = file.expect("open cgroup.procs");
        // "0" is whoever writes it.
        let enter = move || io::Write::write_all(&mut &file, b"0");
        // SAFETY: the closure makes one system call on a descriptor it owns and allocates nothing.
        unsafe { command.pre_exec(enter) };
    }

    /// Limits the memory of the group to so many bytes.
    pub fn limit(&self, bytes: u64) {
        self.write(self.limit_file(), &self.number(bytes)).expect("limit a control group");
    }

    /// Limits it to what it has.
    pub fn fill_up(&self) {
        let file = if self.unified { "memory.current" } else { "memory.usage_in_bytes" };
        let used = fs::read_to_string(self.directory.join(file)).expect("the use of memory");
        self.limit(used.trim().parse().expect("a number"));
    }

    fn limit_file(&self) -> &'static str {
        if self.unified { "memory.max" } else { "memory.limit_in_bytes" }
    }

    fn number(&self, bytes: u64) -> String {
        match (bytes, self.unified) {
            (u64::MAX, true) => "max".to_owned(),
            (u64::MAX, false) => "-1".to_owned(),
            (bytes, _) => bytes.to_string(),
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.directory.join(file), text)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What fails while a test fails stays behind, empty and without a limit.
        let _ = self.write(self.limit_file(), &self.number(u64::MAX));
        let _ = fs::remove_dir(&self.directory);
    }
}

fn name() -> String {
    format!("masq-{}-{:06x}", std::process::id(), random() & 0xff_ffff)
}
