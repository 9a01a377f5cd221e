//! Turns: the daemon has one thread, so an answer that takes long works in slices, and lets the other
//! services have their turn in between.

use std::time::Duration;

use tokio::{task::yield_now, time::Instant};

/// How long an answer works before the others get their turn, as the sweeper.
const SLICE: Duration = Duration::from_millis(2);

/// Whose turn it is.
pub struct Turn {
    began: Instant,
}

impl Turn {
    /// A slice begins.
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// After a piece of work that takes a while: lets the others have their turn if it is time.
    pub async fn pass(&mut self) {
        if self.began.elapsed() >= SLICE {
            yield_now().await;
            self.began = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn others_get_their_turn_while_an_answer_works() {
        let others = Rc::new(Cell::new(0));
        let counted = Rc::clone(&others);
        let work = async {
            spawn_local(async move {
                loop {
                    counted.set(counted.get() + 1);
                    yield_now().await;
                }
            });
            let mut turn = Turn::new();
            let mut steps = 0_u32;
            // Until they have had it ten times; without turns this would never end.
            while others.get() < 10 {
                steps += 1;
                turn.pass().await;
            }
            steps
        };
        let steps = LocalSet::new().run_until(work).await;
        assert!(steps > 640, "not before it is time: {steps}");
    }
}
