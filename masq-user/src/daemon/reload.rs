//! Reading the configuration file again, when somebody asks (`masq reload`) or at SIGHUP: all that has
//! changed is brought about, or nothing is. What may change is what a daemon that takes over may
//! change, without taking over.

use std::rc::Rc;

use serde_json::Value;
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot},
};

use super::{Options, follow::Follower};
use crate::{
    config::Config,
    control::proto::{Change, Reloaded},
    error::{Error, Result},
    log,
    options::{Reading, current::Current},
    plan,
    plane::Plane,
    preflight,
    survival::estate::Estate,
};

/// Somebody who waits for the end of a reload: what was changed, or why nothing was.
pub type ReloadRequest = oneshot::Sender<Result<Reloaded, String>>;

/// Options that can change while masq runs. All others, those of later versions among them, are
/// refused until somebody has made sure that they take effect.
const LIVE: [&str; 24] = [
    "lan",
    "source",
    "filtering",
    "filtering-tcp",
    "filtering-udp",
    "ports",
    "port-overlap",
    "port-quarantine",
    "exhaustion-icmp",
    "mss-clamp",
    "udp-timeout",
    "icmp-timeout",
    "tcp-opening-timeout",
    "tcp-established-timeout",
    "tcp-closing-timeout",
    "tcp-reset-timeout",
    "other-timeout",
    "host-sessions",
    "host-mappings",
    "host-rate",
    "allow-short-timeouts",
    "wait-interfaces",
    "metrics-hosts",
    "verbose",
];

/// Options that not even a daemon that takes over can change: they shape what sessions live in.
const COLD: [&str; 5] = ["wan", "instance", "max-sessions", "reserve-ports", "tc-attach"];

/// Reads the file again and brings it about.
pub(super) struct Reloader<'a> {
    options: Options<'a>,
    current: Rc<Current>,
    plane: Rc<Plane>,
    hangup: Signal,
    requests: mpsc::Receiver<ReloadRequest>,
}

impl<'a> Reloader<'a> {
    pub(super) const fn new(
        options: Options<'a>,
        current: Rc<Current>,
        plane: Rc<Plane>,
        hangup: Signal,
        requests: mpsc::Receiver<ReloadRequest>,
    ) -> Self {
        Self { options, current, plane, hangup, requests }
    }

    /// Waits until a reload is wanted; by whom, unless it is a signal.
    pub(super) async fn next(&mut self) -> Option<ReloadRequest> {
        tokio::select! {
            Some(request) = self.requests.recv() => Some(request),
            Some(()) = self.hangup.recv() => None,
            else => std::future::pending().await,
        }
    }

    /// Reloads, and tells whoever has asked, and the log.
    pub(super) async fn serve(
        &mut self,
        asked: Option<ReloadRequest>,
        follower: &mut Follower,
        estate: &mut Estate,
    ) {
        let result = self.reload(follower, estate).await.map_err(|error| error.to_string());
        match &result {
            Ok(Reloaded { file, changes }) if changes.is_empty() => {
                tracing::info!("nothing has changed in {file}");
            }
            Ok(Reloaded { file, changes }) => {
                tracing::info!("{file} was read again");
                changes.iter().for_each(|change| tracing::info!("{change}"));
            }
            Err(why) => {
                why.lines().for_each(|line| tracing::warn!("nothing is changed: {line}"));
            }
        }
        if let Some(asked) = asked {
            // Whoever has asked may have gone.
            let _ = asked.send(result);
        }
    }

    async fn reload(&mut self, follower: &mut Follower, estate: &mut Estate) -> Result<Reloaded> {
        let Some(file) = self.options.source.file() else {
            return Err(Error::Refused(
                "this masq was started without --config, so there is no file to read again".into(),
            ));
        };
        let file = file.display().to_string();
        let Reading { config, values } = self.options.source.read()?;
        let changes = values.changes(&self.options.values);
        let old = self.current.get();
        check(&changes, &old)?;
        if changes.is_empty() {
            return Ok(Reloaded { file, changes });
        }
        let config = Rc::new(inherit(config, &old, &changes));
        let netns = estate.manifest.place.netns;
        let added = missing(&config.lans, &old.lans);
        self.options.claims.take_more(netns, &added)?;
        if let Err(error) = self.bring_about(&config, &added, follower, estate).await {
            self.options.claims.give_up(netns, &added);
            return Err(error);
        }
        self.options.values = values;
        log::set_verbose(config.verbose);
        Ok(Reloaded { file, changes })
    }

    /// Exchanges the configuration; if that fails, what was there is put back.
    async fn bring_about(
        &self,
        config: &Rc<Config>,
        added: &[String],
        follower: &mut Follower,
        estate: &mut Estate,
    ) -> Result<()> {
        // A port may serve an interface already.
        let snapshot = follower.gateway.foreign(follower.netlink.snapshot().await?);
        // A new LAN has to be there, also where those of the start are waited for: it may be misspelt.
        let none = Config {
            wans: Vec::new(),
            sources: Vec::new(),
            wait_interfaces: false,
            ..Config::clone(config)
        };
        let only = Config { lans: added.to_vec(), ..none };
        preflight::interfaces(&only, &snapshot, &plan::plan(&only, &snapshot))?;
        let old = self.current.get();
        let result =
            follower.reconfigure(config, &self.plane, &snapshot, estate, !added.is_empty()).await;
        if let Err(error) = result {
            if let Err(error) =
                follower.reconfigure(&old, &self.plane, &snapshot, estate, false).await
            {
                tracing::warn!("{error:#}; trying again until it works");
            }
            return Err(Error::Failed(error));
        }
        self.current.set(Rc::clone(config));
        estate.follows(config);
        Ok(())
    }
}

/// Refuses what cannot change while masq runs, all of it at once.
fn check(changes: &[Change], old: &Config) -> Result<()> {
    let counted = old.settings.host.mappings != 0;
    let refused = |change: &&Change| match change.option.as_str() {
        "host-mappings" => !counted && change.new != 0,
        // Until the sessions of its hosts have gone, what they send would leave as it comes.
        "lan" => lacks_some(&change.new, &change.old),
        option => !LIVE.contains(&option),
    };
    let why = |change: &Change| {
        let option = change.option.as_str();
        let way = if COLD.contains(&option) || option == "host-mappings" {
            "only a start after `masq stop` changes it, which ends the sessions"
        } else {
            "`masq stop --keep-data-plane` and `masq run` change it without losing a session"
        };
        format!("--{option} cannot change while masq runs ({change}); {way}")
    };
    let refused: Vec<_> = changes.iter().filter(refused).map(why).collect();
    if refused.is_empty() { Ok(()) } else { Err(Error::Refused(refused.join("\n"))) }
}

/// Whether a list, or the only one of it, lacks something that another has.
fn lacks_some(list: &Value, other: &Value) -> bool {
    let items = |value: &Value| match value {
        Value::Array(items) => items.clone(),
        single => vec![single.clone()],
    };
    let list = items(list);
    items(other).iter().any(|item| !list.contains(item))
}

/// What was made to fit tables that were taken over stays so.
fn inherit(config: Config, old: &Config, changes: &[Change]) -> Config {
    let mut config = Config { max_sessions: old.max_sessions, ..config };
    if !changes.iter().any(|change| change.option == "host-mappings") {
        config.settings.host.mappings = old.settings.host.mappings;
    }
    config
}

/// Those names that the others lack.
fn missing(names: &[String], others: &[String]) -> Vec<String> {
    names.iter().filter(|name| !others.contains(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        cli::RunArgs,
        options::file::{command, options},
    };

    fn config(rest: &str) -> Config {
        let words = format!("run --lan a --wan b {rest}");
        let matches = command().no_binary_name(false).get_matches_from(words.split_whitespace());
        Config::new(<RunArgs as clap::FromArgMatches>::from_arg_matches(&matches).unwrap()).unwrap()
    }

    fn change(option: &str, old: impl Into<Value>, new: impl Into<Value>) -> Change {
        Change { option: option.to_owned(), old: old.into(), new: new.into() }
    }

    #[test]
    fn every_option_that_can_change_exists() {
        let run = command();
        let names: Vec<_> = options(&run).filter_map(|arg| arg.get_long()).collect();
        for option in LIVE.iter().chain(&COLD) {
            assert!(names.contains(option), "{option}");
        }
        assert!(!LIVE.iter().any(|option| COLD.contains(option)));
    }

    #[test]
    fn what_cannot_change_is_refused_by_name_and_all_at_once() {
        let changes = [
            change("udp-timeout", "5m", "10m"),
            change("wan", json!(["ppp0"]), json!(["ppp1"])),
            change("mode", "tc", "xdp"),
            change("an-option-of-a-later-version", 1, 2),
        ];
        let error = check(&changes, &config("")).unwrap_err().to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 3, "{error}");
        assert!(lines[0].contains("--wan") && lines[0].contains("ppp0 → ppp1"), "{error}");
        assert!(lines[0].contains("ends the sessions"), "{error}");
        assert!(lines[1].contains("--mode") && lines[1].contains("without losing"), "{error}");
        assert!(lines[2].contains("--an-option-of-a-later-version"), "{error}");
        assert!(check(&changes[..1], &config("")).is_ok());
    }

    #[test]
    fn mappings_that_are_not_counted_cannot_be_limited() {
        let more = [change("host-mappings", 0, 5)];
        assert!(check(&more, &config("")).is_err());
        assert!(check(&more, &config("--host-mappings 3")).is_ok());
        assert!(check(&[change("host-mappings", 5, 0)], &config("")).is_ok());
    }

    #[test]
    fn what_a_take_over_has_settled_stays() {
        let mut old = config("--max-sessions 500 --host-mappings 7");
        old.settings.host.mappings = 0;
        let wanted = config("--max-sessions 900 --host-mappings 7 --udp-timeout 1h");
        let got = inherit(wanted.clone(), &old, &[change("udp-timeout", "5m", "1h")]);
        assert_eq!((got.max_sessions, got.settings.host.mappings), (500, 0));
        assert_eq!(got.settings.timeouts, wanted.settings.timeouts);
        let got = inherit(wanted, &old, &[change("host-mappings", 7, 0)]);
        assert_eq!(got.settings.host.mappings, 7);
    }
}
