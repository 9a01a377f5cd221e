//! Runs steps through the programs, and says what is wrong with what comes out.

use std::{
    mem,
    time::{Duration, Instant},
};

use masq_common::{
    event::CloseCause,
    fragment::Datagram,
    reason::{Class, Reason},
    session::SessionHalf,
    settings::{Filtering, Settings, switches},
};
use masq_tests::{
    checksum::{Transport, check},
    program::{Bench, Hook, Verdict},
};

use crate::{
    case::{Case, Step, hex},
    oracle::{
        Allowed, Oracle,
        fragments::Fragments,
        leak,
        parse::{Kind, kind},
        sessions::Sessions,
    },
    scene,
    wire::{ETHERNET, ICMP, Ip, TCP, UDP},
};

/// How long masq remembers a first fragment at least, and the longest a case may take.
const MEMORY: Duration = Duration::from_secs(4);

/// Ends of packets that a session has translated.
const OF_FLOWS: [Reason; 4] =
    [Reason::OutboundSlow, Reason::InboundSlow, Reason::OwnTranslated, Reason::Hairpin];

/// The programs, and what the oracle knows of their state.
pub struct Machine {
    bench: Bench,
    counters: Vec<u64>,
    sessions: Sessions,
    fragments: Fragments,
    filtering: Filtering,
    began: Instant,
}

/// What tells ends of packets apart: where, why, and of what kind the packet was.
pub type Signature = (Hook, u8, u8, u16);

impl Machine {
    /// Loads the programs. The calling thread is in the router's namespace from here on.
    pub fn new(object: &[u8]) -> Self {
        let mut bench = Bench::new(object);
        bench.remember_next_hops();
        bench.namespace().enter();
        let mut machine = Self {
            counters: bench.counters(),
            bench,
            sessions: Sessions::default(),
            fragments: Fragments::default(),
            filtering: Filtering::default(),
            began: Instant::now(),
        };
        machine.reset(Filtering::default()).unwrap_or_else(|fault| panic!("{fault}"));
        machine
    }

    /// Back to the [scene]. Every session is ended as the daemon ends it, which has to leave
    /// nothing behind.
    pub fn reset(&mut self, filtering: Filtering) -> Result<(), String> {
        let keys: Vec<_> = self.bench.sessions().iter().map(SessionHalf::key).collect();
        self.bench.retire(CloseCause::Flushed, &keys);
        let (sessions, mappings) = (self.bench.sessions(), self.bench.mappings());
        if !sessions.is_empty() || !mappings.is_empty() {
            return Err(format!("left behind when all was ended: {sessions:?} {mappings:?}"));
        }
        self.bench.forget_fragments();
        self.fragments = Fragments::default();
        let policy = filtering as u8;
        self.bench.set_settings(&Settings {
            filtering_tcp: policy,
            filtering_udp: policy,
            switches: switches::NEXT_HOPS,
            ..Settings::DEFAULT
        });
        scene::sessions().into_iter().for_each(|pair| self.bench.install_pair(pair));
        self.sessions = Sessions::read(&self.bench.sessions());
        self.filtering = filtering;
        self.counters = self.bench.counters();
        self.began = Instant::now();
        Ok(())
    }

    /// Whether the state is so old that it should be [reset](Self::reset).
    pub fn is_old(&self) -> bool {
        self.began.elapsed() > MEMORY
    }

    /// Runs a case from the beginning; the number of the step that fails, and why.
    pub fn run(&mut self, case: &Case) -> Result<(), (usize, String)> {
        self.reset(case.filtering).map_err(|fault| (0, fault))?;
        for (number, step) in case.steps.iter().enumerate() {
            self.step(step).map_err(|fault| (number, fault))?;
        }
        Ok(())
    }

    /// Runs one frame. What went before it counts: it may be of a session that another one opened.
    pub fn step(&mut self, step: &Step) -> Result<Signature, String> {
        let Step { hook, frame } = step;
        let (verdict, output) = self.bench.run_here(*hook, frame);
        let (reason, opened) = self.ended()?;
        let old = opened.then(|| {
            let now = Sessions::read(&self.bench.sessions());
            mem::replace(&mut self.sessions, now)
        });
        let before = old.as_ref().unwrap_or(&self.sessions);
        let oracle = Oracle {
            before,
            after: &self.sessions,
            fragments: &self.fragments,
            filtering: self.filtering,
        };
        let allowed = oracle.allows(*hook, frame, &output);
        let fault = old
            .as_ref()
            .and_then(|before| self.sessions.fault_of_new(before))
            .or_else(|| fault_of_verdict(verdict, reason))
            .or_else(|| fault(&allowed, frame, verdict, &output))
            .or_else(|| if verdict == Verdict::Drop { None } else { leak(*hook, &output) });
        if let Some(fault) = fault {
            // On a machine that has paused, masq may have forgotten what the oracle has not.
            if self.is_old() {
                self.remember(frame, &output, reason);
                return Ok(signature(step, reason));
            }
            return Err(format!("{fault}; it ended as {reason:?} with {verdict:?}"));
        }
        self.remember(frame, &output, reason);
        Ok(signature(step, reason))
    }

    /// Why the last packet has ended, and whether it has opened a session. It ends once.
    fn ended(&mut self) -> Result<(Reason, bool), String> {
        let counters = self.bench.counters();
        let counted: Vec<_> = Reason::ALL
            .iter()
            .zip(counters.iter().zip(&self.counters))
            .filter(|(_, (after, before))| after != before)
            .map(|(reason, (after, before))| (*reason, after - before))
            .collect();
        self.counters = counters;
        let mut ends = counted.iter().filter(|(reason, _)| reason.class() != Class::Event);
        let opened = counted.iter().any(|(reason, _)| *reason == Reason::SessionOpened);
        match (ends.next(), ends.next()) {
            (Some((reason, 1)), None) => Ok((*reason, opened)),
            _ => Err(format!("a packet has to end once, and this was counted: {counted:?}")),
        }
    }

    /// Learns from a first fragment.
    fn remember(&mut self, frame: &[u8], output: &[u8], reason: Reason) {
        let read = |frame: &[u8]| Ip::read(&frame[ETHERNET..]);
        let (Some(old), Some(new)) = (read(frame), read(output)) else { return };
        if !old.is_first_fragment() {
            return;
        }
        let datagram = Datagram {
            source: old.source.into(),
            destination: old.destination.into(),
            identification: old.id.to_be(),
            protocol: old.protocol,
            zero: 0,
        };
        // That is all that the map is asked: whether there is anything.
        match self.bench.fragment(&datagram) {
            Some(_) if OF_FLOWS.contains(&reason) => self.fragments.note(&old, &new),
            // One of the router's own may have got another identification, and be there already.
            Some(left)
                if left.is_own()
                    && left.identification == datagram.identification
                    && reason == Reason::NoSession =>
            {
                self.fragments.note_own(&old);
            }
            Some(_) => {}
            None => self.fragments.forget(&old),
        }
    }
}

/// Whether the verdict is not the one of the reason's class.
fn fault_of_verdict(verdict: Verdict, reason: Reason) -> Option<String> {
    let sent = matches!(reason, Reason::OutboundFast | Reason::InboundFast | Reason::Hairpin);
    let right = match (reason.class(), sent) {
        (Class::Dropped, _) => Verdict::Drop,
        (_, true) => Verdict::Redirect,
        (_, false) => Verdict::Pass,
    };
    (verdict != right).then(|| format!("{verdict:?} does not fit"))
}

/// What the oracle has against an end.
fn fault(allowed: &Allowed, frame: &[u8], verdict: Verdict, output: &[u8]) -> Option<String> {
    if verdict == Verdict::Drop {
        return (!allowed.dropped).then(|| format!("dropped, and not to be; {}", wanted(allowed)));
    }
    if output.len() != frame.len() {
        return Some(format!("{} bytes became {}", frame.len(), output.len()));
    }
    let sent = verdict == Verdict::Redirect;
    if output == frame && !sent && allowed.untouched {
        return None;
    }
    if allowed.rewrites.iter().any(|rewrite| rewrite.sent == sent && rewrite.is(output)) {
        return damage(frame, output);
    }
    let what = if output == frame { "left untouched" } else { "changed" };
    Some(format!("{what}, and not to be; {}\nfound  {}", wanted(allowed), hex(output)))
}

/// Whether a packet with good checksums has bad ones now. (The oracle has compared bit for bit; it
/// is asked again by other means.)
fn damage(frame: &[u8], output: &[u8]) -> Option<String> {
    let whole = |frame: &[u8]| Ip::read(&frame[ETHERNET..]).map(|ip| ETHERNET + ip.total);
    let (before, after) = (&frame[ETHERNET..whole(frame)?], &output[ETHERNET..whole(output)?]);
    match (check(before, Transport::Whole), check(after, Transport::Whole)) {
        (Ok(()), Err(bad)) => Some(format!("a good checksum has become a bad one: {bad:?}")),
        _ => None,
    }
}

fn wanted(allowed: &Allowed) -> String {
    let mut ends = Vec::new();
    if allowed.untouched {
        ends.push("untouched".to_owned());
    }
    if allowed.dropped {
        ends.push("dropped".to_owned());
    }
    let rewrites = allowed.rewrites.iter();
    ends.extend(rewrites.map(|rewrite| {
        let verb = if rewrite.sent { "sent as" } else { "as" };
        format!("{verb}\n       {}", hex(&rewrite.frame))
    }));
    match ends.is_empty() {
        true => "right is: translated by a session of its own".to_owned(),
        false => format!("right is: {}", ends.join(", or ")),
    }
}

fn signature(step: &Step, reason: Reason) -> Signature {
    let ip = step.frame.get(ETHERNET..).and_then(Ip::read);
    let (protocol, shape) = ip.map_or((0, 0), |ip| {
        let shape = match kind(&step.frame[ETHERNET..], &ip) {
            Kind::Flow(flow) => 1 | u16::from(flow.opens) << 4,
            Kind::Error(None) => 2,
            Kind::Error(Some(quote)) => 3 | u16::from(quote.ip.protocol) << 8,
            Kind::OtherMessage => 4,
            Kind::Later => 5,
            Kind::Foreign => 6,
            Kind::Damaged => 7,
        };
        (
            ip.protocol,
            shape | u16::from(ip.is_first_fragment()) << 5 | u16::from(ip.header > 20) << 6,
        )
    });
    // Other protocols are all alike.
    let protocol = if matches!(protocol, ICMP | TCP | UDP) { protocol } else { 0 };
    (step.hook, reason as u8, protocol, shape)
}
