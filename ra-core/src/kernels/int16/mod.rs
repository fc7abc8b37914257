//! Matrix products in integers of 11 bits and a sign (per-channel and token-wise scales: Yao et al., "ZeroQuant",
//! NeurIPS 2022, there with 8 bits).
//!
//! A weight is `scale * w` with a scale for each output, an input `step * q` with a step for each row; `w` and `q` are
//! from -2047 to 2047. A sum of 512 products is exact in 32 bits, and such sums are added in one order, so a product has
//! the same bits on every processor and whatever rows are beside a row.
#[cfg(target_arch = "x86_64")]
mod vnni;

use super::Layout;
use super::math::{MR, TILE, dot_with, largest, vectorized};
use super::panels::{Panels, in_parts};

/// The largest integer.
const TOP: f32 = 2047.0;

/// The pairs of inputs whose products are summed in 32 bits: 512 times 2047 squared is below 2^31.
const PIECE: usize = 256;

/// The rows of a task: their integers stay in the cache while the weight streams past.
const MC: usize = 96;

/// The outputs that are computed at once.
const GROUP: usize = 4 * TILE;

/// Two neighbouring inputs of a row.
type Pair = [i16; 2];

/// Two inputs of each output of a group.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([Pair; GROUP]);

/// The exact sums of a row with a piece of a group.
type Sums = [i32; GROUP];

/// A weight in integers.
#[derive(Debug)]
pub(super) struct Int16 {
    /// `[groups, input / 2]`; padded with zeros.
    lines: Vec<Line>,
    /// The scale of each output.
    scales: Vec<[f32; GROUP]>,
    dims: [usize; 2],
}

impl Int16 {
    /// Rounds a weight, `[in, out]`.
    pub(super) fn new(weight: &[f32], [input, output]: [usize; 2]) -> Self {
        let (deep, groups) = (input.div_ceil(2), output.div_ceil(GROUP));
        let mut scales = vec![[0.0f32; GROUP]; groups];
        for row in weight.chunks_exact(output.max(1)) {
            let scales = scales.as_flattened_mut();
            scales.iter_mut().zip(row).for_each(|(scale, w)| *scale = scale.max(w.abs() / TOP));
        }
        let mut lines = vec![Line([[0; 2]; GROUP]); groups * deep];
        for (at, row) in weight.chunks_exact(output.max(1)).enumerate() {
            for (column, (w, scale)) in row.iter().zip(scales.as_flattened()).enumerate() {
                let rounded = if *scale > 0.0 { (w / scale).round() } else { 0.0 };
                lines[column / GROUP * deep + at / 2].0[column % GROUP][at % 2] = rounded as i16;
            }
        }
        Self { lines, scales, dims: [input, output] }
    }

    /// The numbers of inputs and outputs.
    pub(super) fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// The pairs of inputs.
    fn deep(&self) -> usize {
        self.dims[0].div_ceil(2)
    }

    /// The rounded weight, `[in, out]`.
    pub(super) fn unpacked(&self) -> Vec<f32> {
        let ([input, output], deep, scales) = (self.dims, self.deep(), self.scales.as_flattened());
        let line = |at: usize, column: usize| &self.lines[column / GROUP * deep + at / 2];
        let number = |at: usize, column: usize| f32::from(line(at, column).0[column % GROUP][at % 2]) * scales[column];
        (0..input).flat_map(|at| (0..output).map(move |column| number(at, column))).collect()
    }

    /// The transposed weight in `f32`, for gradients.
    pub(super) fn transposed(&self) -> Panels {
        let [input, output] = self.dims;
        Panels::new(&self.unpacked(), Layout::OutIn, [output, input])
    }

    /// `a W + bias`. `bias` is as long as whole tiles. `finish` is called with each block of rows when it is complete.
    pub(super) fn product(&self, a: &[f32], bias: &[f32], finish: impl Fn(&mut [f32]) + Sync) -> Vec<f32> {
        self.product_by(multiply(), a, bias, finish)
    }

    fn product_by(&self, multiply: Multiply, a: &[f32], bias: &[f32], finish: impl Fn(&mut [f32]) + Sync) -> Vec<f32> {
        let ([inner, width], deep) = (self.dims, self.deep());
        in_parts(a, inner, MC, |a| {
            let mut out = vec![0.0; a.len() / inner * width];
            let (mut pairs, mut steps) = (vec![[0; 2]; MC * deep], [0.0; MC]);
            let (mut sums, mut found) = ([[0; GROUP]; MC], [[0.0; GROUP]; MC]);
            for (a, out) in a.chunks(MC * inner).zip(out.chunks_mut(MC * width)) {
                let rows = a.len() / inner;
                vectorized(
                    #[inline(always)]
                    || {
                        let rows = a.chunks_exact(inner).zip(pairs.chunks_exact_mut(deep));
                        for ((row, pairs), step) in rows.zip(&mut steps) {
                            *step = round(row, pairs);
                        }
                    },
                );
                let (sums, found) = (&mut sums[..rows], &mut found[..rows]);
                for (group, lines) in self.lines.chunks_exact(deep).enumerate() {
                    for (piece, lines) in lines.chunks(PIECE).enumerate() {
                        multiply(&pairs[piece * PIECE..], deep, lines, sums);
                        vectorized(
                            #[inline(always)]
                            || add(found, sums, piece == 0),
                        );
                    }
                    vectorized(
                        #[inline(always)]
                        || self.put(out, group, found, &steps, bias),
                    );
                }
                finish(out);
            }
            out
        })
    }

    /// Writes the columns of a group.
    #[inline(always)]
    fn put(&self, out: &mut [f32], group: usize, found: &[[f32; GROUP]], steps: &[f32], bias: &[f32]) {
        let (first, scales) = (group * GROUP, &self.scales[group]);
        let mut biases = [0.0; GROUP];
        biases.iter_mut().zip(&bias[first..]).for_each(|(to, b)| *to = *b);
        for ((out, sums), step) in out.chunks_exact_mut(self.dims[1]).zip(found).zip(steps) {
            let out = &mut out[first..];
            let mut found = [0.0; GROUP];
            for j in 0..GROUP {
                found[j] = (sums[j] * step).mul_add(scales[j], biases[j]);
            }
            match out.first_chunk_mut() {
                Some(out) => *out = found,
                None => out.copy_from_slice(&found[..out.len()]),
            }
        }
    }
}

/// Adds the sums of a piece, the first of which replaces what is there.
#[inline(always)]
fn add(found: &mut [[f32; GROUP]], sums: &[Sums], first: bool) {
    for (found, sums) in found.iter_mut().zip(sums) {
        for j in 0..GROUP {
            found[j] = if first { 0.0 } else { found[j] } + sums[j] as f32;
        }
    }
}

/// Rounds a row to integers and returns their step, which is not a number if the row is not finite.
#[inline(always)]
fn round(row: &[f32], pairs: &mut [Pair]) -> f32 {
    let top = largest(row);
    let per = if top > 0.0 { TOP / top } else { 0.0 };
    for (q, x) in pairs.as_flattened_mut().iter_mut().zip(row) {
        // Adding 1.5 * 2^23 rounds to an integer, which is then in the lowest bits.
        *q = x.mul_add(per, 12_582_912.0).to_bits() as i16;
    }
    // Comparisons ignore what is not a number.
    let number = dot_with(
        row,
        row,
        #[inline(always)]
        |x, _| x * 0.0,
    );
    top / TOP + number
}

/// Multiplies rows of pairs, each at a distance from the last, with lines.
type Multiply = fn(pairs: &[Pair], distance: usize, lines: &[Line], sums: &mut [Sums]);

/// The best implementation here.
fn multiply() -> Multiply {
    #[cfg(target_arch = "x86_64")]
    if vnni::exists() {
        return vnni::multiply;
    }
    portable
}

/// The products in plain Rust.
fn portable(pairs: &[Pair], distance: usize, lines: &[Line], sums: &mut [Sums]) {
    vectorized(
        #[inline(always)]
        || {
            for (pairs, sums) in pairs.chunks(distance).zip(sums) {
                *sums = [0; GROUP];
                for (x, Line(line)) in pairs.iter().zip(lines) {
                    let [x, y] = x.map(i32::from);
                    for (sum, w) in sums.iter_mut().zip(line) {
                        let [v, w] = w.map(i32::from);
                        *sum += x * v + y * w;
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;
    use rand_distr::{Distribution, StandardNormal};

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut random = rng(seed, "integers", 0);
        (0..n).map(|_| StandardNormal.sample(&mut random)).collect()
    }

    const SIZES: [[usize; 3]; 6] =
        [[1, 1, 1], [5, 3, 17], [13, 100, 64], [MC + 3, 70, 130], [2, 515, 40], [7, 1536, 96]];

    #[test]
    fn a_product_is_that_of_the_rounded_numbers() {
        for [rows, inner, width] in SIZES {
            let (a, b) = (numbers(rows * inner, 1), numbers(inner * width, 2));
            let bias = numbers(width.next_multiple_of(TILE), 3);
            let weight = Int16::new(&b, [inner, width]);
            let rounded = weight.unpacked();
            for column in 0..width {
                let own = |x: &[f32]| x.iter().skip(column).step_by(width).copied().collect::<Vec<_>>();
                let (exact, rounded) = (own(&b), own(&rounded));
                let half = exact.iter().fold(0f32, |top, w| top.max(w.abs())) / (2.0 * TOP);
                assert!(exact.iter().zip(&rounded).all(|(a, b)| (a - b).abs() <= half * 1.001), "weight {column}");
            }
            // Doubling is exact and shows how often a row is finished.
            let double = |rows: &mut [f32]| rows.iter_mut().for_each(|x| *x *= 2.0);
            let all = weight.product(&a, &bias, double);
            for ((row, found), at) in a.chunks(inner).zip(all.chunks(width)).zip(0..) {
                let half = f64::from(largest(row) / (2.0 * TOP));
                for (j, &found) in found.iter().enumerate() {
                    let terms = || row.iter().zip(rounded[j..].iter().step_by(width));
                    let sum: f64 =
                        terms().map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>() + f64::from(bias[j]);
                    // Each input is off by at most half a step, the rest is rounding of `f32`.
                    let size: f64 = terms().map(|(_, &w)| f64::from(w.abs())).sum();
                    let bound = half * size * 1.001 + 1e-4;
                    assert!((f64::from(found) / 2.0 - sum).abs() <= bound, "{at} {j}: {found} {sum}");
                }
                assert_eq!(weight.product(row, &bias, double), found, "row {at} by itself");
            }
        }
    }

    #[test]
    fn instructions_give_the_bits_of_the_portable_form() {
        for [rows, inner, width] in SIZES {
            let (mut a, b) = (numbers(rows * inner, 4), numbers(inner * width, 5));
            // The largest sums of all.
            a[..inner].fill(9.0);
            let (bias, weight) = (vec![0.5; width.next_multiple_of(TILE)], Int16::new(&b, [inner, width]));
            let largest = Int16::new(&vec![1.0; inner * width], [inner, width]);
            for weight in [weight, largest] {
                let portable = weight.product_by(portable, &a, &bias, |_| ());
                assert_eq!(weight.product(&a, &bias, |_| ()), portable, "{rows} x {inner} x {width}");
            }
        }
    }

    #[test]
    fn a_row_that_is_not_finite_is_not_a_number() {
        let weight = Int16::new(&[1.0, -2.0, 3.0, 0.0, 0.0, 0.0], [3, 2]);
        let product = |row: [f32; 3]| weight.product(&row, &[0.5; TILE], |_| ());
        let close = |found: Vec<f32>, [a, b]: [f32; 2]| (found[0] - a).abs() < 0.01 && (found[1] - b).abs() < 0.01;
        assert!(close(product([0.0; 3]), [0.5, 0.5]));
        assert!(close(product([2.0; 3]), [8.5, -3.5]), "{:?}", product([2.0; 3]));
        for x in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..3 {
                let mut row = [1.0, 2.0, 3.0];
                row[at] = x;
                assert!(product(row).iter().all(|y| y.is_nan()), "{x} at {at}");
            }
        }
    }
}
