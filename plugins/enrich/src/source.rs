//! Where the value of an added header is from.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};
use tidegate::{Batch, Columns, Record, field::Field};

/// Headers to add, in order: name and source.
pub(crate) struct Additions(pub(crate) Vec<(String, Source)>);

pub(crate) enum Source {
    Text(String),
    Topic,
    Partition,
    /// Milliseconds since the Unix epoch, in decimal.
    AppendTime,
    Alias,
    Field(Field),
}

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is none of text:<text>, topic, partition, append-time, alias, key, \
                 header:<name> and json:<pointer>"
            )
        };
        match text {
            "topic" => Ok(Self::Topic),
            "partition" => Ok(Self::Partition),
            "append-time" => Ok(Self::AppendTime),
            "alias" => Ok(Self::Alias),
            // The value belongs in the value.
            "value" => Err(wrong()),
            _ => match text.split_once(':') {
                Some(("text", text)) => Ok(Self::Text(text.into())),
                Some(("header" | "json", _)) => Ok(Self::Field(
                    text.parse()
                        .map_err(|error: tidegate::field::FieldError| error.to_string())?,
                )),
                _ if text == "key" => Ok(Self::Field(Field::Key)),
                _ => Err(wrong()),
            },
        }
    }

    pub(crate) fn columns(&self) -> Columns {
        match self {
            Self::Field(field) => field.columns(),
            _ => Columns::empty(),
        }
    }

    /// The value, if it is one for all records of the batch.
    pub(crate) fn of_batch(&self, batch: &Batch) -> Option<Vec<u8>> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Topic => batch.topic().to_owned(),
            Self::Partition => batch.partition().to_string(),
            Self::AppendTime => batch.append_time_ms().to_string(),
            Self::Alias => batch.alias().to_owned(),
            Self::Field(_) => return None,
        };
        Some(text.into_bytes())
    }

    pub(crate) fn of_record<'a>(&self, record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Field(field) => field.get(record),
            _ => None,
        }
    }
}

impl Additions {
    fn parse(text: &str) -> Result<Self, String> {
        let mut additions: Vec<(String, Source)> = Vec::new();
        for entry in entries(text) {
            let entry = entry.trim();
            if entry.is_empty() {
                continue;
            }
            let (name, source) = entry
                .split_once('=')
                .ok_or_else(|| format!("`{entry}` is not written <header>=<source>"))?;
            let name = name.trim();
            if name.is_empty() {
                return Err(format!("`{entry}` names no header"));
            }
            if additions.iter().any(|(known, _)| known == name) {
                return Err(format!("`{name}` is given twice"));
            }
            additions.push((name.into(), Source::parse(source.trim())?));
        }
        if additions.is_empty() {
            return Err("it names no header".into());
        }
        Ok(Self(additions))
    }
}

/// What stands between semicolons; `\;` is one that is meant, and `\\` a backslash.
fn entries(text: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            ';' => {
                entries.push(String::new());
                continue;
            }
            '\\' => letters.next().unwrap_or('\\'),
            letter => letter,
        };
        if let Some(entry) = entries.last_mut() {
            entry.push(letter);
        }
    }
    entries
}

impl<'de> Deserialize<'de> for Additions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
