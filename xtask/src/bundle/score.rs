//! The scores of a row of a bundle: those of its parts, each computed in the way that is cheapest for it.
use super::files::{BundleRow, VectorPart};
use crate::recipe::ItemNames;
use crate::stages::{Aligned, IdModels, Saved, row as row_of, saved_items};
use anyhow::{Context, Result, bail};
use burn::tensor::Tensor;
use ra_core::{History, ItemId, Recommender, host_numbers};
use ra_eval::{MOST_INDEXES, VectorIndex, VectorQuery, item_vectors, top_k_candidates, top_k_of};
use ra_idmodels::IdMethod;
use std::collections::HashMap;
use std::sync::Arc;

/// A row that answers.
#[derive(Debug)]
pub(super) struct Scorer {
    pub(super) name: String,
    pub(super) label: String,
    /// The recommenders that it is a weighted sum of.
    pub(super) parts: Vec<(Arc<Part>, f32)>,
    /// The number of items.
    items: usize,
}

/// A recommender: a whole row, or a part of a blend. Rows share it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    /// Whether it knows items by their titles too, so that new ones have a score.
    reads_titles: bool,
    model: Arc<dyn Recommender>,
    how: How,
}

/// How a part scores all items.
#[derive(Debug)]
enum How {
    /// By a product with the item vectors, padding first.
    Vectors(VectorIndex),
    /// By the sum of the rows of a history's items, `[items + 1, items + 1]`.
    Rows(Vec<f32>),
    /// By additions to single items alone.
    Additions,
}

/// A history as the parts of a row see it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    history: History<'a>,
    parts: Vec<AskedPart>,
}

/// What a part makes of a history, times its weight.
#[derive(Debug)]
struct AskedPart {
    /// Its user vectors, `[interests, dim]`; nothing for a part without item vectors.
    vectors: Vec<f32>,
    /// What it adds to single items, by ascending item.
    added: Vec<(ItemId, f32)>,
}

/// What is to be found for a history: its `k` best items but those that are blocked.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) k: usize,
    pub(super) blocked: Vec<ItemId>,
}

/// The parts that have been made, by name.
pub(super) type Parts = HashMap<String, Arc<Part>>;

impl Scorer {
    /// Loads a row; `known` are the parts of the rows before it.
    pub(super) fn new(
        row: &BundleRow,
        saved: Saved<'_>,
        ids: &IdModels,
        aligned: &Aligned,
        known: &mut Parts,
    ) -> Result<Self> {
        let mut weights = Vec::new();
        weigh(&row.name, 1.0, aligned, &mut weights);
        let mut parts = Vec::new();
        for (name, weight) in weights {
            let part = match known.get(&name) {
                Some(part) => part.clone(),
                None => Arc::new(Part::new(&name, saved, ids, aligned)?),
            };
            known.insert(name, part.clone());
            parts.push((part, weight));
        }
        Ok(Self { name: row.name.clone(), label: row.label.clone(), parts, items: saved.dataset.catalog.len() })
    }

    /// Returns whether anything but one number per item, such as popularity, enters its score.
    pub(super) fn compares_items(&self, item: ItemId) -> bool {
        let history = [item];
        let history = History { user: NOBODY, items: &history };
        let compares = |part: &Part| match &part.how {
            How::Vectors(index) => index.dim() > 1 || !part.model.additions(&history).is_empty(),
            How::Rows(_) | How::Additions => true,
        };
        self.parts.iter().any(|(part, _)| compares(part))
    }

    /// Returns whether it has a score for items that were never trained on.
    pub(super) fn knows_new_items(&self) -> bool {
        self.parts.iter().any(|(part, _)| part.reads_titles)
    }

    /// Returns what is needed to score items for each history; all pass through the models together.
    pub(super) fn ask<'a>(&self, histories: &[History<'a>]) -> Vec<Asked<'a>> {
        let mut all: Vec<Asked<'a>> =
            histories.iter().map(|history| Asked { history: *history, parts: Vec::new() }).collect();
        if histories.is_empty() {
            return all;
        }
        for (part, weight) in &self.parts {
            for (own, asked) in all.iter_mut().zip(part.ask(histories, *weight)) {
                own.parts.push(asked);
            }
        }
        all
    }

    /// Returns the scores of all items, with padding first: for each part, and then their sum.
    pub(super) fn score(&self, asked: &[&Asked<'_>]) -> Vec<Scores> {
        let mut all: Vec<Scores> = asked.iter().map(|_| Scores::default()).collect();
        for (at, (part, weight)) in self.parts.iter().enumerate() {
            for (own, scores) in all.iter_mut().zip(part.score(asked, at, self.items, *weight)) {
                own.parts.push(scores);
            }
        }
        all
    }

    /// Returns the sum of the scores of all items for one history, with padding first.
    pub(super) fn sum(&self, history: History<'_>) -> Vec<f32> {
        let asked = self.ask(&[history]);
        self.score(&asked.iter().collect::<Vec<_>>()).pop().map(|scores| scores.sum()).unwrap_or_default()
    }

    /// Returns whether the best items of a history can be found without the scores of all others: not if a part sums rows
    /// of scores or has several vectors per user, and not if every item has the same score.
    pub(super) fn finds(&self, asked: &Asked<'_>) -> bool {
        let has_index = |part: &Part| match part.how {
            How::Vectors(_) => part.model.interests() == 1,
            How::Rows(_) => false,
            How::Additions => true,
        };
        let numbers =
            asked.parts.iter().flat_map(|own| own.vectors.iter().chain(own.added.iter().map(|(_, more)| more)));
        (1..=MOST_INDEXES).contains(&self.dense().count())
            && self.parts.iter().all(|(part, _)| has_index(part))
            && numbers.into_iter().all(|number| number.is_finite())
            && (2..=self.items as u32).any(|item| self.score_of(asked, ItemId(item)) != self.score_of(asked, ItemId(1)))
    }

    /// Returns the best items of several histories which it [`finds`](Self::finds), with the scores that
    /// [`score`](Self::score) gives them.
    pub(super) fn find(&self, all: &[Wanted<'_>]) -> Vec<Vec<(ItemId, f32)>> {
        let indexes: Vec<&VectorIndex> = self.parts.iter().filter_map(|(part, _)| part.index()).collect();
        let found = top_k_candidates(&indexes, &all.iter().map(Wanted::query).collect::<Vec<_>>());
        let best = |(own, found): (&Wanted<'_>, Vec<ItemId>)| {
            top_k_of(found.into_iter().map(|item| (item, self.score_of(own.asked, item))), own.k)
        };
        all.iter().zip(found).map(best).collect()
    }

    /// Returns the score of an item, the same that [`score`](Self::score) gives it, for a history which it
    /// [`finds`](Self::finds).
    pub(super) fn score_of(&self, asked: &Asked<'_>, item: ItemId) -> f32 {
        let scores = self.parts.iter().zip(&asked.parts).map(|((part, _), own)| {
            let product = part.index().map_or(0.0, |index| index.score(&own.vectors, item));
            let from = own.added.partition_point(|(other, _)| *other < item);
            let more = own.added[from..].iter().take_while(|(other, _)| *other == item);
            more.fold(product, |sum, (_, more)| sum + more)
        });
        scores.reduce(|sum, score| sum + score).unwrap_or_default()
    }

    /// Returns the width of the item vectors of each part that has some.
    pub(super) fn vector_parts(&self) -> Vec<VectorPart> {
        self.vectors().map(|(row, rows)| VectorPart { row: row.to_owned(), width: self.width(rows) }).collect()
    }

    /// Returns the vectors of items in all [`vector_parts`](Self::vector_parts), next to each other. One product with
    /// [`user_vector`](Self::user_vector) gives their part of the score.
    pub(super) fn item_vectors(&self, items: impl Iterator<Item = ItemId>) -> Vec<Vec<f32>> {
        let dense: Vec<&[f32]> = self.vectors().map(|(_, rows)| rows).collect();
        let vector = |item: ItemId| -> Vec<f32> {
            let own = dense.iter().map(|rows| &rows[item.index() * self.width(rows)..][..self.width(rows)]);
            own.flatten().copied().collect()
        };
        items.map(vector).collect()
    }

    /// Returns the weighted user vector of a history in the parts with vectors; nothing if a part has several per user.
    pub(super) fn user_vector(&self, history: &History<'_>) -> Option<Vec<f32>> {
        let mut all = Vec::new();
        for (part, weight, _) in self.dense() {
            if part.model.interests() != 1 {
                return None;
            }
            let own = part.model.users(std::slice::from_ref(history)).into_data();
            all.extend(own.iter::<f32>().map(|value| weight * value));
        }
        Some(all)
    }

    /// Returns the names of the parts with vectors, and their item vectors, `[items + 1, dim]`.
    pub(super) fn vectors(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.dense().map(|(part, _, rows)| (part.name.as_str(), rows))
    }

    /// Returns the parts with vectors, their weights and their item vectors, `[items + 1, dim]`.
    fn dense(&self) -> impl Iterator<Item = (&Part, f32, &[f32])> {
        self.parts.iter().filter_map(|(part, weight)| match &part.how {
            How::Vectors(index) => Some((&**part, *weight, index.rows())),
            _ => None,
        })
    }

    /// Returns what a history of one item adds to the scores of items beyond vectors, the largest first.
    pub(super) fn terms(&self, item: ItemId, most: usize) -> Vec<(ItemId, f32)> {
        let mut scores: HashMap<ItemId, f32> = HashMap::new();
        let history = [item];
        let history = History { user: NOBODY, items: &history };
        for (part, weight) in &self.parts {
            if let How::Rows(rows) = &part.how {
                let row = &rows[item.index() * (self.items + 1)..][..self.items + 1];
                for (more, other) in row.iter().zip(0..).filter(|(more, _)| **more != 0.0) {
                    *scores.entry(ItemId(other)).or_default() += weight * more;
                }
            }
            for (other, more) in part.model.additions(&history) {
                *scores.entry(other).or_default() += weight * more;
            }
        }
        let is_term = |(other, score): &(ItemId, f32)| *other != ItemId::PADDING && *score > 0.0;
        let mut found: Vec<(ItemId, f32)> = scores.into_iter().filter(is_term).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(most);
        found
    }

    /// Returns the cosine of an item's vectors with those of each of `others`, averaged over the parts that have vectors;
    /// nothing if none has.
    pub(super) fn similarity(&self, item: ItemId, others: &[ItemId]) -> Option<Vec<f32>> {
        let length = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        let mut sum = vec![0.0f32; others.len()];
        let mut parts = 0.0;
        for (_, _, rows) in self.dense().filter(|(_, _, rows)| self.has_direction(rows)) {
            let width = self.width(rows);
            let vector = |item: ItemId| &rows[item.index() * width..][..width];
            let own = vector(item);
            let own_length = length(own);
            for (sum, other) in sum.iter_mut().zip(others.iter().map(|other| vector(*other))) {
                *sum += other.iter().zip(own).map(|(a, b)| a * b).sum::<f32>() / length(other) / own_length;
            }
            parts += 1.0;
        }
        sum.iter_mut().for_each(|sum| *sum /= f32::max(parts, 1.0));
        (parts > 0.0).then_some(sum)
    }

    /// Returns the width of item vectors, `[items + 1, width]`.
    fn width(&self, rows: &[f32]) -> usize {
        rows.len() / (self.items + 1)
    }

    /// Returns whether item vectors can be compared: one number, such as popularity, has no direction.
    fn has_direction(&self, rows: &[f32]) -> bool {
        self.width(rows) > 1
    }

    /// Refuses scores that are not numbers.
    pub(super) fn refuse_broken(&self, scores: &[f32]) -> Result<()> {
        let broken = scores[1..].iter().any(|score| !score.is_finite());
        (!broken).then_some(()).with_context(|| format!("{}: gives scores that are not numbers", self.name))
    }
}

/// Nobody in particular: methods that read histories ignore the user.
pub(super) const NOBODY: ra_core::UserId = ra_core::UserId(0);

/// The scores of a history, with padding first.
#[derive(Debug, Default)]
pub(super) struct Scores {
    /// Those of each part, weighted.
    pub(super) parts: Vec<Vec<f32>>,
}

impl Scores {
    /// Returns the sum of the parts.
    pub(super) fn sum(&self) -> Vec<f32> {
        let mut sum = self.parts.first().cloned().unwrap_or_default();
        for part in self.parts.iter().skip(1) {
            sum.iter_mut().zip(part).for_each(|(sum, more)| *sum += more);
        }
        sum
    }

    /// Returns the sum, unless every item has the same.
    pub(super) fn telling_sum(&self) -> Option<Vec<f32>> {
        Some(self.sum()).filter(|sum| sum[1..].iter().any(|score| *score != sum[1]))
    }
}

/// Adds the recommenders that a row is a weighted sum of, with blends of blends taken apart.
fn weigh(row: &str, weight: f32, aligned: &Aligned, into: &mut Vec<(String, f32)>) {
    match aligned.weights(row) {
        Some(parts) => {
            for (part, own) in parts.into_iter().filter(|(_, own)| *own > 0.0) {
                weigh(&part, weight * own, aligned, into);
            }
        }
        None => match into.iter_mut().find(|(known, _)| known == row) {
            Some((_, known)) => *known += weight,
            None => into.push((row.to_owned(), weight)),
        },
    }
}

impl Wanted<'_> {
    fn query(&self) -> VectorQuery<'_> {
        let parts = &self.asked.parts;
        VectorQuery {
            vectors: parts.iter().map(|own| &*own.vectors).filter(|own| !own.is_empty()).collect(),
            added: parts.iter().flat_map(|own| &own.added).copied().collect(),
            blocked: &self.blocked,
            k: self.k,
        }
    }
}

impl How {
    fn new(model: &dyn Recommender, saved: Option<Tensor<2>>, items: usize) -> Result<Self> {
        if let Some(rows) = model.score_rows() {
            return Ok(Self::Rows(host_numbers(rows)));
        }
        let vectors = saved.unwrap_or_else(|| item_vectors(model, items));
        let dim = vectors.dims()[1];
        let rows = host_numbers(vectors);
        if rows[dim..].iter().any(|value| !value.is_finite()) {
            bail!("has item vectors that are not numbers: the model is broken");
        }
        if rows[dim..].iter().all(|value| *value == 0.0) {
            return Ok(Self::Additions);
        }
        Ok(Self::Vectors(VectorIndex::new(rows, dim)))
    }
}

impl Part {
    fn new(name: &str, saved: Saved<'_>, ids: &IdModels, aligned: &Aligned) -> Result<Self> {
        let model = row_of(name, ids, aligned)?;
        let variant = saved.recipe.variants().iter().find(|variant| variant.name == name);
        let towers = variant.filter(|variant| variant.has_towers());
        let vectors = if towers.is_some() { saved_items(saved, name, &*model)? } else { None };
        let how = How::new(&*model, vectors, saved.dataset.catalog.len()).with_context(|| format!("row {name}"))?;
        let method = saved.recipe.ids.iter().find(|id| id.kind() == name);
        let reads_titles = match (method, towers) {
            (Some(id), _) => id.reads_titles() || id.reads_features(),
            (None, Some(towers)) => towers.items == ItemNames::Title,
            // The text alone, and grounded IDs.
            (None, None) => true,
        };
        Ok(Self { name: name.into(), reads_titles, model, how })
    }

    /// Returns its item vectors, if it has some.
    fn index(&self) -> Option<&VectorIndex> {
        if let How::Vectors(index) = &self.how { Some(index) } else { None }
    }

    fn ask(&self, histories: &[History<'_>], weight: f32) -> Vec<AskedPart> {
        let vectors = self.index().map(|_| host_numbers(self.model.users(histories) * weight)).unwrap_or_default();
        let width = vectors.len() / histories.len();
        let ask = |(at, history): (usize, &History<'_>)| {
            let mut added = self.model.additions(history);
            added.iter_mut().for_each(|(_, more)| *more *= weight);
            added.sort_by_key(|(item, _)| *item);
            AskedPart { vectors: vectors[at * width..][..width].to_vec(), added }
        };
        histories.iter().enumerate().map(ask).collect()
    }

    /// Returns the scores of all items, with padding first, for histories that see this part at place `at`.
    fn score(&self, asked: &[&Asked<'_>], at: usize, items: usize, weight: f32) -> Vec<Vec<f32>> {
        let mut all: Vec<Vec<f32>> = match &self.how {
            How::Additions => vec![vec![0.0; items + 1]; asked.len()],
            How::Rows(rows) => asked.iter().map(|own| sum_of(rows, &own.history, items, weight)).collect(),
            How::Vectors(index) => {
                let queries: Vec<f32> = asked.iter().flat_map(|own| &own.parts[at].vectors).copied().collect();
                let scores = index.scores(&queries);
                scores.chunks_exact(self.model.interests() * (items + 1)).map(|own| best_of(own, items + 1)).collect()
            }
        };
        for (own, scores) in asked.iter().zip(&mut all) {
            own.parts[at].added.iter().for_each(|(item, more)| scores[item.index()] += more);
        }
        all
    }
}

/// Returns the best score of each item over the vectors of a user, `[interests, items]`.
fn best_of(scores: &[f32], items: usize) -> Vec<f32> {
    let mut best = scores[..items].to_vec();
    for other in scores.chunks_exact(items).skip(1) {
        // What is not a number stays so.
        let better =
            |(best, score): (&mut f32, &f32)| *best = if best.is_nan() || *best > *score { *best } else { *score };
        best.iter_mut().zip(other).for_each(better);
    }
    best
}

/// Returns the weighted sum of the rows of a history's distinct items.
fn sum_of(rows: &[f32], history: &History<'_>, items: usize, weight: f32) -> Vec<f32> {
    let mut own: Vec<ItemId> = history.items.iter().copied().filter(|item| *item != ItemId::PADDING).collect();
    own.sort_unstable();
    own.dedup();
    let mut sum = vec![0.0f32; items + 1];
    for item in own {
        let row = &rows[item.index() * (items + 1)..][..items + 1];
        sum.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
    }
    sum.iter_mut().for_each(|sum| *sum *= weight);
    sum
}
