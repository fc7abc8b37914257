//! Matrices packed in the order in which a product reads them.
use super::Layout;
use super::math::{MR, TILE, add_rows, add_scaled, has_wide_registers, transpose, vectorized};
use super::matrix_unit::{self, Columns, Unit};
use rayon::prelude::*;

/// The rows of a task (MC in BLIS): the part of `x` that it reads stays in the cache while the weight streams past.
const MC: usize = 48;

/// The inputs (KC in BLIS) that are processed before the next panels: those pieces stay in the first cache next to the
/// rows.
const KC: usize = 192;

/// The rows and the panels that are multiplied at once where there are the 32 registers of AVX-512: sums take 24 of
/// them, and a number that is read serves more products than with [`MR`] rows and fewer or more panels.
const WIDE_ROWS: usize = 8;
const WIDE_PANELS: usize = 3;

/// A weight split into panels of [`TILE`] outputs, each `[input, TILE]`; the last one is padded with zeros.
#[derive(Debug)]
pub(super) struct Panels {
    numbers: Vec<f32>,
    dims: [usize; 2],
}

impl Panels {
    pub(super) fn new(weight: &[f32], layout: Layout, [input, output]: [usize; 2]) -> Self {
        let count = output.div_ceil(TILE);
        let mut numbers = vec![0.0; count * input * TILE];
        numbers.par_chunks_exact_mut((input * TILE).max(1)).enumerate().for_each(|(index, panel)| {
            let from = index * TILE;
            let wide = TILE.min(output - from);
            match layout {
                Layout::InOut => {
                    for (to, row) in panel.chunks_exact_mut(TILE).zip(weight.chunks_exact(output)) {
                        to[..wide].copy_from_slice(&row[from..from + wide]);
                    }
                }
                Layout::OutIn => {
                    for column in 0..wide {
                        let row = &weight[(from + column) * input..][..input];
                        for (to, &w) in panel.chunks_exact_mut(TILE).zip(row) {
                            to[column] = w;
                        }
                    }
                }
            }
        });
        Self { numbers, dims: [input, output] }
    }

    /// The numbers of inputs and outputs.
    pub(super) fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// The numbers of inputs and outputs of a product with the weight or the transposed weight.
    pub(super) fn sides(&self, transposed: bool) -> [usize; 2] {
        let [input, output] = self.dims;
        if transposed { [output, input] } else { [input, output] }
    }

    /// 16 rows and 16 columns of the weight, or of the transposed one; zeros beyond its edges.
    #[inline(always)]
    pub(super) fn block(&self, row: usize, column: usize, transposed: bool) -> [[f32; TILE]; TILE] {
        let (from, output) = if transposed { (column, row) } else { (row, column) };
        let lanes = self.lanes(from, output);
        let turned = |lanes: &[[f32; TILE]; TILE]| if transposed { transpose(lanes) } else { *lanes };
        match lanes.first_chunk() {
            Some(lanes) => turned(lanes),
            None => {
                let mut block = [[0.0; TILE]; TILE];
                block[..lanes.len()].copy_from_slice(lanes);
                turned(&block)
            }
        }
    }

    /// The panel that contains output `output`, from input `from` on; empty beyond the weight.
    #[inline(always)]
    pub(super) fn lanes(&self, from: usize, output: usize) -> &[[f32; TILE]] {
        let panel = self.numbers.chunks_exact(self.dims[0] * TILE).nth(output / TILE).unwrap_or_default();
        panel.as_chunks().0.get(from..).unwrap_or_default()
    }

    /// The unpacked weight, `[in, out]`.
    pub(super) fn unpacked(&self) -> Vec<f32> {
        let [input, output] = self.dims;
        let mut weight = vec![0.0; input * output];
        for (index, panel) in self.numbers.chunks_exact((input * TILE).max(1)).enumerate() {
            let columns = index * TILE..((index + 1) * TILE).min(output);
            for (row, from) in weight.chunks_exact_mut(output).zip(panel.chunks_exact(TILE)) {
                row[columns.clone()].copy_from_slice(&from[..columns.len()]);
            }
        }
        weight
    }

    /// `a W + bias`, or `a W^T + bias` if `transposed`, on the matrix unit or, without one, the vector units. `bias` is
    /// as long as whole panels. `finish` is called with each block of rows when it is complete.
    pub(super) fn product(
        &self,
        unit: Option<Unit>,
        a: &[f32],
        transposed: bool,
        bias: &[f32],
        finish: impl Fn(&mut [f32]) + Sync,
    ) -> Vec<f32> {
        let [inner, width] = self.sides(transposed);
        if let Some(unit) = unit {
            let columns = Columns { unit, panels: self, transposed };
            return in_parts(a, inner, matrix_unit::UNIT_ROWS, |a| columns.product(a, bias, &finish));
        }
        let turned = transposed.then(|| self.transposed());
        let panels = turned.as_ref().unwrap_or(&self.numbers);
        let wide = has_wide_registers();
        in_parts(a, inner, MC, |a| {
            // A block is computed in the cache and written out once, without zeroing the output first.
            let mut out = Vec::with_capacity(a.len() / inner * width);
            let mut made = vec![0.0; MC * width];
            for a in a.chunks(MC * inner) {
                let made = &mut made[..a.len() / inner * width];
                let weight = Weight { panels, width, bias };
                // A function itself, in place of a closure, would be compiled without the vector instructions of its
                // caller, many times as slow.
                #[allow(clippy::redundant_closure)]
                vectorized(
                    #[inline(always)]
                    || {
                        if wide {
                            block(
                                made,
                                a,
                                inner,
                                weight,
                                #[inline(always)]
                                |rows, panels| wide_tiles(rows, panels),
                            );
                        } else {
                            block(
                                made,
                                a,
                                inner,
                                weight,
                                #[inline(always)]
                                |rows, panel| tile(rows, panel),
                            );
                        }
                    },
                );
                finish(made);
                out.extend_from_slice(made);
            }
            out
        })
    }

    /// The panels of the transposed weight, rebuilt for each backward pass so that only one copy of a weight is stored.
    fn transposed(&self) -> Vec<f32> {
        let [input, output] = self.dims;
        let mut turned = Vec::with_capacity(input.next_multiple_of(TILE) * output);
        vectorized(
            #[inline(always)]
            || {
                for to in (0..input).step_by(TILE) {
                    for from in (0..output).step_by(TILE) {
                        turned.extend_from_slice(self.block(from, to, true)[..TILE.min(output - from)].as_flattened());
                    }
                }
            },
        );
        turned
    }
}

/// Splits the rows among the threads, in multiples of `step`, and concatenates the results of `part` in order.
pub(super) fn in_parts(
    a: &[f32],
    inner: usize,
    step: usize,
    part: impl Fn(&[f32]) -> Vec<f32> + Sync + Send,
) -> Vec<f32> {
    let share = (a.len() / inner.max(1)).div_ceil(rayon::current_num_threads()).next_multiple_of(step);
    let mut parts: Vec<Vec<f32>> = a.par_chunks((share * inner).max(1)).map(part).collect();
    if parts.len() == 1 { parts.remove(0) } else { parts.concat() }
}

/// The panels of a weight with `width` columns, and its bias.
#[derive(Debug, Clone, Copy)]
struct Weight<'a> {
    panels: &'a [f32],
    width: usize,
    bias: &'a [f32],
}

/// Multiplies `ROWS` rows with `AT_ONCE` panels at a time; the order in which terms are added does not depend on it.
#[inline(always)]
fn block<const ROWS: usize, const AT_ONCE: usize>(
    out: &mut [f32],
    a: &[f32],
    inner: usize,
    weight: Weight<'_>,
    tiles: impl Fn([&[f32]; ROWS], [&[[f32; TILE]]; AT_ONCE]) -> [[[f32; TILE]; ROWS]; AT_ONCE],
) {
    let rows = a.len() / inner;
    let (bias, _) = weight.bias.as_chunks::<TILE>();
    for start in (0..inner).step_by(KC) {
        let end = (start + KC).min(inner);
        for (index, bias) in bias.chunks(AT_ONCE).enumerate() {
            // Beyond the end, the last panel and the last row are read again and their results are dropped.
            let panels: [_; AT_ONCE] = std::array::from_fn(|n| {
                let panel = index * AT_ONCE + n.min(bias.len() - 1);
                weight.panels[panel * inner * TILE..][start * TILE..end * TILE].as_chunks().0
            });
            for row in (0..rows).step_by(ROWS) {
                let read = std::array::from_fn(|r| &a[(row + r).min(rows - 1) * inner..][start..end]);
                let (sums, rows) = (tiles(read, panels), &mut out[row * weight.width..]);
                for (n, (sums, bias)) in sums.iter().zip(bias).enumerate() {
                    put(rows, weight.width, (index * AT_ONCE + n) * TILE, (start == 0).then_some(bias), sums);
                }
            }
        }
    }
}

/// Writes the sums of some rows to the tile at `column`, added to the bias or, without one, to what is there.
#[inline(always)]
fn put<const ROWS: usize>(
    rows: &mut [f32],
    width: usize,
    column: usize,
    bias: Option<&[f32; TILE]>,
    sums: &[[f32; TILE]; ROWS],
) {
    for (out, sums) in rows.chunks_exact_mut(width).zip(sums) {
        let out = &mut out[column..(column + TILE).min(width)];
        match out.first_chunk_mut::<TILE>() {
            Some(out) => {
                let before = *bias.unwrap_or(out);
                let mut made = [0.0; TILE];
                for j in 0..TILE {
                    made[j] = before[j] + sums[j];
                }
                *out = made;
            }
            None => {
                for (j, out) in out.iter_mut().enumerate() {
                    *out = bias.map_or(*out, |bias| bias[j]) + sums[j];
                }
            }
        }
    }
}

/// The products of six rows with a piece of a panel.
#[inline(always)]
fn tile([a, b, c, d, e, f]: [&[f32]; MR], [panel]: [&[[f32; TILE]]; 1]) -> [[[f32; TILE]; MR]; 1] {
    let mut sums = [[0.0f32; TILE]; MR];
    for ((((((w, a), b), c), d), e), f) in panel.iter().zip(a).zip(b).zip(c).zip(d).zip(e).zip(f) {
        add_rows(&mut sums, [*a, *b, *c, *d, *e, *f], w);
    }
    [sums]
}

/// The products of eight rows with pieces of three panels.
#[inline(always)]
fn wide_tiles(
    [a, b, c, d, e, f, g, h]: [&[f32]; WIDE_ROWS],
    [first, second, third]: [&[[f32; TILE]]; WIDE_PANELS],
) -> [[[f32; TILE]; WIDE_ROWS]; WIDE_PANELS] {
    let mut sums = [[[0.0f32; TILE]; WIDE_ROWS]; WIDE_PANELS];
    let panels = first.iter().zip(second).zip(third);
    for ((((((((((u, v), w), a), b), c), d), e), f), g), h) in
        panels.zip(a).zip(b).zip(c).zip(d).zip(e).zip(f).zip(g).zip(h)
    {
        add_row(&mut sums, 0, *a, [u, v, w]);
        add_row(&mut sums, 1, *b, [u, v, w]);
        add_row(&mut sums, 2, *c, [u, v, w]);
        add_row(&mut sums, 3, *d, [u, v, w]);
        add_row(&mut sums, 4, *e, [u, v, w]);
        add_row(&mut sums, 5, *f, [u, v, w]);
        add_row(&mut sums, 6, *g, [u, v, w]);
        add_row(&mut sums, 7, *h, [u, v, w]);
    }
    sums
}

/// Adds the products of one row. By rows, because three lines fit into registers beside the sums, and eight inputs do
/// not.
#[inline(always)]
fn add_row(
    [first, second, third]: &mut [[[f32; TILE]; WIDE_ROWS]; WIDE_PANELS],
    row: usize,
    x: f32,
    [u, v, w]: [&[f32; TILE]; WIDE_PANELS],
) {
    add_scaled(&mut first[row], x, u);
    add_scaled(&mut second[row], x, v);
    add_scaled(&mut third[row], x, w);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn vectors_give_the_product_row_by_row() {
        products_are_right(None);
    }

    #[test]
    fn the_matrix_unit_gives_the_product_row_by_row() {
        products_are_right(Some(Unit::Model));
        if let Some(unit) = Unit::find() {
            products_are_right(Some(unit));
        }
    }

    #[test]
    fn more_rows_and_panels_at_once_give_the_bits_of_fewer() {
        for (rows, inner, width) in [(1, 1, 1), (6, 40, 16), (7, 31, 33), (20, KC + 64, 48), (13, 2 * KC + 1, 70)] {
            let mut random = rng(8, "product", 0);
            let mut numbers = |n: usize| (0..n).map(|_| StandardNormal.sample(&mut random)).collect::<Vec<f32>>();
            let (a, b, bias) = (numbers(rows * inner), numbers(inner * width), numbers(width.next_multiple_of(TILE)));
            let panels = Panels::new(&b, Layout::InOut, [inner, width]);
            let weight = Weight { panels: &panels.numbers, width, bias: &bias };
            let [mut few, mut more] = [vec![f32::NAN; rows * width], vec![f32::NAN; rows * width]];
            block(&mut few, &a, inner, weight, tile);
            block(&mut more, &a, inner, weight, wide_tiles);
            assert!(few.iter().all(|x| x.is_finite()) && few == more, "{rows} x {inner} x {width}");
        }
    }

    fn products_are_right(unit: Option<Unit>) {
        for (rows, inner, width) in [
            (1, 1, 1),
            (3, 31, 17),
            (50, 32, 48),
            (200, 1100, 33),
            (1, 40, 16),
            (1500, 400, 20),
            (40, 760, 700),
            (9, KC + 64, 34),
        ] {
            let mut random = rng(7, "product", 0);
            let mut numbers = |n: usize| (0..n).map(|_| StandardNormal.sample(&mut random)).collect::<Vec<f32>>();
            let (a, b, bias) = (numbers(rows * inner), numbers(inner * width), numbers(width.next_multiple_of(TILE)));
            let (straight, turned) =
                (Panels::new(&b, Layout::InOut, [inner, width]), Panels::new(&b, Layout::OutIn, [width, inner]));
            for (panels, transposed) in [(&straight, false), (&turned, true)] {
                // Doubling is exact and shows how often a row is finished.
                let double = |rows: &mut [f32]| rows.iter_mut().for_each(|x| *x *= 2.0);
                let product = |a: &[f32]| panels.product(unit, a, transposed, &bias, double);
                let all = product(&a);
                // The model is slow.
                let every = if matches!(unit, Some(Unit::Model)) { 37 } else { 1 };
                for (row, (a, all)) in a.chunks(inner).zip(all.chunks(width)).enumerate().step_by(every) {
                    let terms = |j: usize| {
                        a.iter().zip(b[j..].iter().step_by(width)).map(|(&a, &b)| f64::from(a) * f64::from(b))
                    };
                    for (j, &found) in all.iter().enumerate() {
                        let (sum, size) =
                            (terms(j).sum::<f64>() + f64::from(bias[j]), terms(j).map(f64::abs).sum::<f64>());
                        // The rounding error of an `f32` sum with that many terms, assuming the worst error for each
                        // and independence.
                        let bound = f64::from(f32::EPSILON)
                            * (size + f64::from(bias[j].abs()))
                            * (inner as f64).sqrt().max(2.0);
                        assert!((f64::from(found) / 2.0 - sum).abs() <= bound, "{unit:?} {row} {j}: {found} {sum}");
                    }
                    assert_eq!(product(a), all, "{unit:?}: row {row} by itself");
                }
                // Every form of NaN stays NaN.
                for bits in [0x7fc0_0000, 0x7fff_ffff, 0xffff_ffff] {
                    let mut a = a.clone();
                    a[0] = f32::from_bits(bits);
                    assert!(product(&a)[..width].iter().all(|x| x.is_nan()), "{unit:?} {bits:x}");
                }
            }
        }
    }
}
