//! TC programs as filters of a clsact qdisc, on kernels without tcx. A filter stays until somebody
//! removes it, whoever has added it; so a later daemon finds it at the handle that all of them use.

use std::io;

use anyhow::{Context as _, Result};
use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    tc::{
        NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcError, TcHandle,
        qdisc_add_clsact, qdisc_detach_program,
    },
};

use super::Hook;

/// Before all others: a filter that ends the chain with "pass" must not let packets leave
/// untranslated.
const PRIORITY: u16 = 1;

/// "masq".
const HANDLE: TcHandle = TcHandle::new(0x6d61, 0x7371);

/// Attaches a program, in place of the one that an earlier daemon has left there, if any; whether
/// there was one.
pub(super) fn attach(
    program: &mut SchedClassifier,
    interface: &str,
    hook: Hook,
) -> Result<(SchedClassifierLinkId, bool), ProgramError> {
    let direction = hook.direction();
    let there = link(interface, hook).map_err(TcError::IoError)?;
    if let Ok(id) = program.attach_to_link(there) {
        return Ok((id, true));
    }
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, ..NlOptions::default() };
    let options = TcAttachOptions::Netlink(options);
    Ok((program.attach_with_options(interface, direction, options)?, false))
}

/// The filter of a hook, whether it is there or not. It goes with the result.
pub(super) fn link(interface: &str, hook: Hook) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, hook.direction(), PRIORITY, HANDLE, None)
}

/// Adds a clsact qdisc; whether it was not there before.
pub(super) fn add_qdisc(name: &str) -> Result<bool> {
    match qdisc_add_clsact(name) {
        Ok(()) => Ok(true),
        Err(TcError::AlreadyAttached) => Ok(false),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("cannot add a clsact qdisc to {name}")),
    }
}

/// Removes all filters of masq from an interface, or those in one direction.
pub fn remove_filters(name: &str, direction: Option<TcAttachType>) {
    for hook in [Hook::WanOut, Hook::WanIn, Hook::LanIn] {
        if direction.is_some_and(|direction| direction != hook.direction()) {
            continue;
        }
        for ethernet in [true, false] {
            let program = hook.program(ethernet);
            match qdisc_detach_program(name, hook.direction(), program) {
                Ok(()) => tracing::debug!("removed the filter {program} from {name}"),
                Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!("cannot look for old filters on {name}: {error}"),
            }
        }
    }
}
