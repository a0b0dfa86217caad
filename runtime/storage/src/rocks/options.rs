//! How the databases are tuned, and why.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME,
    LogLevel, Options,
};

use super::store_error;
use crate::StoreError;

pub(super) const BATCHES: &str = "batches";
pub(super) const ROWS: &str = "rows";
pub(super) const NOTES: &str = "notes";
pub(super) const ABORTED: &str = "aborted";
pub(super) const PRODUCERS: &str = "producers";
pub(super) const PARTITIONS: &str = "partitions";

/// All of them, with RocksDB's own.
pub(super) const FAMILIES: [&str; 7] = [
    BATCHES,
    ROWS,
    NOTES,
    ABORTED,
    PRODUCERS,
    PARTITIONS,
    DEFAULT_COLUMN_FAMILY_NAME,
];

/// Tables that were flushed and not yet compacted, at which writes are slowed down and at which they stop. They hold keys
/// only, so many of them cost little, and a compaction that is busy with something larger holds nobody up.
const FRESH_TABLES: (i32, i32) = (60, 120);

/// Files of the write-ahead log that are kept to be written over, and no more: as many as are let go at once. A sync of what is
/// written over has no blocks and no sizes to note, and its pages are there.
const RECYCLED_LOGS: usize = 4;

/// Smaller values stay in the tree: a blob costs a separate read.
const MIN_BLOB_BYTES: u64 = 512;

/// Budgets of one store.
#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// Bytes of batches buffered before a flush. Up to four such buffers fill or wait for theirs.
    pub write_buffer_bytes: usize,
    /// Bytes at which a blob file is closed. Deleted space comes back in whole blob files.
    pub blob_file_bytes: u64,
    /// Cache of row and key blocks; batches are cached by the tail cache and the kernel.
    pub block_cache_bytes: usize,
    /// Write-ahead log kept before the oldest buffer is flushed: bounds disk and recovery time.
    pub max_wal_bytes: u64,
    /// Threads for flush and compaction.
    pub background_jobs: i32,
    /// Open table and blob files; -1 for no bound.
    pub max_open_files: i32,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        RocksOptions {
            write_buffer_bytes: 64 << 20,
            blob_file_bytes: 256 << 20,
            block_cache_bytes: 64 << 20,
            max_wal_bytes: 256 << 20,
            // One flush and three compactions: a collection of garbage may take minutes, and must not hold up the others.
            background_jobs: 4,
            max_open_files: 4096,
        }
    }
}

impl RocksOptions {
    /// Options under which memtables and cached blocks stay within so many bytes.
    pub fn within(write_buffers: usize, block_cache: usize) -> RocksOptions {
        // The fixed buffers below, two of each; then four of batches and of rows, which are a quarter, and two of notes,
        // which are an eighth.
        let fixed = 2 * (4 << 20) + 6 * (1 << 20);
        let write_buffer_bytes = write_buffers.saturating_sub(fixed) / 21 * 4;
        RocksOptions {
            write_buffer_bytes: write_buffer_bytes.max(4 << 20),
            block_cache_bytes: block_cache,
            ..RocksOptions::default()
        }
    }

    pub(super) fn build(&self) -> Result<(Options, Vec<ColumnFamilyDescriptor>), StoreError> {
        let cache = Cache::new_lru_cache(self.block_cache_bytes);
        let families = vec![
            ColumnFamilyDescriptor::new(BATCHES, self.batches(&cache)?),
            ColumnFamilyDescriptor::new(ROWS, self.rows(&cache)?),
            // A store from before there were notes gets the family when it is opened.
            ColumnFamilyDescriptor::new(NOTES, self.notes(&cache)?),
            // So it does this one.
            ColumnFamilyDescriptor::new(ABORTED, small(&cache)),
            ColumnFamilyDescriptor::new(PRODUCERS, producers(&cache)),
            ColumnFamilyDescriptor::new(PARTITIONS, small(&cache)),
            // Named although it holds one key: the largest write buffer of all is what RocksDB
            // wants to see free before it goes on after a full disk, and its own are large.
            ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, small(&cache)),
        ];
        Ok((self.database(), families))
    }

    fn database(&self) -> Options {
        let mut options = database();
        options.set_max_background_jobs(self.background_jobs);
        options.set_max_open_files(self.max_open_files);
        options.set_max_total_wal_size(self.max_wal_bytes);
        options.set_bytes_per_sync(1 << 20);
        options.set_recycle_log_file_num(RECYCLED_LOGS);
        // One thread writes. What helps several writers costs a single one.
        options.set_allow_concurrent_memtable_write(false);
        options.set_enable_pipelined_write(false);
        options
    }

    fn batches(&self, cache: &Cache) -> Result<Options, StoreError> {
        let mut options = appended_in_order(cache)?;
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(4);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(MIN_BLOB_BYTES);
        options.set_blob_file_size(self.blob_file_bytes);
        // Collection runs when the janitor finds it worth the writing, not with every compaction:
        // that would rewrite old batches that nobody deleted.
        options.set_enable_blob_gc(false);
        Ok(options)
    }

    /// Few batches have one.
    fn notes(&self, cache: &Cache) -> Result<Options, StoreError> {
        let mut options = appended_in_order(cache)?;
        options.set_write_buffer_size((self.write_buffer_bytes / 8).max(1 << 20));
        Ok(options)
    }

    fn rows(&self, cache: &Cache) -> Result<Options, StoreError> {
        let mut options = appended_in_order(cache)?;
        options.set_write_buffer_size((self.write_buffer_bytes / 4).max(1 << 20));
        options.set_max_write_buffer_number(4);
        Ok(options)
    }
}

/// A database with the safety settings all of ours share.
pub(super) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // RocksDB's default, spelled out because the promises of the store rest on it, together with the floor.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_paranoid_checks(true);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options
}

/// Each partition's keys ascend: the memtable remembers where each one's last key went, so that
/// an insert need not search the skip list from its head.
fn appended_in_order(cache: &Cache) -> Result<Options, StoreError> {
    let mut options = Options::default()
        .get_options_from_string("memtable_insert_with_hint_prefix_extractor=fixed:4")
        .map_err(store_error)?;
    options.set_block_based_table_factory(&table(cache));
    options.set_level_zero_slowdown_writes_trigger(FRESH_TABLES.0);
    options.set_level_zero_stop_writes_trigger(FRESH_TABLES.1);
    Ok(options)
}

/// Values are replaced whole and may hold thousands of producers.
fn producers(cache: &Cache) -> Options {
    let mut options = small(cache);
    options.set_write_buffer_size(4 << 20);
    options
}

fn small(cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(1 << 20);
    options.set_block_based_table_factory(&table(cache));
    options
}

fn table(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Index and filter blocks count against the budget instead of growing beside it.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}
