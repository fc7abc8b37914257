//! What a data set looks like, in numbers that decide how it should be used.
use crate::Result;
use polars::prelude::*;
use ra_core::Dataset;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

/// A data set in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Users after filtering.
    pub users: usize,
    /// Items after filtering.
    pub items: usize,
    /// Interactions after filtering, held-out ones included.
    pub interactions: usize,
    /// Share of user-item pairs that never met.
    pub sparsity: f64,
    /// Training interactions a user: least, median, mean, most.
    pub history: Spread,
    /// Training interactions an item: least, median, mean, most.
    pub popularity: Spread,
    /// Share of training interactions that the most popular tenth of the items takes.
    pub head_share: f64,
    /// Test targets that are in their own history.
    pub repeated_targets: usize,
    /// Test targets that nobody trained on.
    pub cold_targets: usize,
    /// Items without a title.
    pub empty_titles: usize,
    /// Items whose title another item has too.
    pub duplicate_titles: usize,
    /// Words of a title: least, median, mean, most.
    pub title_words: Spread,
}

/// A distribution in four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle.
    pub median: f64,
    /// The average.
    pub mean: f64,
    /// The most.
    pub max: f64,
}

/// Describes a data set.
///
/// # Errors
/// [`crate::DataError::Engine`], which no input should cause.
pub fn describe(dataset: &Dataset) -> Result<Description> {
    let numbers = |name: &str, values: Vec<u32>| DataFrame::new_infer_height(vec![Column::new(name.into(), values)]);
    let users = numbers("n", dataset.train.rows().map(|r| r.len() as u32).collect())?;
    let items = numbers("n", dataset.popularity()[1..].to_vec())?;
    let titles = dataset.catalog.titles();
    let words = numbers("n", titles.iter().map(|t| t.split_whitespace().count() as u32).collect())?;
    let (n_users, n_items) = (dataset.users.len(), dataset.catalog.len());
    let popularity = dataset.popularity();
    let tests =
        || dataset.test.rows().enumerate().flat_map(|(user, row)| row.iter().map(move |&target| (user, target)));
    let history =
        |user: usize, target: u32| [&dataset.train, &dataset.valid].iter().any(|p| p.row(user).contains(&target));
    let mut same = HashMap::new();
    titles.iter().filter(|t| !t.trim().is_empty()).for_each(|t| *same.entry(t).or_insert(0usize) += 1);
    Ok(Description {
        name: dataset.name.clone(),
        users: n_users,
        items: n_items,
        interactions: dataset.interactions(),
        sparsity: 1.0 - dataset.interactions() as f64 / (n_users.max(1) * n_items.max(1)) as f64,
        history: spread(users)?,
        popularity: spread(items.clone())?,
        head_share: head_share(items)?,
        repeated_targets: tests().filter(|&(user, target)| history(user, target)).count(),
        cold_targets: tests().filter(|&(_, target)| popularity[target as usize] == 0).count(),
        empty_titles: titles.iter().filter(|t| t.trim().is_empty()).count(),
        duplicate_titles: same.values().filter(|&&n| n > 1).sum(),
        title_words: spread(words)?,
    })
}

fn spread(frame: DataFrame) -> Result<Spread> {
    let n = || col("n").cast(DataType::Float64);
    let row = frame.lazy().select([
        n().min().alias("min"),
        n().median().alias("median"),
        n().mean().alias("mean"),
        n().max().alias("max"),
    ]);
    let row = row.collect()?;
    let get = |name: &str| -> Result<f64> { Ok(row.column(name)?.f64()?.get(0).unwrap_or(0.0)) };
    Ok(Spread { min: get("min")?, median: get("median")?, mean: get("mean")?, max: get("max")? })
}

fn head_share(items: DataFrame) -> Result<f64> {
    let head = items.height().div_ceil(10);
    let sorted = items.lazy().sort(["n"], SortMultipleOptions::default().with_order_descending(true));
    let n = || col("n").cast(DataType::Float64);
    let row = sorted.select([n().head(Some(head)).sum().alias("head"), n().sum().alias("all")]).collect()?;
    let get = |name: &str| -> Result<f64> { Ok(row.column(name)?.f64()?.get(0).unwrap_or(0.0)) };
    Ok(get("head")? / get("all")?.max(1.0))
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}, median {}, mean {:.1}", self.min, self.max, self.median, self.mean)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = format!("{} users, {} items, {} interactions", self.users, self.items, self.interactions);
        writeln!(f, "{}: {size} ({:.2} % of pairs never met)", self.name, 100.0 * self.sparsity)?;
        writeln!(f, "  training interactions a user: {}", self.history)?;
        writeln!(
            f,
            "  training interactions an item: {}; the top tenth has {:.0} %",
            self.popularity,
            100.0 * self.head_share
        )?;
        writeln!(
            f,
            "  test targets in their own history: {}; never trained on: {}",
            self.repeated_targets, self.cold_targets
        )?;
        let titles = format!("{} empty, {} shared with another item", self.empty_titles, self.duplicate_titles);
        write!(f, "  titles: {titles}, words {}", self.title_words)
    }
}
