//! Makes a case that fails smaller, greedily: fewer steps, shorter frames, more zeros, as long as
//! it goes on failing.

use crate::{
    case::{Case, Step},
    machine::Machine,
    mutate::shortest,
};

/// How often a smaller case is tried at most.
const TRIES: u32 = 4000;

/// The smallest case that was found, and why it fails.
pub fn shrink(machine: &mut Machine, case: Case, fault: String) -> (Case, String) {
    let mut smaller = Smaller { machine, case, fault, tries: 0 };
    smaller.drop_steps();
    for step in 0..smaller.case.steps.len() {
        smaller.shorten(step);
        smaller.clear(step);
    }
    (smaller.case, smaller.fault)
}

struct Smaller<'a> {
    machine: &'a mut Machine,
    case: Case,
    fault: String,
    tries: u32,
}

impl Smaller<'_> {
    /// Takes a candidate over if it fails too; what comes behind the step that fails is not needed.
    fn try_case(&mut self, mut candidate: Case) -> bool {
        self.tries += 1;
        if self.tries > TRIES || candidate == self.case {
            return false;
        }
        match self.machine.run(&candidate) {
            Ok(()) => false,
            Err((step, fault)) => {
                candidate.steps.truncate(step + 1);
                (self.case, self.fault) = (candidate, fault);
                true
            }
        }
    }

    fn drop_steps(&mut self) {
        let mut size = self.case.steps.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at + size <= self.case.steps.len() {
                let mut candidate = self.case.clone();
                candidate.steps.drain(at..at + size);
                if !self.try_case(candidate) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn try_frame(&mut self, step: usize, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(Step { hook, frame }) = self.case.steps.get(step).cloned() else { return false };
        let mut frame = frame;
        change(&mut frame);
        let smaller = Step { hook, frame };
        if smaller.frame.len() < shortest(&smaller) {
            return false;
        }
        let mut candidate = self.case.clone();
        candidate.steps[step] = smaller;
        self.try_case(candidate)
    }

    fn shorten(&mut self, step: usize) {
        let length = self.case.steps.get(step).map_or(0, |step| step.frame.len());
        let mut less = length / 2;
        while less > 0 {
            // The kernel wants a whole IP header.
            let shorter = |frame: &mut Vec<u8>| frame.truncate(frame.len().saturating_sub(less));
            if !self.try_frame(step, shorter) {
                less /= 2;
            }
        }
    }

    fn clear(&mut self, step: usize) {
        let length = self.case.steps.get(step).map_or(0, |step| step.frame.len());
        for at in 14..length {
            self.try_frame(step, |frame| {
                frame.iter_mut().skip(at).take(1).for_each(|byte| *byte = 0)
            });
        }
    }
}
