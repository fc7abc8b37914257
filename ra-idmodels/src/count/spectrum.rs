//! The largest eigenvectors of a Gram matrix of sparse rows.
use crate::eigen::eigen;
use burn::tensor::{Device, Tensor, TensorData};
use faer::Mat;
use ra_core::kernels::Sparse;
use ra_core::{Error, Result, host_numbers, normal_numbers};
use rand_chacha::ChaCha8Rng;

/// So many more directions are searched than are asked for. Without them the last ones are hardly found.
pub(super) const OVERSAMPLING: usize = 64;

/// The number of products with the matrix. On three Amazon data sets eight give the same rankings within chance.
pub(super) const ITERATIONS: usize = 4;

/// Eigenvalues of a Gram matrix, relative to the largest, below which a direction is rounding.
const ROUNDING: f64 = 1e-7;

/// Eigenvalues of `A A^T`, relative to the largest, below which a component is rounding: it has no weight.
const LEAST: f64 = 1e-5;

/// The largest eigenvalues of `A A^T`, in descending order, and their eigenvectors. Components that are rounding are zero.
#[derive(Debug)]
pub(super) struct Spectrum {
    pub(super) values: Vec<f32>,
    /// `[rows of A, values]`.
    pub(super) vectors: Tensor<2>,
}

/// Finds `count` eigenvectors of `A A^T`, at most one for each row of `A`, by subspace iteration from a random start
/// (Halko, Martinsson & Tropp, "Finding Structure with Randomness", SIAM Review 2011, algorithms 4.4 and 5.3). The matrix
/// itself is never made: memory is that of three dense matrices with a row for each item, and one with a row for each column
/// of `A`, all [`OVERSAMPLING`] wider than `count`. `round` is told after each of [`ITERATIONS`] products.
///
/// # Errors
/// [`Error::Missing`] if a number is not finite.
pub(super) fn largest(
    rows: &Sparse,
    count: usize,
    random: &mut ChaCha8Rng,
    round: &dyn Fn(usize),
    device: &Device,
) -> Result<Spectrum> {
    let n = rows.rows();
    let count = count.min(n);
    if n == 0 {
        return Ok(Spectrum { values: Vec::new(), vectors: Tensor::zeros([0, 0], device) });
    }
    let width = (count + OVERSAMPLING).min(n);
    let transposed = rows.transposed();
    let onto = |sparse: &Sparse, x: Tensor<2>| -> Tensor<2> {
        let product = sparse.product(&host_numbers(x), width);
        Tensor::from_data(TensorData::new(product, [sparse.rows(), width]), device)
    };
    let start = TensorData::new(normal_numbers(n * width, 1.0, random), [n, width]);
    let mut basis = Tensor::<2>::from_data(start, device);
    for done in 1..=ITERATIONS {
        let product = onto(rows, onto(&transposed, basis));
        // What the first pass leaves of rounding, the second removes.
        basis = orthonormal(orthonormal(product)?)?;
        round(done);
    }
    let (values, rotation) = eigen(&gram(onto(&transposed, basis.clone()))).ok_or_else(not_finite)?;
    let known = |at: usize| if values[at] > LEAST * values[0] { 1.0 } else { 0.0 };
    let rotation = Mat::from_fn(width, count, |i, j| known(j) * rotation[(i, j)]);
    let values = (0..count).map(|at| (known(at) * values[at]) as f32).collect();
    Ok(Spectrum { values, vectors: basis.matmul(tensor(&rotation, device)) })
}

/// Returns an orthonormal basis of what the columns of `x` span, `[n, width]` as they are.
fn orthonormal(x: Tensor<2>) -> Result<Tensor<2>> {
    let (values, vectors) = eigen(&gram(x.clone())).ok_or_else(not_finite)?;
    let least = (values[0] * ROUNDING).max(1e-30);
    let (width, device) = (values.len(), x.device());
    let rotation = Mat::from_fn(width, width, |i, j| vectors[(i, j)] / values[j].max(least).sqrt());
    Ok(x.matmul(tensor(&rotation, &device)))
}

fn not_finite() -> Error {
    Error::Missing {
        what: "a finite matrix of items".into(),
        remedy: "titles or popularity is too large; choose a smaller number".into(),
    }
}

fn gram(x: Tensor<2>) -> Mat<f64> {
    let width = x.dims()[1];
    let values = host_numbers(x.clone().transpose().matmul(x));
    Mat::from_fn(width, width, |i, j| f64::from(values[i * width + j]))
}

fn tensor(matrix: &Mat<f64>, device: &Device) -> Tensor<2> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    let values = (0..rows).flat_map(|i| (0..columns).map(move |j| matrix[(i, j)] as f32)).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, [rows, columns]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::rng;

    /// Rows with steeply falling weights; `rank` distinct ones.
    fn rows(n: usize, rank: usize) -> Sparse {
        let row = |at: usize| {
            let own = at % rank;
            (0..6).map(move |k| {
                ((own * 7 + k * k * 3) as u32 % 90, ((own + 2 * k) % 5 + 1) as f32 / (1.0 + own as f32).sqrt())
            })
        };
        Sparse::from_rows(90, (0..n).map(row))
    }

    fn exact(rows: &Sparse) -> (Vec<f64>, Mat<f64>) {
        let n = rows.rows();
        let identity: Vec<f32> = (0..90 * 90).map(|at| if at / 90 == at % 90 { 1.0 } else { 0.0 }).collect();
        let dense = rows.product(&identity, 90);
        let dot =
            |i: usize, j: usize| (0..90).map(|k| f64::from(dense[i * 90 + k]) * f64::from(dense[j * 90 + k])).sum();
        eigen(&Mat::from_fn(n, n, dot)).unwrap()
    }

    #[test]
    fn components_are_those_of_the_whole_matrix_where_only_some_are_searched() {
        let (device, rows) = (Device::flex(), rows(300, 300));
        let (values, vectors) = exact(&rows);
        let found = largest(&rows, 12, &mut rng(1, "start", 0), &|_| (), &device).unwrap();
        let own = host_numbers(found.vectors.clone());
        for j in 0..12 {
            assert!(
                (f64::from(found.values[j]) / values[j] - 1.0).abs() < 1e-4,
                "{:?} {:?}",
                found.values,
                &values[..12]
            );
            let dot: f64 = (0..300).map(|i| f64::from(own[i * 12 + j]) * vectors[(i, j)]).sum();
            let apart = values[j] - values[j + 1].max(0.0) > 1e-2 * values[j]
                && (j == 0 || values[j - 1] - values[j] > 1e-2 * values[j]);
            assert!(!apart || dot.abs() > 0.999, "component {j}: {dot}");
        }
        let again = largest(&rows, 12, &mut rng(1, "start", 0), &|_| (), &device).unwrap();
        assert_eq!((host_numbers(again.vectors), again.values), (own, found.values), "the same bits");
    }

    #[test]
    fn what_a_matrix_of_small_rank_lacks_is_zero() {
        let (device, rows) = (Device::flex(), rows(200, 5));
        let found = largest(&rows, 20, &mut rng(1, "start", 0), &|_| (), &device).unwrap();
        let (values, _) = exact(&rows);
        for (at, &value) in found.values.iter().enumerate() {
            let wanted = if at < 5 { values[at] } else { 0.0 };
            assert!((f64::from(value) - wanted).abs() < 1e-4 * values[0], "{:?}", found.values);
        }
        let none: f32 = found.vectors.slice_dim(1, 5..20).abs().sum().into_scalar();
        assert_eq!(none, 0.0);
        let empty = largest(&Sparse::from_rows::<Vec<_>>(3, []), 4, &mut rng(1, "start", 0), &|_| (), &device).unwrap();
        assert!(empty.values.is_empty());
    }

    #[test]
    fn numbers_that_are_not_finite_are_told() {
        let rows = Sparse::from_rows(1, [[(0, f32::INFINITY)], [(0, 1.0)]]);
        let told = largest(&rows, 1, &mut rng(1, "start", 0), &|_| (), &Device::flex()).unwrap_err().to_string();
        assert!(told.contains("finite") && told.contains("titles"), "{told}");
    }
}
