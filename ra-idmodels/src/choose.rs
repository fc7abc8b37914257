//! Numbers that validation chooses, for methods that are counted or solved.

/// Returns the value with the largest metric, and its metric; of equals the first. A metric that is not a number counts as
/// the smallest.
pub(crate) fn best_of<T>(first: T, others: impl IntoIterator<Item = T>, metric: impl Fn(&T) -> f64) -> (T, f64) {
    let lowest = f64::NEG_INFINITY;
    let judged = metric(&first).max(lowest);
    others.into_iter().fold((first, judged), |best, value| {
        let metric = metric(&value);
        if metric > best.1 { (value, metric) } else { best }
    })
}
