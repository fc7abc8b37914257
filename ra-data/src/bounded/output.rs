//! The tables and the fingerprint of a data set that is never in memory as a whole.
use crate::Result;
use crate::config::DataConfig;
use crate::prepare::protocol;
use crate::table::cannot_write;
use crate::table::draft::PARTS;
use crate::table::export::LogWriter;
use ra_core::{Catalog, DatasetHash, Fingerprint, ItemId, UserId};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Takes rows by user, and for each user by part and time.
pub(crate) struct Output<'a> {
    folder: PathBuf,
    users: &'a [String],
    catalog: &'a Catalog,
    order_only: bool,
    log: Option<LogWriter<'a, File>>,
    /// The items of each part, to be hashed once their total number is known.
    items: Vec<BufWriter<File>>,
    lengths: [Vec<u32>; 3],
    popularity: Vec<u32>,
    partitions: usize,
}

/// Statistics collected while the tables were written.
#[derive(Debug)]
pub(crate) struct WriteStats {
    /// The number of interactions of each user in each part.
    pub(crate) lengths: [Vec<u32>; 3],
    /// The number of training interactions of each item; index 0 is padding.
    pub(crate) popularity: Vec<u32>,
    pub(crate) partitions: usize,
    pub(crate) fingerprint: Fingerprint,
}

impl<'a> Output<'a> {
    /// Writes into `folder`, which must be empty.
    pub(crate) fn new(folder: &Path, users: &'a [String], catalog: &'a Catalog, order_only: bool) -> Result<Self> {
        let make = || -> std::io::Result<_> {
            std::fs::create_dir_all(folder.join(PARTS))?;
            (0..3).map(|part| File::create(folder.join(format!("items{part}"))).map(BufWriter::new)).collect()
        };
        let items = make().map_err(|e| cannot_write(folder, e))?;
        let lengths = [0, 1, 2].map(|_| vec![0; users.len()]);
        let popularity = vec![0; catalog.len() + 1];
        Ok(Self {
            folder: folder.into(),
            users,
            catalog,
            order_only,
            log: None,
            items,
            lengths,
            popularity,
            partitions: 0,
        })
    }

    pub(crate) fn push(&mut self, user: UserId, item: ItemId, time: f64, part: usize) -> Result<()> {
        if self.log.is_none() {
            let path = self.folder.join(PARTS).join(format!("part-{:05}.parquet", self.partitions));
            let file = File::create(&path).map_err(|e| cannot_write(&path, e))?;
            self.log = Some(LogWriter::new(file, &path, self.users, self.catalog, self.order_only));
        }
        self.lengths[part][user.index()] += 1;
        if part == 0 {
            self.popularity[item.index()] += 1;
        }
        self.items[part].write_all(&item.0.to_le_bytes()).map_err(|e| cannot_write(&self.folder, e))?;
        self.log.as_mut().map_or(Ok(()), |log| log.push(user, item, time, part))
    }

    /// Ends the current file; the next row starts another.
    pub(crate) fn close(&mut self) -> Result<()> {
        if let Some(log) = self.log.take() {
            log.finish()?.sync_all().map_err(|e| cannot_write(&self.folder, e))?;
            self.partitions += 1;
            ra_core::point(format_args!("partition {}", self.partitions));
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, config: &DataConfig) -> Result<WriteStats> {
        self.close()?;
        self.items.iter_mut().try_for_each(BufWriter::flush).map_err(|e| cannot_write(&self.folder, e))?;
        let mut hash = DatasetHash::new(self.users, self.catalog);
        for (part, lengths) in self.lengths.iter().enumerate() {
            hash.part(lengths.iter().map(|&length| length as usize));
            let path = self.folder.join(format!("items{part}"));
            let fail = |e| ra_core::Error::io(&path, "cannot read", e);
            let mut items = BufReader::new(File::open(&path).map_err(fail)?);
            let mut item = [0; 4];
            for _ in 0..lengths.iter().map(|&n| n as usize).sum() {
                items.read_exact(&mut item).map_err(fail)?;
                hash.items(&[ItemId(u32::from_le_bytes(item))]);
            }
        }
        let (filter, split) = protocol(config);
        let fingerprint = hash.finish(&filter, &split);
        let Self { lengths, popularity, partitions, .. } = self;
        Ok(WriteStats { lengths, popularity, partitions, fingerprint })
    }
}

impl WriteStats {
    /// Returns the number of interactions of each part.
    pub(crate) fn interactions(&self) -> [usize; 3] {
        [0, 1, 2].map(|part: usize| self.lengths[part].iter().map(|&n| n as usize).sum())
    }

    /// Returns the length of the longest training sequence.
    pub(crate) fn longest(&self) -> usize {
        self.lengths[0].iter().max().map_or(0, |&n| n as usize)
    }
}
