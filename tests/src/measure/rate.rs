//! Packets through a router: how many a second of CPU time, and how many are lost.

use std::{
    thread,
    time::{Duration, Instant},
};

use masq_common::reason::Reason;

use super::{
    contender::{Contender, Running},
    cpu,
    frames::Frames,
    line::{LAN_IF, Layout, Line},
    plan::{LOOK_EVERY, Tally},
    stream::{Direction, Flows, Stream},
};
use crate::daemon;

/// Frames that show how fast it goes, before counting begins: first few, in case it is slow.
const WARM_UP: [u32; 2] = [2_048, 32_768];
/// Longer than this, the first warm-up was enough.
const SLOW: Duration = Duration::from_millis(10);
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

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Packets that arrived as expected for each second of CPU time: what one CPU can do that has
    /// nothing else to do. With several CPUs, the sum of theirs.
    pub rate: f64,
    /// The same for each second of wall time.
    pub wall_rate: f64,
    /// Packets of all kinds that the generator could send for each second of CPU time.
    pub offered: f64,
    /// Share of the packets sent that did not arrive as expected.
    pub loss: f64,
    /// Share of the packets of new flows that did not arrive; 0 if none were sent.
    pub new_loss: f64,
    /// Share of the wall time in which the CPU worked on this.
    pub share: f64,
}

/// What one run of the generator took, and brought.
#[derive(Clone, Copy, Debug)]
struct Run {
    sent: Tally,
    arrived: Tally,
    wall: Duration,
    cpu: Duration,
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
                "{missing} of {count} flows do not pass through: {}",
                self.contender.title()
            )),
        }
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
        let fast_before = self.fast_packets(stream.direction);
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
        match (fast_before, self.fast_packets(stream.direction)) {
            (Some(before), Some(after)) if after - before < sent.packets - sent.packets / 100 => {
                Err(format!(
                    "{}: only {} of {} packets took the fast path",
                    self.contender.title(),
                    after - before,
                    sent.packets
                ))
            }
            _ => Ok(sample),
        }
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

    /// Packets that masq's fast path has forwarded so far; `None` if this is not masq.
    fn fast_packets(&self, direction: Direction) -> Option<u64> {
        let Contender::Masq(_) = self.contender else { return None };
        let reason = match direction {
            Direction::Outbound => Reason::OutboundFast,
            Direction::Inbound => Reason::InboundFast,
        };
        Some(daemon::counter(&daemon::stats(&self.line.router), reason.label()))
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

impl Run {
    fn sample(self) -> Sample {
        let all = (self.sent.packets + self.sent.new) as f64;
        let arrived = self.arrived.packets as f64;
        Sample {
            rate: arrived / self.cpu.as_secs_f64(),
            wall_rate: arrived / self.wall.as_secs_f64(),
            offered: all / self.cpu.as_secs_f64(),
            loss: share_lost(self.sent.packets, self.arrived.packets),
            new_loss: share_lost(self.sent.new, self.arrived.new),
            share: self.cpu.as_secs_f64() / self.wall.as_secs_f64(),
        }
    }
}

/// Times that a number of frames took.
#[derive(Clone, Copy, Debug)]
struct Speed {
    wall: Duration,
    cpu: Duration,
}

fn send(frames: &Frames, number: u32) -> Speed {
    let (wall, cpu) = (Instant::now(), cpu::time());
    frames.send(number);
    Speed { wall: wall.elapsed(), cpu: cpu::time() - cpu }
}

/// Sends frames, and looks at all that has arrived meanwhile.
fn run(frames: &Frames, number: u32) -> Run {
    let before = (frames.sent(), frames.arrived());
    let Speed { wall, cpu } = send(frames, number);
    settle();
    Run { sent: frames.sent() - before.0, arrived: frames.arrived() - before.1, wall, cpu }
}

/// Frames a second of CPU time, roughly.
fn speed(frames: &Frames) -> f64 {
    let mut speed = 0.0;
    for number in WARM_UP {
        let Speed { cpu, .. } = send(frames, number);
        speed = f64::from(number) / cpu.as_secs_f64();
        if cpu > SLOW {
            break;
        }
    }
    speed
}

fn share_lost(sent: u64, arrived: u64) -> f64 {
    if sent == 0 { 0.0 } else { 1.0 - arrived as f64 / sent as f64 }
}

/// Lets a softirq thread finish what it may have taken over.
fn settle() {
    thread::sleep(Duration::from_millis(5));
}
