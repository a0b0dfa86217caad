//! `redact`: masks, hashes or removes parts of records. See `README.md`.

mod place;
mod token;

use serde::Deserialize;
use tidegate::{
    Batch, Columns, Config as _, Description, Edit, Edits, Record, Transform, Verdict, host,
    json::{Change, Json, Pointers, write_string},
};

use crate::{place::Place, token::Tokens};

#[derive(tidegate::Config)]
pub struct Config {
    /// What is replaced by the text of mask.with, comma-separated: value, key, header:<name> or
    /// json:<pointer>, a place in the value as RFC 6901 writes it, in which * stands for every
    /// member or element.
    #[config(default = "")]
    mask: Vec<Place>,
    /// What is replaced by a keyed hash, so that equal things stay equal; written as mask is.
    #[config(default = "")]
    hash: Vec<Place>,
    /// What is removed; written as mask is.
    #[config(default = "")]
    remove: Vec<Place>,
    /// What stands where something was masked.
    #[config(default = "***")]
    mask_with: String,
    /// The secret of the hashes, of at least 16 bytes; needed by hash.
    #[config(secret)]
    hash_key: Option<String>,
    /// What becomes of a record whose value should have json: places in it and is not JSON: reject,
    /// drop or keep.
    #[config(default = "reject")]
    on_invalid: OnInvalid,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum OnInvalid {
    Reject,
    Drop,
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Mask,
    Hash,
    Remove,
}

/// Hides parts of records.
pub struct Redact {
    key: Option<Action>,
    value: Option<Action>,
    headers: Vec<(String, Action)>,
    json: Option<Pointers>,
    /// Of each of the pointers in `json`.
    json_actions: Vec<Action>,
    mask: String,
    tokens: Option<Tokens>,
    on_invalid: OnInvalid,
}

#[tidegate::transform]
impl Transform for Redact {
    type Config = Config;

    fn describe() -> Description {
        let columns = Columns::KEY | Columns::VALUE | Columns::HEADERS;
        let description = Description::new("redact", env!("CARGO_PKG_VERSION"))
            .summary("Masks, hashes or removes parts of records.")
            .columns(columns)
            .writes(columns);
        Config::keys()
            .into_iter()
            .fold(description, Description::config)
    }

    fn configure(config: Config) -> Result<Self, String> {
        let mut plan = Self {
            key: None,
            value: None,
            headers: Vec::new(),
            json: None,
            json_actions: Vec::new(),
            mask: config.mask_with,
            tokens: None,
            on_invalid: config.on_invalid,
        };
        if !config.hash.is_empty() {
            let key = config.hash_key.ok_or("`hash` needs a `hash.key`")?;
            plan.tokens = Some(Tokens::new(key.as_bytes())?);
        }
        let mut pointers = Vec::new();
        for (places, action) in [
            (config.mask, Action::Mask),
            (config.hash, Action::Hash),
            (config.remove, Action::Remove),
        ] {
            for place in places {
                plan.add(place, action, &mut pointers)?;
            }
        }
        if !pointers.is_empty() {
            if plan.value.is_some() {
                return Err("`value` is hidden as a whole; leave out the json: places".into());
            }
            plan.json = Some(Pointers::parse(pointers.iter().map(String::as_str))?);
        }
        if plan.columns() == Some(Columns::empty()) {
            return Err("there is nothing to do: set `mask`, `hash` or `remove`".into());
        }
        Ok(plan)
    }

    fn columns(&self) -> Option<Columns> {
        let mut columns = Columns::empty();
        columns.set(Columns::KEY, self.key.is_some());
        columns.set(Columns::VALUE, self.value.is_some() || self.json.is_some());
        columns.set(Columns::HEADERS, !self.headers.is_empty());
        Some(columns)
    }

    fn transform(&mut self, record: &Record<'_>, edit: &mut Edit<'_>) -> Verdict {
        self.redact(record, edit, &mut 0)
    }

    fn transform_batch(&mut self, batch: &Batch, edits: &mut Edits) -> Result<(), String> {
        let mut redacted = 0;
        for record in batch.records() {
            let verdict = self.redact(&record, &mut edits.record(&record), &mut redacted);
            if verdict != Verdict::Keep {
                edits.verdicts().set(record.index(), verdict);
            }
        }
        if redacted > 0 {
            host::counter("redacted", redacted);
        }
        Ok(())
    }
}

impl Redact {
    fn add(
        &mut self,
        place: Place,
        action: Action,
        pointers: &mut Vec<String>,
    ) -> Result<(), String> {
        let twice = |place: &str| Err(format!("`{place}` is given twice"));
        match place {
            Place::Key if self.key.is_some() => return twice("key"),
            Place::Key => self.key = Some(action),
            Place::Value if self.value.is_some() => return twice("value"),
            Place::Value => self.value = Some(action),
            Place::Header(name) if self.headers.iter().any(|(known, _)| *known == name) => {
                return twice(&format!("header:{name}"));
            }
            Place::Header(name) => self.headers.push((name, action)),
            Place::Json(pointer) => {
                pointers.push(pointer);
                self.json_actions.push(action);
            }
        }
        Ok(())
    }

    fn redact(&self, record: &Record<'_>, edit: &mut Edit<'_>, redacted: &mut u64) -> Verdict {
        if let (Some(action), Some(key)) = (self.key, record.key()) {
            match self.hidden(action, key).as_deref() {
                Some(hidden) => edit.set_key(hidden),
                None => edit.set_null_key(),
            };
            *redacted += 1;
        }
        if !self.headers.is_empty() {
            self.redact_headers(record, edit, redacted);
        }
        let Some(value) = record.value() else {
            return Verdict::Keep;
        };
        if let Some(action) = self.value {
            match self.hidden(action, value).as_deref() {
                Some(hidden) => edit.set_value(hidden),
                None => edit.set_null_value(),
            };
            *redacted += 1;
        }
        match &self.json {
            Some(pointers) => self.redact_json(pointers, value, edit, redacted),
            None => Verdict::Keep,
        }
    }

    fn redact_headers(&self, record: &Record<'_>, edit: &mut Edit<'_>, redacted: &mut u64) {
        let action = |name: &[u8]| {
            let mut headers = self.headers.iter();
            let found = headers.find(|(known, _)| known.as_bytes() == name)?;
            Some(found.1)
        };
        if record.headers().all(|(name, _)| action(name).is_none()) {
            return;
        }
        edit.clear_headers();
        for (name, value) in record.headers() {
            match (action(name), value) {
                (Some(Action::Remove), _) => *redacted += 1,
                (Some(action), Some(value)) => {
                    *redacted += 1;
                    edit.add_header(name, self.hidden(action, value).unwrap_or_default());
                }
                (None, Some(value)) => {
                    edit.add_header(name, value);
                }
                (_, None) => {
                    edit.add_null_header(name);
                }
            }
        }
    }

    fn redact_json(
        &self,
        pointers: &Pointers,
        value: &[u8],
        edit: &mut Edit<'_>,
        redacted: &mut u64,
    ) -> Verdict {
        let mut changes = 0;
        let mut invalid = false;
        edit.write_value(|out| {
            let changed = pointers.rewrite(value, out, |which, json, out| {
                let change = self.change(self.json_actions[which], json, out);
                changes += u64::from(change != Change::Keep);
                change
            });
            invalid = changed.is_err();
            changed == Ok(true)
        });
        if !invalid {
            *redacted += changes;
            return Verdict::Keep;
        }
        match self.on_invalid {
            OnInvalid::Keep => Verdict::Keep,
            OnInvalid::Drop => Verdict::Drop,
            OnInvalid::Reject => Verdict::reject(
                "the value is not JSON, so what must be hidden in it cannot be found",
            ),
        }
    }

    /// JSON's null hides nothing, and stays.
    fn change(&self, action: Action, json: Json<'_>, out: &mut Vec<u8>) -> Change {
        match action {
            Action::Remove => Change::Remove,
            _ if json.is_null() => Change::Keep,
            Action::Mask => {
                write_string(out, self.mask.as_bytes());
                Change::Replace
            }
            Action::Hash => {
                // A string that cannot be read is hashed as it is written.
                let text = json.text();
                let text = text.as_deref().unwrap_or(json.raw());
                write_string(out, self.token(text).as_bytes());
                Change::Replace
            }
        }
    }

    /// What stands for these bytes; `None` is null.
    fn hidden(&self, action: Action, bytes: &[u8]) -> Option<String> {
        match action {
            Action::Mask => Some(self.mask.clone()),
            Action::Hash => Some(self.token(bytes)),
            Action::Remove => None,
        }
    }

    fn token(&self, bytes: &[u8]) -> String {
        // `configure` made them if anything is to be hashed.
        self.tokens
            .as_ref()
            .map(|tokens| tokens.of(bytes))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use tidegate::testing::{self, Outcome, TestRecord, null, value};

    use super::*;

    const KEY: (&str, &str) = ("hash.key", "0123456789abcdef");

    fn kept(config: &[(&str, &str)], record: TestRecord) -> TestRecord {
        match one(config, record) {
            Outcome::Kept(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn one(config: &[(&str, &str)], record: TestRecord) -> Outcome {
        let mut outcomes = testing::transform::<Redact>(config, &[record]).unwrap();
        outcomes.remove(0)
    }

    fn refused(config: &[(&str, &str)]) -> String {
        testing::transform::<Redact>(config, &[]).unwrap_err()
    }

    /// HMAC-SHA256 of `a@b.c` under that key, from `openssl dgst -sha256 -hmac`.
    const HASHED: &str = "c8b9adc27ca0fc812e2cca09aab792e34c9d8d2fce3408abb47cb633bbb5e77f";

    #[test]
    fn json_is_masked_hashed_and_removed() {
        let config = [
            ("mask", "json:/card"),
            ("hash", "json:/user/email"),
            ("remove", "json:/user/password,json:/items/*/note"),
            KEY,
        ];
        let document = r#"{"card": 42, "user": {"email": "a\u0040b.c", "password": "x"}, "items": [{"note": 1}, {"n": 2}]}"#;
        let expected = format!(
            r#"{{"card": "***", "user": {{"email": "{HASHED}"}}, "items": [{{}}, {{"n": 2}}]}}"#
        );
        assert_eq!(kept(&config, value(document)), value(expected));
        assert_eq!(kept(&config, value("{}")), value("{}"));
        assert_eq!(kept(&config, null()), null());
    }

    #[test]
    fn whole_parts() {
        let record = || {
            value("v")
                .key("a@b.c")
                .header("auth", "t1")
                .header("id", "7")
                .header("auth", "t2")
                .null_header("auth")
        };
        let hashed = kept(&[("hash", "key"), KEY], record());
        assert_eq!(
            hashed,
            value("v")
                .key(HASHED)
                .header("auth", "t1")
                .header("id", "7")
                .header("auth", "t2")
                .null_header("auth")
        );
        let masked = kept(&[("mask", "header:auth"), ("mask.with", "-")], record());
        assert_eq!(
            masked,
            value("v")
                .key("a@b.c")
                .header("auth", "-")
                .header("id", "7")
                .header("auth", "-")
                .null_header("auth")
        );
        let removed = kept(&[("remove", "header:auth, value, key")], record());
        assert_eq!(removed, null().header("id", "7"));
    }

    #[test]
    fn nulls_hide_nothing() {
        let config = [("mask", "json:/a"), ("remove", "json:/b")];
        let document = value(r#"{"a": null, "b": null}"#);
        assert_eq!(kept(&config, document), value(r#"{"a": null}"#));
    }

    #[test]
    fn what_is_not_json_meets_the_policy() {
        let with = |policy| [("mask", "json:/a"), ("on.invalid", policy)];
        assert_eq!(one(&with("drop"), value("{")), Outcome::Dropped);
        assert_eq!(kept(&with("keep"), value("{")), value("{"));
        let Outcome::Rejected(reason) = one(&with("reject"), value(r#"{"a": 1"#)) else {
            panic!("not rejected");
        };
        assert!(reason.contains("not JSON"), "{reason}");
    }

    #[test]
    fn bad_configurations_are_refused() {
        assert_eq!(
            refused(&[]),
            "there is nothing to do: set `mask`, `hash` or `remove`"
        );
        assert_eq!(refused(&[("hash", "key")]), "`hash` needs a `hash.key`");
        assert_eq!(
            refused(&[("hash", "key"), ("hash.key", "short")]),
            "`hash.key` has 5 bytes; a secret needs at least 16"
        );
        assert_eq!(
            refused(&[("mask", "key"), ("remove", "key")]),
            "`key` is given twice"
        );
        assert_eq!(
            refused(&[("mask", "value,json:/a")]),
            "`value` is hidden as a whole; leave out the json: places"
        );
        assert_eq!(
            refused(&[("mask", "json:/a"), ("remove", "json:/a")]),
            "the JSON pointer `/a` is given twice"
        );
        assert_eq!(
            refused(&[("mask", "json:")]),
            "config key `mask`: `json:` is the whole value; write value"
        );
        assert_eq!(
            refused(&[("mask", "body")]),
            "config key `mask`: `body` is none of value, key, header:<name> and json:<pointer>"
        );
    }
}
