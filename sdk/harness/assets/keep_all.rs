//! The filter in `keep_all.wasm`: keeps every record and looks at none. `tidegate plugin bench` shows beside a plugin what
//! this one costs on the same columns: the call and the columns alone. Built as `tests/README.md` says.

use serde::Deserialize;
use tidegate_sdk::prelude::*;

#[derive(Deserialize)]
pub struct Config {
    columns: String,
}

pub struct KeepAll(Columns);

#[tidegate_sdk::filter]
impl Filter for KeepAll {
    type Config = Config;

    fn describe() -> Description {
        Description::new("keep-all", "0.1.0")
            .summary("Keeps every record and looks at none.")
            .columns(Columns::KEY | Columns::VALUE | Columns::HEADERS | Columns::TIMESTAMP)
            .config(ConfigKey::text("columns").default("").doc("The columns to have lowered."))
    }

    fn configure(config: Config) -> Result<Self, String> {
        let mut columns = Columns::empty();
        for name in config.columns.split(',').filter(|name| !name.is_empty()) {
            columns |= match name {
                "key" => Columns::KEY,
                "value" => Columns::VALUE,
                "headers" => Columns::HEADERS,
                "timestamp" => Columns::TIMESTAMP,
                other => return Err(format!("`{other}` is no column")),
            };
        }
        Ok(KeepAll(columns))
    }

    fn columns(&self) -> Option<Columns> {
        Some(self.0)
    }

    fn filter(&mut self, _: &Record<'_>) -> Verdict {
        Verdict::Keep
    }

    fn filter_batch(&mut self, _: &Batch, _: &mut Verdicts) -> Result<(), String> {
        Ok(())
    }
}
