//! What a tuning has tried and found: `trials.json`, from which it resumes.
use super::propose::Known;
use super::space::Settings;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::Table;

/// The shares of the training that trials go through when the better half of them goes on.
const HALVING: [f64; 3] = [0.25, 0.5, 1.0];

/// The warning that belongs to every result of a tuning.
pub(super) const NOTE: &str = "The scores are of the validation part, and the best of many scores on the same users is \
    optimistic. Nothing was measured on the test part: a run of best.toml does that, once.";

/// All trials of a tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trials {
    /// The name of the recipe.
    pub(super) recipe: String,
    /// The row whose score counts.
    pub(super) row: String,
    /// The criterion that scores are values of, in words.
    pub(super) criterion: String,
    /// The number of validation users that scores are means over.
    pub(super) users: usize,
    pub(super) note: String,
    pub(super) plan: Plan,
    /// The number of the best trial.
    pub(super) best: Option<usize>,
    pub(super) trials: Vec<Trial>,
}

/// Everything that the trials depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The resolved recipe.
    pub(super) recipe: String,
    pub(super) method: String,
    pub(super) halving: bool,
    /// `tune.keys`.
    pub(super) keys: Table,
    /// The users, items, titles and interactions.
    pub(super) data: String,
    /// The language model, if one takes part.
    pub(super) lm: Option<String>,
    /// The content of the files that ID methods import.
    #[serde(default)]
    pub(super) imports: Option<String>,
    /// The version of this program.
    pub(super) version: String,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trial {
    /// Its number, from 1.
    pub(super) trial: usize,
    pub(super) settings: Settings,
    /// Its trainings, one for each share that it went through.
    pub(super) trainings: Vec<Training>,
}

/// A training of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Training {
    /// The share of the epochs or steps.
    pub(super) share: f64,
    /// Its run folder.
    pub(super) folder: String,
    /// The validation score, or the error instead.
    pub(super) score: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) seconds: f64,
}

impl Plan {
    /// Refuses to continue the tuning of `self` as that of `asked`.
    pub(super) fn check(&self, asked: &Self, file: &Path) -> Result<()> {
        // Destructured, so that no part is forgotten.
        let Self { recipe, method, halving, keys, data, lm, imports, version } = self;
        let parts = [
            (*recipe != asked.recipe, "another recipe or --set"),
            (*method != asked.method || *halving != asked.halving, "another tune.method or tune.halving"),
            (*keys != asked.keys, "other tune.keys"),
            (*data != asked.data, "other data"),
            (*lm != asked.lm, "another language model"),
            (*imports != asked.imports, "other imported files"),
            (*version != asked.version, "another version of this program"),
        ];
        let differing: Vec<&str> = parts.into_iter().filter(|(differs, _)| *differs).map(|(_, told)| told).collect();
        if !differing.is_empty() {
            bail!(
                "{}: the tuning was made with {}; name another folder by --out, or start again by --force instead of \
                 --resume",
                file.display(),
                differing.join(" and ")
            );
        }
        Ok(())
    }

    /// Returns the shares of the training that a trial may go through.
    pub(super) fn shares(&self) -> &'static [f64] {
        if self.halving { &HALVING } else { &HALVING[2..] }
    }
}

impl Trials {
    /// Returns the trials that a proposal learns from: their first trainings, which all of them have.
    pub(super) fn known(&self) -> Vec<Known> {
        let known = |trial: &Trial| Known { settings: trial.settings.clone(), score: trial.score(0) };
        self.trials.iter().map(known).collect()
    }

    /// Forgets trainings that failed, so that they are tried again: what made them fail, such as a full disk, may be
    /// gone.
    pub(super) fn forget_failures(&mut self) {
        for trial in &mut self.trials {
            trial.trainings.retain(|training| training.score.is_some());
        }
    }

    /// Returns the trials that are trained for the share at `round`, by place: all in the first round, then the better
    /// half of those that the round before did not fail. The recipe's own settings are among them.
    pub(super) fn going_on(&self, round: usize) -> Vec<usize> {
        let Some(before) = round.checked_sub(1) else { return (0..self.trials.len()).collect() };
        let mut order = self.by_score(before);
        let own = order.iter().copied().find(|&place| place == 0);
        order.truncate(order.len().div_ceil(2));
        order.extend(own.filter(|own| !order.contains(own)));
        order.sort_unstable();
        order
    }

    /// Returns the places of the trials that were trained in full, the best first.
    pub(super) fn finished(&self) -> Vec<usize> {
        self.by_score(self.plan.shares().len() - 1)
    }

    /// Returns the places of the trials with a score of this round, the best first; of equal scores, the earlier trial.
    fn by_score(&self, round: usize) -> Vec<usize> {
        let scored = self.trials.iter().enumerate().filter_map(|(place, trial)| Some((place, trial.score(round)?)));
        let mut scored: Vec<(usize, f64)> = scored.collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        scored.into_iter().map(|(place, _)| place).collect()
    }
}

impl Trial {
    pub(super) fn score(&self, round: usize) -> Option<f64> {
        self.trainings.get(round)?.score
    }

    /// Returns its settings in words.
    pub(super) fn told(&self) -> String {
        let told: Vec<String> = self.settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        told.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(halving: bool, scores: &[&[Option<f64>]]) -> Trials {
        let plan = Plan {
            recipe: "r".into(),
            method: "tpe".into(),
            halving,
            keys: Table::new(),
            data: "d".into(),
            lm: None,
            imports: None,
            version: "1".into(),
        };
        let training =
            |&score: &Option<f64>| Training { share: 1.0, folder: "f".into(), score, error: None, seconds: 0.0 };
        let trial = |(at, scores): (usize, &&[Option<f64>])| Trial {
            trial: at + 1,
            settings: Settings::new(),
            trainings: scores.iter().map(training).collect(),
        };
        Trials {
            recipe: "r".into(),
            row: "sasrec".into(),
            criterion: "c".into(),
            users: 1,
            note: NOTE.into(),
            plan,
            best: None,
            trials: scores.iter().enumerate().map(trial).collect(),
        }
    }

    #[test]
    fn the_better_half_goes_on_and_the_recipe_itself_always_does() {
        let first: [&[Option<f64>]; 5] = [&[Some(0.1)], &[Some(0.5)], &[None], &[Some(0.3)], &[Some(0.5)]];
        let found = trials(true, &first);
        assert_eq!(found.going_on(0), [0, 1, 2, 3, 4]);
        assert_eq!(found.going_on(1), [0, 1, 4], "two of the four that did not fail, and the recipe");
        let second: [&[Option<f64>]; 5] =
            [&[Some(0.1), Some(0.2)], &[Some(0.5), Some(0.3)], &[None], &[Some(0.3)], &[Some(0.5), Some(0.4)]];
        let found = trials(true, &second);
        assert_eq!(found.going_on(2), [0, 1, 4]);
        assert!(found.finished().is_empty(), "nobody was trained in full");
        assert_eq!(trials(false, &first).finished(), [1, 4, 3, 0], "of equal scores, the earlier");
        assert_eq!(trials(true, &[&[None], &[Some(0.1)]]).going_on(1), [1], "a recipe that fails does not go on");
    }

    #[test]
    fn a_tuning_of_anything_else_is_not_continued() {
        let own = trials(false, &[]).plan;
        let keys: Table = "x = [1, 2]".parse().unwrap();
        let others = [
            Plan { recipe: "other".into(), ..own.clone() },
            Plan { method: "random".into(), ..own.clone() },
            Plan { halving: true, ..own.clone() },
            Plan { keys, ..own.clone() },
            Plan { data: "other".into(), ..own.clone() },
            Plan { lm: Some("lm".into()), ..own.clone() },
            Plan { version: "2".into(), ..own.clone() },
        ];
        assert!(own.check(&own, Path::new("f")).is_ok());
        for other in others {
            assert!(own.check(&other, Path::new("f")).unwrap_err().to_string().contains("--force"), "{other:?}");
        }
    }
}
