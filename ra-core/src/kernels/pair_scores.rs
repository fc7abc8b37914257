//! Dot products of selected rows of two tables.
use super::math::{dot, vectorized};
use super::{Matrix, Operator, apply, in_host_memory};
use crate::int_tensor::read_indices;
use burn::tensor::{Int, Tensor};

/// `scores[i, j] = <left[rows[i]], right[columns[i, j]]>`; `rows = None` means all rows of `left` in order.
///
/// It reads the rows of `right` in place and never builds `[m, k, width]`.
///
/// # Shapes
/// `left` is `[a, width]`, `right` is `[b, width]`, `rows` is `[m]`, `columns` is `[m, k]`; the result is `[m, k]`.
///
/// # Panics
/// If an index is out of range.
pub fn pair_scores(
    left: Tensor<2>,
    rows: Option<Tensor<1, Int>>,
    right: Tensor<2>,
    columns: Tensor<2, Int>,
) -> Tensor<2> {
    let [_, k] = columns.dims();
    if !in_host_memory(&left.device()) {
        return composed([left, right], rows, columns);
    }
    let operator = PairScores {
        rows: rows.as_ref().map_or_else(|| (0..left.dims()[0] as u32).collect(), read_indices),
        columns: read_indices(&columns),
        k,
    };
    let inputs = [left, right];
    apply(operator, &inputs).unwrap_or_else(|| composed(inputs, rows, columns))
}

fn composed([left, right]: [Tensor<2>; 2], rows: Option<Tensor<1, Int>>, columns: Tensor<2, Int>) -> Tensor<2> {
    let [m, k] = columns.dims();
    let left = match rows {
        Some(rows) => left.select(0, rows),
        None => left,
    };
    let width = left.dims()[1];
    let right = right.select(0, columns.flatten(0, 1)).reshape([m, k, width]);
    (left.reshape([m, 1, width]) * right).sum_dim(2).reshape([m, k])
}

#[derive(Debug)]
struct PairScores {
    rows: Vec<u32>,
    columns: Vec<u32>,
    k: usize,
}

impl Operator<2> for PairScores {
    type Saved = ();

    fn forward(&self, [left, right]: [Matrix<'_>; 2]) -> (Vec<f32>, usize, ()) {
        let width = left.width;
        let mut out = vec![0.0; self.columns.len()];
        vectorized(
            #[inline(always)]
            || {
                let all = out.chunks_exact_mut(self.k).zip(self.columns.chunks_exact(self.k));
                for ((out, columns), &row) in all.zip(&self.rows) {
                    let left = &left.values[row as usize * width..][..width];
                    for (out, &column) in out.iter_mut().zip(columns) {
                        *out = dot(left, &right.values[column as usize * width..][..width]);
                    }
                }
            },
        );
        (out, self.k, ())
    }

    fn backward(&self, [left, right]: [Matrix<'_>; 2], _: &(), grad: &[f32], _: [bool; 2]) -> [Vec<f32>; 2] {
        let width = left.width;
        let mut grads = [vec![0.0f32; left.values.len()], vec![0.0f32; right.values.len()]];
        let [d_left, d_right] = &mut grads;
        vectorized(
            #[inline(always)]
            || {
                let all = grad.chunks_exact(self.k).zip(self.columns.chunks_exact(self.k));
                for ((grad, columns), &row) in all.zip(&self.rows) {
                    let at = |row: u32| row as usize * width..(row as usize + 1) * width;
                    let row = at(row);
                    let (left, d_left) = (&left.values[row.clone()], &mut d_left[row]);
                    for (&grad, &column) in grad.iter().zip(columns) {
                        let column = at(column);
                        let (right, d_right) = (&right.values[column.clone()], &mut d_right[column]);
                        for j in 0..width {
                            d_left[j] = grad.mul_add(right[j], d_left[j]);
                            d_right[j] = grad.mul_add(left[j], d_right[j]);
                        }
                    }
                }
            },
        );
        grads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{agree, random};
    use burn::tensor::Device;

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        let device = Device::flex();
        let columns = Tensor::<2, Int>::from_ints([[0, 3], [3, 3], [1, 0]], &device);
        for rows in [None, Some(Tensor::<1, Int>::from_ints([2, 0, 2], &device))] {
            agree(
                || [random([3, 18], 1), random([4, 18], 2)],
                |[a, b]| pair_scores(a, rows.clone(), b, columns.clone()),
                |inputs| {
                    let rows = rows.clone().map(Tensor::from_inner);
                    composed(inputs, rows, Tensor::from_inner(columns.clone()))
                },
            );
        }
    }
}
