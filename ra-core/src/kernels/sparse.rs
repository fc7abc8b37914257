//! Sparse matrices in host memory.
use super::math::vectorized;
use rayon::prelude::*;

/// A sparse matrix in compressed rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse {
    width: usize,
    pub(super) offsets: Vec<usize>,
    pub(super) columns: Vec<u32>,
    pub(super) weights: Vec<f32>,
}

impl Sparse {
    /// Creates a matrix of `width` columns from the entries of each row: their columns and weights.
    ///
    /// # Panics
    /// If a column is not below `width`.
    pub fn from_rows<R: IntoIterator<Item = (u32, f32)>>(width: usize, rows: impl IntoIterator<Item = R>) -> Self {
        let mut own = Self { width, offsets: vec![0], columns: Vec::new(), weights: Vec::new() };
        for row in rows {
            for (column, weight) in row {
                assert!((column as usize) < width, "column {column} of {width}");
                own.columns.push(column);
                own.weights.push(weight);
            }
            own.offsets.push(own.columns.len());
        }
        own
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of entries.
    pub fn entries(&self) -> usize {
        self.columns.len()
    }

    /// Returns the transpose.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let columns = self.width;
        let mut ends = vec![0usize; columns + 1];
        self.columns.iter().for_each(|&column| ends[column as usize + 1] += 1);
        for column in 0..columns {
            ends[column + 1] += ends[column];
        }
        let (offsets, mut next) = (ends.clone(), ends);
        let mut own = Self {
            width: self.rows(),
            offsets,
            columns: vec![0; self.columns.len()],
            weights: vec![0.0; self.weights.len()],
        };
        for row in 0..self.rows() {
            for at in self.offsets[row]..self.offsets[row + 1] {
                let place = &mut next[self.columns[at] as usize];
                (own.columns[*place], own.weights[*place]) = (row as u32, self.weights[at]);
                *place += 1;
            }
        }
        own
    }

    /// Computes `A x` for a matrix `x` with rows of this width, as many as `A` has columns; both are row-major. A row of the
    /// result has the same bits whatever the number of threads and the other rows of `A`.
    ///
    /// # Panics
    /// If `x` has another number of rows.
    pub fn product(&self, x: &[f32], width: usize) -> Vec<f32> {
        assert_eq!(x.len(), self.width * width, "one row for each column");
        let mut out = vec![0.0; self.rows() * width];
        if width == 0 {
            return out;
        }
        const BLOCK: usize = 256;
        out.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, out)| {
            vectorized(
                #[inline(always)]
                || {
                    for (index, out) in out.chunks_exact_mut(width).enumerate() {
                        let row = block * BLOCK + index;
                        let entries = self.offsets[row]..self.offsets[row + 1];
                        let entries = self.columns[entries.clone()].iter().zip(&self.weights[entries]);
                        let mut column = 0;
                        while column + 64 <= width {
                            gather::<64>(out, x, width, column, entries.clone());
                            column += 64;
                        }
                        while column + 8 <= width {
                            gather::<8>(out, x, width, column, entries.clone());
                            column += 8;
                        }
                        for column in column..width {
                            gather::<1>(out, x, width, column, entries.clone());
                        }
                    }
                },
            );
        });
        out
    }
}

#[inline(always)]
fn gather<'a, const W: usize>(
    out: &mut [f32],
    x: &[f32],
    width: usize,
    column: usize,
    entries: impl Iterator<Item = (&'a u32, &'a f32)>,
) {
    let mut sums = [0.0f32; W];
    for (&row, &weight) in entries {
        let start = row as usize * width + column;
        if let Some(x) = x[start..].first_chunk::<W>() {
            for j in 0..W {
                sums[j] = weight.mul_add(x[j], sums[j]);
            }
        }
    }
    out[column..column + W].copy_from_slice(&sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_dense_matrix_and_of_its_transpose() {
        // Three rows and four columns; the second row and the third column are empty.
        let sparse = Sparse::from_rows(4, [vec![(0, 2.0), (3, -1.0)], vec![], vec![(1, 0.5), (0, 4.0)]]);
        let dense = [[2.0, 0.0, 0.0, -1.0], [0.0; 4], [4.0, 0.5, 0.0, 0.0]];
        assert_eq!((sparse.rows(), sparse.width(), sparse.entries()), (3, 4, 4));
        assert!(sparse.product(&[], 0).is_empty());
        for width in [1, 8, 75] {
            let x = |rows: usize| (0..rows * width).map(|at| (at * 7 % 11) as f32 - 5.0).collect::<Vec<f32>>();
            let (right, left) = (x(4), x(3));
            let (found, turned) = (sparse.product(&right, width), sparse.transposed().product(&left, width));
            for column in 0..width {
                for (row, weights) in dense.iter().enumerate() {
                    let wanted: f32 = (0..4).map(|k| weights[k] * right[k * width + column]).sum();
                    assert_eq!(found[row * width + column], wanted);
                }
                for row in 0..4 {
                    let wanted: f32 = (0..3).map(|k| dense[k][row] * left[k * width + column]).sum();
                    assert_eq!(turned[row * width + column], wanted);
                }
            }
        }
    }
}
