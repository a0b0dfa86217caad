//! What may be changed while the broker runs, resolved: the dynamic configs of this broker over those of all brokers over
//! its file (KIP-226).
//!
//! Configs that topics follow are not here: each topic's are resolved with it (`broker.rs`).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use tidegate_metadata::config::{broker_defs, overrides};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveConfig {
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_ip: usize,
    pub(crate) max_connections_per_ip_overrides: HashMap<IpAddr, usize>,
    /// New connections per second.
    pub(crate) max_connection_creation_rate: u32,
    pub(crate) producer_id_expiration_ms: i64,
}

impl LiveConfig {
    /// `broker` holds broker configs by their names, as `Image::broker_defaults` gives them. All were checked when they
    /// were set, so a value that does not parse is as good as none.
    pub(crate) fn of(broker: &BTreeMap<String, String>) -> LiveConfig {
        let overrides = overrides(&text(broker, "max.connections.per.ip.overrides"));
        LiveConfig {
            max_connections: number(broker, "max.connections"),
            max_connections_per_ip: number(broker, "max.connections.per.ip"),
            max_connections_per_ip_overrides: overrides.unwrap_or_default().into_iter().collect(),
            max_connection_creation_rate: number(broker, "max.connection.creation.rate"),
            producer_id_expiration_ms: number(broker, "producer.id.expiration.ms"),
        }
    }

    /// The most connections that one address may have.
    pub(crate) fn connections_of(&self, ip: IpAddr) -> usize {
        let own = self
            .max_connections_per_ip_overrides
            .get(&ip.to_canonical());
        own.copied().unwrap_or(self.max_connections_per_ip)
    }
}

fn text(broker: &BTreeMap<String, String>, name: &str) -> String {
    let set = broker.get(name).map(|value| value.trim().to_owned());
    set.unwrap_or_else(|| default(name).to_owned())
}

fn number<T: std::str::FromStr + Default>(broker: &BTreeMap<String, String>, name: &str) -> T {
    let set = text(broker, name).parse();
    set.or_else(|_| default(name).parse()).unwrap_or_default()
}

fn default(name: &str) -> &'static str {
    let def = broker_defs().iter().find(|def| def.name == name);
    def.and_then(|def| def.default).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_no_limit() {
        let live = LiveConfig::of(&BTreeMap::new());
        assert_eq!(live.max_connections, i32::MAX as usize);
        assert_eq!(live.connections_of([10, 0, 0, 1].into()), i32::MAX as usize);
        assert_eq!(live.producer_id_expiration_ms, 86_400_000);
    }

    #[test]
    fn an_address_may_have_a_limit_of_its_own() {
        let set = [
            ("max.connections", " 7 "),
            ("max.connections.per.ip", "5"),
            ("max.connections.per.ip.overrides", "10.0.0.1:2, ::1:0"),
        ];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let live = LiveConfig::of(&set.into());
        assert_eq!(live.max_connections, 7);
        assert_eq!(live.connections_of([10, 0, 0, 1].into()), 2);
        assert_eq!(live.connections_of("::ffff:10.0.0.1".parse().unwrap()), 2);
        assert_eq!(live.connections_of("::1".parse().unwrap()), 0);
        assert_eq!(live.connections_of([10, 0, 0, 2].into()), 5);
    }
}
