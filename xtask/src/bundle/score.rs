//! The scores of a row of a bundle: those of its parts, each computed in the way that is cheapest for it.
use super::files::{BundleRow, VectorPart};
use crate::recipe::ItemNames;
use crate::stages::{Aligned, IdModels, Saved, row as row_of, saved_items};
use anyhow::{Context, Result, bail};
use burn::tensor::Tensor;
use ra_core::kernels::{FrozenLinear, Layout};
use ra_core::{History, ItemId, Recommender};
use ra_eval::item_vectors;
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
    /// By a product with the item vectors; they are kept in rows as well, `[items + 1, dim]`.
    Vectors { product: FrozenLinear, rows: Vec<f32> },
    /// By the sum of the rows of a history's items, `[items + 1, items + 1]`.
    Rows(Vec<f32>),
    /// By additions to single items alone.
    Additions,
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
            How::Vectors { rows, .. } => self.has_direction(rows) || !part.model.additions(&history).is_empty(),
            How::Rows(_) | How::Additions => true,
        };
        self.parts.iter().any(|(part, _)| compares(part))
    }

    /// Returns whether it has a score for items that were never trained on.
    pub(super) fn knows_new_items(&self) -> bool {
        self.parts.iter().any(|(part, _)| part.reads_titles)
    }

    /// Returns the scores of all items for each history, with padding first: for each part, and then their sum.
    pub(super) fn score(&self, histories: &[History<'_>]) -> Vec<Scores> {
        let mut all: Vec<Scores> = histories.iter().map(|_| Scores::default()).collect();
        for (part, weight) in &self.parts {
            for (own, scores) in all.iter_mut().zip(part.score(histories, self.items, *weight)) {
                own.parts.push(scores);
            }
        }
        all
    }

    /// Returns the item vectors next to each other, `[items, width]`, with the width of each part; parts without vectors are
    /// left out. One product with [`user_vector`](Self::user_vector) gives their part of the score.
    pub(super) fn item_vectors(&self) -> (Vec<Vec<f32>>, Vec<VectorPart>) {
        let dense: Vec<(&str, &[f32])> = self.vectors().collect();
        let width = |(row, rows): &(&str, &[f32])| VectorPart { row: (*row).to_owned(), width: self.width(rows) };
        let widths: Vec<VectorPart> = dense.iter().map(width).collect();
        let vector = |item: usize| -> Vec<f32> {
            let own = dense.iter().zip(&widths).map(|((_, rows), part)| &rows[item * part.width..][..part.width]);
            own.flatten().copied().collect()
        };
        ((1..=self.items).map(vector).collect(), widths)
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
            How::Vectors { rows, .. } => Some((&**part, *weight, rows.as_slice())),
            _ => None,
        })
    }

    /// Returns what a history of one item adds to the scores of items beyond vectors, the largest first.
    pub(super) fn terms(&self, item: ItemId, most: usize) -> Vec<(ItemId, f32)> {
        let mut scores = vec![0.0f32; self.items + 1];
        let history = [item];
        let history = History { user: NOBODY, items: &history };
        for (part, weight) in &self.parts {
            if let How::Rows(rows) = &part.how {
                let row = &rows[item.index() * scores.len()..][..scores.len()];
                scores.iter_mut().zip(row).for_each(|(score, more)| *score += weight * more);
            }
            for (other, more) in part.model.additions(&history) {
                scores[other.index()] += weight * more;
            }
        }
        let mut found: Vec<(ItemId, f32)> = scores
            .into_iter()
            .zip(0..)
            .skip(1)
            .filter(|(score, _)| *score > 0.0)
            .map(|(s, n)| (ItemId(n), s))
            .collect();
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

impl How {
    fn new(model: &dyn Recommender, saved: Option<Tensor<2>>, items: usize) -> Result<Self> {
        if let Some(rows) = model.score_rows() {
            return Ok(Self::Rows(host(rows)));
        }
        let vectors = saved.unwrap_or_else(|| item_vectors(model, items));
        let (dim, device) = (vectors.dims()[1], vectors.device());
        let rows = host(vectors);
        if rows[dim..].iter().any(|value| !value.is_finite()) {
            bail!("has item vectors that are not numbers: the model is broken");
        }
        if rows[dim..].iter().all(|value| *value == 0.0) {
            return Ok(Self::Additions);
        }
        let product = FrozenLinear::new(&rows, Layout::OutIn, None, [dim, items + 1], &device);
        Ok(Self::Vectors { product, rows })
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

    /// Returns the scores of all items for each history, with padding first, by a weight.
    fn score(&self, histories: &[History<'_>], items: usize, weight: f32) -> Vec<Vec<f32>> {
        let mut all = match &self.how {
            How::Additions => vec![vec![0.0; items + 1]; histories.len()],
            How::Rows(rows) => histories.iter().map(|history| sum_of(rows, history, items, weight)).collect(),
            How::Vectors { product, .. } => {
                let interests = self.model.interests();
                let products = product.forward(self.model.users(histories) * weight);
                let products = products.reshape([histories.len(), interests, items + 1]);
                let best = if interests == 1 { products } else { products.max_dim(1) };
                host(best.squeeze_dim::<2>(1)).chunks_exact(items + 1).map(<[f32]>::to_vec).collect()
            }
        };
        for (history, scores) in histories.iter().zip(&mut all) {
            for (item, more) in self.model.additions(history) {
                scores[item.index()] += weight * more;
            }
        }
        all
    }
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

/// Returns the values in row order.
fn host(x: Tensor<2>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}
