//! What the settings of several methods must fulfil alike.
use ra_core::Problem;

/// The widest vector: a matrix of such a width squared has 16 GiB, anything above is a slip of the keyboard.
pub(crate) const WIDEST: usize = 1 << 16;

/// The longest history that a method reads, for the same reason.
pub(crate) const LONGEST: usize = 1 << 16;

/// The most layers, or interests of a user.
pub(crate) const MOST: usize = 1 << 8;

/// The problem of a width that does not fall into `heads` of one size.
pub(crate) fn not_divided(dim: usize, heads: usize) -> Option<Problem> {
    let told = || Problem::new("dim", format!("is {dim}, it must be a multiple of heads, {heads}"));
    (heads > 0 && !dim.is_multiple_of(heads)).then(told)
}

/// Problems of the table `train`.
pub(crate) fn of_train(problems: Vec<Problem>) -> impl Iterator<Item = Problem> {
    problems.into_iter().map(|problem| problem.within("train"))
}
