//! One stored key, one file: its codec, its byte layout in the module doc, its property test.
//!
//! | column family | key | value | file |
//! | --- | --- | --- | --- |
//! | `batches` | partition, base offset | the batch as on the wire | [`batch`] |
//! | `rows` | partition, base offset | index row | [`index_row`] |
//! | `notes` | partition, base offset | what the writer noted of the batch | [`note`] |
//! | `aborted` | partition, offset of the marker | the transaction that it aborted | [`aborted`] |
//! | `producers` | partition | snapshot of its producers | [`producers`] |
//! | `partitions` | partition | topic id, index, log start | [`partition`] |
//! | `default` | `format` | format version | [`format`](mod@format) |
//! | `default` | `cleaned`, partition | how far it is compacted | [`cleaned`] |
//!
//! The command log is a database of its own: [`command`] and [`snapshot`], and the same `format`.
//! Integers are big endian, so that byte order is numeric order.

pub(crate) mod aborted;
pub(crate) mod batch;
pub(crate) mod cleaned;
pub(crate) mod command;
pub(crate) mod format;
pub(crate) mod index_row;
pub(crate) mod note;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod snapshot;

use crate::StoreError;

/// Reads fixed-width fields off the front of bytes that came from disk.
pub(crate) struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Fields<'a> {
        Fields { what, rest: bytes }
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (field, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.corrupt())?;
        self.rest = rest;
        Ok(*field)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Every layout is exact: bytes left over mean that something else wrote them.
    pub(crate) fn end(self) -> Result<(), StoreError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.corrupt())
        }
    }

    fn corrupt(&self) -> StoreError {
        StoreError::Corrupt(format!("{}: wrong length", self.what))
    }
}
