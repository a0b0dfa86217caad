//! The command line: a command, then `--name value` pairs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tidegate_record::Codec;

use crate::Failure;

/// What to do, with what is not given at its default.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) command: String,
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    /// As on the wire: 1, or -1 for all.
    pub(crate) acks: i16,
    pub(crate) codec: Codec,
    /// Of a value.
    pub(crate) record_bytes: usize,
    /// Of all values of one batch, at least one record.
    pub(crate) batch_bytes: usize,
    /// Percent of records whose value holds `keep`; the others hold `drop`.
    pub(crate) keep: usize,
    pub(crate) connections: usize,
    /// Requests in flight on one connection.
    pub(crate) window: usize,
    /// Records a second over all connections; 0 is flat out.
    pub(crate) rate: f64,
    pub(crate) consumers: usize,
    /// Stops at this many bytes of values, or after this time, whichever comes first.
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    /// Where `floor` has its file.
    pub(crate) directory: PathBuf,
}

impl Options {
    /// # Errors
    ///
    /// A sentence about what is wrong with the arguments.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, Failure> {
        let command = args
            .next()
            .ok_or("say produce, consume, fanout, latency or floor")?;
        let mut given = Given(HashMap::new());
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} has no value"))?;
            given.0.insert(name, value);
        }
        let codec: String = given.take("--codec", "none".to_owned())?;
        let options = Options {
            command,
            bootstrap: given.take("--bootstrap", "127.0.0.1:9092".to_owned())?,
            topic: given.take("--topic", "bench".to_owned())?,
            partitions: given.take("--partitions", 1)?,
            acks: given.take("--acks", -1)?,
            codec: Codec::ALL
                .into_iter()
                .find(|known| known.name() == codec)
                .ok_or_else(|| format!("there is no codec {codec}"))?,
            record_bytes: given.take("--record-bytes", 1000)?,
            batch_bytes: given.take("--batch-bytes", 16_000)?,
            keep: given.take("--keep", 100)?,
            connections: given.take("--connections", 1)?,
            window: given.take("--window", 5)?,
            rate: given.take("--rate", 0.0)?,
            consumers: given.take("--consumers", 1)?,
            bytes: given.take("--bytes", u64::MAX)?,
            time: Duration::from_secs_f64(given.take("--seconds", 10.0)?),
            directory: given.take("--directory", std::env::temp_dir())?,
        };
        match given.0.keys().next() {
            Some(unknown) => Err(format!("there is no option {unknown}").into()),
            None => options.checked(),
        }
    }

    /// Records in each batch.
    pub(crate) fn batch_records(&self) -> usize {
        (self.batch_bytes / self.record_bytes).max(1)
    }

    fn checked(self) -> Result<Options, Failure> {
        let sound = self.partitions > 0
            && self.record_bytes > 0
            && self.connections > 0
            && self.window > 0
            && self.consumers > 0
            && self.rate >= 0.0
            && [1, -1].contains(&self.acks);
        match sound {
            true => Ok(self),
            false => Err("counts and sizes are at least 1, acks are 1 or -1".into()),
        }
    }
}

struct Given(HashMap<String, String>);

impl Given {
    fn take<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, Failure> {
        match self.0.remove(name) {
            Some(value) => value
                .parse()
                .map_err(|_| format!("{name} cannot be {value}").into()),
            None => Ok(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Failure> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_given_replaces_the_default() {
        let options =
            parse("produce --acks 1 --codec lz4 --record-bytes 100 --batch-bytes 1000").unwrap();
        assert_eq!(
            (options.acks, options.codec, options.window),
            (1, Codec::Lz4, 5)
        );
        assert_eq!(options.batch_records(), 10);
    }

    #[test]
    fn a_record_larger_than_the_batch_is_a_batch() {
        let options = parse("produce --record-bytes 100 --batch-bytes 10").unwrap();
        assert_eq!(options.batch_records(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "produce --acks",
            "produce --acks 2",
            "produce --codec brotli",
            "produce --what 1",
            "produce --window 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
