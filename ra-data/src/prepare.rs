//! The stage from files to a data set.
use crate::config::{DataConfig, Split};
use crate::filter::{Filter, Kept, filter};
use crate::ingest::{read_interactions, read_titles};
use crate::interactions::Interactions;
use crate::split::{self, Parts};
use crate::{DataError, Result};
use ra_core::{Catalog, Dataset, Sequences};
use std::collections::HashMap;

/// Reads, filters and splits the files of `config` into the data set `name`.
///
/// Users and items get dense ids in ascending order of their own ids: as numbers when all are numbers, else as text.
/// The catalogue holds the items that occur in at least one interaction after filtering, held-out ones included; an
/// item that the items file lacks has an empty title.
///
/// # Errors
/// [`DataError`] with the file, the row or the key to look at: an unreadable or empty file, a missing column, a broken
/// row, filters that leave nobody, a temporal split of an order without clock time.
pub fn prepare(name: &str, config: &DataConfig) -> Result<Dataset> {
    config.check()?;
    let path = config.interactions.as_deref().ok_or_else(|| DataError::Config {
        key: "interactions",
        problem: "not given; name the file of interactions".into(),
    })?;
    let log = read_interactions(path, config)?;
    if let (Split::Temporal, Some(column)) = (config.split, &log.order_only) {
        let problem = format!(
            "a temporal split needs clock times, and `{column}` of {} is only an order within each user; \
             use \"leave_one_out\" or name a column of times by `columns.time`",
            path.display()
        );
        return Err(DataError::Config { key: "split", problem });
    }
    let titles = config.items.as_deref().map(|path| read_titles(path, config)).transpose()?.unwrap_or_default();
    let kept = filter(&log.interactions, Filter { dedupe: config.dedupe, k_core: config.k_core })?;
    let dataset = assemble(name, &log.interactions, &kept, titles, config)?;
    let untitled = dataset.catalog.titles().iter().filter(|title| title.is_empty()).count();
    if config.items.is_some() && untitled > 0 {
        tracing::warn!(dataset = name, items = untitled, "items have no title; they are kept with an empty one");
    }
    Ok(dataset)
}

/// Gives dense ids to what was kept, and splits it.
pub(crate) fn assemble(
    name: &str,
    interactions: &Interactions,
    kept: &[Kept],
    mut titles: HashMap<String, String>,
    config: &DataConfig,
) -> Result<Dataset> {
    if kept.is_empty() {
        let problem = format!(
            "no user is left after {} (there were {} users, {} items, {} interactions); lower the filters",
            filter_in_words(config), interactions.users.len(), interactions.items.len(), interactions.len(),
        );
        return Err(DataError::NothingLeft { dataset: name.into(), problem });
    }
    let (users, user_codes) = dense(&interactions.users, kept.iter().map(|row| row.user), 0);
    let (items, item_codes) = dense(&interactions.items, kept.iter().map(|row| row.item), 1);
    let recoded = |row: &Kept| Kept { user: user_codes[row.user as usize], item: item_codes[row.item as usize], ..*row };
    let kept: Vec<Kept> = kept.iter().map(recoded).collect();
    let Parts { train, valid, test } = match config.split {
        Split::LeaveOneOut => split::leave_one_out(&kept),
        Split::Temporal => split::temporal(name, &kept, config)?,
    };
    let titles = items.iter().map(|id| titles.remove(id).unwrap_or_default()).collect();
    Ok(Dataset {
        name: name.into(),
        users,
        catalog: Catalog::new(items, titles),
        train: Sequences::from_rows(train),
        valid: Sequences::from_rows(valid),
        test: Sequences::from_rows(test),
        filter: filter_in_words(config),
        split: split::in_words(config),
    })
}

/// The ids that still occur, in order, and the new code of every old one, counted from `first`.
fn dense(ids: &[String], codes: impl Iterator<Item = u32>, first: u32) -> (Vec<String>, Vec<u32>) {
    let mut occurs = vec![false; ids.len()];
    codes.for_each(|code| occurs[code as usize] = true);
    let mut kept = Vec::new();
    let mut recode = vec![u32::MAX; ids.len()];
    for (old, id) in ids.iter().enumerate().filter(|&(old, _)| occurs[old]) {
        recode[old] = first + kept.len() as u32;
        kept.push(id.clone());
    }
    (kept, recode)
}

fn filter_in_words(config: &DataConfig) -> String {
    let steps = [
        config.min_rating.map(|least| format!("min_rating={least}")),
        config.dedupe.then(|| "dedupe".into()),
        (config.k_core > 0).then(|| format!("k_core={}", config.k_core)),
    ];
    let steps: Vec<String> = steps.into_iter().flatten().collect();
    if steps.is_empty() { "none".into() } else { steps.join(", ") }
}
