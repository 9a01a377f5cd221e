//! What a scrape says: the metrics made of [`Stats`], each with its name, labels and help. Names and
//! labels are an interface: they may be added, never renamed. Pure.
//!
//! Bounded in number: by the list of reasons, the WANs and interfaces of the command line, the rows of
//! the slow path, and the LAN hosts that were asked for. Nothing is said of a session.

use std::{fmt, sync::Arc};

use anyhow::{Context as _, Result};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, prometheus_text, text},
    metrics::MetricType,
    registry::Registry,
};

use crate::control::{
    hosts::Host,
    proto::{Ports, SlowPath, Stats},
};

/// How metrics are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The one that a client wants, by its header `Accept`.
    pub fn wanted(accept: &str) -> Self {
        let open = accept.split(',').any(|part| {
            part.split(';').next().is_some_and(|kind| kind.trim() == "application/openmetrics-text")
        });
        if open { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its name in HTTP.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes all metrics.
pub fn write(stats: Stats, hosts: Arc<[Host]>, format: Format) -> Result<String> {
    let mut registry = Registry::default();
    // Five samples of some 70 characters for each host.
    let room = 16 * 1024 + hosts.len() * 350;
    registry.register_collector(Box::new(Scrape { stats, hosts }));
    let mut text = String::with_capacity(room);
    match format {
        Format::Prometheus => prometheus_text::encode(&mut text, &registry),
        Format::OpenMetrics => text::encode(&mut text, &registry),
    }
    .context("cannot write the metrics")?;
    Ok(text)
}

/// Rows of the slow path that say what there is now, not what was: gauges of their own.
const SLOW_PATH_NOW: [&str; 3] = ["parked", "parked_bytes", "held"];

/// One look at the instance.
#[derive(Debug)]
struct Scrape {
    stats: Stats,
    hosts: Arc<[Host]>,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Writer(encoder);
        self.instance(&mut out)?;
        self.interfaces(&mut out)?;
        self.tables(&mut out)?;
        let reasons = self.stats.counters.iter();
        out.counters(
            "masq_packets",
            "Packets by what became of them and at which hook; of class event what is no packet",
            reasons
                .map(|c| ([("reason", c.reason.as_str()), ("class", c.class.as_str())], c.count)),
        )?;
        self.slow_path(&mut out)?;
        self.hosts(&mut out)
    }
}

impl Scrape {
    fn instance(&self, out: &mut Writer) -> fmt::Result {
        let instance = &self.stats.instance;
        out.gauges(
            "masq_build_info",
            "Version of masq",
            [([("version", instance.version.as_str())], 1)],
        )?;
        let netns = instance.netns.to_string();
        let labels = [("name", instance.instance.as_str()), ("netns", netns.as_str())];
        out.gauges(
            "masq_instance_info",
            "Name and network namespace of the instance",
            [(labels, 1)],
        )?;
        let help = "How long the daemon has been running";
        out.gauge("masq_uptime_seconds", help, instance.uptime_secs)?;
        let survives = u64::from(instance.survival.pins.is_some());
        let help = "Whether sessions outlive the daemon: 1, or 0 if they end with it";
        out.gauge("masq_survives_daemon", help, survives)
    }

    fn interfaces(&self, out: &mut Writer) -> fmt::Result {
        let interfaces = &self.stats.instance.interfaces;
        let info = interfaces.iter().map(|i| {
            let mode = i.mode.map_or("none", |mode| mode.as_str());
            let address = i.address.map(|address| address.to_string()).unwrap_or_default();
            let labels = [
                ("interface", i.name.clone()),
                ("role", i.role.clone()),
                ("mode", mode.to_owned()),
                ("address", address),
            ];
            (labels, 1)
        });
        out.gauges(
            "masq_interface_info",
            "Interfaces: role, where the fast path is, address that a WAN translates to",
            info,
        )?;
        let labels = |name: &'static str, value: &str| -> (&'static str, String) {
            (name, value.to_owned())
        };
        let attached = interfaces.iter().map(|i| {
            let attached = i.index.is_some() && i.mode.is_some();
            ([labels("interface", &i.name), labels("role", &i.role)], u64::from(attached))
        });
        out.gauges(
            "masq_interface_attached",
            "Whether the interface is there and masq is attached to it: 1 or 0",
            attached,
        )?;
        let wans = interfaces.iter().filter(|i| i.is_wan());
        let addresses = wans.map(|i| ([labels("wan", &i.name)], u64::from(i.address.is_some())));
        out.gauges(
            "masq_wan_has_address",
            "Whether the WAN has an address to translate to: 1 or 0",
            addresses,
        )
    }

    fn tables(&self, out: &mut Writer) -> fmt::Result {
        let tables = &self.stats.tables;
        let both = [("sessions", tables.sessions), ("mappings", tables.mappings)];
        let used = both.iter().map(|(name, table)| ([("table", *name)], table.used));
        out.gauges("masq_table_entries", "Entries of a table", used)?;
        let max = both.iter().map(|(name, table)| ([("table", *name)], table.max));
        out.gauges("masq_table_max_entries", "Room for entries in a table", max)?;
        let rows = |value: fn(&Ports) -> u64| {
            let rows = tables.ports.iter();
            rows.map(move |p| {
                ([("wan", p.wan.as_str()), ("protocol", p.protocol.as_str())], value(p))
            })
        };
        let help = "External ports, or identifiers of ICMP, that are held by mappings";
        out.gauges("masq_ports_used", help, rows(|ports| ports.used))?;
        let help = "External ports, or identifiers of ICMP, that may be used";
        out.gauges("masq_ports_max", help, rows(|ports| ports.max))
    }

    fn slow_path(&self, out: &mut Writer) -> fmt::Result {
        let SlowPath { parked, parked_bytes, held, .. } = self.stats.slow_path;
        let waiting = [([("what", "fragments")], parked), ([("what", "first_packets")], held)];
        out.gauges("masq_slow_path_waiting", "Packets that wait in the daemon now", waiting)?;
        let help = "Size of the fragments that wait in the daemon now";
        out.gauge("masq_slow_path_waiting_bytes", help, parked_bytes)?;
        let rows = self.stats.slow_path.rows();
        let ever = rows.iter().filter(|(name, ..)| !SLOW_PATH_NOW.contains(name));
        out.counters(
            "masq_slow_path",
            "What the daemon has done with packets that the kernel programs gave to it",
            ever.map(|(name, value, _)| ([("what", *name)], *value)),
        )
    }

    /// Nothing at all if no host was asked for.
    fn hosts(&self, out: &mut Writer) -> fmt::Result {
        if self.hosts.is_empty() {
            return Ok(());
        }
        let name = |host: &Host| {
            host.address.map_or_else(|| "others".to_owned(), |address| address.to_string())
        };
        let both = |pair: fn(&Host) -> [u64; 2]| {
            self.hosts.iter().flat_map(move |host| {
                let labels =
                    |direction: &str| [("host", name(host)), ("direction", direction.to_owned())];
                ["out", "in"].map(labels).into_iter().zip(pair(host))
            })
        };
        out.counters(
            "masq_host_bytes",
            "Bytes of IP packets of the hosts with most of them, from inside and from outside",
            both(|host| [host.bytes_out, host.bytes_in]),
        )?;
        out.counters(
            "masq_host_packets",
            "Packets of the hosts with most bytes, from inside and from outside",
            both(|host| [host.packets_out, host.packets_in]),
        )?;
        let sessions = self.hosts.iter().map(|host| ([("host", name(host))], host.sessions));
        out.gauges("masq_host_sessions", "Sessions of the hosts with most bytes", sessions)
    }
}

/// Writes families of one type.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// The names get `_total` at their end.
    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_counter::<L, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
