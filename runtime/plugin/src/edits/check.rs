//! The checks on what a transform gave back.
//!
//! After them a column can be read without looking at its shape again: offsets start at 0, never fall and end with the
//! data; every edit has as many entries as rows.

use super::{Edit, EditColumns};
use crate::columns::{BytesColumn, HeadersColumn};
use crate::contract::wire;
use crate::failure::CallError;
use crate::verdict::{Answer, Terms, check_codes, within_records};

/// The least timestamp: -1 is Kafka's "none".
const MIN_TIMESTAMP: i64 = -1;

/// Checks a transform's answer about `count` records.
pub(crate) fn check_edits(
    given: wire::EditsGiven,
    count: usize,
    terms: &Terms<'_>,
) -> Result<Answer, CallError> {
    let rejections = check_codes(&given.codes, given.reasons, count, terms)?;
    let call = Call { count, terms };
    let edits = EditColumns {
        keys: call.bytes("keys", given.keys)?,
        values: call.bytes("values", given.values)?,
        headers: call.headers(given.headers)?,
        timestamps: call.timestamps(given.timestamps)?,
    };
    let replaced = edits.columns();
    let writes = terms.writes;
    for (name, replaced, allowed) in [
        ("keys", replaced.key, writes.key),
        ("values", replaced.value, writes.value),
        ("headers", replaced.headers, writes.headers),
        ("timestamps", replaced.timestamp, writes.timestamp),
    ] {
        if replaced && !allowed {
            return Err(CallError::bad(format!(
                "it replaced {name}, which its description does not name in `writes`"
            )));
        }
    }
    if replaced.key && terms.fixed_keys {
        return Err(CallError::bad(
            "it replaced keys of a compacted topic, where another key is another record",
        ));
    }
    Ok(Answer {
        codes: given.codes,
        rejections,
        edits,
        ..Answer::default()
    })
}

struct Call<'a> {
    count: usize,
    terms: &'a Terms<'a>,
}

impl Call<'_> {
    fn bytes(
        &self,
        name: &str,
        given: Option<wire::BytesEdit>,
    ) -> Result<Option<Edit<BytesColumn>>, CallError> {
        let Some(wire::BytesEdit { rows, column }) = given else {
            return Ok(None);
        };
        let Some(entries) = self.entries(name, &rows, entries_of(&column.offsets))? else {
            return Ok(None);
        };
        let column = bytes_column(name, column, entries)?;
        Ok(Some(Edit { rows, column }))
    }

    fn headers(
        &self,
        given: Option<wire::HeadersEdit>,
    ) -> Result<Option<Edit<HeadersColumn>>, CallError> {
        let Some(wire::HeadersEdit { rows, column }) = given else {
            return Ok(None);
        };
        let Some(entries) = self.entries("headers", &rows, entries_of(&column.offsets))? else {
            return Ok(None);
        };
        let count = entries_of(&column.keys.offsets);
        offsets("headers", &column.offsets, entries, count)?;
        let keys = bytes_column("header keys", column.keys, count)?;
        let values = bytes_column("header values", column.values, count)?;
        if keys.has_null() {
            return Err(CallError::bad("it gave a header whose key is null"));
        }
        let column = HeadersColumn::from_parts(column.offsets, keys, values);
        Ok(Some(Edit { rows, column }))
    }

    fn timestamps(
        &self,
        given: Option<wire::TimestampsEdit>,
    ) -> Result<Option<Edit<Vec<i64>>>, CallError> {
        let Some(wire::TimestampsEdit { rows, values }) = given else {
            return Ok(None);
        };
        let Some(entries) = self.entries("timestamps", &rows, values.len())? else {
            return Ok(None);
        };
        if values.len() != entries {
            return Err(CallError::bad(format!(
                "it gave {} timestamps for {entries} rows",
                values.len()
            )));
        }
        if let Some(wrong) = values.iter().find(|value| **value < MIN_TIMESTAMP) {
            return Err(CallError::bad(format!(
                "it gave the timestamp {wrong}; timestamps are milliseconds since 1970, or -1"
            )));
        }
        let column = values;
        Ok(Some(Edit { rows, column }))
    }

    /// The entries that these rows ask for; `None` when there is neither a row nor an entry, which replaces nothing.
    fn entries(&self, name: &str, rows: &[u32], given: usize) -> Result<Option<usize>, CallError> {
        if rows.is_empty() && given == 0 {
            return Ok(None);
        }
        let entries = match rows.len() {
            0 => self.count,
            rows => rows,
        };
        within_records(&format!("replaced {name}"), entries, self.terms)?;
        let rising = rows.iter().zip(rows.iter().skip(1)).all(|(a, b)| a < b);
        let inside = rows.last().is_none_or(|last| (*last as usize) < self.count);
        if !rising || !inside {
            return Err(CallError::bad(format!(
                "the rows of its {name} do not rise strictly within {} records",
                self.count
            )));
        }
        Ok(Some(entries))
    }
}

fn bytes_column(
    name: &str,
    given: wire::BytesGiven,
    entries: usize,
) -> Result<BytesColumn, CallError> {
    offsets(name, &given.offsets, entries, given.data.len())?;
    if !given.nulls.is_empty() && given.nulls.len() != entries.div_ceil(8) {
        return Err(CallError::bad(format!(
            "it gave {} bytes of null bits for {entries} {name}",
            given.nulls.len()
        )));
    }
    Ok(BytesColumn::from_parts(
        given.offsets,
        given.data,
        given.nulls,
    ))
}

/// One more than entries, from 0 to `end`, never falling. A column of nothing may have no offsets at all.
fn offsets(name: &str, offsets: &[u32], entries: usize, end: usize) -> Result<(), CallError> {
    if offsets.is_empty() && entries == 0 && end == 0 {
        return Ok(());
    }
    if entries_of(offsets) != entries || offsets.is_empty() {
        return Err(CallError::bad(format!(
            "it gave {} offsets for {entries} {name}; there is one more than entries",
            offsets.len()
        )));
    }
    let whole =
        offsets.first() == Some(&0) && offsets.last().is_some_and(|last| *last as usize == end);
    let falls = offsets
        .iter()
        .zip(offsets.iter().skip(1))
        .any(|(a, b)| a > b);
    if !whole || falls {
        return Err(CallError::bad(format!(
            "the offsets of its {name} do not rise from 0 to {end}"
        )));
    }
    Ok(())
}

fn entries_of(offsets: &[u32]) -> usize {
    offsets.len().saturating_sub(1)
}
