//! A program on a terminal: a pseudo-terminal, and what a terminal would have shown of its output.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZero,
    os::{
        fd::{AsFd as _, AsRawFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{OFlag, open},
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
        stat::Mode,
        termios::{Termios, tcgetattr},
    },
    unistd::{Pid, setsid},
};

/// How long the screen may take to show what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

nix::ioctl_write_int_bad!(
    /// Makes a terminal the controlling one of a session.
    set_controlling_terminal,
    libc::TIOCSCTTY
);

nix::ioctl_write_ptr_bad!(
    /// Changes the size of a terminal.
    set_size,
    libc::TIOCSWINSZ,
    Winsize
);

/// A program on a terminal; ended when dropped.
pub struct Terminal {
    child: Child,
    keyboard: Option<File>,
    reader: Option<JoinHandle<()>>,
    /// Says that the reader is to end.
    gone: Arc<AtomicBool>,
    /// The program's side, to see how it has left it.
    line: OwnedFd,
    settings: Termios,
    screen: Arc<Shared>,
}

struct Shared {
    screen: Mutex<vt100::Parser>,
    changed: Condvar,
}

impl Terminal {
    /// Starts a program on a terminal of so many `columns` and `rows`.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let (user, line) = pair();
        set_size_of(&user, columns, rows);
        let settings = tcgetattr(&line).expect("the settings of a terminal");
        let end = || line.try_clone().expect("duplicate a file descriptor");
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm-256color");
        let on_terminal = || {
            set_pdeathsig(Signal::SIGTERM)?;
            setsid()?;
            // SAFETY: standard input is the terminal, and the call takes a number.
            unsafe { set_controlling_terminal(0, 0) }?;
            Ok(())
        };
        // SAFETY: the closure makes three system calls and allocates nothing.
        unsafe { command.pre_exec(on_terminal) };
        let child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        let keyboard = user;
        let screen = Arc::new(Shared {
            screen: Mutex::new(vt100::Parser::new(size_of(rows), size_of(columns), 0)),
            changed: Condvar::new(),
        });
        let (mut output, shared) =
            (keyboard.try_clone().expect("duplicate a file descriptor"), Arc::clone(&screen));
        let gone = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&gone);
        let reader = thread::spawn(move || {
            let mut data = [0; 4096];
            loop {
                let mut waiting = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut waiting, PollTimeout::from(50_u8));
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                if ready == Ok(0) {
                    continue;
                }
                // It fails when nobody has the other side open any more.
                let Ok(length @ 1..) = output.read(&mut data) else { return };
                shared.screen.lock().expect("the screen").process(&data[..length]);
                shared.changed.notify_all();
            }
        });
        Self { child, keyboard: Some(keyboard), reader: Some(reader), gone, line, settings, screen }
    }

    /// Presses keys, as a terminal sends them.
    pub fn press(&self, keys: &str) {
        let mut keyboard = self.keyboard.as_ref().expect("a terminal that is there");
        keyboard.write_all(keys.as_bytes()).expect("press keys");
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.screen
            .screen
            .lock()
            .expect("the screen")
            .screen_mut()
            .set_size(size_of(rows), size_of(columns));
        set_size_of(&self.line, columns, rows);
    }

    /// What stands on the screen.
    pub fn text(&self) -> String {
        self.screen.screen.lock().expect("the screen").screen().contents()
    }

    /// Waits until the screen shows what is wanted, and returns what was found.
    ///
    /// # Panics
    /// If a minute passes before that.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        self.wait_until(what, |screen| find(&screen.contents()))
    }

    #[track_caller]
    fn wait_until<T>(&self, what: &str, mut find: impl FnMut(&vt100::Screen) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut screen = self.screen.screen.lock().expect("the screen");
        loop {
            if let Some(found) = find(screen.screen()) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = screen.screen().contents();
                // The reader goes on with it.
                drop(screen);
                panic!("the screen did not show {what}, but\n{text}");
            }
            screen = self.screen.changed.wait_timeout(screen, left).expect("the screen").0;
        }
    }

    /// Waits until a line of the screen contains all of these, and returns it.
    #[track_caller]
    pub fn wait_for_line(&self, parts: &[&str]) -> String {
        self.wait_for(&format!("a line with {parts:?}"), |text| {
            let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
            text.lines().find(has_all).map(str::to_owned)
        })
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("send a signal");
    }

    /// Takes the terminal away from the program, and returns how it ends.
    ///
    /// # Panics
    /// If it does not end.
    pub fn hang_up(mut self) -> ExitStatus {
        self.gone.store(true, Ordering::Relaxed);
        self.reader.take().map(JoinHandle::join);
        // Nobody has the user's side open any more.
        self.keyboard = None;
        self.wait()
    }

    /// Waits until the program ends, and demands that the terminal is as it was before.
    ///
    /// # Panics
    /// If it does not end, or has left the terminal as it likes it.
    #[track_caller]
    pub fn outcome(mut self) -> ExitStatus {
        let status = self.wait();
        // The last of its output may still be under way.
        self.wait_until("given back", |screen| {
            (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
        });
        assert_eq!(tcgetattr(&self.line).expect("the settings of a terminal"), self.settings);
        status
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the program") {
                return status;
            }
            assert!(Instant::now() < end, "it did not end; the screen:\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Both sides of a new terminal: the user's and the program's. No process inherits the first, or the
/// terminal would never be gone.
fn pair() -> (File, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let user = posix_openpt(flags).expect("a pseudo-terminal");
    grantpt(&user).expect("own the pseudo-terminal");
    unlockpt(&user).expect("unlock the pseudo-terminal");
    let name = ptsname_r(&user).expect("the name of the pseudo-terminal");
    let line = open(name.as_str(), flags, Mode::empty()).expect("open the pseudo-terminal");
    (File::from(OwnedFd::from(user)), line)
}

fn set_size_of(terminal: &impl AsRawFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open and the size is valid for the call.
    unsafe { set_size(terminal.as_raw_fd(), &size) }.expect("set the size of a terminal");
}

/// A number of rows or columns.
fn size_of(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a terminal has a size")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
