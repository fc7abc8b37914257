//! Prepares a data set: from raw files to a split.
use crate::config::{DataConfig, Split};
use crate::format::row::RejectedRows;
use crate::ingest::{ScanReport, read_interactions};
use crate::interactions::Interactions;
use crate::items::read_catalog;
use crate::source::file::doubt;
use crate::source::read::{Input, Inputs};
use crate::split::{Parts, split, temporal_cuts};
use crate::{DataError, Result, filter, ingest, time};
use ra_core::{Catalog, Dataset, ItemId, Sequences, UserId};
use std::collections::HashSet;
use std::path::PathBuf;

/// A split data set, and what its files revealed.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The data set.
    pub dataset: Dataset,
    /// The rows that could not be read.
    pub rejected: RejectedRows,
    /// The time of every interaction of the training, validation and test parts, user by user in the order of their
    /// sequences: seconds since 1970, or places in an order.
    pub times: [Vec<f64>; 3],
    /// The time column, if it is an order without clock time.
    pub order_only: Option<String>,
    /// The files that were read, and the folders that were named in place of their files.
    pub files: Vec<PathBuf>,
}

/// Compares what was read, regardless of the files it came from.
impl PartialEq for Prepared {
    fn eq(&self, other: &Self) -> bool {
        (&self.dataset, &self.rejected, &self.times, &self.order_only)
            == (&other.dataset, &other.rejected, &other.times, &other.order_only)
    }
}

impl Prepared {
    /// Returns the first and the last time, or `None` if the log has no clock.
    pub fn span(&self) -> Option<[f64; 2]> {
        let all = || self.times.iter().flatten().copied();
        let found = self.order_only.is_none() && all().next().is_some();
        found.then(|| [all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max)])
    }

    /// Counts interactions that repeat the user, item and time of an earlier one.
    pub(crate) fn doubled_rows(&self) -> usize {
        let data = &self.dataset;
        doubled_rows([&data.train, &data.valid, &data.test], &self.times)
    }

    /// Returns the earliest time of each catalogue item among the kept interactions, or `None` if the log has no clock.
    pub fn first_seen(&self) -> Option<Vec<f64>> {
        self.span()?;
        let data = &self.dataset;
        let mut first = vec![f64::INFINITY; data.catalog.len()];
        for (part, times) in [&data.train, &data.valid, &data.test].into_iter().zip(&self.times) {
            for (&item, &time) in part.rows().flatten().zip(times) {
                let first = &mut first[item.index() - 1];
                *first = first.min(time);
            }
        }
        Some(first)
    }
}

/// Reads, filters and splits the data set called `name`. Dense ids follow the ascending order of the original ids; the
/// catalogue holds the items that occur in a kept interaction.
///
/// # Errors
/// [`DataError`] naming the file, row, column or key at fault, and the remedy.
pub fn prepare(name: &str, config: &DataConfig) -> Result<Prepared> {
    DataError::refuse_settings(config)?;
    prepare_from(name, config, Inputs::files(config), ingest::files(config)?)
}

/// [`prepare`] for any tables; `files` are those that must not be overwritten.
pub(crate) fn prepare_from(
    name: &str,
    config: &DataConfig,
    inputs: Inputs<'_>,
    files: Vec<PathBuf>,
) -> Result<Prepared> {
    let mut rejected = RejectedRows::default();
    let (interactions, told) = read_interactions(inputs, config, &mut rejected)?;
    needs_clock(config, told.order_only.as_ref())?;
    let mut steps = Steps::new(config, told.read, told.rated);
    let Interactions { users, items, rows } = keep(interactions, config, &mut steps);
    let ScanReport { train_rows, order_only, .. } = told;
    let cold = (config.cold_items > 0.0).then(|| cold(&items, config));
    let catalog = read_catalog(items, inputs, config, &mut rejected)?;
    let cuts = temporal_cuts(&rows, config)?;
    let parts = split(rows, users.len(), config, train_rows, cuts);
    let Parts { train, valid, test, times } = match cold {
        Some(cold) => parts.warm(&cold),
        None => parts,
    };
    let longest = train.rows().map(<[ItemId]>::len).max().unwrap_or(0);
    anything_left(name, config, &steps, longest, test.total())?;
    let (filter, split) = protocol(config);
    let dataset = Dataset { name: name.into(), users, catalog, train, valid, test, filter, split };
    let prepared = Prepared { dataset, rejected, times, order_only, files };
    let doubled = (prepared.doubled_rows(), prepared.dataset.interactions());
    let shared = shared_ids(&prepared.dataset.users, &prepared.dataset.catalog);
    tell_doubts(inputs, config.strict, doubled, shared)?;
    Ok(prepared)
}

/// Counts interactions that repeat the user, item and time of an earlier one.
pub(crate) fn doubled_rows(parts: [&Sequences; 3], times: &[Vec<f64>; 3]) -> usize {
    let (mut places, mut doubled, mut seen) = ([0; 3], 0, HashSet::new());
    for user in UserId::all(parts[0].len()) {
        seen.clear();
        for (part, place) in parts.into_iter().zip(0..) {
            for &item in part.row(user) {
                doubled += usize::from(!seen.insert((item, times[place][places[place]].to_bits())));
                places[place] += 1;
            }
        }
    }
    doubled
}

/// Counts the users with the id of an item, and the users whose id is not a number, which the first count is out of.
/// Numeric ids do not count, because users and items may share numbers.
pub(crate) fn shared_ids(users: &[String], catalog: &Catalog) -> (usize, usize) {
    let items: HashSet<&str> = catalog.all().map(|item| catalog.id(item)).collect();
    let named = || users.iter().filter(|user| user.parse::<f64>().is_err());
    (named().filter(|user| items.contains(user.as_str())).count(), named().count())
}

/// Returns whether this many [`doubled_rows`](Prepared::doubled_rows) suggest that a log was read twice.
pub(crate) fn is_doubled(rows: usize, of: usize) -> bool {
    rows > 0 && 5 * rows >= of
}

/// Returns whether this many [`shared_ids`] suggest that the columns are mixed up.
pub(crate) fn is_shared(users: usize, of: usize) -> bool {
    users > 0 && 10 * users >= of
}

/// Warns about a log that seems to be read twice, by its [`doubled_rows`], or to be no log, by its [`shared_ids`]. Each
/// pair is (count, total).
pub(crate) fn tell_doubts(
    inputs: Inputs<'_>,
    strict: bool,
    doubled: (usize, usize),
    shared: (usize, usize),
) -> Result<()> {
    let Some(path) = inputs.log.map(Input::path) else { return Ok(()) };
    let (rows, of) = doubled;
    if is_doubled(rows, of) {
        let problem = format!(
            "{rows} of {of} interactions repeat an earlier one with the same user, item and time; was a log read twice?"
        );
        doubt(strict, path, problem)?;
    }
    let (users, of) = shared;
    if is_shared(users, of) {
        let problem =
            format!("{users} of {of} users have the id of an item; is a column wrong, or is the file not a log?");
        doubt(strict, path, problem)?;
    }
    Ok(())
}

/// Applies the filters in the order that the protocol names them.
pub(crate) fn keep(mut log: Interactions, config: &DataConfig, steps: &mut Steps) -> Interactions {
    if config.dedupe {
        filter::dedupe(&mut log.rows);
        steps.deduped(log.rows.len());
    }
    filter::k_core(&mut log, config.k_core);
    steps.cored(config, log.rows.len());
    log.compact()
}

/// The number of interactions that each filter left, for the error if nothing is left.
#[derive(Debug)]
pub(crate) struct Steps {
    read: usize,
    filters: Vec<(String, usize)>,
}

impl Steps {
    /// Starts with a log of which `read` rows were read, `rated` of them with a sufficient rating.
    pub(crate) fn new(config: &DataConfig, read: usize, rated: usize) -> Self {
        let rated = config.min_rating.map(|least| (format!("min_rating = {least}"), rated));
        Self { read, filters: rated.into_iter().collect() }
    }

    pub(crate) fn deduped(&mut self, left: usize) {
        self.filters.push(("dedupe".into(), left));
    }

    pub(crate) fn cored(&mut self, config: &DataConfig, left: usize) {
        if config.k_core > 1 {
            self.filters.push((format!("k_core = {}", config.k_core), left));
        }
    }

    /// Describes what the filters did, if anything.
    fn told(&self) -> String {
        let left: Vec<String> = self.filters.iter().map(|(filter, left)| format!("{filter} left {left}")).collect();
        match self.filters.last() {
            Some((_, last)) if *last < self.read => format!(" (of {} interactions {})", self.read, left.join(", ")),
            _ => String::new(),
        }
    }

    /// Returns the first filter that left nothing.
    fn emptied(&self) -> Option<&str> {
        self.filters.iter().find(|(_, left)| *left == 0).map(|(filter, _)| filter.as_str())
    }
}

/// Chooses the cold items, by dense id: a share of the items that depends only on their original ids.
fn cold(items: &[String], config: &DataConfig) -> Vec<bool> {
    let hash = |id: &String| id.bytes().fold(0, |hash, byte| ra_core::splitmix64(hash ^ u64::from(byte)));
    let is_cold = |id| ra_core::SplitMix::new(hash(id)).unit() < config.cold_items;
    std::iter::once(false).chain(items.iter().map(is_cold)).collect()
}

/// Refuses a temporal split of a log whose time column `order_only` is not a clock.
pub(crate) fn needs_clock(config: &DataConfig, order_only: Option<&String>) -> Result<()> {
    match order_only {
        Some(column) if config.split == Split::Temporal => Err(DataError::setting(
            "split",
            format!(
                "is \"temporal\" and needs real times: `{column}` only orders each user's own interactions; use \
                 leave_one_out or name a time column"
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses a split without rows or test targets, or one in which no user has two training interactions; the longest
/// training history has `longest`.
pub(crate) fn anything_left(
    name: &str,
    config: &DataConfig,
    steps: &Steps,
    longest: usize,
    targets: usize,
) -> Result<()> {
    let filters = steps.told();
    let needs = |rows: usize| {
        format!("{} needs {rows} interactions of one user, but nobody has more than {longest}", config.split)
    };
    let problem = if let Some(filter) = steps.emptied() {
        format!("no user is left{filters}; {filter} removes the last ones: lower it or leave it out")
    } else if targets == 0 {
        let reason = match config.split {
            Split::LeaveOneOut => needs(3),
            Split::LeaveLastN => needs(2 * config.leave_n + 1),
            Split::Ratio => {
                format!(
                    "ratio_test = {} of the longest history ({longest} interactions) is less than one",
                    config.ratio_test
                )
            }
            Split::Temporal => format!("temporal_test = {} is less than one interaction", config.temporal_test),
            Split::Given => "no interaction was read from the file of test interactions".into(),
        };
        format!("no user has a test interaction: {reason}{filters}")
    } else if longest < 2 {
        format!("no user has two training interactions, so there is nothing to learn from{filters}; hold out less")
    } else {
        return Ok(());
    };
    Err(DataError::NothingLeft { dataset: name.into(), problem })
}

/// Returns the filters and the split as text; each instant has one spelling.
pub(crate) fn protocol(config: &DataConfig) -> (String, String) {
    let mut filters = vec![format!("k_core={}", config.k_core)];
    filters.extend(config.dedupe.then(|| "dedupe".into()));
    filters.extend(config.min_rating.map(|r| format!("min_rating={r}")));
    filters.extend((config.cold_items > 0.0).then(|| format!("cold_items={}", config.cold_items)));
    let split = match config.split {
        Split::LeaveOneOut => "leave_one_out".into(),
        Split::LeaveLastN => format!("leave_last_n n={}", config.leave_n),
        Split::Ratio => format!("ratio valid={} test={}", config.ratio_valid, config.ratio_test),
        Split::Given => "given".into(),
        Split::Temporal => {
            let from = |date: &Option<crate::TimePoint>, share: f64| {
                date.as_ref().and_then(crate::TimePoint::seconds).map_or_else(|| share.to_string(), time::written)
            };
            let valid = from(&config.temporal_valid_from, config.temporal_valid);
            format!("temporal valid={valid} test={}", from(&config.temporal_test_from, config.temporal_test))
        }
    };
    (filters.join(" "), split)
}
