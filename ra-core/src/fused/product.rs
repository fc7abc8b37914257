//! Products with a matrix that lies in the order in which it is read.
use super::math::{TILE, add_scaled, vectorized};
use super::matrix_unit::{Columns, Room, Unit};
use rayon::prelude::*;

/// Rows of `x` that a panel meets at once: their 6 x 16 sums fill the vector registers.
const TALL: usize = 6;

/// Rows of a task: what it reads of `x` stays in the cache while the weight goes by.
const BLOCK: usize = 48;

/// Inputs that are gone through before the next panel comes: the piece of a panel stays in the cache beside the rows.
const DEPTH: usize = 1536;

/// `a b + bias` with `b` in panels, `[rows, inner]` times `[inner, width]`, on the matrix unit where there is one; `finish`
/// sees each block of rows while it is in the cache.
pub(super) fn product(
    unit: Option<Unit>,
    a: &[f32],
    inner: usize,
    panels: &[f32],
    width: usize,
    bias: &[f32],
    finish: impl Fn(&mut [f32]) + Sync,
) -> Vec<f32> {
    let share = (a.len() / inner.max(1)).div_ceil(rayon::current_num_threads()).next_multiple_of(2 * BLOCK);
    let columns = unit.map(|unit| Columns::new(unit, panels, inner));
    let part = |a: &[f32]| {
        let mut out = Vec::with_capacity(a.len() / inner * width);
        if let Some(columns) = &columns {
            let mut room = Room::default();
            for a in a.chunks(columns.rows() * inner) {
                let start = out.len();
                (0..a.len() / inner).for_each(|_| out.extend_from_slice(&bias[..width]));
                columns.add_product(&mut out[start..], a, width, &mut room);
                finish(&mut out[start..]);
            }
            return out;
        }
        // A block is made where it stays in the cache and then goes out once: no zeros are written before it.
        let mut made = vec![0.0; BLOCK * width];
        for a in a.chunks(BLOCK * inner) {
            let made = &mut made[..a.len() / inner * width];
            vectorized(
                #[inline(always)]
                || block(made, a, inner, panels, width, bias),
            );
            finish(made);
            out.extend_from_slice(made);
        }
        out
    };
    let mut parts: Vec<Vec<f32>> = a.par_chunks((share * inner).max(1)).map(part).collect();
    if parts.len() == 1 { parts.remove(0) } else { parts.concat() }
}

#[inline(always)]
fn block(out: &mut [f32], a: &[f32], inner: usize, panels: &[f32], width: usize, bias: &[f32]) {
    let rows = a.len() / inner;
    let (bias, _) = bias.as_chunks::<TILE>();
    for start in (0..inner).step_by(DEPTH) {
        let end = (start + DEPTH).min(inner);
        for (index, (panel, bias)) in panels.chunks_exact(inner * TILE).zip(bias).enumerate() {
            let (piece, _) = panel[start * TILE..end * TILE].as_chunks::<TILE>();
            let columns = index * TILE..((index + 1) * TILE).min(width);
            for row in (0..rows).step_by(TALL) {
                // Beyond the end the last row is taken again, and what comes of it is dropped.
                let read = |r: usize| &a[(row + r).min(rows - 1) * inner..][start..end];
                let sums = tile([read(0), read(1), read(2), read(3), read(4), read(5)], piece);
                for (r, sums) in sums.iter().enumerate().take(rows - row) {
                    let out = &mut out[(row + r) * width..][columns.clone()];
                    let before = if start == 0 { bias } else { &padded(out) };
                    match out.first_chunk_mut::<TILE>() {
                        Some(out) => (0..TILE).for_each(|j| out[j] = before[j] + sums[j]),
                        None => out.iter_mut().zip(before).zip(sums).for_each(|((out, b), sum)| *out = b + sum),
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn padded(x: &[f32]) -> [f32; TILE] {
    let mut all = [0.0; TILE];
    all[..x.len()].copy_from_slice(x);
    all
}

/// The products of six rows with a piece of a panel. Written out row by row: in a loop over the rows the sums would not
/// stay in registers.
#[inline(always)]
fn tile([a, b, c, d, e, f]: [&[f32]; TALL], piece: &[[f32; TILE]]) -> [[f32; TILE]; TALL] {
    let mut sums = [[0.0f32; TILE]; TALL];
    for ((((((w, a), b), c), d), e), f) in piece.iter().zip(a).zip(b).zip(c).zip(d).zip(e).zip(f) {
        add_scaled(&mut sums[0], *a, w);
        add_scaled(&mut sums[1], *b, w);
        add_scaled(&mut sums[2], *c, w);
        add_scaled(&mut sums[3], *d, w);
        add_scaled(&mut sums[4], *e, w);
        add_scaled(&mut sums[5], *f, w);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn both_ways_give_the_product_row_by_row() {
        let unit = Unit::find();
        if unit.is_none() {
            eprintln!("skipped in part: this processor has no matrix unit");
        }
        for (rows, inner, width) in [(1, 1, 1), (3, 31, 17), (50, 32, 48), (200, 1100, 33), (1, 40, 16)] {
            let mut random = rng(7, "product", 0);
            let mut numbers = |n: usize| (0..n).map(|_| StandardNormal.sample(&mut random)).collect::<Vec<f32>>();
            let (a, b, bias) = (numbers(rows * inner), numbers(inner * width), numbers(width.next_multiple_of(TILE)));
            let mut panels = vec![0.0; inner * bias.len()];
            for (i, &b) in b.iter().enumerate() {
                let (input, output) = (i / width, i % width);
                panels[(output / TILE * inner + input) * TILE + output % TILE] = b;
            }
            for unit in [None].into_iter().chain(unit.map(Some)) {
                let product = |a: &[f32]| product(unit, a, inner, &panels, width, &bias, |_| ());
                let all = product(&a);
                for (row, (a, all)) in a.chunks(inner).zip(all.chunks(width)).enumerate() {
                    let terms = |j: usize| {
                        a.iter().zip(b[j..].iter().step_by(width)).map(|(&a, &b)| f64::from(a) * f64::from(b))
                    };
                    for (j, &found) in all.iter().enumerate() {
                        let (sum, size) =
                            (terms(j).sum::<f64>() + f64::from(bias[j]), terms(j).map(f64::abs).sum::<f64>());
                        // What `f32` loses in a sum of that many terms, were each loss the worst and all of them independent.
                        let bound = f64::from(f32::EPSILON)
                            * (size + f64::from(bias[j].abs()))
                            * (inner as f64).sqrt().max(2.0);
                        assert!((f64::from(found) - sum).abs() <= bound, "{unit:?} {row} {j}: {found} {sum}");
                    }
                    assert_eq!(product(a), all, "{unit:?}: row {row} by itself");
                }
                // What is not a number stays none.
                let mut a = a.clone();
                a[0] = f32::NAN;
                assert!(product(&a)[..width].iter().all(|x| x.is_nan()), "{unit:?}");
            }
        }
    }
}
