//! Canaries: known histories with the answers that they must get, wherever a bundle is opened.
use super::Bundle;
use super::files::CANARY;
use super::score::{NOBODY, Scorer};
use anyhow::{Result, bail};
use ra_core::{History, ItemId, read_json, write_json};
use ra_eval::top_k;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The number of histories, and of items in an answer.
const HISTORIES: usize = 32;
const TOP: usize = 10;

/// The difference of a score that another processor may cause, relative to the spread of the answer's scores.
const TOLERANCE: f32 = 2e-3;

/// A history with the answer of each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Canary {
    /// The ids of the history, oldest first.
    history: Vec<String>,
    /// The best items of each row with their scores, rows in the order of the bundle.
    answers: Vec<Vec<(String, f32)>>,
}

impl Bundle {
    /// Writes the answers of this bundle to some of its own histories, spread over its users.
    pub(super) fn write_canaries(&self, path: &Path) -> Result<()> {
        let rows: Vec<&[ItemId]> = self.dataset.train.rows().filter(|row| !row.is_empty()).collect();
        let step = rows.len().div_ceil(HISTORIES).max(1);
        let all: Vec<Canary> = rows.into_iter().step_by(step).map(|row| self.canary(row)).collect();
        Ok(write_json(path, &all)?)
    }

    fn canary(&self, items: &[ItemId]) -> Canary {
        let id = |item: ItemId| self.dataset.catalog.id(item).to_owned();
        let answer = |scorer: &Scorer| {
            let scores = scores(scorer, items);
            top_k(&scores, TOP, &blocked(items)).into_iter().map(|(item, score)| (id(item), score)).collect()
        };
        Canary { history: items.iter().copied().map(id).collect(), answers: self.scorers.iter().map(answer).collect() }
    }

    /// Checks that every row gives the known answers: the same scores to the same items, and nothing above them. Returns the
    /// largest difference of a score, relative to the spread of its answer.
    ///
    /// # Errors
    /// Names the first row and item whose score differs.
    pub(super) fn check_canaries(&self) -> Result<f32> {
        let path = self.path.join(CANARY);
        let canaries: Vec<Canary> = read_json(&path)?;
        if canaries.is_empty() || canaries.iter().any(|canary| canary.answers.len() != self.scorers.len()) {
            bail!("{}: has no answer for each row; export the bundle again", path.display());
        }
        let mut worst = 0.0f32;
        for canary in &canaries {
            let items: Option<Vec<ItemId>> = canary.history.iter().map(|id| self.names.id(id)).collect();
            let Some(items) = items else { bail!("{}: names an item that the bundle lacks", path.display()) };
            for (scorer, answer) in self.scorers.iter().zip(&canary.answers) {
                worst = worst.max(self.differs(scorer, &items, answer)?);
            }
        }
        Ok(worst)
    }

    fn differs(&self, scorer: &Scorer, items: &[ItemId], answer: &[(String, f32)]) -> Result<f32> {
        let scores = scores(scorer, items);
        let spread = match (answer.first(), answer.last()) {
            (Some(first), Some(last)) => (first.1 - last.1).abs().max(first.1.abs() * 1e-2).max(f32::MIN_POSITIVE),
            _ => 1.0,
        };
        let told = |what: String| {
            format!(
                "{}: the row {} {what}: the bundle is not what was exported, or this machine computes differently; export it \
             again, or open it where it was made",
                self.path.display(),
                scorer.name
            )
        };
        let mut worst = 0.0f32;
        for (id, score) in answer {
            let Some(item) = self.names.id(id) else { bail!(told(format!("knows no item {id:?}"))) };
            let off = (scores[item.index()] - score).abs() / spread;
            if off.is_nan() || off > TOLERANCE {
                bail!(told(format!("gives item {id:?} the score {}, not {score}", scores[item.index()])));
            }
            worst = worst.max(off);
        }
        let lowest = answer.last().map_or(f32::INFINITY, |last| last.1 + TOLERANCE * spread);
        let own = top_k(&scores, answer.len(), &blocked(items));
        for (item, score) in &own {
            let id = self.dataset.catalog.id(*item);
            if *score > lowest && !answer.iter().any(|(other, _)| other == id) {
                bail!(told(format!("puts item {id:?} among the first {}", answer.len())));
            }
        }
        Ok(worst)
    }
}

fn scores(scorer: &Scorer, items: &[ItemId]) -> Vec<f32> {
    scorer.sum(History { user: NOBODY, items })
}

fn blocked(items: &[ItemId]) -> Vec<ItemId> {
    items.iter().copied().chain([ItemId::PADDING]).collect()
}
