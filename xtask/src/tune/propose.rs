//! Proposals of settings. A proposal is a function of the seed and of the trials before it, and of nothing else.
use super::space::{Key, Settings, is_same};
use crate::recipe::tune::TuneMethod;
use anyhow::{Context, Result};
use ra_core::SplitMix;
use toml::Value;
use tpe::{TpeOptimizer, categorical_range, histogram_estimator, parzen_estimator, range};

/// The number of trials before estimates begin: the recipe's own settings and random ones.
const RANDOM: usize = 6;

/// The number of proposals until one differs from all earlier settings, and how many of them may be estimates.
const ATTEMPTS: u64 = 200;
const ESTIMATES: u64 = 20;

/// A trial that a proposal learns from.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) settings: Settings,
    /// Its score, higher is better; nothing if it failed.
    pub(super) score: Option<f64>,
}

/// Returns settings that no earlier trial had; nothing if there are hardly any left.
///
/// # Errors
/// If the values of a key are none.
pub(super) fn propose(keys: &[Key], method: TuneMethod, seed: u64, earlier: &[Known]) -> Result<Option<Settings>> {
    for attempt in 0..ATTEMPTS {
        let estimates = method == TuneMethod::Tpe && earlier.len() >= RANDOM && attempt < ESTIMATES;
        let step = earlier.len() as u64 * ATTEMPTS + attempt;
        let value = |key: &Key| -> Result<(String, Value)> {
            let value = if estimates { estimate(key, seed, step, earlier)? } else { random(key, seed, step) };
            Ok((key.name.clone(), value))
        };
        let settings: Settings = keys.iter().map(value).collect::<Result<_>>()?;
        if earlier.iter().all(|known| !are_same(&settings, &known.settings)) {
            return Ok(Some(settings));
        }
    }
    Ok(None)
}

fn are_same(one: &Settings, other: &Settings) -> bool {
    one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|own| is_same(own, value)))
}

/// Draws a value; all are equally likely, on the scale of the key.
fn random(key: &Key, seed: u64, step: u64) -> Value {
    let label = ra_core::fingerprint([key.name.as_bytes()]).to_string();
    let label = label.bytes().fold(seed, |mixed, byte| ra_core::splitmix64(mixed ^ u64::from(byte)));
    let [start, end] = key.values.bounds();
    key.values.at(start + (end - start) * SplitMix::new(label ^ ra_core::splitmix64(step)).unit())
}

/// Draws a value where those of good trials are dense and those of bad ones are not. Keys are estimated one by one.
fn estimate(key: &Key, seed: u64, step: u64, earlier: &[Known]) -> Result<Value> {
    let [start, end] = key.values.bounds();
    let is_choice = matches!(key.values, super::space::Values::Choices(_));
    let (estimator, range) = match is_choice {
        true => (histogram_estimator(), categorical_range(end as usize)),
        false => (parzen_estimator(), range(start, end)),
    };
    let told = || format!("tune.keys.{}: no range to draw from", key.name);
    let mut optimizer = TpeOptimizer::new(estimator, range.ok().with_context(told)?);
    for known in earlier {
        // NaN stands for a value outside the space, such as the recipe's own; a failure is the worst result.
        let place = known.settings.get(&key.name).and_then(|value| key.values.place(value)).unwrap_or(f64::NAN);
        let loss = known.score.map_or(f64::INFINITY, |score| -score);
        optimizer.tell(place, loss).ok().with_context(told)?;
    }
    let Ok(place) = optimizer.ask(&mut ra_core::rng(seed, &format!("tune {}", key.name), step));
    Ok(key.values.at(place))
}

#[cfg(test)]
mod tests {
    use super::super::space::Values;
    use super::*;

    fn keys() -> Vec<Key> {
        let range = Values::Range { low: 1e-4, high: 1.0, whole: false, log: true };
        let choices = Values::Choices(["a", "b", "c"].map(Value::from).into());
        vec![Key { name: "lr".into(), values: range }, Key { name: "loss".into(), values: choices }]
    }

    /// The best settings are 0.01 and "b".
    fn score(settings: &Settings) -> f64 {
        let lr = settings["lr"].as_float().unwrap();
        -(lr.log10() + 2.0).powi(2) - if settings["loss"].as_str() == Some("b") { 0.0 } else { 1.0 }
    }

    fn search(method: TuneMethod, seed: u64, trials: usize) -> Vec<Known> {
        let mut known = Vec::new();
        for _ in 0..trials {
            let settings = propose(&keys(), method, seed, &known).unwrap().unwrap();
            let score = Some(score(&settings));
            known.push(Known { settings, score });
        }
        known
    }

    #[test]
    fn estimates_find_better_settings_than_chance_and_repeat() {
        let best = |known: &[Known]| known.iter().filter_map(|known| known.score).fold(f64::MIN, f64::max);
        let mean = |method| (1..9).map(|seed| best(&search(method, seed, 40))).sum::<f64>() / 8.0;
        let (tpe, random) = (mean(TuneMethod::Tpe), mean(TuneMethod::Random));
        assert!(tpe > random && tpe > -0.05, "{tpe} and {random}");
        let all = |seed| search(TuneMethod::Tpe, seed, 12).into_iter().map(|known| known.settings).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn settings_are_proposed_once_until_there_are_none() {
        let values = Values::Choices([1, 2, 3, 4].map(Value::Integer).into());
        let keys = [Key { name: "n".into(), values }];
        let mut known: Vec<Known> = Vec::new();
        while let Some(settings) = propose(&keys, TuneMethod::Tpe, 1, &known).unwrap() {
            // Failures and successes.
            let score = known.len().is_multiple_of(2).then_some(1.0);
            known.push(Known { settings, score });
        }
        assert_eq!(known.len(), 4);
    }
}
