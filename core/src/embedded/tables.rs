//! The tables of the data file, opened within a write transaction when first touched.

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

macro_rules! tables {
    ($($(#[$doc:meta])* $constant:ident, $read:ident, $write:ident, $name:literal: $key:ty => $value:ty;)*) => {
        $($(#[$doc])* pub(crate) const $constant: TableDefinition<'static, $key, $value> = TableDefinition::new($name);)*

        /// One write transaction. Several operations share it, so one that refuses must not have written before.
        pub(crate) struct Tables<'t> {
            transaction: &'t WriteTransaction,
            dirty: bool,
            $($write: Option<Table<'t, $key, $value>>,)*
        }

        impl<'t> Tables<'t> {
            pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
                Self { transaction, dirty: false, $($write: None,)* }
            }

            $(
                #[allow(dead_code, reason = "generated for every table")]
                pub(crate) fn $read(&mut self) -> Result<&impl ReadableTable<$key, $value>, redb::Error> {
                    if self.$write.is_none() {
                        self.$write = Some(self.transaction.open_table($constant)?);
                    }
                    self.$write.as_ref().ok_or(redb::Error::TransactionInProgress)
                }

                #[allow(dead_code, reason = "generated for every table")]
                pub(crate) fn $write(&mut self) -> Result<&mut Table<'t, $key, $value>, redb::Error> {
                    self.dirty = true;
                    if self.$write.is_none() {
                        self.$write = Some(self.transaction.open_table($constant)?);
                    }
                    self.$write.as_mut().ok_or(redb::Error::TransactionInProgress)
                }
            )*
        }

        /// Creates what is missing, so that readers find every table.
        pub(super) fn create_all(transaction: &WriteTransaction) -> Result<(), redb::Error> {
            $(transaction.open_table($constant)?;)*
            Ok(())
        }
    };
}

tables! {
    /// Format of the file, under `format`.
    META, read_meta, meta, "meta": &'static str => u64;
    /// Version (8 bytes, little endian), then the value.
    STORE, read_store, store, "store": &'static str => &'static [u8];
    /// Notices by sequence number.
    CHANGES, read_changes, changes, "changes": u64 => &'static [u8];
    /// Revision and time of the last write (8 bytes each, little endian), then the value.
    JOURNAL, read_journal, journal, "journal": &'static str => &'static [u8];
    /// What a stored payload consists of; see `blobs::embedded`.
    BLOBS, read_blobs, blobs, "blobs": &'static str => &'static [u8];
    /// Sealed pieces of payloads by id and index.
    CHUNKS, read_chunks, chunks, "chunks": (&'static str, u32) => &'static [u8];
    /// Jobs that have not ended, as queue messages of one job.
    JOBS, read_jobs, jobs, "jobs": &'static str => &'static [u8];
    /// Starts of jobs that were started more than once.
    STARTS, read_starts, starts, "starts": &'static str => u32;
    /// Jobs given up, as dead letters.
    DEAD_LETTERS, read_dead_letters, dead_letters, "dead_letters": &'static str => &'static [u8];
    /// What to look at in which hour since the epoch; see `embedded::expiry`.
    EXPIRY, read_expiry, expiry, "expiry": (u32, u8, &'static str) => ();
}

impl Tables<'_> {
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }
}
