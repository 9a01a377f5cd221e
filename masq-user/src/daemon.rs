//! The story of `masq run`: check, claim, load, attach, serve, and take everything off again.

use std::{cell::RefCell, future::pending, io::Write as _, rc::Rc, time::Duration};

use anyhow::{Context as _, Result as AnyResult};
use aya_log::EbpfLogger;
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime,
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
    task::{JoinSet, LocalSet},
    time::{Instant, sleep_until},
};

use crate::{
    attach::{Attacher, TcKind},
    claims::{self, Claims, Netns},
    cli::Mode,
    config::Config,
    control::server::{Server, Subject},
    error::Result,
    events,
    netlink::{Changes, Netlink, Snapshot},
    plan,
    plane::{Plane, Streams},
    preflight,
    reconcile::Gateway,
    slow::{service::Machine, socket::RawSocket},
    status::{self, Readiness, Status},
    sweep::{self, Swept},
    sysctl::Forwarding,
};

/// The machine is looked at again after this time even if nothing has been heard of it.
const BACKSTOP: Duration = Duration::from_secs(30);

/// What has failed is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// Runs an instance until a signal ends it.
pub fn run(config: Config) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    LocalSet::new().block_on(&runtime, start(Rc::new(config)))
}

/// Up to the point where nothing can go wrong any more that has to be undone by hand.
async fn start(config: Rc<Config>) -> Result<()> {
    let mut stop = StopSignals::new()?;
    let release = preflight::machine(&config)?;
    let socket = RawSocket::open()?;
    let netlink = Rc::new(Netlink::open()?);
    // Before the first look, so that no change falls in between.
    let changes = Changes::subscribe()?;
    let snapshot = netlink.snapshot().await?;
    preflight::interfaces(&config, &snapshot, &plan::plan(&config, &snapshot))?;
    warn_of_traps(&config, &snapshot);

    let netns = Netns::own()?;
    let instance = claims::instance_name(&config, netns);
    let claims = Claims::take(&config, &instance, netns)?;
    let (plane, streams) = Plane::load(&config)?;
    let plane = Rc::new(plane);
    let status = Rc::new(RefCell::new(Status::new(instance.clone(), netns)));
    let subject = Rc::new(Subject {
        config: Rc::clone(&config),
        plane: Rc::clone(&plane),
        status: Rc::clone(&status),
    });
    let server = Server::bind(&instance)?;
    let attacher = Attacher::new(Rc::clone(&plane), TcKind::choose(config.tc_attach, release));
    let mut gateway = Gateway::new(config, plane, attacher, Rc::clone(&netlink), status);

    let forwarding = match attach(&mut gateway, &snapshot).await {
        Ok(forwarding) => forwarding,
        Err(error) => {
            gateway.stop().await;
            return Err(error.into());
        }
    };
    let mut services = spawn_services(&subject, server, streams, socket);
    let mut follower = Follower { gateway, netlink, changes, said: None, trouble: None };
    follower.say(&subject.status);
    tokio::select! {
        () = stop.wait() => {}
        () = follower.follow(&subject.status) => {}
    }

    // The control socket goes before the claim on its name, and the slow path, which sends packets
    // with inside sources, before what translates them.
    services.shutdown().await;
    // While packets are still forwarded, WAN egress has to be there to translate them.
    drop(forwarding);
    follower.gateway.stop().await;
    drop(claims);
    Ok(())
}

/// Attaches to all interfaces, and only then lets packets pass.
async fn attach(gateway: &mut Gateway, snapshot: &Snapshot) -> AnyResult<Option<Forwarding>> {
    gateway.load(snapshot)?;
    gateway.apply(snapshot).await?;
    let forwarding = Forwarding::enable(Netns::cookie()?)?;
    if forwarding.is_some() {
        tracing::info!("net.ipv4.ip_forward was 0 and is 1 while masq runs");
    }
    Ok(forwarding)
}

/// Starts everything that runs besides the main loop; ends when the set is dropped.
fn spawn_services(
    subject: &Rc<Subject>,
    server: Server,
    streams: Streams,
    socket: RawSocket,
) -> JoinSet<()> {
    let Subject { config, plane, status } = &**subject;
    let urgent = Rc::new(Notify::new());
    let (report, swept) = watch::channel(Swept::default());
    let mut services = JoinSet::new();
    services.spawn_local(server.run(Rc::clone(subject)));
    services.spawn_local(sweep::run(
        Rc::clone(config),
        Rc::clone(plane),
        Rc::clone(status),
        Rc::clone(&urgent),
        report,
    ));
    let events = events::run(Rc::clone(config), Rc::clone(plane), streams.events);
    services.spawn_local(async {
        if let Err(error) = events.await {
            tracing::warn!("no more events from the kernel programs: {error:#}");
        }
    });
    let machine = Machine::new(Rc::clone(plane), Rc::clone(status), urgent, socket);
    let slow_path = machine.run(config.exhaustion_icmp, streams.slow, swept);
    services.spawn_local(async {
        if let Err(error) = slow_path.await {
            tracing::warn!("no more packets for the slow path: {error:#}");
        }
    });
    if let Some(logger) = streams.trace {
        services.spawn_local(async {
            if let Err(error) = trace(logger).await {
                tracing::warn!("no more log from the kernel programs: {error:#}");
            }
        });
    }
    services
}

/// Passes the log of the kernel programs on.
async fn trace(logger: EbpfLogger<&'static dyn log::Log>) -> AnyResult<()> {
    // SAFETY: the logger owns the descriptor of its ring buffer and always returns that one.
    let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
    let mut logger = logger.map_err(|error| error.into_parts().1)?;
    loop {
        let mut guard = logger.readable_mut().await?;
        guard.get_inner_mut().flush();
        guard.clear_ready();
    }
}

/// Keeps the data plane in step with the machine.
struct Follower {
    gateway: Gateway,
    netlink: Rc<Netlink>,
    changes: Changes,
    /// What standard output was told last.
    said: Option<Readiness>,
    /// What did not work at the last look.
    trouble: Option<String>,
}

impl Follower {
    /// Follows for ever.
    async fn follow(&mut self, status: &RefCell<Status>) {
        let mut next_look = Instant::now() + BACKSTOP;
        loop {
            tokio::select! {
                () = self.changes.next() => {}
                () = sleep_until(next_look) => {}
            }
            next_look = Instant::now() + BACKSTOP;
            let trouble = self.look().await.err().map(|error| format!("{error:#}"));
            if let Some(trouble) = &trouble {
                next_look = Instant::now() + RETRY;
                if self.trouble.as_ref() != Some(trouble) {
                    tracing::warn!("{trouble}; trying again until it works");
                }
            }
            self.trouble = trouble;
            self.say(status);
        }
    }

    async fn look(&mut self) -> AnyResult<()> {
        let snapshot = self.netlink.snapshot().await?;
        self.gateway.apply(&snapshot).await
    }

    /// Tells standard output whether packets are being translated, when that has changed.
    fn say(&mut self, status: &RefCell<Status>) {
        let now = status::readiness(&status.borrow().interfaces);
        if !self.said.as_ref().is_some_and(|said| said.is_like(&now)) {
            let (Readiness::Ready(line) | Readiness::Waiting(line)) = &now;
            // Whoever started masq may have closed the pipe; that is no reason to stop.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        self.said = Some(now);
    }
}

/// Two things that make XDP on veth fail in silence, outside of what masq could see.
fn warn_of_traps(config: &Config, snapshot: &Snapshot) {
    if config.mode != Mode::Xdp {
        return;
    }
    for name in config.interfaces() {
        let kind = snapshot.link(name).and_then(|link| link.kind.as_deref());
        if kind == Some("veth") {
            tracing::warn!(
                "{name} is a veth: frames sent by XDP arrive only if its peer has GRO on (ethtool \
                 -K PEER gro on) or an XDP program, and TCP stalls unless the sending hosts have \
                 tx checksum offload off (ethtool -K IF tx off); --mode tc needs neither"
            );
        }
    }
}

/// The signals that end masq.
struct StopSignals([tokio::signal::unix::Signal; 3]);

impl StopSignals {
    fn new() -> AnyResult<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(catch);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        let ended = tokio::select! {
            got = interrupt.recv() => got,
            got = terminate.recv() => got,
            got = hangup.recv() => got,
        };
        if ended.is_none() {
            // The runtime is going down with the signals.
            pending::<()>().await;
        }
    }
}
