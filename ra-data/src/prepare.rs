//! The stage function: raw files to a split data set.
use crate::config::{DataConfig, Split};
use crate::ingest::{Log, read_interactions, read_titles};
use crate::interactions::Interactions;
use crate::split::{Parts, given, leave_one_out, temporal};
use crate::{DataError, Result, filter};
use ra_core::{Catalog, Dataset};
use std::collections::HashMap;

/// Reads, filters and splits a data set. Dense ids follow the ascending order of the users' own ids; the catalogue holds
/// the items that occur in an interaction that was kept.
///
/// # Errors
/// [`DataError`] names the file, the row, the column or the key, and says what to do.
pub fn prepare(name: &str, config: &DataConfig) -> Result<Dataset> {
    config.check()?;
    let missing = |key: &'static str| DataError::Config { key, problem: "no file is named; give its path".into() };
    let path = config.interactions.as_ref().ok_or_else(|| missing("interactions"))?;
    let Log { interactions, order_only } = read_interactions(path, config)?;
    let titles = config.items.as_ref().map(|p| read_titles(p, config)).transpose()?.unwrap_or_default();
    if let (Split::Temporal, Some(column)) = (config.split, order_only) {
        let problem = format!(
            "`{column}` orders each user's own interactions and is no clock: a temporal split needs real times"
        );
        return Err(DataError::Config {
            key: "split",
            problem: format!("{problem}; use leave_one_out or name a time column"),
        });
    }
    let train_rows = interactions.rows.len();
    let log = match &config.test {
        Some(test) => interactions.join(&read_interactions(test, config)?.interactions),
        None => keep(interactions, config),
    };
    if log.rows.is_empty() {
        let problem = format!(
            "no user is left after k_core = {}, min_rating = {:?}; lower them",
            config.k_core, config.min_rating
        );
        return Err(DataError::NothingLeft { dataset: name.into(), problem });
    }
    let parts = match config.split {
        Split::LeaveOneOut => leave_one_out(&log),
        Split::Temporal => temporal(&log, config.temporal_valid, config.temporal_test),
        Split::Given => given(&log, train_rows),
    };
    if parts.test.total() == 0 {
        let problem = "no user has a test interaction: leave_one_out needs three of one user, temporal a share above 0";
        return Err(DataError::NothingLeft { dataset: name.into(), problem: problem.into() });
    }
    if parts.train.rows().all(|row| row.len() < 2) {
        let problem = "no user has two training interactions, so there is nothing to learn from; hold out less";
        return Err(DataError::NothingLeft { dataset: name.into(), problem: problem.into() });
    }
    Ok(dataset(name, config, log, parts, &titles))
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
        Split::Given => "given".into(),
        Split::Temporal => format!("temporal valid={} test={}", config.temporal_valid, config.temporal_test),
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
