//! Statistics of a data set that decide how to use it.
use crate::{Prepared, time};
use ra_core::{Catalog, Dataset, ItemId, TextTemplate, UserId};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// Statistics of a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// The name of the data set.
    pub name: String,
    /// The number of users after filtering.
    pub users: usize,
    /// The number of items after filtering.
    pub items: usize,
    /// The number of interactions after filtering, including held-out ones.
    pub interactions: usize,
    /// The share of user-item pairs without an interaction; repeated interactions count once.
    pub sparsity: f64,
    /// Training interactions per user.
    pub history: NumberSummary,
    /// Training interactions per item.
    pub popularity: NumberSummary,
    /// The times of the first and the last interaction, in seconds since 1970; `None` if the log has no clock.
    pub span: Option<[f64; 2]>,
    /// The number of users with 0, 1, 2 to 3, 4 to 7, .. training interactions.
    pub history_histogram: Vec<usize>,
    /// The number of items with 0, 1, 2 to 3, 4 to 7, .. training interactions.
    pub popularity_histogram: Vec<usize>,
    /// The number of training interactions that repeat an earlier one of the same user.
    pub repeats: usize,
    /// The share of training interactions that belong to the most popular 10 % of the items.
    pub head_share: f64,
    /// The number of test targets that already occur in their own history.
    pub repeated_targets: usize,
    /// The number of test targets without any training interaction.
    pub cold_targets: usize,
    /// The number of items without a title.
    pub empty_titles: usize,
    /// The number of items that share their title with another item.
    pub duplicate_titles: usize,
    /// Words per title.
    pub title_words: NumberSummary,
    /// The texts that a template makes; `None` if the text of an item is its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<TextSummary>,
}

/// The texts that a template makes of items.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TextSummary {
    /// The template.
    pub template: String,
    /// The number of items without a text.
    pub empty: usize,
    /// The number of items that share their text with another item.
    pub duplicates: usize,
    /// Words per text.
    pub words: NumberSummary,
    /// The fields of the template beside the title, and the number of items that lack each.
    pub lacking: Vec<(String, usize)>,
}

/// A distribution summarised in four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NumberSummary {
    /// The minimum.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The mean.
    pub mean: f64,
    /// The maximum.
    pub max: f64,
}

/// Computes the statistics of a data set.
pub fn describe(prepared: &Prepared) -> Description {
    let dataset = &prepared.dataset;
    let titles = dataset.catalog.titles();
    let (n_users, n_items) = (dataset.users.len(), dataset.catalog.len());
    let popularity = dataset.popularity();
    let of_users = || dataset.train.rows().map(<[ItemId]>::len);
    let of_items = || popularity[1..].iter().map(|&n| n as usize);
    let tests = || {
        UserId::all(dataset.test.len())
            .flat_map(|user| dataset.test.row(user).iter().map(move |&target| (user, target)))
    };
    let history =
        |user: UserId, target: ItemId| [&dataset.train, &dataset.valid].iter().any(|p| p.row(user).contains(&target));
    Description {
        name: dataset.name.clone(),
        users: n_users,
        items: n_items,
        interactions: dataset.interactions(),
        sparsity: 1.0 - pairs(dataset) as f64 / (n_users.max(1) as f64 * n_items.max(1) as f64),
        history: summary(of_users()),
        popularity: summary(of_items()),
        span: prepared.span(),
        history_histogram: histogram(of_users()),
        popularity_histogram: histogram(of_items()),
        repeats: dataset.train.rows().map(|row| row.len() - row.iter().collect::<HashSet<_>>().len()).sum(),
        head_share: head_share(of_items()),
        repeated_targets: tests().filter(|&(user, target)| history(user, target)).count(),
        cold_targets: tests().filter(|&(_, target)| popularity[target.index()] == 0).count(),
        empty_titles: blank(titles),
        duplicate_titles: shared(titles),
        title_words: words(titles),
        texts: dataset.catalog.template().map(|template| texts(&dataset.catalog, template)),
    }
}

fn texts(catalog: &Catalog, template: &TextTemplate) -> TextSummary {
    let texts: Vec<String> = catalog.all().map(|item| catalog.text(item).into_owned()).collect();
    TextSummary {
        template: template.to_string(),
        empty: blank(&texts),
        duplicates: shared(&texts),
        words: words(&texts),
        lacking: catalog.fields().map(|(name, texts)| (name.to_owned(), blank(texts))).collect(),
    }
}

/// Counts texts that are blank.
fn blank(texts: &[String]) -> usize {
    texts.iter().filter(|text| text.trim().is_empty()).count()
}

/// Counts texts that occur more than once.
fn shared(texts: &[String]) -> usize {
    let mut same = HashMap::new();
    texts.iter().filter(|text| !text.trim().is_empty()).for_each(|text| *same.entry(text).or_insert(0usize) += 1);
    same.values().filter(|&&n| n > 1).sum()
}

fn words(texts: &[String]) -> NumberSummary {
    summary(texts.iter().map(|text| text.split_whitespace().count()))
}

/// Counts the pairs of a user and an item that occur together in any part.
fn pairs(dataset: &Dataset) -> usize {
    let parts = [&dataset.train, &dataset.valid, &dataset.test];
    let mut items: HashSet<ItemId> = HashSet::new();
    let mut of_user = |user: UserId| {
        items.clear();
        items.extend(parts.iter().flat_map(|part| part.row(user).iter().copied()));
        items.len()
    };
    UserId::all(dataset.users.len()).map(&mut of_user).sum()
}

/// Counts how many numbers are 0, 1, 2 to 3, 4 to 7, ..
fn histogram(numbers: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut bars = Vec::new();
    for number in numbers {
        let bar = number.checked_ilog2().map_or(0, |log| log as usize + 1);
        if bars.len() <= bar {
            bars.resize(bar + 1, 0);
        }
        bars[bar] += 1;
    }
    bars
}

/// Writes a histogram as text, without empty bars.
fn bars(histogram: &[usize]) -> String {
    let bar = |(bar, count): (usize, &usize)| match bar {
        0 | 1 => format!("{bar}: {count}"),
        _ => format!("{}-{}: {count}", 1usize << (bar - 1), (1usize << bar) - 1),
    };
    let shown = histogram.iter().enumerate().filter(|(_, count)| **count > 0).map(bar);
    shown.collect::<Vec<_>>().join(", ")
}

fn summary(numbers: impl Iterator<Item = usize>) -> NumberSummary {
    let mut sorted: Vec<f64> = numbers.map(|number| number as f64).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    NumberSummary {
        min: at(0),
        median: (at(n.saturating_sub(1) / 2) + at(n / 2)) / 2.0,
        mean: sorted.iter().sum::<f64>() / n.max(1) as f64,
        max: at(n.saturating_sub(1)),
    }
}

/// Returns the share of the sum that the largest 10 % of the numbers make up.
fn head_share(numbers: impl Iterator<Item = usize>) -> f64 {
    let mut sorted: Vec<usize> = numbers.collect();
    sorted.sort_unstable();
    let head = sorted.iter().rev().take(sorted.len().div_ceil(10)).sum::<usize>();
    head as f64 / sorted.iter().sum::<usize>().max(1) as f64
}

impl fmt::Display for NumberSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}, median {}, mean {:.1}", self.min, self.max, self.median, self.mean)
    }
}

impl fmt::Display for TextSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { template, empty, duplicates, words, lacking } = self;
        write!(f, "texts {template:?}: {empty} empty, {duplicates} shared with another item, words per text {words}")?;
        let lacking: Vec<String> = lacking.iter().map(|(name, items)| format!("{items} items lack {name}")).collect();
        if lacking.is_empty() { Ok(()) } else { write!(f, "; {}", lacking.join(", ")) }
    }
}

/// Returns a question if all times look like the days that spreadsheets count from the end of 1899: from 1954 to 2119.
fn spreadsheet(span: [f64; 2]) -> String {
    const UNIX: f64 = 25_569.0;
    if !span.iter().all(|time| (20_000.0..=80_000.0).contains(time)) {
        return String::new();
    }
    let date = time::written((span[0].floor() - UNIX) * 86_400.0);
    let date = date.split([' ', 'T']).next().unwrap_or(&date);
    format!("; are they days of a spreadsheet ({} is {date})? Here they are plain numbers: write dates", span[0])
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = format!("{} users, {} items, {} interactions", self.users, self.items, self.interactions);
        writeln!(f, "{}: {size} ({:.2} % of pairs without an interaction)", self.name, 100.0 * self.sparsity)?;
        if let Some([first, last]) = self.span {
            let day = |time: f64| match time::written(time) {
                date if date == time.to_string() => date,
                date => format!("{date} ({time})"),
            };
            writeln!(f, "  from {} to {}{}", day(first), day(last), spreadsheet([first, last]))?;
        }
        writeln!(f, "  training interactions per user: {}", self.history)?;
        writeln!(f, "    users by number of interactions: {}", bars(&self.history_histogram))?;
        writeln!(
            f,
            "  training interactions per item: {}; the top 10 % of the items have {:.0} %",
            self.popularity,
            100.0 * self.head_share
        )?;
        writeln!(f, "    items by number of interactions: {}", bars(&self.popularity_histogram))?;
        if self.repeats > 0 {
            writeln!(f, "  training interactions that repeat an earlier one: {}", self.repeats)?;
        }
        writeln!(
            f,
            "  test targets in their own history: {}; never trained on: {}",
            self.repeated_targets, self.cold_targets
        )?;
        let titles = format!("{} empty, {} shared with another item", self.empty_titles, self.duplicate_titles);
        write!(f, "  titles: {titles}, words per title {}", self.title_words)?;
        self.texts.iter().try_for_each(|texts| write!(f, "\n  {texts}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RejectedRows;
    use ra_core::{Catalog, Sequences};

    #[test]
    fn numbers_are_those_worked_out_by_hand() {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let titles = ["a", "a b", "", "a b c d e"].map(str::to_owned).to_vec();
        let dataset = Dataset {
            name: "small".into(),
            users: names(3),
            catalog: Catalog::new(names(4), titles),
            train: Sequences::from_numbers([vec![1, 2, 1, 1], vec![1, 3], vec![2]]),
            valid: Sequences::from_numbers(vec![Vec::new(); 3]),
            test: Sequences::from_numbers([vec![2], vec![4], vec![3]]),
            filter: "none".into(),
            split: "none".into(),
        };
        let times = [vec![5.0; 7], Vec::new(), vec![9.0, 2.0, 3.0]];
        let (rejected, order_only, files) = (RejectedRows::default(), None, Vec::new());
        let told = describe(&Prepared { dataset, rejected, times, order_only, files });
        assert_eq!(told.span, Some([2.0, 9.0]));
        assert_eq!(told.history, NumberSummary { min: 1.0, median: 2.0, mean: 7.0 / 3.0, max: 4.0 });
        assert_eq!(told.popularity, NumberSummary { min: 0.0, median: 1.5, mean: 1.75, max: 4.0 });
        assert_eq!(told.title_words, NumberSummary { min: 0.0, median: 1.5, mean: 2.0, max: 5.0 });
        assert_eq!(told.head_share, 4.0 / 7.0);
        assert_eq!((told.history_histogram, told.popularity_histogram), (vec![0, 1, 1, 1], vec![1, 1, 1, 1]));
        assert_eq!((told.repeats, told.repeated_targets, told.cold_targets), (2, 1, 1));
        assert_eq!(told.sparsity, 1.0 - 7.0 / 12.0, "1 and 2; 1, 3 and 4; 2 and 3");
    }

    #[test]
    fn of_nothing_there_are_zeros() {
        let none = NumberSummary { min: 0.0, median: 0.0, mean: 0.0, max: 0.0 };
        assert_eq!((summary(std::iter::empty()), head_share(std::iter::empty())), (none, 0.0));
    }
}
