//! The largest eigenvectors of a Gram matrix of sparse rows.
use burn::tensor::{Device, Tensor, TensorData};
use faer::{Mat, Side};
use ra_core::kernels::Sparse;
use ra_core::{Error, Result, host_numbers, normal_numbers};
use rand_chacha::ChaCha8Rng;

/// So many more directions are searched than are asked for. Without them the last ones are hardly found.
pub(super) const MORE: usize = 64;

/// The number of products with the matrix. On three Amazon data sets eight give the same rankings within chance.
pub(super) const ROUNDS: usize = 4;

/// Eigenvalues, relative to the largest, below which a direction of a product is rounding.
const ROUNDING: f64 = 1e-7;

/// The largest eigenvalues of `A A^T`, in descending order, and their eigenvectors.
#[derive(Debug)]
pub(super) struct Spectrum {
    pub(super) values: Vec<f32>,
    /// `[rows of A, values]`.
    pub(super) vectors: Tensor<2>,
}

/// Finds `count` eigenvectors of `A A^T`, at most one for each row of `A`, by subspace iteration from a random start
/// (Halko, Martinsson & Tropp, "Finding Structure with Randomness", SIAM Review 2011, algorithms 4.4 and 5.3). The matrix
/// itself is never made: memory is that of three dense matrices with a row for each item, and one with a row for each column
/// of `A`, all [`MORE`] wider than `count`. `round` is told after each of [`ROUNDS`] products.
///
/// # Errors
/// [`Error::Missing`] if a number is not finite.
pub(super) fn largest(
    rows: &Sparse,
    columns: usize,
    count: usize,
    random: &mut ChaCha8Rng,
    round: &dyn Fn(usize),
    device: &Device,
) -> Result<Spectrum> {
    let n = rows.rows();
    let width = (count + MORE).min(n);
    let transposed = rows.transposed(columns);
    let onto = |sparse: &Sparse, x: Tensor<2>| -> Tensor<2> {
        let product = sparse.product(&host_numbers(x), width);
        Tensor::from_data(TensorData::new(product, [sparse.rows(), width]), device)
    };
    let start = TensorData::new(normal_numbers(n * width, 1.0, random), [n, width]);
    let mut basis = Tensor::<2>::from_data(start, device);
    for done in 1..=ROUNDS {
        let product = onto(rows, onto(&transposed, basis));
        // What the first pass leaves of rounding, the second removes.
        basis = orthonormal(orthonormal(product)?)?;
        round(done);
    }
    let (values, turn) = eigen(&gram(onto(&transposed, basis.clone())))?;
    let count = count.min(width);
    let turn = Mat::from_fn(width, count, |i, j| turn[(i, j)]);
    let values = values[..count].iter().map(|value| value.max(0.0) as f32).collect();
    Ok(Spectrum { values, vectors: basis.matmul(tensor(&turn, device)) })
}

/// Returns an orthonormal basis of what the columns of `x` span, `[n, width]` as they are.
fn orthonormal(x: Tensor<2>) -> Result<Tensor<2>> {
    let (values, vectors) = eigen(&gram(x.clone()))?;
    let least = (values[0] * ROUNDING).max(1e-30);
    let (width, device) = (values.len(), x.device());
    let turn = Mat::from_fn(width, width, |i, j| vectors[(i, j)] / values[j].max(least).sqrt());
    Ok(x.matmul(tensor(&turn, &device)))
}

fn gram(x: Tensor<2>) -> Mat<f64> {
    let width = x.dims()[1];
    let values = host_numbers(x.clone().transpose().matmul(x));
    Mat::from_fn(width, width, |i, j| f64::from(values[i * width + j]))
}

/// Returns the eigenvalues of a symmetric matrix in descending order, and its eigenvectors as columns.
fn eigen(matrix: &Mat<f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let none = |_| Error::Missing {
        what: "a finite matrix of items".into(),
        remedy: "a weight of the method is too large; choose a smaller one".into(),
    };
    // In ascending order.
    let found = matrix.self_adjoint_eigen(Side::Lower).map_err(none)?;
    let (n, values) = (matrix.nrows(), found.S().column_vector());
    let vectors = Mat::from_fn(n, n, |i, j| found.U()[(i, n - 1 - j)]);
    Ok(((0..n).rev().map(|at| values[at]).collect(), vectors))
}

fn tensor(matrix: &Mat<f64>, device: &Device) -> Tensor<2> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    let values = (0..rows).flat_map(|i| (0..columns).map(move |j| matrix[(i, j)] as f32)).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, [rows, columns]), device)
}
