//! Which dead letters.

use clap::Args;

use super::letter::Letter;

#[derive(Args, Debug, Clone, Default)]
pub(super) struct Select {
    /// Only letters whose FIELD is TEXT: `source` (topic), `plugin`, `kind`, `key`; or contains it: `error`, `value`. Repeat it,
    /// and all must hold.
    #[arg(long = "match", value_name = "FIELD=TEXT", value_parser = test)]
    pub(super) tests: Vec<Test>,
}

/// One `FIELD=TEXT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    field: Field,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Source,
    Plugin,
    Kind,
    Key,
    Error,
    Value,
}

impl Select {
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        self.tests.iter().all(|test| test.holds(letter))
    }

    /// The same for the same selection: progress through one must not count for another.
    pub(super) fn name(&self) -> String {
        let tests = self.tests.iter();
        tests
            .map(|test| format!("{:?}={};", test.field, test.text))
            .collect()
    }
}

impl Test {
    fn holds(&self, letter: &Letter) -> bool {
        let is = |bytes: &Option<Vec<u8>>| bytes.as_deref() == Some(self.text.as_bytes());
        match self.field {
            Field::Source => letter.source.as_ref().is_some_and(|s| s.topic == self.text),
            Field::Plugin => letter.plugin == self.text,
            Field::Kind => letter.kind == self.text,
            Field::Key => is(&letter.key),
            Field::Error => letter.error.contains(&self.text),
            Field::Value => {
                let value = letter.value.as_deref().unwrap_or_default();
                String::from_utf8_lossy(value).contains(&self.text)
            }
        }
    }
}

fn test(text: &str) -> Result<Test, String> {
    let (field, text) = text.split_once('=').ok_or("a test is FIELD=TEXT")?;
    let field = match field {
        "source" => Field::Source,
        "plugin" => Field::Plugin,
        "kind" => Field::Kind,
        "key" => Field::Key,
        "error" => Field::Error,
        "value" => Field::Value,
        other => {
            return Err(format!(
                "`{other}` is none of source, plugin, kind, key, error and value"
            ));
        }
    };
    Ok(Test {
        field,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::{OF_ORDERS, letter};
    use super::*;

    #[test]
    fn all_tests_must_hold() {
        let letter = letter(OF_ORDERS);
        let select = |tests: &[&str]| Select {
            tests: tests.iter().map(|t| test(t).unwrap()).collect(),
        };
        assert!(select(&[]).takes(&letter));
        assert!(
            select(&[
                "source=orders",
                "plugin=validate",
                "error=no id",
                "value=7",
                "key=k"
            ])
            .takes(&letter)
        );
        for other in [
            "source=order",
            "plugin=v",
            "kind=trap",
            "error=xyz",
            "value=8",
            "key=",
        ] {
            assert!(!select(&["source=orders", other]).takes(&letter), "{other}");
        }
        assert!(test("colour=red").is_err() && test("plugin").is_err());
        assert_ne!(select(&["key=a"]).name(), select(&["value=a"]).name());
    }
}
