//! Reads, and looks at no more than the headers of batches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Failure;
use crate::connection::Connection;
use crate::figures::{Figures, Start, joined};
use crate::frames::{self, EARLIEST, Fetched, LATEST};
use crate::options::Options;

/// Reads everything that the topic holds when it begins.
pub(crate) fn run(options: &Options) -> Result<Figures, Failure> {
    let mut readers = open(options, EARLIEST)?;
    let start = Start::now();
    let read = thread::scope(|scope| {
        let running: Vec<_> = readers
            .iter_mut()
            .map(|reader| scope.spawn(|| reader.read_all(options)))
            .collect();
        total(running.into_iter().map(|reader| joined(reader.join())))
    })?;
    Ok(start
        .figures(read.records, read.bytes)
        .with("requests", read.requests as f64))
}

/// What consumers were given.
#[derive(Copy, Clone, Default)]
pub(crate) struct Read {
    pub(crate) records: u64,
    /// Of batches, as they travel.
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
}

pub(crate) fn total(reads: impl Iterator<Item = Result<Read, Failure>>) -> Result<Read, Failure> {
    reads.into_iter().try_fold(Read::default(), |sum, read| {
        let read = read?;
        Ok(Read {
            records: sum.records + read.records,
            bytes: sum.bytes + read.bytes,
            requests: sum.requests + read.requests,
        })
    })
}

/// One consumer of all partitions, at [`EARLIEST`] or [`LATEST`], for each that the options ask for.
pub(crate) fn open(options: &Options, at: i64) -> Result<Vec<Reader>, Failure> {
    (0..options.consumers)
        .map(|_| Reader::open(options, at))
        .collect()
}

pub(crate) struct Reader {
    connection: Connection,
    offsets: Vec<i64>,
    read: Read,
    correlation: u32,
}

impl Reader {
    pub(crate) fn open(options: &Options, at: i64) -> Result<Reader, Failure> {
        let mut connection = Connection::open(&options.bootstrap)?;
        let offsets = frames::offsets(&mut connection, options, at)?;
        Ok(Reader {
            connection,
            offsets,
            read: Read::default(),
            correlation: 0,
        })
    }

    pub(crate) fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    /// One poll, which may bring nothing.
    pub(crate) fn poll(
        &mut self,
        options: &Options,
        mut see: impl FnMut(Fetched),
    ) -> Result<(), Failure> {
        let mut frame = frames::fetch(options, &self.offsets)?;
        self.correlation = self.correlation.wrapping_add(1);
        self.connection.send(&mut frame, self.correlation)?;
        let body = self.connection.receive(self.correlation)?;
        let (offsets, read) = (&mut self.offsets, &mut self.read);
        read.requests += 1;
        frames::fetched(body, |batch| {
            if let Some(offset) = offsets.get_mut(batch.partition) {
                *offset = batch.next_offset;
            }
            read.records += batch.records;
            read.bytes += batch.bytes;
            see(batch);
        })
    }

    /// Until so many records have come; the number may still change while nobody has them all.
    pub(crate) fn until(
        &mut self,
        options: &Options,
        records: &AtomicU64,
    ) -> Result<Read, Failure> {
        while self.read.records < records.load(Ordering::Acquire) {
            self.poll(options, |_| {})?;
        }
        Ok(self.read)
    }

    fn read_all(&mut self, options: &Options) -> Result<Read, Failure> {
        let ends = frames::offsets(&mut self.connection, options, LATEST)?;
        let behind = |offsets: &[i64]| offsets.iter().zip(&ends).any(|(at, end)| at < end);
        while behind(&self.offsets) {
            self.poll(options, |_| {})?;
        }
        Ok(self.read)
    }
}
