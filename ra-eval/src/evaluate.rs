//! Exact ranking of the whole catalogue for every user, in blocks of bounded memory.
use crate::EvalError;
use crate::metrics::{Tally, means, per_user};
use crate::rank::{Ranked, Ties, rank_row};
use burn::tensor::{Tensor, TensorData};
use ra_core::{Dataset, History, Progress, Protocol, Recommender, SplitMix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// Users that go through the user tower together, and items through the item tower: fixed, so that the vectors do not
/// depend on how much memory the ranking may take.
const TOWER_BLOCK: usize = 256;

/// Rows of a product come in multiples of this. Matrix kernels treat a handful of rows differently, and the last bits
/// with them; whole multiples all take one road.
const ROWS: usize = 16;

/// Items of the user's history in the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// They are no candidates, unless they are a target.
    #[default]
    Removed,
    /// They stay.
    Kept,
}

impl Seen {
    /// The name in recipes and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Kept => "kept",
        }
    }
}

/// How to rank and what to measure: `[eval]` of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// The K of every metric.
    pub ks: Vec<usize>,
    /// How tied scores count.
    pub ties: Ties,
    /// Whether the user's history is ranked.
    pub seen: Seen,
    /// Users in the table: 0 is all, else a sample of so many that is the same for every seed.
    pub users: usize,
    /// Memory for one block of scores, in MiB. At least 16 rows are ranked at a time.
    pub block_mib: usize,
    /// How many recommended items of each user to keep in [`Evaluation::top`].
    pub keep_top: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self { ks: vec![10, 100], ties: Ties::default(), seen: Seen::default(), users: 0, block_mib: 64, keep_top: 0 }
    }
}

impl EvalConfig {
    /// Refuses settings that measure nothing; for the moment a recipe is read.
    ///
    /// # Errors
    /// [`EvalError::Config`] names the key.
    pub fn check(&self) -> Result<(), EvalError> {
        if self.ks.is_empty() || self.ks.contains(&0) {
            let problem = format!("{:?} must hold at least one K, each at least 1, such as [10, 100]", self.ks);
            return Err(EvalError::Config { key: "ks", problem });
        }
        Ok(())
    }

    /// The protocol of a table made with these settings.
    pub fn protocol(&self, dataset: &Dataset) -> Protocol {
        dataset.protocol(self.seen.name(), self.ties.name())
    }

    fn sorted_ks(&self) -> Vec<usize> {
        let mut ks: Vec<usize> = self.ks.iter().copied().filter(|&k| k > 0).collect();
        ks.sort_unstable();
        ks.dedup();
        ks
    }
}

/// The held-out part that holds the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// For choices: the history is the training sequence.
    Valid,
    /// For the final table: the history is the training sequence and what was held out for choices.
    Test,
}

impl Part {
    pub(crate) fn held_out(self, dataset: &Dataset, user: u32) -> &[u32] {
        match self {
            Self::Valid => dataset.valid.row(user as usize),
            Self::Test => dataset.test.row(user as usize),
        }
    }

    /// All that is known of `user` before this part, oldest first and uncut: models cut for themselves.
    pub fn history(self, dataset: &Dataset, user: u32) -> Vec<u32> {
        let mut items = dataset.train.row(user as usize).to_vec();
        if self == Self::Test {
            items.extend_from_slice(dataset.valid.row(user as usize));
        }
        items
    }
}

/// What the ranking of a model is worth.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// The users evaluated, ascending.
    pub users: Vec<u32>,
    /// Means over users: `hr@K`, `recall@K`, `ndcg@K`, `mrr@K`, `map@K` (over all relevant items), and of the lists
    /// `coverage@K`, `gini@K`, `novelty@K`, `entropy@K`, `popularity@K`. All 0 without users.
    pub metrics: BTreeMap<String, f64>,
    /// The accuracy metrics of each of `users`.
    pub per_user: BTreeMap<String, Vec<f64>>,
    /// Share of the targets that tie with another candidate; near 1 the model is constant.
    pub tied_share: f64,
    /// Scores of candidates that are NaN or infinite, over all users. NaN ranks last; any of them is a defect.
    pub not_finite: usize,
    /// The best [`EvalConfig::keep_top`] items of each of `users`; ties by id.
    pub top: Vec<Vec<u32>>,
    /// Seconds of wall time.
    pub seconds: f64,
}

/// The users with something held out in `part`, ascending; at most `limit` of them unless it is 0.
///
/// The sample is the same whatever the seed of a run, so that runs compare.
pub fn held_out_users(dataset: &Dataset, part: Part, limit: usize) -> Vec<u32> {
    let asked = |&user: &u32| !part.held_out(dataset, user).is_empty();
    let mut users: Vec<u32> = (0..dataset.users.len() as u32).filter(asked).collect();
    if limit > 0 && limit < users.len() {
        let mut random = SplitMix::new(0);
        for at in 0..limit {
            let other = at + random.below(users.len() - at);
            users.swap(at, other);
        }
        users.truncate(limit);
        users.sort_unstable();
    }
    users
}

/// The vectors of items `0..=items`, `[items + 1, dim]`: row k is item k, row 0 padding.
pub fn item_vectors(model: &dyn Recommender, items: usize) -> Tensor<2> {
    let ids: Vec<u32> = (0..=items as u32).collect();
    Tensor::cat(ids.chunks(TOWER_BLOCK).map(|block| model.items(block)).collect(), 0)
}

/// Ranks every item for every user of `part` and measures where the held-out ones come.
///
/// `users` chooses whom (those without a held-out item are skipped); `None` means [`EvalConfig::users`]. The result
/// depends neither on `block_mib` nor on the number of threads.
///
/// # Panics
/// When a dense id lies beyond the data set, or the model's tensors have other shapes than [`Recommender`] says.
pub fn evaluate(
    model: &dyn Recommender,
    dataset: &Dataset,
    part: Part,
    config: &EvalConfig,
    users: Option<&[u32]>,
    progress: &dyn Progress,
) -> Evaluation {
    let started = Instant::now();
    let items = item_vectors(model, dataset.catalog.len());
    let mut evaluation = evaluate_items(model, &items, dataset, part, config, users, progress);
    evaluation.seconds = started.elapsed().as_secs_f64();
    evaluation
}

/// [`evaluate`] with item vectors at hand, `[items + 1, dim]` as of [`item_vectors`], so that an item tower runs once.
///
/// # Panics
/// As [`evaluate`].
pub fn evaluate_items(
    model: &dyn Recommender,
    items: &Tensor<2>,
    dataset: &Dataset,
    part: Part,
    config: &EvalConfig,
    users: Option<&[u32]>,
    progress: &dyn Progress,
) -> Evaluation {
    let started = Instant::now();
    let [rows, dim] = items.dims();
    assert_eq!(rows, dataset.catalog.len() + 1, "one item vector an item, and padding");
    let users = chosen(dataset, part, config, users);
    let columns = items.clone().slice([1..rows, 0..dim]).transpose(); // [dim, items]: column c is item c + 1
    let ks = config.sorted_ks();
    let mut tally = Tally::new(&ks, dataset.popularity()[1..].iter().map(|&count| f64::from(count)));
    let mut top = Vec::new();
    progress.start("rank", users.len() as u64);
    for (block, done) in users.chunks(TOWER_BLOCK).zip((0..).step_by(TOWER_BLOCK)) {
        let histories: Vec<Vec<u32>> = block.iter().map(|&user| part.history(dataset, user)).collect();
        let queries: Vec<History<'_>> =
            block.iter().zip(&histories).map(|(&user, items)| History { user, items }).collect();
        let vectors = model.users(&queries);
        for ranked in rank_block(model, &vectors, &columns, &queries, dataset, part, config) {
            tally.add(&ranked);
            if config.keep_top > 0 {
                top.push(ranked.top.iter().take(config.keep_top).map(|column| column + 1).collect());
            }
        }
        progress.update((done + block.len()) as u64, "");
    }
    progress.finish();
    let per_user = per_user(&tally);
    Evaluation {
        metrics: means(&per_user, &tally),
        per_user,
        users,
        tied_share: tally.tied_share(),
        not_finite: tally.not_finite,
        top,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// The users to ask, ascending.
fn chosen(dataset: &Dataset, part: Part, config: &EvalConfig, users: Option<&[u32]>) -> Vec<u32> {
    let Some(users) = users else {
        return held_out_users(dataset, part, config.users);
    };
    let mut users: Vec<u32> = users.iter().copied().filter(|&user| !part.held_out(dataset, user).is_empty()).collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// Ranks for `vectors` `[queries * interests, dim]` against `columns` `[dim, items]`, so many rows at a time as memory
/// allows.
fn rank_block(
    model: &dyn Recommender,
    vectors: &Tensor<2>,
    columns: &Tensor<2>,
    queries: &[History<'_>],
    dataset: &Dataset,
    part: Part,
    config: &EvalConfig,
) -> Vec<Ranked> {
    let [dim, items] = columns.dims();
    let cells = (config.block_mib << 20) / size_of::<f32>();
    let interests = model.interests();
    let rows = (cells / items.max(1) / interests / ROWS * ROWS).max(ROWS);
    let k = config.ks.iter().copied().max().unwrap_or(0).max(config.keep_top);
    let mut all = Vec::with_capacity(queries.len());
    for (block, start) in queries.chunks(rows).zip((0..).step_by(rows)) {
        let slice = vectors.clone().slice([start * interests..(start + block.len()) * interests, 0..dim]);
        let mut scores = host(whole_rows(slice).matmul(columns.clone()));
        let rank = |(query, scores): (&History<'_>, &mut [f32])| {
            let scores = merge_interests(scores, items);
            for (item, more) in model.additions(query) {
                scores[item as usize - 1] += more;
            }
            let relevant = column_set(part.held_out(dataset, query.user));
            let blocked = if config.seen == Seen::Removed { column_set(query.items) } else { Vec::new() };
            rank_row(scores, &relevant, &blocked, config.ties, k)
        };
        all.par_extend(block.par_iter().zip(scores.par_chunks_mut((items * interests).max(1))).map(rank));
    }
    all
}

/// Keeps of every item the best score of the user's vectors, `[interests * items]` to `[items]`.
fn merge_interests(scores: &mut [f32], items: usize) -> &mut [f32] {
    let (best, others) = scores.split_at_mut(items);
    for other in others.chunks_exact(items.max(1)) {
        // A NaN must not hide behind a number: it is counted as a defect.
        best.iter_mut().zip(other).for_each(|(best, &x)| *best = if x > *best || x.is_nan() { x } else { *best });
    }
    best
}

/// Fills `vectors` `[rows, dim]` with zero rows up to a multiple of [`ROWS`].
fn whole_rows(vectors: Tensor<2>) -> Tensor<2> {
    let [rows, dim] = vectors.dims();
    let missing = rows.next_multiple_of(ROWS) - rows;
    if missing == 0 {
        return vectors;
    }
    let zeros = Tensor::zeros([missing, dim], &vectors.device());
    Tensor::cat(vec![vectors, zeros], 0)
}

/// The scores in row order.
fn host(scores: Tensor<2>) -> Vec<f32> {
    let data: TensorData = scores.into_data().convert::<f32>();
    data.try_into_vec().unwrap_or_else(|e| unreachable!("converted to f32 above: {e:?}"))
}

/// Dense ids as columns, ascending and without repeats.
fn column_set(items: &[u32]) -> Vec<u32> {
    let mut columns: Vec<u32> = items.iter().filter(|&&item| item != ra_core::PADDING).map(|item| item - 1).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, Device, Sequences};

    fn dataset() -> Dataset {
        Dataset {
            name: "tiny".into(),
            users: (0..40).map(|u| u.to_string()).collect(),
            catalog: Catalog::new(vec!["a".into(), "b".into()], vec![String::new(); 2]),
            train: Sequences::from_rows(vec![vec![1]; 40]),
            valid: Sequences::from_rows(vec![vec![2]; 40]),
            test: Sequences::from_rows((0..40).map(|u| if u % 2 == 0 { vec![1] } else { vec![] })),
            filter: String::new(),
            split: "leave_one_out".into(),
        }
    }

    #[test]
    fn a_score_has_the_same_bits_in_any_block_and_column() {
        let mut random = SplitMix::new(2);
        let mut table = |rows: usize, dim: usize| -> Vec<f32> {
            (0..rows * dim).map(|_| random.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0).collect()
        };
        let tensor = |values: &[f32], dim: usize| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [values.len() / dim, dim]), &Device::flex())
        };
        for (items, dim) in [(1, 8), (37, 50), (1000, 64), (4385, 384), (70_001, 16)] {
            let half = table(items, dim);
            let columns = tensor(&[half.clone(), half].concat(), dim).transpose(); // every item twice
            let vectors = tensor(&table(65, dim), dim);
            let all = host(whole_rows(vectors.clone()).matmul(columns.clone()));
            for (start, end) in [(0, 1), (64, 65), (0, 16), (10, 43), (1, 64)] {
                let rows = vectors.clone().slice([start..end, 0..dim]);
                let some = host(whole_rows(rows).matmul(columns.clone()));
                let (some, all) = (&some[..(end - start) * 2 * items], &all[start * 2 * items..end * 2 * items]);
                assert!(some.iter().zip(all).all(|(a, b)| a.to_bits() == b.to_bits()), "{items} {dim} {start}..{end}");
            }
            for row in all.chunks(2 * items) {
                assert_eq!(row[..items], row[items..], "twins tie: {items} {dim}");
            }
        }
    }

    #[test]
    fn the_history_of_a_part_is_all_before_it() {
        assert_eq!(Part::Valid.history(&dataset(), 0), [1]);
        assert_eq!(Part::Test.history(&dataset(), 0), [1, 2]);
    }

    #[test]
    fn samples_are_users_with_a_target_and_always_the_same() {
        let all = held_out_users(&dataset(), Part::Test, 0);
        assert_eq!((all.len(), all[1]), (20, 2));
        let some = held_out_users(&dataset(), Part::Test, 7);
        assert!(some.len() == 7 && some.is_sorted() && some.iter().all(|user| user % 2 == 0));
        assert_eq!(some, held_out_users(&dataset(), Part::Test, 7));
        assert_eq!(held_out_users(&dataset(), Part::Valid, 99).len(), 40);
        assert_eq!(chosen(&dataset(), Part::Test, &EvalConfig::default(), Some(&[4, 3, 2, 4])), [2, 4]);
    }

    #[test]
    fn settings_that_measure_nothing_are_refused() {
        let config = EvalConfig { ks: vec![10, 0], ..EvalConfig::default() };
        assert!(config.check().unwrap_err().to_string().contains("[eval] ks"));
        assert!(EvalConfig::default().check().is_ok());
        assert_eq!(config.sorted_ks(), [10]);
        let read: EvalConfig = serde_json::from_str(r#"{"ties": "by_id", "seen": "kept"}"#).unwrap();
        assert_eq!((read.ties, read.seen, read.block_mib), (Ties::ById, Seen::Kept, 64));
        let typo = serde_json::from_str::<EvalConfig>(r#"{"tie": "by_id"}"#).unwrap_err().to_string();
        assert!(typo.contains("ties"), "{typo}");
    }
}
