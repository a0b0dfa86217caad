//! Vocabulary of the log: ids, checked record batches, compression. No async, no I/O.
