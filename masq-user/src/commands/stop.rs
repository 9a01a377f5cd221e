//! `masq stop`: ends a daemon, and what a daemon has left.

use std::{
    collections::BTreeSet,
    rc::Rc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use tokio::runtime;

use crate::{
    claims::{Claims, Netns},
    cli::StopArgs,
    control::{
        self, client,
        proto::{Answer, Ask, Instance},
    },
    error::{Error, Result},
    netlink::Netlink,
    survival::{self, bpffs::BpfFs, leftover::Leftover, manifest::Manifest},
    sysctl::Forwarding,
};

/// How long a daemon may take to end: it may have a million sessions to let go of.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stops the instance that is meant.
pub fn execute(args: &StopArgs) -> Result<()> {
    let result = stop(args);
    // Also of a daemon that was killed before it had set up anything else.
    control::tidy_up();
    Claims::tidy_up();
    result
}

fn stop(args: &StopArgs) -> Result<()> {
    let running = client::instances()?;
    let name = match &args.instance {
        Some(name) => name.clone(),
        None => match choose(&running, Netns::own()?) {
            Ok(name) => name,
            Err(error) => return if put_forwarding_back()? { Ok(()) } else { Err(error) },
        },
    };
    let has_daemon = running.iter().any(|instance| instance.instance == name);
    if has_daemon {
        let ask = Ask::Stop { keep_data_plane: args.keep_data_plane };
        match client::ask(Some(&name), ask)?.answer()? {
            Answer::Stopping => wait_for_end(&name)?,
            _ => return Err(anyhow!("the running masq gave an unexpected answer").into()),
        }
    }
    if !has_daemon && Claims::take_name(&name).is_err() {
        return Err(Error::Refused(format!(
            "{name} is running and does not answer; if it has not just been started, kill it and \
             repeat `masq stop`"
        )));
    }
    if args.keep_data_plane {
        return if has_daemon { Ok(()) } else { Err(not_running(&name)) };
    }
    let fs = BpfFs::find().map(Rc::new);
    match Leftover::claim(fs.as_ref(), &name) {
        Some(leftover) => remove(leftover),
        None if has_daemon || put_forwarding_back()? => Ok(()),
        None => Err(not_running(&name)),
    }
}

/// Turns forwarding off again, if it was turned on in this network namespace by a masq that was killed
/// and has left nothing else: then nothing translates what is forwarded. Whether that was so.
fn put_forwarding_back() -> Result<bool> {
    let here = Netns::cookie()?;
    if Manifest::all_of(here).next().is_some() {
        return Ok(false);
    }
    let left = Forwarding::left(here)?;
    if left.is_some() {
        eprintln!("masq: net.ipv4.ip_forward, which a masq that was killed had turned on, is off");
    }
    Ok(left.is_some())
}

/// The only instance in this network namespace, with a daemon or without. Never one of another: what
/// is stopped by mistake cannot be brought back.
fn choose(running: &[Instance], here: Netns) -> Result<String> {
    let alone = survival::alone().into_iter().map(|instance| (instance.instance, instance.netns));
    let running = running.iter().map(|instance| (instance.instance.clone(), instance.netns));
    let all = running.chain(alone).filter(|(_, netns)| *netns == here.0);
    let names: Vec<_> = all.map(|(name, _)| name).collect::<BTreeSet<_>>().into_iter().collect();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Error::Refused(
            "no masq is running in this network namespace; name one of `masq instances` with \
             --instance"
                .into(),
        )),
        _ => Err(Error::Refused(format!(
            "several instances are running; choose one with --instance: {}",
            names.join(", ")
        ))),
    }
}

fn not_running(name: &str) -> Error {
    Error::Refused(format!("no masq named {name} is running; see `masq instances`"))
}

/// Waits until the claim on the name has been given up.
fn wait_for_end(name: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while let Err(error) = Claims::take_name(name) {
        if Instant::now() > end {
            return Err(
                anyhow!("{name} does not end ({error}); kill it and repeat `masq stop`").into()
            );
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Removes what a daemon that has gone has left.
fn remove(leftover: Leftover) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let here = Netns::cookie()?;
    let place = leftover.manifest.as_ref().map(|manifest| manifest.place);
    if let Some(place) = place.filter(|place| place.cookie != here) {
        eprintln!(
            "masq: {} ran in network namespace {}: if that still exists, forwarding stays on there, \
             and filters of kernels without tcx stay attached",
            leftover.instance, place.netns.0
        );
    } else if Manifest::all_of(here).all(|name| name == leftover.instance) {
        // While packets are still forwarded, WAN egress has to be there to translate them.
        drop(Forwarding::left(here)?);
    }
    Ok(runtime.block_on(async { leftover.remove(&Netlink::open()?, &[]).await })?)
}
