//! docs/configuration.md, made from the tables that the broker reads. `TIDEGATE_UPDATE_DOCS=1 cargo test` writes it.

use std::fmt::Write;
use std::path::Path;

use tidegate_metadata::config::{
    Check, ConfigType, LimitDef, broker_defs, group_defs, limit_defs, topic_defs,
};

use super::own_keys;

const HEAD: &str = r#"# Configuration

<!-- Made by runtime/broker/src/config/docs.rs from the tables that the broker reads: change those. -->

`tidegate serve` needs none. `tidegate serve --config FILE` takes a Kafka `server.properties` as it is, or the same keys as
TOML; the extension says which, or else what the file parses as. From weak to strong: the defaults below, the file, the
environment, the command line (`--data-dir`, `--listen`, `--admin`).

- Every key has an environment variable: `TIDEGATE_CFG_LOG_DIRS` is `log.dirs`. A doubled underscore is one underscore.
- In TOML, dotted keys and sections mean the same (`log.retention.hours = 24`, or `[log.retention]`); lists are arrays.
- A key that is not known here is named in a warning. A value that cannot be used stops the start with the key, the value
  and what is expected.
- `--listen` leaves the file's `advertised.listeners` aside. Port 0 takes a free port, and what is advertised follows it.
- Only PLAINTEXT listeners are served by this version; a listener of another protocol stops the start.

## Plugins and topics in the file

A start applies them where they are not so yet, and only adds: what has left the file stays.

```toml
[[plugin]]
name = "match"
version = "0.1.0"
path = "plugins/match.wasm"          # from the file's directory
signature = "plugins/match.wasm.sig" # where tidegate.plugins.trusted.keys asks for one

[topic."orders"]
partitions = 4                       # also replication.factor
tidegate.produce.chain = ["match"]
"tidegate.plugin.match.field" = "value"
"tidegate.plugin.match.op" = "contains"
"tidegate.plugin.match.value" = "error"
```

In a properties file the same is

```properties
plugin.match.version=0.1.0
plugin.match.path=plugins/match.wasm
topic.orders.partitions=4
topic.orders.tidegate.produce.chain=match
topic.orders.tidegate.plugin.match.field=value
topic.orders.tidegate.plugin.match.op=contains
topic.orders.tidegate.plugin.match.value=error
```

Every topic config that starts with `tidegate.` (chains, policies, `tidegate.plugin.<alias>.<key>`, `tidegate.limit.<alias>.<name>`)
is at the top of the file every topic's default.
"#;

fn page() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n## Tidegate's own keys\n\n| key | type | default | |\n|---|---|---|---|\n");
    for key in own_keys() {
        row(
            &mut out,
            key.name,
            key.kind,
            key.default,
            key.check,
            key.doc,
        );
    }
    out.push_str("\n## Kafka's broker keys\n\n| key | type | default | |\n|---|---|---|---|\n");
    for def in broker_defs() {
        row(
            &mut out,
            def.name,
            def.kind,
            def.default.unwrap_or_default(),
            def.check,
            def.doc,
        );
    }
    out.push_str(
        "\n## Topic configs\n\nSet with any Kafka admin tool, `tidegate topic alter`, or in the file's topic sections. The \
         broker key in the last column gives the default.\n\n\
         | config | type | default | | broker key |\n|---|---|---|---|---|\n",
    );
    for def in topic_defs() {
        row(
            &mut out,
            def.name,
            def.kind,
            def.default,
            def.check,
            def.doc,
        );
        let synonyms: Vec<String> = def
            .synonyms
            .iter()
            .map(|s| format!("`{}`", s.name))
            .collect();
        out.pop();
        let _ = writeln!(out, " {} |", synonyms.join(", "));
    }
    for (name, kind, meaning) in [
        (
            "tidegate.plugin.<alias>.<key>",
            "string",
            "Setting `key` of the plugin that stands as `alias` in a chain; `tidegate plugin show NAME` lists them.",
        ),
        (
            "tidegate.on.error.<alias>",
            "string",
            "`tidegate.on.error` for one alias, instead of the topic's.",
        ),
        (
            "tidegate.on.reject.<alias>",
            "string",
            "`tidegate.on.reject` for one alias, instead of the topic's.",
        ),
    ] {
        let _ = writeln!(out, "| `{name}` | {kind} | | {meaning} | the same |");
    }
    for limit in limit_defs() {
        let name = format!("tidegate.limit.<alias>.{}", limit.name);
        row(&mut out, &name, LimitDef::KIND, "", limit.check, limit.doc);
        out.pop();
        let _ = writeln!(out, " the same, else `tidegate.plugins.{}` |", limit.name);
    }
    out.push_str(
        "\n## Configs of consumer groups\n\nFor groups whose coordinator assigns (KIP-848): \
         `kafka-configs --entity-type groups --entity-name GROUP --alter --add-config KEY=VALUE`. The default is what the broker \
         key says, whose bounds hold here too.\n\n| config | type | default | | broker key |\n|---|---|---|---|---|\n",
    );
    for def in group_defs() {
        row(&mut out, def.name, ConfigType::Int, "", def.check, def.doc);
        out.pop();
        let _ = writeln!(out, " `{}` |", def.broker_name);
    }
    out
}

/// The largest number is no limit where it counts bytes, and never where it counts time.
fn is_rate(name: &str) -> bool {
    name.ends_with(".rate") || name.ends_with(".per.second")
}

fn row(out: &mut String, name: &str, kind: ConfigType, default: &str, check: Check, doc: &str) {
    let kind = format!("{kind:?}").to_lowercase();
    let default = match default {
        "" => String::new(),
        "9223372036854775807" if is_rate(name) => "unlimited".to_owned(),
        "9223372036854775807" => "never".to_owned(),
        text => format!("`{text}`"),
    };
    let doc = doc.replace('|', "\\|");
    let allowed = match check {
        Check::AtLeast(min) if min > 0 => format!(" At least {min}."),
        Check::Between(min, max) => format!(" From {min} to {max}."),
        Check::OneOf(values) => format!(" One of {}.", values.join(", ")),
        _ => String::new(),
    };
    let _ = writeln!(out, "| `{name}` | {kind} | {default} | {doc}{allowed} |");
}

#[test]
fn the_page_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = page();
    if std::env::var_os("TIDEGATE_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/configuration.md is not what the tables say; write it with TIDEGATE_UPDATE_DOCS=1"
    );
}
