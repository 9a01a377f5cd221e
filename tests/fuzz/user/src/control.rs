//! The two directions of the control socket: what a client may send to a daemon that runs as root,
//! and what an old or strange daemon may answer.

use masq_user::control::{
    filter::Ends,
    proto::{Answer, Ask, Endpoint, Request},
};

/// A line that the daemon reads. What it takes it has to understand as it was meant: written again,
/// it is the same.
pub fn request(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    let Ok(request) = serde_json::from_str::<Request>(line) else { return };
    let again = serde_json::to_string(&request).expect("a request can be written");
    let reread: Request = serde_json::from_str(&again).expect("what was written can be read");
    assert_eq!(format!("{request:?}"), format!("{reread:?}"));
    if let Ask::Sessions(query) = request.ask {
        let end = |port| Endpoint { address: [192, 168, 1, 10].into(), port };
        let ends = Ends { protocol: 6, inside: end(40000), external: end(0), remote: end(443) };
        // A filter that matches these ends matches them whatever the phase is asked for.
        let matches = query.filter.matches_ends(&ends);
        let wider = masq_user::control::filter::Filter { phase: None, ..query.filter.clone() };
        assert_eq!(wider.matches_ends(&ends), matches);
        assert!(wider.matches_phase(None) && wider.matches_phase(Some("established")));
    }
}

/// A line that the command line reads.
pub fn answer(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    let Ok(answer) = serde_json::from_str::<Answer>(line) else { return };
    let again = serde_json::to_string(&answer).expect("an answer can be written");
    let reread: Answer = serde_json::from_str(&again).expect("what was written can be read");
    assert_eq!(format!("{answer:?}"), format!("{reread:?}"));
}
