//! `tidegate quota`: how much clients may use.

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use tidegate_protocol::messages::describe_client_quotas_request::ComponentData;
use tidegate_protocol::messages::describe_client_quotas_response as described;
use tidegate_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use crate::args::Global;
use crate::client::{Client, bytes, check};
use crate::output::{Output, OutputArgs, print_json, print_table, text};

const MATCH_EXACT: i8 = 0;
const MATCH_DEFAULT: i8 = 1;

#[derive(Subcommand, Debug)]
pub(crate) enum QuotaCommand {
    Describe(DescribeArgs),
    Alter(AlterArgs),
}

/// Show the quotas, or those of some entities.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate quota describe
  tidegate quota describe --client-id report      # also rows of this client id and a user
  tidegate quota describe --default-user --strict -o json")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    entity: EntityArgs,
    /// Leave out rows that name more than is asked for.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Set and remove quotas of one entity.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate quota alter --client-id report -q producer_byte_rate=1048576 -q consumer_byte_rate=4194304
  tidegate quota alter --default-client-id -q request_percentage=50
  tidegate quota alter --client-id report --delete producer_byte_rate
  tidegate quota alter --ip 10.0.0.7 -q connection_creation_rate=5

Keys: producer_byte_rate and consumer_byte_rate (bytes per second), request_percentage (of one
processor), controller_mutation_rate (partitions created and deleted per second), and for addresses
connection_creation_rate (per second). Without authentication every user is ANONYMOUS.")]
pub(crate) struct AlterArgs {
    #[command(flatten)]
    entity: EntityArgs,
    /// Set a quota; repeat it for more.
    #[arg(long, short, value_name = "KEY=LIMIT", value_parser = key_limit)]
    quota: Vec<(String, f64)>,
    /// Remove a quota; repeat it for more.
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,
    /// Check everything, change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
struct EntityArgs {
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Users without a quota of their own.
    #[arg(long, conflicts_with = "user")]
    default_user: bool,
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Client ids without a quota of their own.
    #[arg(long, conflicts_with = "client_id")]
    default_client_id: bool,
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Addresses without a quota of their own.
    #[arg(long, conflicts_with = "ip")]
    default_ip: bool,
}

impl EntityArgs {
    /// Types and names, `None` for the default.
    fn parts(&self) -> Vec<(&'static str, Option<&str>)> {
        let named = [
            ("user", self.user.as_deref(), self.default_user),
            (
                "client-id",
                self.client_id.as_deref(),
                self.default_client_id,
            ),
            ("ip", self.ip.as_deref(), self.default_ip),
        ];
        named
            .into_iter()
            .filter(|(_, name, default)| name.is_some() || *default)
            .map(|(kind, name, _)| (kind, name))
            .collect()
    }
}

pub(crate) fn run(command: QuotaCommand, global: &Global) -> Result<()> {
    let client = &mut Client::connect(&global.bootstrap)?;
    match command {
        QuotaCommand::Describe(args) => describe(client, &args),
        QuotaCommand::Alter(args) => alter(client, &args),
    }
}

fn describe(client: &mut Client, args: &DescribeArgs) -> Result<()> {
    let components = args.entity.parts().into_iter().map(|(kind, name)| {
        let how = name.map_or(MATCH_DEFAULT, |_| MATCH_EXACT);
        ComponentData::default()
            .with_entity_type(bytes(kind))
            .with_match_type(how)
            .with_match(name.map(bytes))
    });
    let request = DescribeClientQuotasRequest::default()
        .with_components(components.collect())
        .with_strict(args.strict);
    let response = client.bootstrap(1, &request)?;
    check(
        response.error_code,
        response.error_message.as_ref(),
        "quotas",
    )?;
    let rows = response.entries.unwrap_or_default();
    let rows: Vec<Value> = rows.iter().map(row_json).collect();
    if args.output.output == Output::Json {
        return print_json(&rows.into());
    }
    if rows.is_empty() {
        eprintln!("no quotas");
        return Ok(());
    }
    let mut lines = Vec::new();
    for row in &rows {
        for (key, limit) in row["quotas"].as_object().into_iter().flatten() {
            let named = ["user", "client_id", "ip"].map(|kind| shown(&row["entity"], kind));
            lines.push(
                named
                    .into_iter()
                    .chain([key.clone(), text(limit)])
                    .collect(),
            );
        }
    }
    print_table(&["USER", "CLIENT ID", "IP", "QUOTA", "LIMIT"], lines)
}

fn alter(client: &mut Client, args: &AlterArgs) -> Result<()> {
    let parts = args.entity.parts();
    ensure!(
        !parts.is_empty(),
        "for whom? give --user, --client-id or --ip, or the --default- of one"
    );
    ensure!(
        !args.quota.is_empty() || !args.delete.is_empty(),
        "nothing to change; give -q KEY=LIMIT or --delete KEY"
    );
    let set = args.quota.iter().map(|(key, limit)| {
        OpData::default()
            .with_key(bytes(key))
            .with_value(*limit)
            .with_remove(false)
    });
    let delete = args
        .delete
        .iter()
        .map(|key| OpData::default().with_key(bytes(key)).with_remove(true));
    let entity = parts.iter().map(|(kind, name)| {
        EntityData::default()
            .with_entity_type(bytes(kind))
            .with_entity_name(name.map(bytes))
    });
    let entry = EntryData::default()
        .with_entity(entity.collect())
        .with_ops(set.chain(delete).collect());
    let request = AlterClientQuotasRequest::default()
        .with_entries(vec![entry])
        .with_validate_only(args.dry_run);
    let who: Vec<String> = parts
        .iter()
        .map(|(kind, name)| format!("{kind} {}", name.unwrap_or("(default)")))
        .collect();
    let who = who.join(", ");
    for entry in client.controller(1, &request)?.entries {
        check(entry.error_code, entry.error_message.as_ref(), &who)?;
    }
    let done = match args.dry_run {
        true => "could be changed",
        false => "changed",
    };
    eprintln!("quotas of {who} {done}");
    Ok(())
}

/// A default is null, as in Kafka's protocol; a type the row does not have is not there.
fn row_json(row: &described::EntryData) -> Value {
    let mut entity = serde_json::Map::new();
    for part in &row.entity {
        let kind = part.entity_type.replace('-', "_");
        let name = part.entity_name.as_ref().map(|name| name.as_str());
        entity.insert(kind, json!(name));
    }
    let quotas: serde_json::Map<String, Value> = row
        .values
        .iter()
        .map(|quota| (quota.key.to_string(), json!(quota.value)))
        .collect();
    json!({ "entity": entity, "quotas": quotas })
}

fn shown(entity: &Value, kind: &str) -> String {
    match entity.get(kind) {
        None => String::new(),
        Some(Value::Null) => "(default)".to_owned(),
        Some(name) => text(name),
    }
}

fn key_limit(text: &str) -> Result<(String, f64), String> {
    let expected = || "a quota is KEY=LIMIT, and the limit a number".to_owned();
    let (key, limit) = text.split_once('=').ok_or_else(expected)?;
    let limit = limit.trim().parse().map_err(|_| expected())?;
    match key.is_empty() {
        true => Err(expected()),
        false => Ok((key.to_owned(), limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers() {
        let pair = key_limit("request_percentage=12.5").unwrap();
        assert_eq!(pair, ("request_percentage".to_owned(), 12.5));
        assert!(key_limit("a=").is_err() && key_limit("=1").is_err() && key_limit("a").is_err());
    }

    #[test]
    fn a_default_is_named_and_what_is_not_asked_is_left_out() {
        let args = EntityArgs {
            user: None,
            default_user: true,
            client_id: Some("c".to_owned()),
            default_client_id: false,
            ip: None,
            default_ip: false,
        };
        assert_eq!(args.parts(), [("user", None), ("client-id", Some("c"))]);
    }
}
