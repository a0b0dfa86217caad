//! Client quotas: who may use how much of a broker, as rows of the image.
//!
//! Entities and precedence are Kafka's (KIP-13, KIP-124, KIP-546, KIP-599, KIP-612): a row is for a user, a client id,
//! both, or an address, each by name or as the default of its kind; of the rows that fit a client the most specific one
//! counts. How fast a client is, and what becomes of one that is too fast, is the broker's.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{Outcome, Refusal};
use crate::image::Image;

/// Rows of the whole cluster.
const MAX_ENTITIES: usize = 10_000;
/// Bytes of a user's or a client's name.
const MAX_NAME_LEN: usize = 1_024;

/// The rows of an image: limits by the name of their key.
pub type QuotaRows = BTreeMap<QuotaEntity, BTreeMap<String, f64>>;

/// Who a row is for. Either `ip` alone, or one or both of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QuotaEntity {
    pub user: Option<QuotaName>,
    pub client_id: Option<QuotaName>,
    /// An address as [`IpAddr`] writes it.
    pub ip: Option<QuotaName>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum QuotaName {
    /// Whoever has no row of his own.
    Default,
    Named(String),
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaKey {
    /// Bytes per second of Produce requests.
    ProducerByteRate,
    /// Bytes per second that fetches send or look at.
    ConsumerByteRate,
    /// Percent of one processor that handling requests may take.
    RequestPercentage,
    /// Partitions per second that are created and deleted.
    ControllerMutationRate,
    /// New connections per second from one address.
    ConnectionCreationRate,
}

/// What one type of entity must be for a row to be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaMatch {
    Exact(String),
    Default,
    /// Named or default, but there.
    Any,
}

/// Which rows to describe; a type that is left open may be there or not, unless the filter is strict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaFilter {
    pub user: Option<QuotaMatch>,
    pub client_id: Option<QuotaMatch>,
    pub ip: Option<QuotaMatch>,
    /// Rows that have a type the filter does not name are left out.
    pub strict: bool,
}

impl QuotaKey {
    pub const ALL: [QuotaKey; 5] = [
        QuotaKey::ProducerByteRate,
        QuotaKey::ConsumerByteRate,
        QuotaKey::RequestPercentage,
        QuotaKey::ControllerMutationRate,
        QuotaKey::ConnectionCreationRate,
    ];

    pub fn name(self) -> &'static str {
        match self {
            QuotaKey::ProducerByteRate => "producer_byte_rate",
            QuotaKey::ConsumerByteRate => "consumer_byte_rate",
            QuotaKey::RequestPercentage => "request_percentage",
            QuotaKey::ControllerMutationRate => "controller_mutation_rate",
            QuotaKey::ConnectionCreationRate => "connection_creation_rate",
        }
    }

    pub fn from_name(name: &str) -> Option<QuotaKey> {
        QuotaKey::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Whether the limit is one of addresses, rather than of users and clients.
    fn of_ip(self) -> bool {
        self == QuotaKey::ConnectionCreationRate
    }

    /// The largest limit there is; `None` where a limit may have a fraction.
    fn most_whole(self) -> Option<f64> {
        match self {
            QuotaKey::ProducerByteRate | QuotaKey::ConsumerByteRate => Some(i64::MAX as f64),
            QuotaKey::ConnectionCreationRate => Some(f64::from(i32::MAX)),
            QuotaKey::RequestPercentage | QuotaKey::ControllerMutationRate => None,
        }
    }
}

impl QuotaFilter {
    pub fn matches(&self, entity: &QuotaEntity) -> bool {
        let fits = |wanted: &Option<QuotaMatch>, has: &Option<QuotaName>| match (wanted, has) {
            (None, None) => true,
            (None, Some(_)) => !self.strict,
            (Some(_), None) => false,
            (Some(QuotaMatch::Any), Some(_)) => true,
            (Some(QuotaMatch::Default), Some(name)) => *name == QuotaName::Default,
            (Some(QuotaMatch::Exact(wanted)), Some(QuotaName::Named(name))) => wanted == name,
            (Some(QuotaMatch::Exact(_)), Some(QuotaName::Default)) => false,
        };
        fits(&self.user, &entity.user)
            && fits(&self.client_id, &entity.client_id)
            && fits(&self.ip, &entity.ip)
    }
}

/// One key's rows, made for looking a client up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuotaTable {
    rows: usize,
    /// By user, then by client id.
    user_client: HashMap<String, HashMap<String, f64>>,
    user_any_client: HashMap<String, f64>,
    user: HashMap<String, f64>,
    any_user_client: HashMap<String, f64>,
    any_user_any_client: Option<f64>,
    any_user: Option<f64>,
    client: HashMap<String, f64>,
    any_client: Option<f64>,
    ip: HashMap<IpAddr, f64>,
    any_ip: Option<f64>,
}

/// A limit, and whose use is added up under it: an empty name stands for all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuotaLimit<'a> {
    pub limit: f64,
    pub user: &'a str,
    pub client_id: &'a str,
}

impl QuotaTable {
    pub fn of(rows: &QuotaRows, key: QuotaKey) -> QuotaTable {
        let mut table = QuotaTable::default();
        for (entity, limits) in rows {
            if let Some(limit) = limits.get(key.name()) {
                table.add(entity, *limit);
            }
        }
        table
    }

    /// Nobody has this limit.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn add(&mut self, entity: &QuotaEntity, limit: f64) {
        use QuotaName::{Default, Named};
        self.rows += 1;
        match (&entity.user, &entity.client_id, &entity.ip) {
            (Some(Named(user)), Some(Named(client)), _) => {
                let of_user = self.user_client.entry(user.clone()).or_default();
                of_user.insert(client.clone(), limit);
            }
            (Some(Named(user)), Some(Default), _) => {
                self.user_any_client.insert(user.clone(), limit);
            }
            (Some(Named(user)), None, _) => {
                self.user.insert(user.clone(), limit);
            }
            (Some(Default), Some(Named(client)), _) => {
                self.any_user_client.insert(client.clone(), limit);
            }
            (Some(Default), Some(Default), _) => self.any_user_any_client = Some(limit),
            (Some(Default), None, _) => self.any_user = Some(limit),
            (None, Some(Named(client)), _) => {
                self.client.insert(client.clone(), limit);
            }
            (None, Some(Default), _) => self.any_client = Some(limit),
            (None, None, Some(Named(ip))) => {
                if let Ok(ip) = ip.parse() {
                    self.ip.insert(ip, limit);
                }
            }
            (None, None, Some(Default)) => self.any_ip = Some(limit),
            (None, None, None) => {}
        }
    }

    /// The limit that holds for a client, by Kafka's precedence.
    pub fn limit<'a>(&self, user: &'a str, client_id: &'a str) -> Option<QuotaLimit<'a>> {
        if self.is_empty() {
            return None;
        }
        let counted = |user, client_id| {
            move |limit: f64| QuotaLimit {
                limit,
                user,
                client_id,
            }
        };
        let both = self
            .user_client
            .get(user)
            .and_then(|clients| clients.get(client_id))
            .or_else(|| self.user_any_client.get(user));
        if let Some(limit) = both {
            return Some(counted(user, client_id)(*limit));
        }
        if let Some(limit) = self.user.get(user) {
            return Some(counted(user, "")(*limit));
        }
        let both = self
            .any_user_client
            .get(client_id)
            .copied()
            .or(self.any_user_any_client);
        both.map(counted(user, client_id))
            .or_else(|| self.any_user.map(counted(user, "")))
            .or_else(|| {
                let client = self.client.get(client_id).copied();
                client.or(self.any_client).map(counted("", client_id))
            })
    }

    /// The limit of connections from an address.
    pub fn limit_of_ip(&self, ip: IpAddr) -> Option<f64> {
        if self.is_empty() {
            return None;
        }
        // A socket that takes both families gives version 4 addresses in a mapped form.
        self.ip.get(&ip.to_canonical()).copied().or(self.any_ip)
    }
}

/// Sets and removes limits of one entity; one without any is no row.
pub(crate) fn set(
    image: &mut Image,
    entity: &QuotaEntity,
    set: &BTreeMap<String, Option<f64>>,
) -> Result<Outcome, Refusal> {
    check_entity(entity)?;
    for (name, limit) in set {
        check_limit(entity, name, *limit)?;
    }
    let before = image.quotas.get(entity);
    let mut limits = before.cloned().unwrap_or_default();
    for (name, limit) in set {
        match limit {
            Some(limit) => limits.insert(name.clone(), *limit),
            None => limits.remove(name),
        };
    }
    if before.map_or(limits.is_empty(), |before| *before == limits) {
        return Ok(Outcome::Unchanged);
    }
    let rows = Arc::make_mut(&mut image.quotas);
    if limits.is_empty() {
        rows.remove(entity);
        return Ok(Outcome::Done);
    }
    if rows.len() >= MAX_ENTITIES && !rows.contains_key(entity) {
        return Err(refuse(format!(
            "at most {MAX_ENTITIES} entities can have quotas"
        )));
    }
    rows.insert(entity.clone(), limits);
    Ok(Outcome::Done)
}

fn check_entity(entity: &QuotaEntity) -> Result<(), Refusal> {
    match (&entity.user, &entity.client_id, &entity.ip) {
        (None, None, None) => Err(refuse(
            "a quota is for a user, a client-id, both, or an ip; none is named".to_owned(),
        )),
        (None, None, Some(QuotaName::Named(ip))) => match ip.parse::<IpAddr>() {
            Ok(address) if address.to_string() == *ip => Ok(()),
            _ => Err(refuse(format!(
                "`{}` is not an IP address",
                ip.chars().take(64).collect::<String>()
            ))),
        },
        (None, None, Some(QuotaName::Default)) => Ok(()),
        (_, _, Some(_)) => Err(refuse(
            "a quota for an ip cannot be combined with a user or a client-id".to_owned(),
        )),
        (user, client_id, None) => {
            let long = [user, client_id].into_iter().flatten().any(
                |name| matches!(name, QuotaName::Named(name) if name.is_empty() || name.len() > MAX_NAME_LEN),
            );
            match long {
                true => Err(refuse(format!(
                    "the name of a user or client has 1 to {MAX_NAME_LEN} bytes"
                ))),
                false => Ok(()),
            }
        }
    }
}

fn check_limit(entity: &QuotaEntity, name: &str, limit: Option<f64>) -> Result<(), Refusal> {
    let short: String = name.chars().take(64).collect();
    let key = QuotaKey::from_name(name)
        .ok_or_else(|| refuse(format!("`{short}` is not the key of a quota")))?;
    if key.of_ip() != entity.ip.is_some() {
        return Err(refuse(match key.of_ip() {
            true => format!("{name} is a limit of an ip, not of a user or client-id"),
            false => format!("{name} is a limit of a user or client-id, not of an ip"),
        }));
    }
    let Some(limit) = limit else { return Ok(()) };
    if !limit.is_finite() || limit <= 0.0 {
        return Err(refuse(format!(
            "{name} must be greater than 0, not {limit}"
        )));
    }
    match key.most_whole() {
        Some(most) if limit.fract() != 0.0 || limit > most => Err(refuse(format!(
            "{name} must be a whole number of at most {most:.0}, not {limit}"
        ))),
        _ => Ok(()),
    }
}

fn refuse(sentence: String) -> Refusal {
    Refusal::InvalidRequest(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<QuotaName> {
        match text {
            "" => None,
            "*" => Some(QuotaName::Default),
            text => Some(QuotaName::Named(text.to_owned())),
        }
    }

    fn entity(user: &str, client_id: &str, ip: &str) -> QuotaEntity {
        QuotaEntity {
            user: name(user),
            client_id: name(client_id),
            ip: name(ip),
        }
    }

    fn change(
        image: &mut Image,
        entity: &QuotaEntity,
        key: &str,
        limit: Option<f64>,
    ) -> Result<Outcome, Refusal> {
        set(image, entity, &[(key.to_owned(), limit)].into())
    }

    /// Kafka's order, from strong to weak, with whose use is counted together.
    const LEVELS: [(&str, &str, &str, &str); 8] = [
        ("u", "c", "u", "c"),
        ("u", "*", "u", "c"),
        ("u", "", "u", ""),
        ("*", "c", "u", "c"),
        ("*", "*", "u", "c"),
        ("*", "", "u", ""),
        ("", "c", "", "c"),
        ("", "*", "", "c"),
    ];

    #[test]
    fn the_most_specific_row_counts() {
        for strongest in 0..LEVELS.len() {
            let mut image = Image::default();
            for (at, (user, client, ..)) in LEVELS.iter().enumerate().skip(strongest) {
                let row = entity(user, client, "");
                change(
                    &mut image,
                    &row,
                    "producer_byte_rate",
                    Some(at as f64 + 1.0),
                )
                .unwrap();
            }
            let table = QuotaTable::of(&image.quotas, QuotaKey::ProducerByteRate);
            let (_, _, user, client_id) = LEVELS[strongest];
            let limit = strongest as f64 + 1.0;
            let expected = QuotaLimit {
                limit,
                user,
                client_id,
            };
            assert_eq!(table.limit("u", "c"), Some(expected));
            let others = QuotaTable::of(&image.quotas, QuotaKey::ConsumerByteRate);
            assert_eq!(others.limit("u", "c"), None);
        }
    }

    #[test]
    fn who_has_no_row_has_no_limit() {
        let mut image = Image::default();
        let row = entity("u", "c", "");
        change(&mut image, &row, "consumer_byte_rate", Some(5.0)).unwrap();
        let table = QuotaTable::of(&image.quotas, QuotaKey::ConsumerByteRate);
        assert!(table.limit("u", "c").is_some());
        assert_eq!(table.limit("u", "d"), None);
        assert_eq!(table.limit("v", "c"), None);
        assert!(QuotaTable::of(&image.quotas, QuotaKey::RequestPercentage).is_empty());
    }

    #[test]
    fn addresses_have_limits_of_their_own() {
        let mut image = Image::default();
        let key = "connection_creation_rate";
        change(&mut image, &entity("", "", "10.0.0.1"), key, Some(3.0)).unwrap();
        change(&mut image, &entity("", "", "*"), key, Some(9.0)).unwrap();
        let table = QuotaTable::of(&image.quotas, QuotaKey::ConnectionCreationRate);
        assert_eq!(table.limit_of_ip([10, 0, 0, 1].into()), Some(3.0));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(table.limit_of_ip(mapped), Some(3.0));
        assert_eq!(table.limit_of_ip([10, 0, 0, 2].into()), Some(9.0));
    }

    #[test]
    fn what_is_no_quota_is_refused_with_a_sentence() {
        let mut image = Image::default();
        let user = entity("u", "", "");
        let mut refused = |entity: &QuotaEntity, key: &str, limit: f64, word: &str| {
            let error = change(&mut image, entity, key, Some(limit)).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        };
        refused(
            &entity("", "", ""),
            "producer_byte_rate",
            1.0,
            "none is named",
        );
        refused(
            &entity("u", "", "10.0.0.1"),
            "producer_byte_rate",
            1.0,
            "combined",
        );
        refused(
            &entity("", "", "host"),
            "connection_creation_rate",
            1.0,
            "IP address",
        );
        refused(
            &entity("", "", "10.0.0.1"),
            "producer_byte_rate",
            1.0,
            "not of an ip",
        );
        refused(&user, "connection_creation_rate", 1.0, "of an ip");
        refused(&user, "bytes", 1.0, "not the key");
        refused(&user, "producer_byte_rate", 0.0, "greater than 0");
        refused(&user, "producer_byte_rate", -1.0, "greater than 0");
        refused(&user, "request_percentage", f64::NAN, "greater than 0");
        refused(&user, "request_percentage", f64::INFINITY, "greater than 0");
        refused(&user, "producer_byte_rate", 1.5, "whole number");
        let long = "x".repeat(MAX_NAME_LEN + 1);
        refused(&entity(&long, "", ""), "producer_byte_rate", 1.0, "bytes");
        assert!(image.quotas.is_empty());
        assert!(change(&mut image, &user, "request_percentage", Some(0.5)).is_ok());
    }

    #[test]
    fn a_row_without_limits_is_gone() {
        let mut image = Image::default();
        let row = entity("*", "", "");
        let key = "controller_mutation_rate";
        assert_eq!(change(&mut image, &row, key, None), Ok(Outcome::Unchanged));
        assert_eq!(change(&mut image, &row, key, Some(2.0)), Ok(Outcome::Done));
        assert_eq!(
            change(&mut image, &row, key, Some(2.0)),
            Ok(Outcome::Unchanged)
        );
        assert_eq!(image.quotas.len(), 1);
        assert_eq!(change(&mut image, &row, key, None), Ok(Outcome::Done));
        assert!(image.quotas.is_empty());
    }

    #[test]
    fn filters_are_kafkas() {
        let rows = [
            entity("u", "", ""),
            entity("*", "", ""),
            entity("u", "c", ""),
            entity("u", "*", ""),
            entity("", "c", ""),
            entity("", "", "10.0.0.1"),
        ];
        let found = |filter: QuotaFilter| -> Vec<usize> {
            (0..rows.len())
                .filter(|at| filter.matches(&rows[*at]))
                .collect()
        };
        let exact = |name: &str| Some(QuotaMatch::Exact(name.to_owned()));
        let user = |user: Option<QuotaMatch>, strict| QuotaFilter {
            user,
            strict,
            ..QuotaFilter::default()
        };
        assert_eq!(found(QuotaFilter::default()), [0, 1, 2, 3, 4, 5]);
        assert_eq!(found(user(None, true)), [] as [usize; 0]);
        assert_eq!(found(user(exact("u"), false)), [0, 2, 3]);
        assert_eq!(found(user(exact("u"), true)), [0]);
        assert_eq!(found(user(Some(QuotaMatch::Default), false)), [1]);
        assert_eq!(found(user(Some(QuotaMatch::Any), true)), [0, 1]);
        let both = QuotaFilter {
            user: exact("u"),
            client_id: Some(QuotaMatch::Any),
            ip: None,
            strict: true,
        };
        assert_eq!(found(both), [2, 3]);
    }
}
