//! What the key `k` removes: the filter that finds it, and how it is called. Pure.

use crate::{
    cli::written,
    control::{
        filter::{EndpointFilter, Filter},
        proto::{TopHost, TopSession, protocol_number},
    },
};

/// Sessions that are to be removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Victim {
    /// Finds them, and no others.
    pub filter: Filter,
    /// In words, for the question.
    pub text: String,
}

impl Victim {
    /// One session; `None` if its protocol is unknown here, which another version of the daemon may
    /// bring about.
    pub fn session(session: &TopSession) -> Option<Self> {
        let s = &session.session;
        let filter = Filter {
            protocol: Some(protocol_number(&s.protocol)?),
            inside: Some(s.inside.into()),
            external: Some(s.external.into()),
            remote: Some(s.remote.into()),
            phase: None,
        };
        let text = format!("the {} session\n{} -> {}", s.protocol, s.inside, s.remote);
        Some(Self { filter, text })
    }

    /// The sessions of a host, of those that `shown` lets through.
    pub fn host(host: &TopHost, shown: &Filter) -> Self {
        let inside = EndpointFilter::of_host(host.address, shown.inside);
        let filter = Filter { inside: Some(inside), ..shown.clone() };
        let which = match (host.sessions, *shown == Filter::default()) {
            (1, true) => "the only session".to_owned(),
            (number, true) => format!("all {number} sessions"),
            (1, false) => "1 session".to_owned(),
            (number, false) => format!("{number} sessions"),
        };
        let mut text = format!("{which} of {}", host.address);
        if *shown != Filter::default() {
            text += &format!("\nfiltered by {}", written(shown));
        }
        Self { filter, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::top::model::tests::session,
        control::{filter::Ends, proto::Endpoint},
    };

    fn ends(inside: (u8, u16), remote: u16) -> Ends {
        let endpoint = |address: [u8; 4], port| Endpoint { address: address.into(), port };
        Ends {
            protocol: 6,
            inside: endpoint([192, 168, 1, inside.0], inside.1),
            external: endpoint([203, 0, 113, 5], inside.1),
            remote: endpoint([198, 51, 100, 1], remote),
        }
    }

    #[test]
    fn one_session_is_found_and_no_other() {
        let victim = Victim::session(&session(10, 40_001, (0, 0), 0, 0)).unwrap();
        assert!(victim.filter.matches_ends(&ends((10, 40_001), 443)));
        for other in [ends((10, 40_002), 443), ends((11, 40_001), 443), ends((10, 40_001), 80)] {
            assert!(!victim.filter.matches_ends(&other), "{other:?}");
        }
        let udp = Ends { protocol: 17, ..ends((10, 40_001), 443) };
        assert!(!victim.filter.matches_ends(&udp));
        assert_eq!(victim.text, "the tcp session\n192.168.1.10:40001 -> 198.51.100.1:443");
    }

    #[test]
    fn of_a_host_those_are_found_that_are_shown() {
        let host = TopHost {
            address: [192, 168, 1, 10].into(),
            sessions: 3,
            bytes_out: 0,
            bytes_in: 0,
            rate_out: 0,
            rate_in: 0,
        };
        let all = Victim::host(&host, &Filter::default());
        assert_eq!(all.text, "all 3 sessions of 192.168.1.10");
        assert!(all.filter.matches_ends(&ends((10, 1), 443)));
        assert!(!all.filter.matches_ends(&ends((11, 1), 443)));
        let shown = Filter {
            inside: Some("192.168.1.0/24:7".parse().unwrap()),
            remote: Some(":443".parse().unwrap()),
            ..Filter::default()
        };
        let some = Victim::host(&TopHost { sessions: 1, ..host }, &shown);
        assert_eq!(
            some.text,
            "1 session of 192.168.1.10\nfiltered by inside 192.168.1.0/24:7 remote 0.0.0.0/0:443"
        );
        assert!(some.filter.matches_ends(&ends((10, 7), 443)));
        for other in [ends((10, 8), 443), ends((10, 7), 80), ends((11, 7), 443)] {
            assert!(!some.filter.matches_ends(&other), "{other:?}");
        }
    }
}
