//! Numbers that validation chooses, for methods that are counted or solved.

use ra_core::{Recommender, Validate};

/// Returns the value with the largest metric, and its metric; of equals the first. A metric that is not a number counts as
/// the smallest.
pub(crate) fn best_of<T>(first: T, others: impl IntoIterator<Item = T>, metric: impl Fn(&T) -> f64) -> (T, f64) {
    let mut best = Best::new(first, metric);
    others.into_iter().for_each(|value| best.offer(value));
    (best.value, best.metric)
}

/// The value with the largest metric so far; of equals the first. No other is kept.
pub(crate) struct Best<T, F> {
    pub(crate) value: T,
    metric: f64,
    judge: F,
}

impl<T, F: Fn(&T) -> f64> Best<T, F> {
    pub(crate) fn new(value: T, judge: F) -> Self {
        let metric = judge(&value).max(f64::NEG_INFINITY);
        Self { value, metric, judge }
    }

    pub(crate) fn offer(&mut self, value: T) {
        let metric = (self.judge)(&value);
        if metric > self.metric {
            (self.value, self.metric) = (value, metric);
        }
    }
}

/// The metric of a model; without one, all are equal.
pub(crate) fn judge<'a, M: Recommender>(validate: Option<Validate<'a>>) -> impl Fn(&M) -> f64 + 'a {
    move |model| validate.map_or(0.0, |validate| validate(model))
}

/// Returns the values that validation chooses among: `own` alone if it is given, and without validation the first.
pub(crate) fn open(own: Option<f32>, among: &[f32], validate: Option<Validate<'_>>) -> Vec<f32> {
    match own {
        Some(own) => vec![own],
        None => among[..if validate.is_some() { among.len() } else { 1 }].to_vec(),
    }
}
