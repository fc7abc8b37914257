//! Data sets from logs larger than memory.
use crate::bounded::output::{Output, WriteStats};
use crate::bounded::partitions::PartitionedLog;
use crate::config::DataConfig;
use crate::curate::{NoiseFilter, StratifiedSampler};
use crate::format::row::RejectedRows;
use crate::ingest;
use crate::interactions::used;
use crate::items::read_catalog;
use crate::prepare::{Steps, anything_left, doubled_rows, needs_clock, shared_ids, tell_doubts};
use crate::source::read::Inputs;
use crate::split::{Parts, split};
use crate::table::cannot_write;
use crate::table::draft::{Draft, Form, SAMPLES};
use crate::table::export::{SampleWriter, each_row, in_order, items_to_parquet};
use crate::{CurateConfig, Curated, DataError, Result, filter};
use ra_core::{Catalog, Fingerprint, Sample, UserId};
use serde::Serialize;
use std::fs::File;
use std::path::Path;

mod output;
mod partitions;
mod spill;

#[cfg(feature = "ballista")]
pub(crate) use output::Output as TableOutput;

/// The samples to choose and write beside a data set.
#[derive(Debug, Clone, Copy)]
pub struct SampleExport<'a> {
    /// How to choose them.
    pub curate: &'a CurateConfig,
    /// The longest history of a sample, in items.
    pub max_history: usize,
    /// The seed of the draw.
    pub seed: u64,
}

impl SampleExport<'_> {
    /// Refuses invalid values, and methods that need more than one pass.
    pub(crate) fn check(self) -> Result<()> {
        self.curate.check_one_pass()?;
        DataError::refuse_curation(self.curate)
    }
}

/// What [`to_parquet_within`] wrote.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportSummary {
    /// The [`ra_core::Dataset::fingerprint`] of the same data set in memory.
    pub fingerprint: Fingerprint,
    /// The number of users after filtering.
    pub users: usize,
    /// The number of items after filtering.
    pub items: usize,
    /// The numbers of training, validation and test interactions.
    pub interactions: [usize; 3],
    /// The number of files that hold the interactions.
    pub partitions: usize,
    /// The rows that could not be read.
    #[serde(rename = "skipped")]
    pub rejected: RejectedRows,
    /// The chosen samples, if requested.
    pub curated: Option<Curated>,
}

/// Does the work of [`crate::prepare`] and [`crate::to_parquet`] in about `memory` bytes, however long the log is.
/// Interactions are kept in files beside the result, one per range of users, and only one range is in memory at a time.
/// Memory must hold the ids and titles, a few numbers per user and item, and the longest history.
///
/// The tables are those of [`crate::to_parquet`], row by row, except that `interactions/part-*.parquet` replaces
/// `interactions.parquet`. `samples` adds `samples.parquet`, as [`crate::samples_to_parquet`] does.
///
/// # Errors
/// Those of [`crate::prepare`], and [`DataError::Bound`] with the memory needed if `memory` is too little.
pub fn to_parquet_within(
    name: &str,
    config: &DataConfig,
    samples: Option<SampleExport<'_>>,
    memory: usize,
    folder: &Path,
) -> Result<ExportSummary> {
    if memory == 0 {
        return Err(DataError::Bound { problem: "is 0, it must be above 0, as in 2GiB".into() });
    }
    DataError::refuse_settings(config)?;
    config.check_one_pass()?;
    samples.map_or(Ok(()), |samples| samples.check())?;
    let draft = Draft::begin(&ingest::files(config)?, Form::Parts, folder)?;
    let mut rejected = RejectedRows::default();
    let mut log = PartitionedLog::read(config, memory, draft.path(), &mut rejected)?;
    needs_clock(config, log.told.order_only.as_ref())?;
    let mut steps = Steps::new(config, log.told.read, log.told.rated);
    if config.dedupe {
        log.change(filter::dedupe)?;
        steps.deduped(log.rows());
    }
    let mut degrees = log.degrees()?;
    log.k_core(&mut degrees, config.k_core)?;
    steps.cored(config, log.rows());
    let [mut user_codes, mut item_codes] = degrees;
    let users = used(std::mem::take(&mut log.users), &mut user_codes);
    let items = used(std::mem::take(&mut log.items), &mut item_codes);
    let catalog = read_catalog(items, Inputs::files(config), config, &mut rejected)?;
    let kept = FilteredLog { cuts: log.cuts(config)?, log, config, users, user_codes, item_codes };

    let (counted, doubled) = kept.write(&catalog, draft.path())?;
    let (interactions, fingerprint) = (counted.interactions(), counted.fingerprint.clone());
    anything_left(name, config, &steps, counted.longest(), interactions[2])?;
    let shared = shared_ids(&kept.users, &catalog);
    tell_doubts(Inputs::files(config), config.strict, (doubled, interactions.iter().sum()), shared)?;
    let curated = match samples {
        None => None,
        Some(samples) => {
            let path = draft.path().join(SAMPLES);
            Some(kept.samples(samples, memory, catalog.titles(), &counted, &path)?)
        }
    };
    items_to_parquet(&catalog, draft.path())?;
    draft.finish()?;
    let (users, items, partitions) = (kept.users.len(), catalog.len(), counted.partitions);
    Ok(ExportSummary { fingerprint, users, items, interactions, partitions, rejected, curated })
}

/// The filtered log, with the new codes of users and items.
struct FilteredLog<'a> {
    log: PartitionedLog,
    config: &'a DataConfig,
    cuts: [f64; 2],
    users: Vec<String>,
    user_codes: Vec<u32>,
    item_codes: Vec<u32>,
}

impl FilteredLog<'_> {
    /// Returns the first user of a partition and the split of its users.
    fn parts(&self, partition: usize) -> Result<(u32, Parts)> {
        let mut rows = self.log.partitions[partition].load()?;
        let first = rows.iter().map(|row| self.user_codes[row.user as usize]).min().unwrap_or(0);
        for row in &mut rows {
            (row.user, row.item) = (self.user_codes[row.user as usize] - first, self.item_codes[row.item as usize]);
        }
        let users = rows.iter().map(|row| row.user as usize + 1).max().unwrap_or(0);
        Ok((first, split(rows, users, self.config, self.log.told.train_rows, self.cuts)))
    }

    /// Writes each partition's interactions as a file in `folder`; also returns how many interactions repeat earlier
    /// ones.
    fn write(&self, catalog: &Catalog, folder: &Path) -> Result<(WriteStats, usize)> {
        let mut doubled = 0;
        let mut output = Output::new(folder, &self.users, catalog, self.log.told.order_only.is_some())?;
        for partition in 0..self.log.partitions.len() {
            let (first, parts) = self.parts(partition)?;
            doubled += doubled_rows([&parts.train, &parts.valid, &parts.test], &parts.times);
            each_row([&parts.train, &parts.valid, &parts.test], &parts.times, |user, item, time, part| {
                output.push(UserId(first + user.0), item, time, part)
            })?;
            output.close()?;
        }
        Ok((output.finish(self.config)?, doubled))
    }

    /// Chooses samples and writes them.
    fn samples(
        &self,
        samples: SampleExport<'_>,
        memory: usize,
        titles: &[String],
        counted: &WriteStats,
        path: &Path,
    ) -> Result<Curated> {
        let SampleExport { curate, max_history: longest, seed } = samples;
        let total = counted.lengths[0].iter().map(|&length| (length as usize).saturating_sub(1)).sum();
        let budget = curate.budget.of(total)?;
        let need = budget * 4 * size_of::<(u64, usize, Sample)>();
        if need > memory {
            let problem = format!("is {budget} samples, which need {} MiB; lower it, or give more memory", need >> 20);
            return Err(DataError::curation("budget", problem));
        }
        let filter = NoiseFilter::new(titles, &counted.popularity, curate);
        let (mut sampler, mut index) = (StratifiedSampler::new(budget, seed), 0);
        for partition in 0..self.log.partitions.len() {
            let (first, parts) = self.parts(partition)?;
            for (user, row) in (first..).zip(parts.train.rows()) {
                for position in 1..row.len() as u32 {
                    let sample = Sample { user: UserId(user), position };
                    let (history, target) = sample.cut(row, longest);
                    if let Some(stratum) = filter.stratum(history, target) {
                        sampler.insert(index, stratum, sample);
                    }
                    index += 1;
                }
            }
        }
        let (chosen, cells) = sampler.finish();
        let chosen: Vec<Sample> = chosen.into_iter().map(|(_, sample)| sample).collect();
        let file = File::create(path).map_err(|e| cannot_write(path, e))?;
        let mut table = SampleWriter::new(file, path);
        let (mut placed, mut next) = (in_order(&chosen).into_iter().peekable(), 0);
        for partition in 0..self.log.partitions.len() {
            let (first, parts) = self.parts(partition)?;
            next = next.max(first + parts.train.len() as u32);
            while let Some((sample, draw)) = placed.next_if(|(sample, _)| sample.user.0 < next) {
                let (history, target) = sample.cut(parts.train.row(UserId(sample.user.0 - first)), longest);
                table.push(&self.users[sample.user.index()], history, target, draw)?;
            }
        }
        table.finish()?;
        Ok(Curated::of(curate, chosen, total, cells))
    }
}
