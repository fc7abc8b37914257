//! Sizes above which a setting is taken for a slip of the keyboard, and what settings must have in common.
use ra_core::Problem;

/// The widest vector: a matrix of such a width squared has 16 GiB.
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
