//! A dead letter: the record as its producer sent it, and headers that say what became of it.

use serde_json::{Value, json};
use tidegate_record::RecordView;
use tidegate_test::Headers;

/// Every header of the broker's own begins so.
const PREFIX: &[u8] = b"tidegate.";

/// One record of a dead-letter topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Letter {
    /// Where it stands in the dead-letter topic.
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since the Unix epoch, as its producer set it.
    pub(super) timestamp: i64,
    /// Where it would have been stored; `None` for a record that is no dead letter.
    pub(super) source: Option<Source>,
    /// The binding that gave it up, by its name in the chain.
    pub(super) plugin: String,
    pub(super) digest: String,
    pub(super) kind: String,
    pub(super) error: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// Those that it came with.
    pub(super) headers: Headers,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) topic: String,
    pub(super) partition: Option<i32>,
    pub(super) offset: Option<i64>,
}

impl Letter {
    pub(super) fn read(partition: i32, offset: i64, record: &RecordView<'_>) -> Letter {
        let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
        let mut letter = Letter {
            partition,
            offset,
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            ..Letter::default()
        };
        let mut source = Source::default();
        for (name, value) in record.headers() {
            if !name.starts_with(PREFIX) {
                letter.headers.push((name.to_vec(), owned(value)));
                continue;
            }
            let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            match name {
                b"tidegate.source.topic" => source.topic = text,
                b"tidegate.source.partition" => source.partition = text.parse().ok(),
                b"tidegate.source.offset" => source.offset = text.parse().ok(),
                b"tidegate.plugin" => letter.plugin = text,
                b"tidegate.plugin.digest" => letter.digest = text,
                b"tidegate.error.kind" => letter.kind = text,
                b"tidegate.error" => letter.error = text,
                _ => {}
            }
        }
        letter.source = (!source.topic.is_empty()).then_some(source);
        letter
    }

    /// `orders/0/4711`, as far as it is known.
    pub(super) fn source_text(&self) -> String {
        let Some(source) = &self.source else {
            return String::new();
        };
        let number = |n: Option<i64>| n.map_or("?".to_owned(), |n| n.to_string());
        format!(
            "{}/{}/{}",
            source.topic,
            number(source.partition.map(i64::from)),
            number(source.offset)
        )
    }

    pub(super) fn json(&self) -> Value {
        let source = self.source.as_ref().map(|source| {
            json!({"topic": source.topic, "partition": source.partition, "offset": source.offset})
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let part = |part: &Option<Vec<u8>>| part.as_deref().map(text);
        let headers = self.headers.iter();
        json!({
            "partition": self.partition,
            "offset": self.offset,
            "timestamp": self.timestamp,
            "source": source,
            "plugin": self.plugin,
            "digest": self.digest,
            "kind": self.kind,
            "error": self.error,
            "key": part(&self.key),
            "value": part(&self.value),
            "headers": headers.map(|(name, value)| json!([text(name), part(value)])).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tidegate_record::{BatchBuilder, Codec, DecodeLimits, Header, RecordParts};

    use super::*;

    pub(crate) fn letter(headers: &[Header<'_>]) -> Letter {
        let mut builder = BatchBuilder::new(Codec::None);
        let parts = RecordParts {
            timestamp: 5,
            key: Some(b"k"),
            value: Some(b"{\"id\": 7}"),
            headers,
            ..RecordParts::default()
        };
        builder.push(parts).unwrap();
        let limits = DecodeLimits {
            max_bytes: 1 << 20,
            max_records: 10,
        };
        let records = builder.build().unwrap().records(limits).unwrap();
        Letter::read(1, 42, &records.get(0).unwrap())
    }

    pub(crate) const OF_ORDERS: &[Header<'_>] = &[
        (b"trace", Some(b"abc")),
        (b"tidegate.source.topic", Some(b"orders")),
        (b"tidegate.source.partition", Some(b"0")),
        (b"tidegate.source.offset", Some(b"4711")),
        (b"tidegate.plugin", Some(b"validate")),
        (b"tidegate.error.kind", Some(b"rejected")),
        (b"tidegate.error", Some(b"no id in it")),
        (b"tidegate.later", Some(b"what this program does not know")),
    ];

    #[test]
    fn headers_say_where_it_came_from() {
        let letter = letter(OF_ORDERS);
        assert_eq!(letter.source_text(), "orders/0/4711");
        assert_eq!(
            (letter.plugin.as_str(), letter.kind.as_str()),
            ("validate", "rejected")
        );
        // Only what its producer sent is left to be sent again.
        assert_eq!(letter.headers, [(b"trace".to_vec(), Some(b"abc".to_vec()))]);
        assert_eq!(letter.json()["source"]["offset"], 4711);
    }

    #[test]
    fn another_record_has_no_source() {
        assert_eq!(letter(&[(b"trace", None)]).source, None);
    }
}
