//! Entities of client quotas as requests name them, shared by the two APIs that set and describe them.

use std::net::IpAddr;

use kafka_protocol::protocol::StrBytes;
use tidegate_metadata::quota::{QuotaEntity, QuotaName};

use super::topic_admin::AdminError;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// What stands at the type of this name: of an entity, or of a filter. An error is a sentence.
pub(super) fn at<'a, T>(
    (user, client_id, ip): (&'a mut Option<T>, &'a mut Option<T>, &'a mut Option<T>),
    kind: &str,
) -> Result<&'a mut Option<T>, String> {
    match kind {
        USER => Ok(user),
        CLIENT_ID => Ok(client_id),
        IP => Ok(ip),
        other => Err(format!(
            "`{}` is not a type of entity; those are {USER}, {CLIENT_ID} and {IP}",
            other.chars().take(64).collect::<String>()
        )),
    }
}

/// Reads an entity: pairs of a type and a name, null for the default.
pub(super) fn read<'a>(
    parts: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<QuotaEntity, AdminError> {
    let mut entity = QuotaEntity::default();
    for (kind, name) in parts {
        let places = (&mut entity.user, &mut entity.client_id, &mut entity.ip);
        let place = at(places, kind).map_err(AdminError::invalid_request)?;
        let name = match name {
            None => QuotaName::Default,
            Some(name) => QuotaName::Named(written(kind, name)),
        };
        if place.replace(name).is_some() {
            let why = format!("the entity has more than one {kind}");
            return Err(AdminError::invalid_request(why));
        }
    }
    Ok(entity)
}

/// A name as the image keeps it: an address has many spellings and one of them is kept.
pub(super) fn written(kind: &str, name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(address) if kind == IP => address.to_canonical().to_string(),
        _ => name.to_owned(),
    }
}

/// An entity as responses tell it, in Kafka's order.
pub(super) fn told(entity: &QuotaEntity) -> Vec<(StrBytes, Option<StrBytes>)> {
    let parts = [
        (USER, &entity.user),
        (CLIENT_ID, &entity.client_id),
        (IP, &entity.ip),
    ];
    let told = |(kind, name): (&'static str, &Option<QuotaName>)| {
        let name = match name.as_ref()? {
            QuotaName::Default => None,
            QuotaName::Named(name) => Some(StrBytes::from_string(name.clone())),
        };
        Some((StrBytes::from_static_str(kind), name))
    };
    parts.into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_reads_back() {
        let parts = [("client-id", Some("c")), ("user", None)];
        let entity = read(parts.into_iter()).unwrap();
        assert_eq!(entity.user, Some(QuotaName::Default));
        assert_eq!(entity.client_id, Some(QuotaName::Named("c".to_owned())));
        let told: Vec<_> = told(&entity)
            .into_iter()
            .map(|(kind, name)| (kind.to_string(), name.map(|name| name.to_string())))
            .collect();
        let expected = [("user", None), ("client-id", Some("c"))];
        let expected = expected.map(|(kind, name)| (kind.to_owned(), name.map(str::to_owned)));
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_no_entity_is_refused() {
        for parts in [
            vec![("user", None), ("user", Some("u"))],
            vec![("group", Some("g"))],
            vec![("", None)],
        ] {
            assert!(read(parts.into_iter()).is_err());
        }
    }

    #[test]
    fn an_address_is_kept_in_one_spelling() {
        let ip = |name| read([("ip", Some(name))].into_iter()).unwrap();
        assert_eq!(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
        assert_eq!(ip("0:0::1"), ip("::1"));
    }
}
