//! Options of `masq run` about metrics.

use std::net::SocketAddr;

use clap::Args;

/// Where metrics are served.
#[derive(Args, Debug, Clone, Copy)]
pub struct MetricsArgs {
    /// Serve counters, tables and interfaces to Prometheus at http://ADDR:PORT/metrics; off if not
    /// given. Whoever reaches the address may read them: 127.0.0.1:9469, or an address of the LAN
    #[arg(long = "metrics", value_name = "ADDR:PORT", value_parser = address)]
    pub address: Option<SocketAddr>,

    /// Also serve what the N inside hosts with most bytes have sent and received, 1000 at most; 0 for
    /// no host. Each is a series of its own, and the addresses of the LAN can be read there
    #[arg(long = "metrics-hosts", value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub hosts: u32,
}

/// An address of this machine with a port.
fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err("port 0 is no port that Prometheus could be told".into()),
        Err(_) => {
            Err("expected an address and a port, such as 127.0.0.1:9469 or [::1]:9469".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        for text in ["127.0.0.1:9469", "0.0.0.0:80", "[::1]:9469"] {
            assert!(address(text).is_ok(), "{text}");
        }
        for text in ["", "9469", ":9469", "127.0.0.1", "localhost:9469", "127.0.0.1:0", "::1:9469"]
        {
            let error = address(text).map(|address| address.to_string());
            assert!(error.is_err(), "{text}: {error:?}");
        }
    }
}
