//! The lines of a long answer, written by work that is done [aside](super::aside): the daemon's own thread
//! only passes them on.

use anyhow::Result;

use super::{aside::Teller, proto::Answer, pulse::Pulse, server::BUFFER};

/// Lines on their way to the client.
pub struct Lines {
    teller: Teller<Vec<u8>>,
    buffer: Vec<u8>,
    pulse: Pulse,
}

impl Lines {
    /// For a client that understands [`Answer::Progress`], or does not.
    pub fn new(teller: Teller<Vec<u8>>, progress: bool) -> Self {
        Self { teller, buffer: Vec::new(), pulse: Pulse::new(progress) }
    }

    /// Adds a line; it is sent with the next ones.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn add(&mut self, answer: &Answer) -> Result<()> {
        write(&mut self.buffer, answer)?;
        if self.buffer.len() >= BUFFER { self.send() } else { Ok(()) }
    }

    /// Tells that `done` sessions have been dealt with so far, if it is time.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn beat(&mut self, done: u64) -> Result<()> {
        if self.pulse.is_due() {
            write(&mut self.buffer, &Answer::Progress(done))?;
            return self.send();
        }
        self.teller.check()
    }

    /// Adds the last line.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn finish(mut self, last: &Answer) -> Result<()> {
        write(&mut self.buffer, last)?;
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        let next = Vec::with_capacity(self.buffer.capacity());
        self.teller.tell(std::mem::replace(&mut self.buffer, next))
    }
}

/// Writes an answer as a line.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn write(buffer: &mut Vec<u8>, answer: &Answer) -> Result<()> {
    serde_json::to_writer(&mut *buffer, answer)?;
    buffer.push(b'\n');
    Ok(())
}
