//! The story of `masq run`: check, claim, take over what an earlier daemon has left, load, attach,
//! serve, and take everything off again, or leave it to the next one.

mod follow;
mod manager;
mod reload;
mod signals;

use std::{cell::RefCell, rc::Rc};

use anyhow::{Context as _, Result as AnyResult};
use aya_log::EbpfLogger;
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime,
    signal::unix::Signal,
    sync::{Notify, mpsc, watch},
    task::{JoinSet, LocalSet},
};

pub use self::reload::ReloadRequest;
use self::{follow::Follower, manager::Manager, reload::Reloader, signals::StopSignals};
use crate::{
    attach::{Attacher, TcKind},
    claims::{self, Claims, Netns},
    config::Config,
    control::{
        record::Fate,
        server::{Server, Subject},
    },
    error::Result,
    events::{self, Listeners},
    metrics,
    netlink::{Changes, Netlink, Snapshot},
    options::{Reading, Source, Values, current::Current},
    plan,
    plane::{self, Plane, Streams},
    preflight, privileges,
    reconcile::Gateway,
    reserved, shortage,
    slow::{service, socket::RawSocket},
    stations,
    status::Status,
    survival::{
        self,
        estate::{Belongings, Estate},
        manifest::{Manifest, Place},
    },
    sweep::{self, Swept},
    sysctl::Forwarding,
    trace::Tracer,
    vitals::Vitals,
};

/// Runs an instance until a signal ends it. `reading` is what `source` has said.
pub fn run(source: Source, reading: Reading) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    abort_on_panic();
    LocalSet::new().block_on(&runtime, start(source, reading))
}

/// A daemon that has failed must not clean up as it goes, nor go on without one of its services: as
/// after a kill, the data plane stays as it is, and whoever watches over the daemon starts it again.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// How a daemon ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With everything that it has set up.
    Remove,
    /// Alone: packets are translated on, for the next daemon to take over.
    Keep,
}

/// Finds out what there is and what is to be, and touches nothing before it is sure.
async fn start(source: Source, reading: Reading) -> Result<()> {
    let Reading { mut config, values } = reading;
    let signals = StopSignals::new()?;
    let hangup = signals::hangup()?;
    let (kernel, release) = preflight::machine(&config)?;
    let socket = RawSocket::open()?;
    let netlink = Rc::new(Netlink::open()?);
    // Before the first look, so that no change falls in between.
    let changes = Changes::subscribe()?;
    let snapshot = netlink.snapshot().await?;

    let place = Place { netns: Netns::own()?, cookie: Netns::cookie()? };
    let instance = claims::instance_name(&config, place.netns);
    let mut claims = Claims::take(&config, &instance, place.netns)?;
    let kind = TcKind::choose(config.tc_attach, release);
    let wanted = Manifest::new(&config, place, kind, &reserved::all(&config)?, plane::object());
    // Before anything is touched: an address that is taken is a wrong option.
    let metrics = config.metrics.map(metrics::listen).transpose()?;
    let heritage = survival::inherit(&mut config, &instance, &wanted, &plane::definitions()?)?;
    // Those that are not ours any more: what is left on them is.
    claims.take_free(place.netns, heritage.interfaces());
    let snapshot = snapshot.without_xdp(&heritage.xdp_programs());
    preflight::interfaces(&config, &snapshot, &plan::plan(&config, &snapshot))?;
    preflight::remarks(&config, kernel, &netlink, &snapshot).await?;

    let mut estate = Estate::new(instance, wanted, heritage)?;
    let adopted = estate.survival.adopted;
    let machine = Machine { signals, hangup, socket, netlink, changes, snapshot, metrics };
    let options = Options { source, values, claims: &mut claims };
    let config = Rc::new(config);
    let ending = serve(Rc::clone(&config), options, machine, &mut estate).await;
    match ending {
        Ok(Ending::Keep) => tracing::info!("packets are translated on without this process"),
        // What translates now goes on doing so: another start may have more luck.
        Err(_) if adopted => {}
        Ok(Ending::Remove) | Err(_) => estate.remove(),
    }
    drop(claims);
    ending.map_err(|error| shortage::explain(error, &config))?;
    Ok(())
}

/// Where its configuration comes from, for the time when it is read again.
struct Options<'a> {
    source: Source,
    values: Values,
    /// Interfaces may be added to them.
    claims: &'a mut Claims,
}

/// What a daemon works with.
struct Machine {
    signals: StopSignals,
    hangup: Signal,
    socket: RawSocket,
    netlink: Rc<Netlink>,
    changes: Changes,
    snapshot: Snapshot,
    metrics: Option<std::net::TcpListener>,
}

/// Sets the data plane up and serves until the end. What was attached is off again then, unless it
/// is to stay.
async fn serve(
    config: Rc<Config>,
    options: Options<'_>,
    machine: Machine,
    estate: &mut Estate,
) -> AnyResult<Ending> {
    let Machine { mut signals, hangup, socket, netlink, changes, snapshot, metrics } = machine;
    let adopted = estate.survival.adopted;
    manager::starting("loading the kernel programs");
    let (plane, streams) = Plane::load(&config, estate.pins.as_deref(), adopted)?;
    if !estate.replaces() {
        estate.is_ready()?;
    }
    let plane = Rc::new(plane);
    let status = Rc::new(RefCell::new(Status::new(estate)));
    let (stop, mut stopped) = watch::channel(None);
    let (reload, requests) = mpsc::channel(1);
    let current = Rc::new(Current::new(Rc::clone(&config)));
    let (exchange, exchanges) = mpsc::unbounded_channel();
    let pins = estate.pins.clone().ok_or_else(|| estate.survival.why.clone());
    let tracer = Rc::new(Tracer::new(Rc::clone(&plane), Rc::clone(&current), pins, exchange));
    let subject = Rc::new(Subject {
        config: Rc::clone(&current),
        plane: Rc::clone(&plane),
        status: Rc::clone(&status),
        reload,
        listeners: Rc::new(Listeners::new(Rc::clone(&plane))),
        tracer: Rc::clone(&tracer),
        stop,
    });
    let server = Server::bind(&estate.instance)?;
    let attacher = Attacher::new(Rc::clone(&plane), estate);
    let leftovers = std::mem::take(&mut estate.leftovers);
    let mut gateway = Gateway::new(config, plane, attacher, Rc::clone(&netlink), status, leftovers);

    let forwarding = match attach(&mut gateway, &snapshot, estate).await {
        Ok(forwarding) => forwarding,
        Err(error) if adopted => {
            // Its links would take filters off as they go.
            std::mem::forget(gateway);
            return Err(error);
        }
        Err(error) => {
            let replaced = estate.manifest.tc == TcKind::Clsact;
            if (replaced || !gateway.has_leftovers()) && !estate.has_neighbours() {
                // Of an earlier daemon, whose programs are gone: nothing would translate any more. A filter
                // has been replaced by ours, which goes too.
                drop(Forwarding::left(Netns::cookie()?));
            }
            gateway.stop().await;
            return Err(error);
        }
    };
    let unmounts = estate.pins.as_ref().is_some_and(|pins| pins.are_on_own_mount());
    if let Err(error) = privileges::give_up(options.source.file(), unmounts) {
        tracing::warn!("masq goes on with more privileges than it needs: {error:#}");
    }
    let vitals = Vitals::default();
    let looked = Rc::new(Notify::new());
    let mut services = spawn_services(&subject, server, streams, socket, &vitals);
    let pulse = vitals.expect("follower of interfaces and addresses", follow::PROGRESS);
    let (plane, bridges) = (Rc::clone(&subject.plane), gateway.bridges());
    let alive = vitals.expect("follower of bridges", stations::PROGRESS);
    services.spawn_local(stations::run(plane, bridges, alive));
    let mut reloader = Reloader::new(options, current, Rc::clone(&subject.plane), hangup, requests);
    if let Some(listener) = metrics {
        services.spawn_local(metrics::run(listener, Rc::clone(&subject)));
    }
    if let Some(manager) = Manager::find() {
        let (status, plane) = (Rc::clone(&subject.status), Rc::clone(&subject.plane));
        services.spawn_local(manager.run(status, plane, vitals, Rc::clone(&looked)));
    }
    let plane = Rc::clone(&subject.plane);
    let (said, trouble) = (None, None);
    let mut follower = Follower {
        gateway,
        netlink,
        changes,
        said,
        trouble,
        pulse,
        looked,
        exchanges,
        tracer,
        plane,
    };
    follower.say(&subject.status);
    let ending = tokio::select! {
        ending = signals.wait(&subject.status) => ending,
        Ok(ending) = stopped.wait_for(Option::is_some) => ending.unwrap_or(Ending::Remove),
        () = follower.follow(&subject.status, estate, &mut reloader) => Ending::Remove,
    };

    manager::stopping(ending);
    // Those who listen hear of it, and the programs stop reporting to nobody.
    let fate = if ending == Ending::Keep { Fate::Kept } else { Fate::Removed };
    subject.listeners.end(fate).await;
    subject.tracer.end(fate).await;
    if let Err(error) = follower.untrace() {
        tracing::warn!("{error:#}");
    }
    // The control socket goes before the claim on its name, and the slow path, which sends packets
    // with inside sources, before what translates them.
    services.shutdown().await;
    match (ending, forwarding) {
        (Ending::Remove, forwarding) if !estate.has_neighbours() => drop(forwarding),
        (_, Some(forwarding)) => forwarding.leave(),
        _ => {}
    }
    match ending {
        Ending::Keep => std::mem::forget(follower.gateway),
        // While packets were still forwarded, WAN egress had to be there to translate them.
        Ending::Remove => follower.gateway.stop().await,
    }
    Ok(ending)
}

/// Attaches to all interfaces, and only then lets packets pass.
async fn attach(
    gateway: &mut Gateway,
    snapshot: &Snapshot,
    estate: &mut Estate,
) -> AnyResult<Option<Forwarding>> {
    gateway.load(snapshot)?;
    if estate.survival.adopted {
        // Adopting a port may turn off more at it.
        let Manifest { clsact, dialled, .. } = &estate.manifest;
        let (qdiscs, dialled) = (clsact.clone(), dialled.clone());
        estate.owns(Belongings { qdiscs, dialled, tags: gateway.foreseen(snapshot).tags });
        gateway.adopt(snapshot, estate.manifest.dialled.clone())?;
    }
    estate.owns(gateway.foreseen(snapshot));
    let applied = gateway.apply(snapshot).await;
    estate.owns(gateway.belongings());
    applied?;
    // At the latest now what it replaces is gone.
    estate.is_ready()?;
    if estate.survival.adopted {
        gateway.drop_lost().await?;
        tracing::info!("taken over from an earlier masq, with {} sessions", gateway.sessions()?);
    }
    let forwarding = Forwarding::enable(estate.manifest.place.cookie)?;
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
    vitals: &Vitals,
) -> JoinSet<()> {
    let Subject { config, plane, status, listeners, .. } = &**subject;
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
        vitals.expect("sweeper", sweep::PROGRESS),
    ));
    let (log, reader) = (Rc::clone(config), Rc::clone(plane));
    let events = events::run(log, reader, Rc::clone(listeners), streams.events);
    let noted = vitals.clone();
    services.spawn_local(async move {
        if let Err(error) = events.await {
            tracing::warn!("no more events from the kernel programs: {error:#}");
            noted.has_ended("log of events");
        }
    });
    let machine = service::Machine::new(Rc::clone(plane), Rc::clone(status), urgent, socket);
    let slow_path = machine.run(Rc::clone(config), streams.slow, swept);
    let noted = vitals.clone();
    services.spawn_local(async move {
        if let Err(error) = slow_path.await {
            tracing::warn!("no more packets for the slow path: {error:#}");
            noted.has_ended("slow path");
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
