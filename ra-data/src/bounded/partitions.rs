//! A log on disk, with one file per range of users.
use crate::bounded::spill::{SpillFile, SpillWriter};
use crate::config::{DataConfig, Split};
use crate::format::row::RejectedRows;
use crate::ingest::{ScanReport, scan};
use crate::interactions::{Coder, Row};
use crate::source::read::Inputs;
use crate::split::{counted_from, cuts};
use crate::{DataError, Result};
use std::path::Path;

/// Bytes of memory per row of a partition: as read, sorted by user, and split.
const ROW: usize = 3 * size_of::<Row>();

/// The most files open at once.
const OPEN: usize = 400;

/// A log in files, each with a range of users.
pub(crate) struct PartitionedLog {
    pub(crate) users: Vec<String>,
    pub(crate) items: Vec<String>,
    pub(crate) partitions: Vec<SpillFile>,
    /// The number of rows to buffer while writing a file.
    block: usize,
    pub(crate) told: ScanReport,
}

impl PartitionedLog {
    pub(crate) fn read(config: &DataConfig, memory: usize, folder: &Path, rejected: &mut RejectedRows) -> Result<Self> {
        let short = |problem: String| DataError::Bound { problem };
        let (mut users, mut items) = (Coder::default(), Coder::default());
        let mut lengths: Vec<u32> = Vec::new();
        let mut raw = SpillWriter::new(folder.join("log"), block(memory, 1))?;
        let mut index = 0;
        let told = scan(Inputs::files(config), config, rejected, |user, item, time| {
            let row = Row { user: users.code(user), item: items.code(item), index, time };
            if row.user as usize == lengths.len() {
                lengths.push(0);
            }
            lengths[row.user as usize] += 1;
            if index % (1 << 16) == 0 && users.bytes() + items.bytes() > memory / 2 {
                return Err(short(format!(
                    "the ids of the first {index} interactions alone need {} MiB; give more than twice that",
                    (users.bytes() + items.bytes()) >> 20
                )));
            }
            index += 1;
            raw.push(row)
        })?;
        let raw = raw.finish()?;
        let ((users, user_places), (items, item_places)) = (users.sorted(), items.sorted());
        let mut sorted = vec![0; lengths.len()];
        user_places.iter().zip(&lengths).for_each(|(&place, &length)| sorted[place as usize] = length as usize);
        let longest = sorted.iter().copied().max().unwrap_or(0);
        let most = (memory / 4 / ROW).max(longest);
        let mut starts = vec![0];
        let mut held = 0;
        for (user, length) in (0..).zip(sorted) {
            if held + length > most {
                starts.push(user);
                held = 0;
            }
            held += length;
        }
        if starts.len() > OPEN || most > memory / 2 / ROW {
            let need = (raw.rows / (OPEN / 2) * 4).max(longest * 2) * ROW;
            return Err(short(format!(
                "{} interactions with a longest history of {longest} need at least {} MiB",
                raw.rows,
                (need >> 20) + 1
            )));
        }
        let block = block(memory, starts.len());
        let files = (0..starts.len()).map(|partition| SpillWriter::new(folder.join(format!("{partition}")), block));
        let mut files: Vec<SpillWriter> = files.collect::<Result<_>>()?;
        for rows in raw.blocks()? {
            for row in rows? {
                let Some(time) = told.calendar.settled(row.time) else { continue };
                let (user, item) = (user_places[row.user as usize], item_places[row.item as usize]);
                files[starts.partition_point(|&start| start <= user) - 1].push(Row { user, item, time, ..row })?;
            }
        }
        std::fs::remove_file(raw.path()).map_err(|e| ra_core::Error::io(raw.path(), "cannot remove", e))?;
        let partitions = files.into_iter().map(SpillWriter::finish).collect::<Result<_>>()?;
        Ok(Self { users, items, partitions, block, told })
    }

    /// Lets `change` drop rows of each partition; returns whether it did.
    pub(crate) fn change(&mut self, mut change: impl FnMut(&mut Vec<Row>)) -> Result<bool> {
        let mut changed = false;
        for partition in &mut self.partitions {
            let mut rows = partition.load()?;
            change(&mut rows);
            if rows.len() < partition.rows {
                partition.replace(&rows, self.block)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.partitions.iter().map(|partition| partition.rows).sum()
    }

    /// Counts the rows of each user and item.
    pub(crate) fn degrees(&self) -> Result<[Vec<u32>; 2]> {
        let mut all = [vec![0; self.users.len()], vec![0; self.items.len()]];
        for partition in &self.partitions {
            for block in partition.blocks()? {
                for row in block? {
                    all[0][row.user as usize] += 1;
                    all[1][row.item as usize] += 1;
                }
            }
        }
        Ok(all)
    }

    /// Drops rows of users and items with fewer than `k` rows until there are none. The order of dropping does not
    /// matter: what is left is always the largest part in which everybody has `k`.
    pub(crate) fn k_core(&mut self, degrees: &mut [Vec<u32>; 2], k: usize) -> Result<()> {
        if k < 2 {
            return Ok(());
        }
        let [users, items] = degrees;
        let mut peel = |rows: &mut Vec<Row>| loop {
            let before = rows.len();
            rows.retain(|row| {
                let degrees = [&mut users[row.user as usize], &mut items[row.item as usize]];
                let stays = degrees.iter().all(|degree| **degree as usize >= k);
                if !stays {
                    degrees.into_iter().for_each(|degree| *degree -= 1);
                }
                stays
            });
            if rows.len() == before {
                return;
            }
        };
        while self.change(&mut peel)? {}
        Ok(())
    }

    /// Returns the times at which a temporal split cuts.
    pub(crate) fn cuts(&self, config: &DataConfig) -> Result<[f64; 2]> {
        if config.split != Split::Temporal {
            return Ok([f64::INFINITY; 2]);
        }
        let mut tested = 0;
        if let Some(at) = counted_from(config) {
            for partition in &self.partitions {
                for block in partition.blocks()? {
                    tested += block?.iter().filter(|row| row.time >= at).count();
                }
            }
        }
        cuts(config, self.rows(), tested, |n| self.latest(n))
    }

    /// Returns the `n`-th latest time (`n` from 1), found sixteen bits at a time.
    fn latest(&self, n: usize) -> Result<f64> {
        let (mut left, mut prefix) = (n, 0u64);
        for shift in [48, 32, 16, 0] {
            let mut histogram = vec![0usize; 1 << 16];
            for partition in &self.partitions {
                for block in partition.blocks()? {
                    let keys = block?.into_iter().map(|row| ascending(row.time));
                    keys.filter(|key| shift == 48 || key >> (shift + 16) == prefix)
                        .for_each(|key| histogram[(key >> shift & 0xffff) as usize] += 1);
                }
            }
            let mut digit = histogram.len() - 1;
            while digit > 0 && histogram[digit] < left {
                left -= histogram[digit];
                digit -= 1;
            }
            prefix = prefix << 16 | digit as u64;
        }
        Ok(f64::from_bits(if prefix >> 63 == 1 { prefix ^ 1 << 63 } else { !prefix }))
    }
}

/// Maps a time to a number that sorts like [`f64::total_cmp`].
fn ascending(time: f64) -> u64 {
    let bits = time.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Returns the number of rows to buffer for each of `files` files.
fn block(memory: usize, files: usize) -> usize {
    (memory / 8 / (2 * size_of::<Row>() * files)).clamp(256, 1 << 16)
}
