//! Eigenvalues of symmetric matrices.
use faer::{Mat, Side};

/// Returns the eigenvalues of a symmetric matrix in descending order, and its eigenvectors as columns; nothing if a number
/// is not finite.
pub(crate) fn eigen(matrix: &Mat<f64>) -> Option<(Vec<f64>, Mat<f64>)> {
    if !matrix.row_iter().all(|row| row.iter().all(|number| number.is_finite())) {
        return None;
    }
    // In ascending order.
    let found = matrix.self_adjoint_eigen(Side::Lower).ok()?;
    let (n, values) = (matrix.nrows(), found.S().column_vector());
    let vectors = Mat::from_fn(n, n, |i, j| found.U()[(i, n - 1 - j)]);
    Some(((0..n).rev().map(|at| values[at]).collect(), vectors))
}
