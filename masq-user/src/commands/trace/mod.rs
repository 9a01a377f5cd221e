//! `masq trace`: packets before and after translation, as lines or as a file, until somebody ends it.

mod pcapng;
mod text;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use jiff::tz::TimeZone;
use nix::unistd::geteuid;

use super::{Output, interrupt::Interrupt, progress::Progress};
use crate::{
    cli::TraceArgs,
    control::{
        client::{self, Client},
        proto::{Answer, Ask},
        record::Fate,
        traced::{TraceQuery, Traced},
    },
    error::{Error, Result},
};

/// Shows packets.
pub fn execute(args: &TraceArgs) -> Result<()> {
    let query = TraceQuery {
        protocol: args.protocol.map(|protocol| protocol.0),
        ends: args.ends.clone(),
        reasons: args.reason.clone(),
        drops: args.drops,
        frames: args.write.is_some(),
    };
    // Before anything is set going: it may be that the file cannot be written.
    let file = args.write.as_deref().map(Target::open).transpose()?;
    let client = client::ask(args.instance.instance.as_deref(), Ask::Trace(query))?;
    let mut answers = Answers { interrupt: Interrupt::ends(&client)?, client };
    let progress = Progress::begin("loading the programs that trace");
    let first = answers.next(None)?;
    drop(progress);
    // A file keeps what it has until there is something to write.
    let first = match first {
        Some(Traced::Ended { data_plane, .. }) => {
            return Err(Error::Ended(farewell(data_plane).to_owned()));
        }
        Some(first) => first,
        None => return Err(Error::Refused("ended by a signal before it has begun".into())),
    };
    let mut sink = match file {
        Some(target) => Sink::File(target.begin()?),
        None => {
            let zone = if args.utc { TimeZone::UTC } else { TimeZone::system() };
            Sink::Lines { output: Output::new(), zone, json: args.json }
        }
    };
    let lasts = args.duration.map(|secs| Duration::from_secs(u64::from(secs)));
    let end = lasts.map(|lasts| Instant::now() + lasts);
    let mut tally = Tally::default();
    let mut next = Some(first);
    while let Some(record) = next {
        if !sink.take(&record)? {
            return Ok(());
        }
        match record {
            Traced::Packet(_) => {
                tally.packets += 1;
                if args.count == Some(tally.packets) {
                    break;
                }
            }
            Traced::Lost { count, .. } => tally.lost += count,
            Traced::Ended { data_plane, .. } => {
                sink.finish(&tally)?;
                return Err(Error::Ended(farewell(data_plane).to_owned()));
            }
            Traced::Tracing { .. } => {}
        }
        // What has come is shown before anything is waited for.
        if !answers.client.has_more() && !sink.flush()? {
            return Ok(());
        }
        next = answers.next(end)?;
    }
    sink.finish(&tally)
}

/// What the daemon answers, until a signal asks for the end.
struct Answers {
    client: Client,
    interrupt: Interrupt,
}

impl Answers {
    /// The next record; `None` if it has not come by `end`, or a signal has.
    fn next(&mut self, end: Option<Instant>) -> Result<Option<Traced>> {
        match self.client.answer_by(end) {
            Ok(Some(Answer::Traced(record))) => Ok(Some(*record)),
            Ok(None) => Ok(None),
            Err(_) if self.interrupt.asked() => Ok(None),
            Ok(Some(_)) => Err(anyhow!("the running masq gave an unexpected answer").into()),
            Err(error) => Err(error),
        }
    }
}

/// How much there was.
#[derive(Default)]
struct Tally {
    packets: u64,
    lost: u64,
}

impl Tally {
    /// The last line, for people; `done` is what was done with the packets.
    fn sentence(&self, done: &str) -> String {
        let packets = if self.packets == 1 { "packet" } else { "packets" };
        let lost = match self.lost {
            0 => String::new(),
            lost => format!(
                "; {lost} more came too fast and are missing (a narrower filter misses fewer)"
            ),
        };
        format!("{} {packets} {done}{lost}", self.packets)
    }
}

const fn farewell(fate: Fate) -> &'static str {
    match fate {
        Fate::Removed => "masq was stopped, and all sessions have ended with it",
        Fate::Kept => "the daemon has ended, and sessions go on without it, untraced",
    }
}

/// Where packets go to.
enum Sink {
    Lines { output: Output, zone: TimeZone, json: bool },
    File(Capture),
}

impl Sink {
    /// Takes a record. False if nobody reads any more.
    fn take(&mut self, record: &Traced) -> Result<bool> {
        match self {
            Self::Lines { output, json: true, .. } => {
                output.line(serde_json::to_string(record).context("cannot write JSON")?)
            }
            Self::Lines { output, zone, .. } => {
                let line = text::line(record, zone, output.colours);
                output.line(line)
            }
            Self::File(capture) => {
                capture.take(record);
                Ok(true)
            }
        }
    }

    fn flush(&mut self) -> Result<bool> {
        match self {
            Self::Lines { output, .. } => output.flush(),
            Self::File(capture) => capture.flush(),
        }
    }

    /// Writes what is left, and says how much it was, on standard error: standard output is for packets.
    fn finish(self, tally: &Tally) -> Result<()> {
        match self {
            Self::Lines { output, .. } => {
                output.finish()?;
                eprintln!("{}", tally.sentence("shown"));
            }
            Self::File(mut capture) => {
                capture.flush()?;
                capture.progress.clear();
                eprintln!("{}", tally.sentence(&format!("written to {}", capture.name)));
            }
        }
        Ok(())
    }
}

/// What people say to each other is not for everybody on the machine.
const MODE: u32 = 0o600;

/// A file that can be written, and has not been yet.
struct Target {
    /// None for standard output.
    file: Option<(File, PathBuf)>,
    /// Whether it is there only because of us.
    new: bool,
}

impl Target {
    fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { file: None, new: false });
        }
        let name = path.display();
        let failed = || format!("cannot write {name}");
        // Not what a link leads to, which somebody else may have put there.
        let mut options = OpenOptions::new();
        options.write(true).mode(MODE).custom_flags(libc::O_NOFOLLOW);
        let (file, new) = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options.open(path), false)
            }
            file => (file, true),
        };
        let file = match file {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(Error::Refused(format!(
                    "{name} is a symbolic link; name the file itself, or - for standard output"
                )));
            }
            file => file.with_context(failed)?,
        };
        let metadata = file.metadata().with_context(failed)?;
        if metadata.is_file() && metadata.uid() != geteuid().as_raw() {
            return Err(Error::Refused(format!(
                "{name} is somebody else's, who could read it; choose another name"
            )));
        }
        Ok(Self { file: Some((file, path.to_owned())), new })
    }

    /// Begins to write to it; what it had is gone.
    fn begin(mut self) -> Result<Capture> {
        self.new = false;
        let (out, name): (Box<dyn io::Write>, _) = match self.file.take() {
            Some((file, path)) => {
                let name = path.display().to_string();
                if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                    let closed = file.set_permissions(fs::Permissions::from_mode(MODE));
                    let empty = closed.and_then(|()| file.set_len(0));
                    empty.with_context(|| format!("cannot write {name}"))?;
                }
                (Box::new(file), name)
            }
            None => (Box::new(io::stdout()), "standard output".to_owned()),
        };
        let (writer, progress) = (pcapng::Writer::new(), Progress::new());
        Ok(Capture { out, name, writer, packets: 0, progress })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Nothing was traced, so nothing is left.
        if let (true, Some((_, path))) = (self.new, &self.file) {
            let _ = fs::remove_file(path);
        }
    }
}

/// A capture file that is being written.
struct Capture {
    out: Box<dyn io::Write>,
    name: String,
    writer: pcapng::Writer,
    packets: u64,
    progress: Progress,
}

impl Capture {
    fn take(&mut self, record: &Traced) {
        match record {
            Traced::Packet(passage) => {
                self.writer.packet(passage);
                self.packets += 1;
            }
            Traced::Tracing { instance, .. } => {
                eprintln!("tracing {instance}, into {}; Ctrl-C ends it", self.name);
            }
            Traced::Lost { .. } | Traced::Ended { .. } => {}
        }
    }

    /// Writes what there is, whole blocks only. False if nobody reads any more.
    fn flush(&mut self) -> Result<bool> {
        let written = self.out.write_all(&self.writer.take()).and_then(|()| self.out.flush());
        if self.packets > 0 {
            self.progress.say(format_args!("{} packets", self.packets));
        }
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot write {}", self.name))?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_owners_and_no_link() {
        let directory = std::env::temp_dir().join(format!("masq-trace-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let (file, link) = (directory.join("file"), directory.join("link"));
        let mode = || fs::metadata(&file).unwrap().mode() & 0o777;
        // One that is not used leaves nothing.
        drop(Target::open(&file).unwrap());
        assert!(!file.exists());
        fs::write(&file, "earlier").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let refused = Target::open(&link).err().expect("a link").to_string();
        assert!(refused.contains("symbolic link"), "{refused}");
        drop(Target::open(&file).unwrap());
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode()), ("earlier", 0o644));
        drop(Target::open(&file).unwrap().begin().unwrap());
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode()), ("", 0o600));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(1), None).unwrap();
            let refused = Target::open(&file).err().expect("a stranger's").to_string();
            assert!(refused.contains("somebody else"), "{refused}");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_last_line_says_how_much_it_was() {
        let tally = |packets, lost| Tally { packets, lost }.sentence("shown");
        assert_eq!(tally(1, 0), "1 packet shown");
        assert_eq!(
            tally(20, 3),
            "20 packets shown; 3 more came too fast and are missing (a narrower filter misses fewer)"
        );
    }
}
