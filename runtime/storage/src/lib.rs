//! Partition logs: the LogStore trait, on RocksDB and in memory. Synchronous.
