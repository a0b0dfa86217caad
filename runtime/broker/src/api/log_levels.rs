//! Levels of loggers as configs of the resource BROKER_LOGGER (KIP-412), for the APIs that describe and alter configs.

use tidegate_metadata::config::{ConfigSource, ConfigType};
use tidegate_protocol::error::ErrorCode;

use super::config_changes::{Edit, Wanted};
use super::configs::ConfigEntry;
use super::topic_admin::AdminError;
use crate::broker::Broker;
use crate::loggers::{LogLevel, Loggers, ROOT_LOGGER};

pub(super) fn entries(broker: &Broker) -> Result<Vec<ConfigEntry>, AdminError> {
    let entry = |(name, level): (String, LogLevel)| ConfigEntry {
        doc: format!("How much of {name} goes to the log."),
        name,
        value: Some(level.name().to_owned()),
        source: ConfigSource::BrokerLogger,
        kind: ConfigType::String,
        read_only: false,
        sensitive: false,
        synonyms: Vec::new(),
    };
    Ok(loggers(broker)?.levels().into_iter().map(entry).collect())
}

/// All edits are checked before one is made.
pub(super) fn alter(
    broker: &Broker,
    wanted: Wanted,
    validate_only: bool,
) -> Result<(), AdminError> {
    let loggers = loggers(broker)?;
    let Wanted::Edits(edits) = wanted else {
        return Err(AdminError::invalid_request(
            "levels of loggers are altered one by one, with IncrementalAlterConfigs",
        ));
    };
    let known = loggers.levels();
    let mut checked = Vec::with_capacity(edits.len());
    for (logger, edit) in edits {
        let level = check(&known, &logger, &edit)?;
        checked.push((logger, level));
    }
    if validate_only {
        return Ok(());
    }
    for (logger, level) in checked {
        let set = loggers.set(&logger, level);
        set.map_err(|why| AdminError::new(ErrorCode::UnknownServerError, why))?;
    }
    Ok(())
}

fn check(
    known: &[(String, LogLevel)],
    logger: &str,
    edit: &Edit,
) -> Result<Option<LogLevel>, AdminError> {
    let short: String = logger.chars().take(128).collect();
    if known.iter().all(|(name, _)| name != logger) {
        let why = format!("there is no logger `{short}`; DescribeConfigs lists them");
        return Err(AdminError::new(ErrorCode::InvalidConfig, why));
    }
    match edit {
        Edit::Set(level) => LogLevel::from_name(level).map(Some).ok_or_else(|| {
            let names = LogLevel::ALL.map(LogLevel::name).join(", ");
            let why = format!("the level of {short} must be one of {names}");
            AdminError::new(ErrorCode::InvalidConfig, why)
        }),
        Edit::Delete if logger == ROOT_LOGGER => Err(AdminError::invalid_request(format!(
            "{ROOT_LOGGER} has no other logger to follow, so its level can only be set"
        ))),
        Edit::Delete => Ok(None),
        Edit::Append(_) | Edit::Subtract(_) => Err(AdminError::invalid_request(
            "a level is no list, so it can only be set or deleted",
        )),
    }
}

fn loggers(broker: &Broker) -> Result<&dyn Loggers, AdminError> {
    broker.config.loggers.as_deref().ok_or_else(|| {
        AdminError::invalid_request("the log of this process cannot be changed while it runs")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_checked_as_kafka_does_it() {
        let known = [
            (ROOT_LOGGER.to_owned(), LogLevel::Info),
            ("tidegate_broker".to_owned(), LogLevel::Debug),
        ];
        let checked =
            |logger: &str, edit: Edit| check(&known, logger, &edit).map_err(|error| error.code);
        let set = |level: &str| Edit::Set(level.to_owned());
        let (own, invalid) = ("tidegate_broker", Err(ErrorCode::InvalidConfig));
        assert_eq!(checked(own, set("TRACE")), Ok(Some(LogLevel::Trace)));
        assert_eq!(checked(own, set("FATAL")), Ok(Some(LogLevel::Error)));
        assert_eq!(checked(own, set("debug")), invalid);
        assert_eq!(checked("nobody", set("INFO")), invalid);
        assert_eq!(checked(own, Edit::Delete), Ok(None));
        for (logger, edit) in [
            (ROOT_LOGGER, Edit::Delete),
            (own, Edit::Append("INFO".to_owned())),
        ] {
            assert_eq!(checked(logger, edit), Err(ErrorCode::InvalidRequest));
        }
    }
}
