//! Packets a second through a router, on one CPU.

use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use masq_common::reason::Reason;
use nix::{
    libc,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use super::{
    contender::{Contender, Running},
    frames::{Direction, Frames, LOOK_EVERY, Size, Stream},
    line::{LAN_IF, Line},
};

use crate::daemon;

/// Frames that show how fast it goes, before counting begins.
const WARM_UP: u32 = 32_768;
/// How often opening the flows is tried.
const PASSES: u32 = 5;

/// A router on a line with generator and sinks: alive, but idle until it is asked.
#[derive(Debug)]
pub struct Bench {
    // Dropped in this order: the daemon stops while its interfaces exist.
    _running: Running,
    frames: Frames,
    line: Line,
    contender: Contender,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Packets that arrived as expected for each second of CPU time: what one CPU can do that has
    /// nothing else to do.
    pub rate: f64,
    /// The same for each second of wall time.
    pub wall_rate: f64,
    /// Share of the packets sent that did not arrive so.
    pub loss: f64,
    /// Share of the wall time in which the CPU worked on this.
    pub share: f64,
}

impl Bench {
    /// Builds a line, starts `contender` in its router and attaches the sinks.
    pub fn new(contender: Contender) -> Self {
        let line = Line::new();
        if !contender.is_xdp() {
            line.poll();
        }
        let running = contender.start(&line);
        let mut frames = Frames::attach(&line);
        if contender == Contender::Alone {
            frames.attach_sink(&line.router, LAN_IF);
        }
        Self { _running: running, frames, line, contender }
    }

    /// What is measured here.
    pub fn contender(&self) -> Contender {
        self.contender
    }

    /// Sends a packet over each flow, outbound, until one whole pass has arrived.
    ///
    /// # Errors
    /// If that does not happen.
    pub fn open(&mut self, flows: NonZero<u32>) -> Result<(), String> {
        self.prepare(Direction::Outbound, flows, Size::Smallest);
        let frames = &self.frames;
        frames.origin(&self.line).run(|| {
            let mut missing = 0;
            for _ in 0..PASSES {
                let before = frames.arrived();
                frames.send(flows.get());
                settle();
                missing = u64::from(flows.get()) - (frames.arrived() - before).packets;
                if missing == 0 {
                    return Ok(());
                }
            }
            Err(format!(
                "{missing} of {flows} flows do not pass through: {}",
                self.contender.title()
            ))
        })
    }

    /// Measures for about `duration`, on the last CPU. The flows have to be open.
    ///
    /// # Errors
    /// If packets arrive damaged or not translated, or masq did not take its fast path.
    pub fn measure(
        &mut self,
        (direction, flows, size): (Direction, NonZero<u32>, Size),
        duration: Duration,
    ) -> Result<Sample, String> {
        self.prepare(direction, flows, size);
        let fast_before = self.fast_packets(direction);
        let frames = &self.frames;
        let (sent, sample) = frames.origin(&self.line).run(|| {
            have_the_last_cpu();
            let start = cpu_time();
            frames.send(WARM_UP);
            let speed = f64::from(WARM_UP) / (cpu_time() - start).as_secs_f64();
            // One system call: each has to wait for the end of an RCU grace period.
            let number = (speed * duration.as_secs_f64()) as u32;
            settle();
            let before = (frames.sent(), frames.arrived(), Instant::now(), cpu_time());
            frames.send(number);
            let (time, cpu) = (before.2.elapsed(), cpu_time() - before.3);
            settle();
            let (sent, arrived) = (frames.sent() - before.0, frames.arrived() - before.1);
            if arrived.damaged > 0 || arrived.others > 0 {
                return Err(format!(
                    "{}: one packet in {LOOK_EVERY} was looked at, and {} had wrong checksums; {} \
                     were not as expected",
                    self.contender.title(),
                    arrived.damaged,
                    arrived.others
                ));
            }
            let sample = Sample {
                rate: arrived.packets as f64 / cpu.as_secs_f64(),
                wall_rate: arrived.packets as f64 / time.as_secs_f64(),
                loss: 1.0 - arrived.packets as f64 / sent.packets as f64,
                share: cpu.as_secs_f64() / time.as_secs_f64(),
            };
            Ok((sent.packets, sample))
        })?;
        match (fast_before, self.fast_packets(direction)) {
            (Some(before), Some(after)) if after - before < sent - sent / 100 => Err(format!(
                "{}: only {} of {sent} packets took the fast path",
                self.contender.title(),
                after - before
            )),
            _ => Ok(sample),
        }
    }

    /// Packets that masq's fast path has forwarded so far; `None` if this is not masq.
    fn fast_packets(&self, direction: Direction) -> Option<u64> {
        let Contender::Masq(_) = self.contender else { return None };
        let reason = match direction {
            Direction::Outbound => Reason::OutboundFast,
            Direction::Inbound => Reason::InboundFast,
        };
        let stats = daemon::json(&self.line.router, ["stats", "--json"]);
        let counters = stats["counters"].as_array().expect("counters in the statistics");
        counters.iter().find(|c| c["reason"] == reason.label()).and_then(|c| c["count"].as_u64())
    }

    fn prepare(&mut self, direction: Direction, flows: NonZero<u32>, size: Size) {
        let translated = self.contender.translates();
        self.frames.prepare(Stream { direction, flows, size, translated });
    }
}

/// Lets a softirq thread finish what it may have taken over.
fn settle() {
    thread::sleep(Duration::from_millis(5));
}

/// Time that this thread has run, softirqs on top of it included.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock of a thread").into()
}

/// Moves this thread to the last CPU that the process may use (interrupts and other programs
/// prefer the first ones), ahead of whatever else wants to run there.
fn have_the_last_cpu() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).expect("the CPUs of this thread");
    let last = (0..CpuSet::count()).rev().find(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    let mut only = CpuSet::new();
    only.set(last.expect("a CPU to run on")).expect("a CPU number from the same set");
    sched_setaffinity(this, &only).expect("pin a thread to a CPU");
    // SAFETY: takes three numbers; 0 is the calling thread. A refusal only costs precision.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}
