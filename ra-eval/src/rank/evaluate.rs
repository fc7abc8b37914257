//! Exact ranking of the whole catalogue for every user, in blocks of bounded memory.
use super::candidates::CandidateSampler;
use super::score::{Query, rank};
use crate::metrics::Titles;
use crate::metrics::{Tally, means, per_user};
use crate::protocol::{EvalConfig, Repeats, Seen};
use burn::tensor::Tensor;
use ra_core::{Dataset, History, Progress, Recommender, SplitMix};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::time::Instant;

/// Users that go through the user tower together, and items through the item tower: fixed, so that the vectors do not
/// depend on how much memory the ranking may take.
const TOWER_BLOCK: usize = 256;

/// Users that are ranked together: the more, the less often the items are laid out for their product.
const RANKED_TOGETHER: usize = 2048;

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

    /// What is held out and counts.
    fn relevant(self, dataset: &Dataset, history: &History<'_>, config: &EvalConfig) -> Vec<u32> {
        let counts = |item: &u32| config.repeats == Repeats::Kept || !history.items.contains(item);
        self.held_out(dataset, history.user).iter().copied().filter(counts).collect()
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
    /// Means over users: `hr@K`, `recall@K`, `ndcg@K`, `mrr@K`, `precision@K`, `map@K` (over all relevant items, as trec_eval and
    /// ranx have it), `map_min@K` (over as many as fit into K, as RecBole has it), and of the lists `coverage@K`, `gini@K`,
    /// `novelty@K`, `entropy@K`, `popularity@K` and, on the test part where there are titles, `ils@K`, how alike they are.
    /// All 0 without users.
    pub metrics: BTreeMap<String, f64>,
    /// The accuracy metrics of each of `users`.
    pub per_user: BTreeMap<String, Vec<f64>>,
    /// The relevant items of each of `users` with their ranks, best first.
    pub ranks: Vec<Vec<(u32, f64)>>,
    /// The fewest candidates beside the targets that any of `users` had, and their mean.
    pub candidates: (usize, f64),
    /// Share of the targets that tie with another candidate.
    pub tied_share: f64,
    /// Mean over targets of the share of the other candidates that they tie with; near 1 the model is constant.
    pub tie_width: f64,
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
    assert_eq!(items.dims()[0], dataset.catalog.len() + 1, "one item vector an item, and padding");
    let users = chosen(dataset, part, config, users);
    let ks = config.sorted_ks();
    let titles = (part == Part::Test).then(|| Titles::new(dataset.catalog.titles())).flatten();
    let counts = dataset.popularity();
    let mut tally = Tally::new(&ks, counts[1..].iter().map(|&count| f64::from(count))).with_titles(titles);
    let longest = ks.last().copied().unwrap_or(0).max(config.keep_top);
    let (sampler, mut top, mut ranks) = (CandidateSampler::new(config.candidates, dataset), Vec::new(), Vec::new());
    let mut others = Vec::with_capacity(users.len());
    progress.start("rank", users.len() as u64);
    for (block, done) in users.chunks(RANKED_TOGETHER).zip((0..).step_by(RANKED_TOGETHER)) {
        let histories: Vec<Vec<u32>> = block.iter().map(|&user| part.history(dataset, user)).collect();
        let histories: Vec<History<'_>> =
            block.iter().zip(&histories).map(|(&user, items)| History { user, items }).collect();
        let mut vectors = Vec::new();
        for block in histories.chunks(TOWER_BLOCK) {
            vectors.push(model.users(block));
            progress.update((done + vectors.len() * TOWER_BLOCK).min(done + histories.len()) as u64, "");
        }
        let vectors = Tensor::cat(vectors, 0);
        let queries: Vec<Query<'_>> = histories
            .par_iter()
            .map(|history| query(*history, &part.relevant(dataset, history, config), &sampler, config))
            .collect();
        others.extend(queries.iter().map(Query::others));
        for ranked in rank(model, &vectors, items, &queries, config, longest) {
            tally.add(&ranked);
            ranks.push(ranked.items.iter().map(|column| column + 1).zip(ranked.ranks).collect());
            if config.keep_top > 0 {
                top.push(ranked.top.iter().take(config.keep_top).map(|column| column + 1).collect());
            }
        }
    }
    progress.finish();
    let per_user = per_user(&tally);
    Evaluation {
        metrics: means(&per_user, &tally),
        per_user,
        ranks,
        candidates: (
            others.iter().copied().min().unwrap_or(0),
            others.iter().sum::<usize>() as f64 / users.len().max(1) as f64,
        ),
        users,
        tied_share: tally.tied_share(),
        tie_width: tally.tie_width(),
        not_finite: tally.not_finite,
        top,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Columns of what is relevant and of the candidates; column c is item c + 1.
fn query<'a>(history: History<'a>, relevant: &[u32], sampler: &CandidateSampler, config: &EvalConfig) -> Query<'a> {
    let relevant = column_set(relevant);
    let blocked = if config.seen == Seen::Removed { column_set(history.items) } else { Vec::new() };
    let candidates = sampler.draw(history.user, &relevant, &blocked, history.items);
    Query { history, relevant, candidates }
}

/// The users of `part` with a target that counts under `config`, ascending; at most [`EvalConfig::users`] are looked at.
/// Figures over nobody are none: ask before anything is trained.
pub fn evaluated_users(dataset: &Dataset, part: Part, config: &EvalConfig) -> Vec<u32> {
    chosen(dataset, part, config, None)
}

/// The users to ask, ascending.
fn chosen(dataset: &Dataset, part: Part, config: &EvalConfig, users: Option<&[u32]>) -> Vec<u32> {
    let mut users = match users {
        Some(users) => users.to_vec(),
        None => held_out_users(dataset, part, config.users),
    };
    users.retain(|&user| {
        let history = part.history(dataset, user);
        !part.relevant(dataset, &History { user, items: &history }, config).is_empty()
    });
    users.sort_unstable();
    users.dedup();
    users
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
    use ra_core::{Catalog, Sequences};

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
        assert_eq!(evaluated_users(&dataset(), Part::Test, &EvalConfig::default()).len(), 20);
        let skipped = EvalConfig { repeats: Repeats::Skipped, ..EvalConfig::default() };
        assert!(evaluated_users(&dataset(), Part::Test, &skipped).is_empty(), "all have had their target");
    }
}
