//! Who traces: one at a time. Begins and ends it, whatever becomes of the client.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::maps::{MapData, RingBuf};
use masq_common::trace::Filter;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

use super::programs::{Recipe, Recording};
use crate::{
    control::{
        aside::{Aside, Teller},
        record::Fate,
    },
    options::current::Current,
    plane::Plane,
    survival::pins::Pins,
};

/// How long the daemon waits for the client to hear that it ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long somebody waits at most for what is left of the trace before: a program that the verifier is
/// at, and the exchange at the hooks.
const TURN: Duration = Duration::from_secs(20);

/// What the main loop is asked to do: the hooks are its own.
pub enum Exchange {
    /// Attach the traced programs that the plane has got, and tell how it went.
    Trace(oneshot::Sender<Result<()>>),
    /// Attach the others again, and let go of the traced ones.
    Untrace,
}

/// Whether somebody traces.
pub struct Tracer {
    plane: Rc<Plane>,
    config: Rc<Current>,
    /// Where the maps are that traced programs share; or why there are none.
    pins: Result<Rc<Pins>, String>,
    exchange: mpsc::UnboundedSender<Exchange>,
    /// From the beginning until the hooks have their own programs again.
    busy: Cell<bool>,
    /// From the beginning until the client has heard all.
    active: Cell<bool>,
    /// Whoever loads programs has its only permit, also after the client has gone: the verifier cannot
    /// be interrupted.
    loader: Arc<Semaphore>,
    /// Set when the daemon ends.
    over: watch::Sender<Option<Fate>>,
    gone: Notify,
    off: Notify,
}

impl Tracer {
    /// Nobody yet. Whoever has the other end of `exchange` has the hooks.
    pub fn new(
        plane: Rc<Plane>,
        config: Rc<Current>,
        pins: Result<Rc<Pins>, String>,
        exchange: mpsc::UnboundedSender<Exchange>,
    ) -> Self {
        let (busy, active) = (Cell::new(false), Cell::new(false));
        let (over, gone, off) = (watch::Sender::new(None), Notify::new(), Notify::new());
        let loader = Arc::new(Semaphore::new(1));
        Self { plane, config, pins, exchange, busy, active, loader, over, gone, off }
    }

    /// Has the programs record what `filter` says, until the result is dropped. Takes the seconds of
    /// loading them; may be given up meanwhile.
    ///
    /// # Errors
    /// If somebody traces already, there are no pins, the daemon ends, or the kernel refuses.
    pub async fn begin(self: &Rc<Self>, filter: Filter) -> Result<Tracing> {
        let pins = match &self.pins {
            Ok(pins) => pins,
            Err(why) => bail!(
                "tracing needs programs that share the tables of those at work through pins, and \
                 there are none: {why}"
            ),
        };
        let permit = self.turn().await?;
        if self.over.borrow().is_some() {
            bail!("masq is about to end");
        }
        self.busy.set(true);
        self.active.set(true);
        // From here on it is dropped whatever happens.
        let mut tracing = Tracing { tracer: Rc::clone(self), ring: None };
        let recipe = Recipe::new(&self.plane, &self.config.get(), pins)?;
        let loading = Aside::begin(move |teller: Teller<()>| {
            // The permit is given back last, when there is nothing left of what was loaded for nobody.
            Ok((recipe.load(|| teller.check())?, permit))
        });
        let (Recording { ebpf, ring }, permit) = loading.outcome().await?;
        drop(permit);
        if self.over.borrow().is_some() {
            bail!("masq is about to end");
        }
        tracing.ring = Some(ring);
        self.plane.trace(ebpf);
        self.plane.record(&filter)?;
        let (answer, answered) = oneshot::channel();
        self.exchange.send(Exchange::Trace(answer)).ok().context("masq is about to end")?;
        answered.await.context("masq is about to end")??;
        Ok(tracing)
    }

    /// Waits until nothing is left of the trace before. Whoever has the permit may load programs.
    ///
    /// # Errors
    /// If somebody traces, or what is left does not go away.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let turn = async {
            loop {
                if self.active.get() {
                    bail!("another `masq trace` is at work; one at a time");
                }
                let permit = Arc::clone(&self.loader).acquire_owned().await;
                let permit = permit.context("masq is about to end")?;
                if !self.busy.get() {
                    return Ok(permit);
                }
                drop(permit);
                if !self.active.get() {
                    self.off.notified().await;
                }
            }
        };
        let turn = timeout(TURN, turn).await;
        turn.context("what another `masq trace` has left is not gone yet; try again")?
    }

    /// Says that the hooks have their own programs again.
    pub fn is_off(&self) {
        self.busy.set(false);
        self.off.notify_waiters();
    }

    /// Waits until the daemon ends.
    pub async fn over(&self) -> Fate {
        let mut over = self.over.subscribe();
        match over.wait_for(Option::is_some).await.map(|fate| *fate) {
            Ok(Some(fate)) => fate,
            // It is sent by ourselves, so it is there.
            _ => std::future::pending().await,
        }
    }

    /// Tells whoever traces that the daemon ends, and waits a moment until that is done; and until nobody
    /// loads programs any more, who would pin maps anew that are not there.
    pub async fn end(&self, fate: Fate) {
        self.over.send_replace(Some(fate));
        let all_told = async {
            while self.active.get() {
                self.gone.notified().await;
            }
        };
        if timeout(FAREWELL, all_told).await.is_err() {
            tracing::debug!("whoever traces does not read");
        }
        if self.loader.acquire().await.is_ok() {
            self.loader.close();
        }
    }
}

/// The right to trace.
pub struct Tracing {
    tracer: Rc<Tracer>,
    ring: Option<RingBuf<MapData>>,
}

impl Tracing {
    /// What the programs record, once.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>> {
        self.ring.take().context("the records have another reader")
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // Nobody reads any more.
        if let Err(error) = self.tracer.plane.record(&Filter::OFF) {
            tracing::debug!("{error:#}");
        }
        // Without a main loop the daemon ends, which sees to it itself.
        let _ = self.tracer.exchange.send(Exchange::Untrace);
        self.tracer.active.set(false);
        self.tracer.gone.notify_one();
    }
}
