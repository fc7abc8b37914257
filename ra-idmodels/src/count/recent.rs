//! Popularity among the newest items of each user: a floor for data whose fashion changes.
use crate::{IdMethod, Job, Popularity, Trained};
use ra_core::{Check, Dataset, Problem, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Configures popularity among the newest items of each user: a [`Popularity`] whose scores are counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecentConfig {
    /// The number of each user's newest training interactions that count. A split data set keeps the order of a user's
    /// interactions but no time, so this is no window of days: what is newest for a user who left long ago still
    /// counts.
    pub window: usize,
}

impl Default for RecentConfig {
    fn default() -> Self {
        Self { window: 1 }
    }
}

impl Check for RecentConfig {
    fn problems(&self) -> Vec<Problem> {
        Problem::if_below("window", self.window, 1).into_iter().collect()
    }
}

impl IdMethod for RecentConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::counted(Popularity::of_scores(self.counts(job.dataset), job.device)))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }
}

impl RecentConfig {
    /// Returns how often an item is among the newest training items of a user; popularity in the whole training part breaks
    /// ties and ranks the other items.
    fn counts(&self, dataset: &Dataset) -> Vec<f32> {
        let all = dataset.popularity();
        // Larger than any popularity, so that one recent interaction outweighs it.
        let step = all.iter().max().map_or(1.0, |&most| most as f32 + 1.0);
        let mut counts: Vec<f32> = all.into_iter().map(|count| count as f32).collect();
        for row in dataset.train.rows() {
            row.iter().rev().take(self.window).for_each(|item| counts[item.index()] += step);
        }
        counts
    }
}
