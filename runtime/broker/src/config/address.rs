//! Addresses as Kafka writes them.

use std::fmt;
use std::net::IpAddr;

/// A host and a port. The host is as it was written; an empty one is every interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    pub fn new(host: impl Into<String>, port: u16) -> HostPort {
        HostPort {
            host: host.into(),
            port,
        }
    }

    /// Reads `host:port`, `:port`, `[v6]:port`. The error is a sentence.
    pub fn parse(text: &str) -> Result<HostPort, String> {
        let expected = || format!("expected host:port, for example 127.0.0.1:9092, not `{text}`");
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().map_err(|_| expected())?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match bare {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            Some(_) => return Err(expected()),
            None => host,
        };
        let odd = |c: char| c.is_whitespace() || c == '/' || c == '[' || c == ']';
        if host.contains(odd) || (bare.is_none() && host.contains(':')) {
            return Err(expected());
        }
        Ok(HostPort::new(host, port))
    }

    /// Reads one entry of `listeners`: `PLAINTEXT://host:port`, or the bare address.
    pub(super) fn parse_listener(text: &str) -> Result<(String, HostPort), String> {
        match text.trim().split_once("://") {
            Some((name, address)) => Ok((name.to_owned(), HostPort::parse(address)?)),
            None => Ok(("PLAINTEXT".to_owned(), HostPort::parse(text)?)),
        }
    }

    /// Whether only this machine can connect. A name that is not `localhost` counts as beyond it.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The address to bind: what an empty host means is said.
    pub fn bind_address(&self) -> (String, u16) {
        let host = if self.host.is_empty() {
            "0.0.0.0"
        } else {
            &self.host
        };
        (host.to_owned(), self.port)
    }

    /// The address for a client of this machine's network, when nothing else was advertised: the host that was
    /// listened on, or this machine's own for "every interface", and the port that was bound.
    pub fn reachable(&self, bound_port: u16) -> HostPort {
        let every = self.host.is_empty()
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_unspecified());
        let host = if every { "localhost" } else { &self.host };
        HostPort::new(host, bound_port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafka_writes() {
        let read = |text| HostPort::parse_listener(text).map(|(_, address)| address.to_string());
        assert_eq!(
            read("PLAINTEXT://localhost:9092").as_deref(),
            Ok("localhost:9092")
        );
        assert_eq!(read("127.0.0.1:0").as_deref(), Ok("127.0.0.1:0"));
        assert_eq!(read("PLAINTEXT://:9092").as_deref(), Ok(":9092"));
        assert_eq!(read("PLAINTEXT://[::1]:9092").as_deref(), Ok("[::1]:9092"));
        for bad in ["localhost", "a:b", "::1:9", "x y:1", "h:70000", "[x]:1", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for (address, local) in [
            ("127.0.0.1:1", true),
            ("127.8.0.1:1", true),
            ("[::1]:1", true),
            ("localhost:1", true),
            ("0.0.0.0:1", false),
            (":1", false),
            ("[::]:1", false),
            ("example.org:1", false),
        ] {
            assert_eq!(
                HostPort::parse(address).unwrap().is_loopback(),
                local,
                "{address}"
            );
        }
    }

    #[test]
    fn an_unspecified_host_is_advertised_as_something_reachable() {
        assert_eq!(HostPort::new("", 0).reachable(7).to_string(), "localhost:7");
        assert_eq!(
            HostPort::new("0.0.0.0", 0).reachable(7).to_string(),
            "localhost:7"
        );
        assert_eq!(
            HostPort::new("10.0.0.1", 0).reachable(7).to_string(),
            "10.0.0.1:7"
        );
    }
}
