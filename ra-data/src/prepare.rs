//! The stage function: raw files to a split data set.
use crate::config::{DataConfig, Split};
use crate::ingest::{Log, read_interactions, read_titles};
use crate::interactions::Interactions;
use crate::records::Skipped;
use crate::split::{Parts, split};
use crate::{DataError, Result, filter};
use ra_core::{Catalog, Dataset};
use std::collections::HashMap;

/// A split data set, and what its files said beside.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The data set.
    pub dataset: Dataset,
    /// Rows that could not be read.
    pub skipped: Skipped,
    /// The time of every interaction of the training, validation and test parts, user by user in the order of their
    /// sequences; in the unit of the file.
    pub times: [Vec<f64>; 3],
    /// The time column, where it is an order without clock time.
    pub order_only: Option<String>,
}

impl Prepared {
    /// The first and the last time, where there is a clock.
    pub fn span(&self) -> Option<[f64; 2]> {
        let all = || self.times.iter().flatten().copied();
        let found = self.order_only.is_none() && all().next().is_some();
        found.then(|| [all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max)])
    }
}

/// Reads, filters and splits a data set. Dense ids follow the ascending order of the users' own ids; the catalogue holds
/// the items that occur in an interaction that was kept.
///
/// # Errors
/// [`DataError`] names the file, the row, the column or the key, and says what to do.
pub fn prepare(name: &str, config: &DataConfig) -> Result<Dataset> {
    Ok(read(name, config)?.dataset)
}

/// [`prepare`], with what else is known.
///
/// # Errors
/// As [`prepare`].
pub fn read(name: &str, config: &DataConfig) -> Result<Prepared> {
    config.check()?;
    let missing = |key: &'static str| DataError::Config { key, problem: "no file is named; give its path".into() };
    let path = config.interactions.as_ref().ok_or_else(|| missing("interactions"))?;
    let mut skipped = Skipped::default();
    let Log { interactions, train_rows, order_only } = read_interactions(path, config, &mut skipped)?;
    let titles = match &config.items {
        Some(path) => read_titles(path, config, &mut skipped)?,
        None => HashMap::new(),
    };
    if let (Split::Temporal, Some(column)) = (config.split, &order_only) {
        let problem = format!(
            "`{column}` orders each user's own interactions and is no clock: a temporal split needs real times"
        );
        return Err(DataError::Config {
            key: "split",
            problem: format!("{problem}; use leave_one_out or name a time column"),
        });
    }
    let log = keep(interactions, config);
    if log.rows.is_empty() {
        let problem = format!(
            "no user is left after k_core = {}, min_rating = {:?}; lower them",
            config.k_core, config.min_rating
        );
        return Err(DataError::NothingLeft { dataset: name.into(), problem });
    }
    let parts = split(&log.rows, log.users.len(), config, train_rows);
    if parts.test.total() == 0 {
        let problem = "no user has a test interaction: leave_one_out needs three of one user, leave_last_n \
                       2 leave_n + 1, ratio and temporal a share above 0";
        return Err(DataError::NothingLeft { dataset: name.into(), problem: problem.into() });
    }
    if parts.train.rows().all(|row| row.len() < 2) {
        let problem = "no user has two training interactions, so there is nothing to learn from; hold out less";
        return Err(DataError::NothingLeft { dataset: name.into(), problem: problem.into() });
    }
    let times = parts.times.clone();
    Ok(Prepared { dataset: dataset(name, config, log, parts, &titles), skipped, times, order_only })
}

/// Filters in the order the protocol names them.
pub(crate) fn keep(mut log: Interactions, config: &DataConfig) -> Interactions {
    if config.dedupe {
        filter::dedupe(&mut log);
    }
    filter::k_core(&mut log, config.k_core);
    log.compact()
}

fn dataset(
    name: &str,
    config: &DataConfig,
    log: Interactions,
    parts: Parts,
    titles: &HashMap<String, String>,
) -> Dataset {
    let title = |id: &String| titles.get(id).cloned().unwrap_or_default();
    let texts: Vec<String> = log.items.iter().map(title).collect();
    let untitled = texts.iter().filter(|t| t.trim().is_empty()).count();
    if untitled > 0 && config.items.is_some() {
        tracing::warn!(
            items = untitled,
            of = texts.len(),
            "items without a title: the language model reads an empty one"
        );
    }
    let mut filters = vec![format!("k_core={}", config.k_core)];
    filters.extend(config.dedupe.then(|| "dedupe".into()));
    filters.extend(config.min_rating.map(|r| format!("min_rating={r}")));
    let split = match config.split {
        Split::LeaveOneOut => "leave_one_out".into(),
        Split::LeaveLastN => format!("leave_last_n n={}", config.leave_n),
        Split::Ratio => format!("ratio valid={} test={}", config.ratio_valid, config.ratio_test),
        Split::Given => "given".into(),
        Split::Temporal => {
            let from = |date: &Option<crate::When>, share: f64| match date {
                Some(crate::When::Text(date)) => date.clone(),
                Some(crate::When::Number(number)) => number.to_string(),
                None => share.to_string(),
            };
            let valid = from(&config.temporal_valid_from, config.temporal_valid);
            format!("temporal valid={valid} test={}", from(&config.temporal_test_from, config.temporal_test))
        }
    };
    Dataset {
        name: name.into(),
        users: log.users,
        catalog: Catalog::new(log.items, texts),
        train: parts.train,
        valid: parts.valid,
        test: parts.test,
        filter: filters.join(" "),
        split,
    }
}
