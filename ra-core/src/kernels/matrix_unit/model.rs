//! The unit's products in plain Rust, for tests on any processor. It follows the order of sums that Intel's manual
//! gives for `TDPBF16PS` (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2), so that everything
//! around the instructions is tested for the same results on machines without the unit.
use super::{Accumulators, GROUP, HALF, Line, Pair, SplitTiles, Sums, TILE, Tile, UNIT_ROWS};

/// The pairs of parts that are multiplied, left and right, in the order of the instructions.
const MEET: [(usize, usize); 6] = [(0, 2), (0, 1), (1, 1), (1, 0), (0, 0), (2, 0)];

/// Multiplies a pair of row tiles with pairs of column tiles, all of the same depth.
pub(super) fn multiply(rows: &[SplitTiles], columns: &[SplitTiles], sums: &mut [Accumulators]) {
    let deep = rows.len();
    assert!(deep > 0 && columns.len() == deep * sums.len());
    for (columns, sums) in columns.chunks_exact(deep).zip(sums) {
        *sums = Accumulators::NONE;
        for (SplitTiles(a), SplitTiles(b)) in rows.iter().zip(columns) {
            for (left, right) in MEET {
                for (sums, a) in sums.0.iter_mut().zip(a) {
                    for (sums, b) in sums.iter_mut().zip(b) {
                        add_products(sums, &a[left], &b[right]);
                    }
                }
            }
        }
    }
}

/// The sums of `start` and the products of pairs of row tiles with the lines of a group.
pub(super) fn multiply_pairs(tiles: &[Pair], lines: &[Line], start: &Sums, sums: &mut [Sums]) {
    let deep = lines.len() / (2 * TILE);
    assert!(lines.len().is_multiple_of(2 * TILE) && sums.len().is_multiple_of(UNIT_ROWS));
    for (r, sums) in sums.chunks_exact_mut(TILE).enumerate() {
        sums.fill(*start);
        for depth in 0..deep {
            let tile = &tiles[(r / 2 * deep + depth) * UNIT_ROWS * TILE + r % 2 * TILE * TILE..];
            let a: Tile = std::array::from_fn(|row| std::array::from_fn(|k| tile[row * TILE + k]));
            for column in (0..GROUP).step_by(TILE) {
                let lines = &lines[(column / HALF * deep + depth) * TILE..];
                let b: Tile = std::array::from_fn(|k| std::array::from_fn(|n| lines[k].0[column % HALF + n]));
                let mut found = std::array::from_fn(|r| std::array::from_fn(|n| sums[r].0[column + n]));
                add_products(&mut found, &a, &b);
                for (Sums(sums), found) in sums.iter_mut().zip(&found) {
                    sums[column..column + TILE].copy_from_slice(found);
                }
            }
        }
    }
}

/// `TDPBF16PS`: the products of low halves and of high halves are summed separately, and the two sums are added at the
/// end.
fn add_products(sums: &mut [[f32; TILE]; TILE], a: &Tile, b: &Tile) {
    let halves = |pair: u32| [pair << 16, pair & 0xffff_0000].map(|bits| flushed(f32::from_bits(bits)));
    for (sums, a) in sums.iter_mut().zip(a) {
        for (n, sum) in sums.iter_mut().enumerate() {
            let mut two = [0.0f32; 2];
            for (&a, b) in a.iter().zip(b) {
                for (half, (a, b)) in two.iter_mut().zip(halves(a).into_iter().zip(halves(b[n]))) {
                    // Equal to a fused operation: the product of two numbers of 8 bits each is exact.
                    *half = flushed(a * b + *half);
                }
            }
            *sum = flushed(*sum + flushed(two[0] + two[1]));
        }
    }
}

/// Flushes subnormal numbers to zero.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}
