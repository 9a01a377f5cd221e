//! Packets through a router: how many a second of CPU time, how many are lost, and which way they take.

use std::{thread, time::Duration};

pub use super::sending::Sample;
use super::{
    contender::{Contender, Running},
    counts::Counts,
    cpu, crafted,
    frames::Frames,
    line::{LAN_IF, Layout, Line},
    link::Link,
    plan::{LOOK_EVERY, Tally},
    sending::{Speed, run, send, settle, share_lost, speed},
    stream::{Direction, Flows, Stream},
};
use crate::{daemon, sockets::eventually};

/// Frames that show which way they take.
const PROBE: u32 = 256;
/// How often opening the flows is tried.
const PASSES: u32 = 5;

/// A router on a line with generator and sinks: alive, but idle until it is asked.
#[derive(Debug)]
pub struct Bench {
    // Dropped in this order: the daemon stops while its interfaces exist.
    running: Running,
    frames: Frames,
    line: Line,
    contender: Contender,
}

impl Bench {
    /// Builds a line, starts `contender` in its router and attaches the sinks. `options` are for
    /// masq.
    pub fn new(contender: Contender, layout: Layout, options: &[String]) -> Self {
        let line = Line::new(layout);
        if !contender.is_xdp() {
            line.poll();
        }
        let running = contender.start(&line, options);
        let mut frames = Frames::attach(&line, contender.translates());
        if contender == Contender::Alone {
            frames.attach_sink(&line.router, LAN_IF);
        }
        Self { running, frames, line, contender }
    }

    /// What is measured here.
    pub fn contender(&self) -> Contender {
        self.contender
    }

    /// The line, for probes besides.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The contender's process, if it has one.
    pub fn daemon(&self) -> Option<u32> {
        self.running.daemon()
    }

    /// Sends a packet over each flow, outbound, until one whole pass has arrived; what the first
    /// pass took is what opening costs.
    ///
    /// # Errors
    /// If that does not happen.
    pub fn open(&mut self, flows: Flows) -> Result<Sample, String> {
        let count = flows.count.get();
        let mut first = None;
        let mut missing = 0;
        for _ in 0..PASSES {
            self.frames.prepare(Stream::outbound(flows), false);
            let run = self.on_last_cpu(|frames| run(frames, count));
            first.get_or_insert(run);
            missing = u64::from(count).saturating_sub(run.arrived.packets);
            if missing == 0 {
                break;
            }
        }
        match first {
            Some(run) if missing == 0 => Ok(run.sample()),
            _ => Err(format!(
                "{missing} of {count} flows do not pass through: {}{}",
                self.contender.title(),
                self.dropped()
            )),
        }
    }

    /// Why masq has dropped packets, and how many, in words.
    fn dropped(&self) -> String {
        if !matches!(self.contender, Contender::Masq(_)) {
            return String::new();
        }
        let stats = daemon::stats(&self.line.router);
        let counters = stats["counters"].as_array().into_iter().flatten();
        counters
            .filter(|counter| counter["class"] == "dropped" && counter["count"] != 0)
            .map(|c| format!(", {} {}", c["reason"].as_str().unwrap_or_default(), c["count"]))
            .collect()
    }

    /// Has masq take its WAN, an Ethernet interface, for one of this kind, and generator and sink speak
    /// such frames at the remote: see [`crafted`]. The flows have to be open, and no more can be opened
    /// afterwards. Without a router they speak such frames at both ends.
    ///
    /// # Errors
    /// If the maps of masq cannot be written.
    pub fn craft(&mut self, link: Link) -> Result<(), String> {
        if self.contender == Contender::Alone {
            self.frames.set_link_without_router(link);
            return Ok(());
        }
        crafted::craft(&self.line, link)?;
        self.frames.set_links([Link::Ethernet, link]);
        Ok(())
    }

    /// Waits until packets of the stream, whose flows are open, take the way that masq has for them: a
    /// bridge has to learn first, and masq from it. Nothing to wait for with others.
    ///
    /// # Panics
    /// If they never do.
    pub fn settle_down(&mut self, stream: Stream) {
        if !matches!(self.contender, Contender::Masq(_)) {
            return;
        }
        let title = self.contender.title();
        eventually(&format!("the fast path, {title}"), || {
            let before = self.counts(stream.direction);
            self.send(stream, PROBE);
            let taken = self.counts(stream.direction).since(before);
            let all = taken.ways().all(|(_, packets)| packets >= u64::from(PROBE));
            all.then_some(())
        });
    }

    /// Sends so many packets of a stream on the last CPU, without looking at what arrives.
    pub fn send(&mut self, stream: Stream, number: u32) -> Sample {
        self.frames.prepare(stream, false);
        self.on_last_cpu(|frames| run(frames, number)).sample()
    }

    /// Measures established flows for about `duration`, on the last CPU. The flows have to be open.
    ///
    /// # Errors
    /// If packets arrive damaged or not translated, or masq did not take its fast path.
    pub fn measure(&mut self, stream: Stream, duration: Duration) -> Result<Sample, String> {
        self.measure_on(stream, &cpu::all()[..1], duration)
    }

    /// The same on several CPUs at once, each with its part of the flows.
    ///
    /// # Errors
    /// As [`Bench::measure`].
    pub fn measure_on(
        &mut self,
        stream: Stream,
        cpus: &[usize],
        duration: Duration,
    ) -> Result<Sample, String> {
        self.frames.prepare_for_cpus(stream, cpus, false);
        let counts_before = self.counts(stream.direction);
        let frames = &self.frames;
        let before = (frames.sent(), frames.arrived());
        // One system call for what counts: each has to wait for the end of an RCU grace period.
        let runs: Vec<(Speed, u32)> = self.on_cpus(cpus, |frames| {
            let number = (speed(frames) * duration.as_secs_f64()) as u32;
            settle();
            (send(frames, number), number)
        });
        let (sent, arrived) = (frames.sent() - before.0, frames.arrived() - before.1);
        self.check(arrived)?;
        let loss = 1.0 - arrived.packets as f64 / sent.packets as f64;
        let new_loss = share_lost(sent.new, arrived.new);
        let per = |time: fn(&Speed) -> Duration| -> f64 {
            runs.iter().map(|(speed, number)| f64::from(*number) / time(speed).as_secs_f64()).sum()
        };
        let established = sent.packets as f64 / (sent.packets + sent.new) as f64 * (1.0 - loss);
        let (offered, wall) = (per(|speed| speed.cpu), per(|speed| speed.wall));
        let sample = Sample {
            rate: offered * established,
            wall_rate: wall * established,
            offered,
            loss,
            new_loss,
            share: wall / offered,
        };
        let taken = self.counts(stream.direction).since(counts_before);
        for (way, packets) in taken.ways() {
            if packets < sent.packets - sent.packets / 100 {
                let title = self.contender.title();
                return Err(format!("{title}: only {packets} of {} packets {way}", sent.packets));
            }
        }
        Ok(sample)
    }

    /// Sends a stream with a pace for about `duration` while `work` is done on another CPU. Returns
    /// its result, the share of the packets that were lost, and the longest time between two at the
    /// sink.
    ///
    /// # Errors
    /// If packets arrive damaged or not translated.
    pub fn while_sending<T>(
        &mut self,
        stream: Stream,
        duration: Duration,
        work: impl FnOnce(&(dyn Fn() -> bool + Sync)) -> T,
    ) -> Result<(T, f64, Duration), String> {
        let pace = stream.pace.expect("a stream with a pace");
        let number = (pace * duration.as_secs_f64()) as u32;
        self.frames.prepare(stream, true);
        let cpu = cpu::all()[0];
        let (line, frames) = (&self.line, &self.frames);
        let before = (frames.sent(), frames.arrived());
        let result = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                frames.origin(line).run(|| {
                    cpu::have(cpu);
                    cpu::be_an_interrupt();
                    frames.send(number);
                });
            });
            let result = work(&|| sender.is_finished());
            sender.join().expect("the sender");
            result
        });
        settle();
        let (sent, arrived) = (frames.sent() - before.0, frames.arrived() - before.1);
        self.check(arrived)?;
        let gap = Duration::from_nanos(self.frames.longest_gap());
        Ok((result, share_lost(sent.packets, arrived.packets), gap))
    }

    /// Whether what has arrived is what should.
    fn check(&self, arrived: Tally) -> Result<(), String> {
        if arrived.damaged == 0 && arrived.others == 0 {
            return Ok(());
        }
        Err(format!(
            "{}: one packet in {LOOK_EVERY} was looked at, and {} had wrong checksums; {} were not \
             as expected",
            self.contender.title(),
            arrived.damaged,
            arrived.others
        ))
    }

    fn counts(&self, direction: Direction) -> Counts {
        Counts::of(self.contender, &self.line, direction)
    }

    fn on_last_cpu<T: Send>(&self, work: impl Fn(&Frames) -> T + Sync) -> T {
        let mut results = self.on_cpus(&cpu::all()[..1], work);
        results.remove(0)
    }

    /// Does something where packets begin, on each of these CPUs at the same time.
    fn on_cpus<T: Send>(&self, cpus: &[usize], work: impl Fn(&Frames) -> T + Sync) -> Vec<T> {
        let (work, origin) = (&work, self.frames.origin(&self.line));
        let there = |cpu: usize| {
            origin.run(|| {
                cpu::have(cpu);
                work(&self.frames)
            })
        };
        thread::scope(|scope| {
            let threads: Vec<_> = cpus.iter().map(|&cpu| scope.spawn(move || there(cpu))).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, T>| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        })
    }
}
