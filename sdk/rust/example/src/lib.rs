//! `pick`: keeps the records whose value contains a text or, with `field`, those whose JSON member equals it.

use memchr::memmem::Finder;
use serde::Deserialize;
use tidegate::{
    host::{self, Level},
    json::Pointer,
    prelude::*,
};

#[derive(Deserialize)]
pub struct Config {
    text: String,
    field: String,
    #[serde(rename = "max.bytes")]
    max_bytes: i64,
}

pub struct Pick {
    text: Finder<'static>,
    /// `None`: the text stands anywhere in the value.
    field: Option<Pointer>,
    max_bytes: usize,
}

#[tidegate::filter]
impl Filter for Pick {
    type Config = Config;

    fn describe() -> Description {
        Description::new("pick", env!("CARGO_PKG_VERSION"))
            .summary("Keeps the records whose value has a text in it.")
            .columns(Columns::VALUE)
            .config(ConfigKey::text("text").required().doc("What to look for."))
            .config(ConfigKey::text("field").default("").doc(
                "A member of the JSON object in the value, which must be a string equal to `text`. \
                 Empty: `text` stands anywhere in the value.",
            ))
            .config(
                ConfigKey::integer("max.bytes")
                    .default("65536")
                    .doc("The longest value that is not rejected."),
            )
    }

    fn configure(config: Config) -> Result<Self, String> {
        if config.text.is_empty() {
            return Err("`text` is empty, which would keep everything".into());
        }
        if config.max_bytes < 1 {
            let sentence = format!("`max.bytes` must be above 0, and is {}", config.max_bytes);
            return Err(sentence);
        }
        let member = config.field.replace('~', "~0").replace('/', "~1");
        let field = (!member.is_empty()).then(|| Pointer::parse(&format!("/{member}")));
        Ok(Self {
            text: Finder::new(&config.text).into_owned(),
            field: field.transpose()?,
            max_bytes: config.max_bytes as usize,
        })
    }

    fn filter(&mut self, record: &Record<'_>) -> Verdict {
        let Some(value) = record.value() else {
            return Verdict::Drop;
        };
        if value.len() > self.max_bytes {
            return Verdict::reject(format!(
                "the value has {} bytes, and at most {} are allowed",
                value.len(),
                self.max_bytes
            ));
        }
        let found = match &self.field {
            None => self.text.find(value).is_some(),
            Some(field) => self.member_is_text(field, value),
        };
        found.into()
    }

    fn filter_batch(&mut self, batch: &Batch, verdicts: &mut Verdicts) -> Result<(), String> {
        let (mut kept, mut rejected) = (0, 0);
        for record in batch.records() {
            let verdict = self.filter(&record);
            kept += u64::from(verdict == Verdict::Keep);
            rejected += usize::from(matches!(verdict, Verdict::Reject(_)));
            verdicts.set(record.index(), verdict);
        }
        if kept > 0 {
            host::counter("kept", kept);
        }
        if rejected > 0 {
            let sentence = format!("{rejected} of {} values are too long", batch.len());
            host::log(Level::Warn, &sentence);
        }
        Ok(())
    }
}

impl Pick {
    fn member_is_text(&self, field: &Pointer, value: &[u8]) -> bool {
        let object = value.trim_ascii_start().starts_with(b"{");
        let found = field
            .find(value)
            .filter(|json| json.raw().starts_with(b"\""));
        object
            && found
                .and_then(|json| json.text())
                .is_some_and(|text| *text == *self.text.needle())
    }
}
