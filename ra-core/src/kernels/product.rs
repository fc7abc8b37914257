//! Products of matrices into memory that is there already.
//!
//! Burn's product on the CPU fills a new tensor with zeros and moves it before it is computed. For the scores of a
//! whole catalogue that takes a fifth of a training step, on one thread whatever the number of threads is.
#![allow(unsafe_code)]

use gemm::{Parallelism, gemm};

/// A matrix in a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// The distances between rows and between columns.
    strides: [usize; 2],
}

impl<'a> View<'a> {
    /// A row-major matrix with rows of `width` numbers.
    pub(super) fn new(values: &'a [f32], width: usize) -> Self {
        let rows = values.len().checked_div(width).unwrap_or(0);
        assert_eq!(Some(values.len()), rows.checked_mul(width), "whole rows");
        Self { values, rows, columns: width, strides: [width, 1] }
    }

    pub(super) fn transposed(self) -> Self {
        let Self { values, rows, columns, strides: [row, column] } = self;
        Self { values, rows: columns, columns: rows, strides: [column, row] }
    }
}

/// Computes `to = a b`, or `to += a b` if it `adds`; `to` is row-major. All threads take part, and the bits do not
/// depend on their number.
///
/// # Panics
/// If the shapes do not match.
pub(super) fn multiply(to: &mut [f32], a: View<'_>, b: View<'_>, adds: bool) {
    assert_eq!(a.columns, b.rows, "as many columns as rows");
    assert_eq!(Some(to.len()), a.rows.checked_mul(b.columns), "a number for each row and column");
    let width = b.columns;
    if to.is_empty() {
        return;
    }
    let [[a_row, a_column], [b_row, b_column]] = [a, b].map(|x| x.strides.map(|stride| stride as isize));
    // SAFETY: `View` only exists for slices of `rows * columns` numbers, with the strides of a row-major matrix or of its
    // transposed one, so every number of `a` and `b` lies in its slice. `to` has `a.rows * b.columns` numbers and is
    // borrowed mutably, so it overlaps neither. The strides fit: a slice has at most `isize::MAX` bytes.
    unsafe {
        gemm(
            a.rows,
            width,
            a.columns,
            to.as_mut_ptr(),
            1,
            width as isize,
            adds,
            a.values.as_ptr(),
            a_column,
            a_row,
            b.values.as_ptr(),
            b_column,
            b_row,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_products_of_either_matrix_or_its_transposed_one() {
        let numbers = |n: usize, by: usize| (0..n).map(|i| (i * by % 11) as f32 - 5.0).collect::<Vec<f32>>();
        let turned = |x: &[f32], width: usize| -> Vec<f32> {
            (0..width).flat_map(|column| x.iter().skip(column).step_by(width).copied()).collect()
        };
        for [rows, inner, width] in [[1, 1, 1], [3, 7, 5], [40, 64, 90], [200, 33, 17], [2, 300, 3]] {
            let (a, b) = (numbers(rows * inner, 7), numbers(inner * width, 3));
            let (a_turned, b_turned) = (turned(&a, inner), turned(&b, width));
            let lefts = [View::new(&a, inner), View::new(&a_turned, rows).transposed()];
            let rights = [View::new(&b, width), View::new(&b_turned, inner).transposed()];
            let sum =
                |at: usize| -> f32 { (0..inner).map(|i| a[at / width * inner + i] * b[i * width + at % width]).sum() };
            for (left, right) in lefts.into_iter().flat_map(|left| rights.map(|right| (left, right))) {
                let mut found = vec![2.0; rows * width];
                // Whole numbers of this size are exact.
                multiply(&mut found, left, right, true);
                assert!((0..found.len()).all(|at| found[at] == 2.0 + sum(at)), "{rows} {inner} {width}");
                multiply(&mut found, left, right, false);
                assert!((0..found.len()).all(|at| found[at] == sum(at)), "{rows} {inner} {width}");
            }
        }
        let (a, b) = (numbers(300 * 70, 7), numbers(70 * 500, 3));
        let on = |threads: usize| {
            let [a, b] = [&a, &b].map(|x| x.iter().map(|x| x * 0.1).collect::<Vec<f32>>());
            let mut found = vec![0.0; 300 * 500];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| multiply(&mut found, View::new(&a, 70), View::new(&b, 500), true));
            found
        };
        assert_eq!(on(1), on(4), "the same bits on any number of threads");
        multiply(&mut [], View::new(&[], 3), View::new(&[0.0; 6], 2), true);
    }
}
