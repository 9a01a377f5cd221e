//! What masq has written itself and reads again: records of the ring buffers, the note about
//! forwarding, and the manifest of a data plane that outlives its daemon. A daemon may meet those of another version.

use masq_common::{
    event::{CloseCause, Event},
    slow::{Cause, Head},
};
use masq_user::{survival::manifest::Manifest, sysctl::read_note};

/// What the programs report.
pub fn event(record: &[u8]) {
    let Some(event) = Event::from_bytes(record) else {
        assert_ne!(record.len(), size_of::<Event>());
        return;
    };
    assert_eq!(bytemuck::bytes_of(&event), record);
    assert_eq!(event.reason().map_or(event.reason, |reason| reason as u8), event.reason);
    assert!(!CloseCause::from_number(event.cause).as_str().is_empty());
}

/// What the programs give to the daemon to decide.
pub fn slow(record: &[u8]) {
    let Some((head, data)) = Head::split(record) else { return };
    assert_eq!(data.len(), head.captured as usize);
    assert_eq!(data, &record[size_of::<Head>()..][..data.len()]);
    assert_eq!(Cause::from_number(head.cause).map_or(head.cause, |cause| cause as u8), head.cause);
}

/// The note in the run directory about forwarding that was turned on.
pub fn note(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(note) = read_note(text) else { return };
    let again = serde_json::to_string(&note).expect("a note can be written");
    assert_eq!(read_note(&again).expect("what was written can be read"), note);
}

/// What is written down about a data plane that outlives its daemon.
pub fn manifest(text: &[u8]) {
    let Ok(manifest) = Manifest::parse(text) else { return };
    let again = serde_json::to_vec(&manifest).expect("a manifest can be written");
    assert_eq!(Manifest::parse(&again).expect("what was written can be read"), manifest);
}
