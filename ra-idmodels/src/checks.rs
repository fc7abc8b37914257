//! Checks of settings that several methods share.
use ra_core::Problem;

/// The largest width: a square matrix of this width takes 16 GiB, so anything above is a typing error.
pub(crate) const WIDEST: usize = 1 << 16;

/// The longest history that a method reads, for the same reason.
pub(crate) const LONGEST: usize = 1 << 16;

/// The highest number of layers, or of interests per user.
pub(crate) const MOST: usize = 1 << 8;

/// Returns a problem if `dim` is not divisible by `heads`.
pub(crate) fn not_divided(dim: usize, heads: usize) -> Option<Problem> {
    let told = || Problem::new("dim", format!("is {dim}, it must be a multiple of heads, {heads}"));
    (heads > 0 && !dim.is_multiple_of(heads)).then(told)
}

/// Returns the problems of the sizes of a method with self-attention; `blocks` is that of their number.
pub(crate) fn of_attention(
    [dim, heads, max_length]: [usize; 3],
    blocks: Option<Problem>,
    dropout: f64,
) -> impl Iterator<Item = Problem> {
    let found = [
        Problem::unless_within("dim", dim, WIDEST),
        Problem::if_below("heads", heads, 1),
        blocks,
        Problem::unless_within("max_length", max_length, LONGEST),
        not_divided(dim, heads),
        Problem::unless_share("dropout", dropout),
    ];
    found.into_iter().flatten()
}

/// Prefixes the problems of the table `train`.
pub(crate) fn of_train(problems: Vec<Problem>) -> impl Iterator<Item = Problem> {
    problems.into_iter().map(|problem| problem.within("train"))
}
