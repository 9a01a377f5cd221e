//! One run of the generator: what it took, what it brought, and what that is a second.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{cpu, frames::Frames, plan::Tally};

/// Frames that show how fast it goes, before counting begins: first few, in case it is slow.
const WARM_UP: [u32; 2] = [2_048, 32_768];
/// Longer than this, the first warm-up was enough.
const SLOW: Duration = Duration::from_millis(10);

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
pub struct Run {
    /// By the generator.
    pub sent: Tally,
    /// At the sinks.
    pub arrived: Tally,
    wall: Duration,
    cpu: Duration,
}

impl Run {
    /// As one measurement.
    pub fn sample(self) -> Sample {
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
pub struct Speed {
    /// Of the clock.
    pub wall: Duration,
    /// Of the thread that has sent them, softirqs included.
    pub cpu: Duration,
}

/// Sends frames; they are on no way any more but for what a softirq thread may have taken over.
pub fn send(frames: &Frames, number: u32) -> Speed {
    let (wall, cpu) = (Instant::now(), cpu::time());
    frames.send(number);
    Speed { wall: wall.elapsed(), cpu: cpu::time() - cpu }
}

/// Sends frames, and looks at all that has arrived meanwhile.
pub fn run(frames: &Frames, number: u32) -> Run {
    let before = (frames.sent(), frames.arrived());
    let Speed { wall, cpu } = send(frames, number);
    settle();
    Run { sent: frames.sent() - before.0, arrived: frames.arrived() - before.1, wall, cpu }
}

/// Frames a second of CPU time, roughly.
pub fn speed(frames: &Frames) -> f64 {
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

/// The share of what was sent that has not arrived; 0 if nothing was sent.
pub fn share_lost(sent: u64, arrived: u64) -> f64 {
    if sent == 0 { 0.0 } else { 1.0 - arrived as f64 / sent as f64 }
}

/// Lets a softirq thread finish what it may have taken over.
pub fn settle() {
    thread::sleep(Duration::from_millis(5));
}
