//! Numbers that validation chooses, for methods that are counted or solved.

use ra_core::{Recommender, Validate};

/// The value with the largest metric so far; of equals the first. A metric that is not a number counts as the smallest. No
/// other value is kept, and one that nothing is compared with is not judged.
pub(crate) struct Best<T, F> {
    pub(crate) value: T,
    metric: Option<f64>,
    judge: F,
}

impl<T, F: Fn(&T) -> f64> Best<T, F> {
    pub(crate) fn new(value: T, judge: F) -> Self {
        Self { value, metric: None, judge }
    }

    /// Returns the metric of the best value.
    pub(crate) fn metric(&mut self) -> f64 {
        *self.metric.get_or_insert_with(|| (self.judge)(&self.value).max(f64::NEG_INFINITY))
    }

    /// Takes `value` if it is better.
    pub(crate) fn offer(&mut self, value: T) {
        let (best, metric) = (self.metric(), (self.judge)(&value));
        if metric > best {
            (self.value, self.metric) = (value, Some(metric));
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
