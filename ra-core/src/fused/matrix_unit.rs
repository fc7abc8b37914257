//! Products on the matrix unit of a processor (Intel's AMX), at the precision of `f32`.
//!
//! The unit multiplies `bf16` and adds in `f32`. Every `f32` is the sum of three `bf16`, and the product of two such sums
//! is, but for less than its last place, that of the six pairs of parts that are not both small: six passes of a unit
//! sixteen times as fast as the vectors. The result is that of a product in `f32` that adds its terms in another order,
//! row by row the same whatever rows are beside it. Numbers within 2^-8 of the largest `f32` count as infinite, an
//! infinite one makes NaN, and parts below 2^-126 count as zero.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod amx;

/// Elsewhere there is none that this could use.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod amx {
    #[derive(Debug, Clone, Copy)]
    pub(in crate::fused) enum Unit {}

    impl Unit {
        pub(in crate::fused) fn find() -> Option<Self> {
            None
        }

        pub(super) fn multiply(self, _: &[super::Cut], _: usize, _: &[super::Cut], _: &mut [super::Sums], _: bool) {
            match self {}
        }
    }
}

pub(super) use amx::Unit;

use super::math::{TILE, vectorized};
use rayon::prelude::*;

/// Tiles of rows, and panels, that meet at once: their sums take half of the unit's registers.
const PAIR: usize = 2;

/// Inputs of a tile: those of the first half lie in the low halves of its lanes, those of the second in the high ones.
const INNER: usize = 2 * TILE;

/// Cuts of panels that all rows meet before the next ones come, and bytes of rows that meet them: both stay in the second
/// cache, which has 2 MiB wherever there is a unit.
const DEEP: usize = 32;
const ROWS: usize = 1 << 20;

/// 16 rows of 16 pairs of `bf16`: 16 rows of the left matrix, or 16 pairs of inputs of a panel.
type Tile = [[u32; TILE]; TILE];

/// Two tiles, neighbours in rows or panels, in three parts each, the largest first.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Cut([[Tile; 3]; PAIR]);

/// The products of two tiles of rows with two panels.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Sums([[[[f32; TILE]; TILE]; PAIR]; PAIR]);

/// A right matrix, cut.
#[derive(Debug)]
pub(super) struct Columns {
    unit: Unit,
    /// Pairs of panels one after the other.
    cut: Vec<Cut>,
    inner: usize,
}

impl Columns {
    /// Cuts panels of [`TILE`] columns, `[inner, TILE]` each.
    pub(super) fn new(unit: Unit, panels: &[f32], inner: usize) -> Self {
        let deep = inner.div_ceil(INNER);
        let mut cut = vec![Cut::NONE; panels.len().div_ceil(PAIR * inner * TILE) * deep];
        cut.par_chunks_exact_mut(deep).zip(panels.par_chunks(PAIR * inner * TILE)).for_each(|(cut, panels)| {
            vectorized(
                #[inline(always)]
                || cut_panels(cut, panels, inner),
            )
        });
        Self { unit, cut, inner }
    }

    /// Rows that are best multiplied at once.
    pub(super) fn rows(&self) -> usize {
        let pair = self.inner.div_ceil(INNER) * size_of::<Cut>();
        PAIR * TILE * (ROWS / pair).max(1)
    }

    /// Adds the product of rows with this matrix to `out`, `[rows, inner]` times `[inner, width]`.
    pub(super) fn add_product(&self, out: &mut [f32], a: &[f32], width: usize, room: &mut Room) {
        let (inner, deep) = (self.inner, self.inner.div_ceil(INNER));
        let pairs = (a.len() / inner).div_ceil(PAIR * TILE);
        // What is left of other rows beyond the last one gives sums that nobody reads.
        room.rows.resize(pairs * deep, Cut::NONE);
        room.sums.resize(pairs, Sums::NONE);
        let Room { rows, sums } = room;
        vectorized(
            #[inline(always)]
            || cut_rows(rows, a, inner),
        );
        for (pair, columns) in self.cut.chunks_exact(deep).enumerate() {
            for (piece, columns) in columns.chunks(DEEP).enumerate() {
                self.unit.multiply(&rows[piece * DEEP..], deep, columns, sums, piece > 0);
            }
            vectorized(
                #[inline(always)]
                || add(out, width, pair * PAIR * TILE, sums),
            );
        }
    }
}

/// What a product needs by the way, to be used again.
#[derive(Debug, Default)]
pub(super) struct Room {
    rows: Vec<Cut>,
    sums: Vec<Sums>,
}

impl Cut {
    const NONE: Self = Self([[[[0; TILE]; TILE]; 3]; PAIR]);

    /// Cuts each number into three of 8 bits: together they are the number.
    #[inline(always)]
    fn set(&mut self, which: usize, lane: usize, low: &[f32; TILE], high: &[f32; TILE]) {
        let (mut low, mut high) = (*low, *high);
        for part in &mut self.0[which] {
            for i in 0..TILE {
                let (a, b) = (nearest(low[i]), nearest(high[i]));
                low[i] -= f32::from_bits(a);
                high[i] -= f32::from_bits(b);
                part[lane][i] = a >> 16 | b;
            }
        }
    }
}

impl Sums {
    const NONE: Self = Self([[[[0.0; TILE]; TILE]; PAIR]; PAIR]);
}

/// The nearest number of 8 bits: half of its last place is added, and what is below that place dropped.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    x.to_bits().wrapping_add(0x8000) & 0xffff_0000
}

/// Rows of `a`, in pairs of tiles; where there are none, zeros stay.
#[inline(always)]
fn cut_rows(cut: &mut [Cut], a: &[f32], inner: usize) {
    let deep = inner.div_ceil(INNER);
    for (number, row) in a.chunks_exact(inner).enumerate() {
        let (tile, lane) = (number / TILE, number % TILE);
        let cut = &mut cut[tile / PAIR * deep..][..deep];
        for (cut, x) in cut.iter_mut().zip(row.chunks(INNER)) {
            let mut rest = [0.0; INNER];
            let (x, _) = match x.first_chunk::<INNER>() {
                Some(x) => x.as_chunks::<TILE>(),
                None => {
                    rest[..x.len()].copy_from_slice(x);
                    rest.as_chunks()
                }
            };
            cut.set(tile % PAIR, lane, &x[0], &x[1]);
        }
    }
}

/// One or two panels; where there is none, zeros stay.
#[inline(always)]
fn cut_panels(cut: &mut [Cut], panels: &[f32], inner: usize) {
    for (which, panel) in panels.chunks_exact(inner * TILE).enumerate() {
        let (inputs, _) = panel.as_chunks::<TILE>();
        for (cut, inputs) in cut.iter_mut().zip(inputs.chunks(INNER)) {
            for (lane, low) in inputs.iter().take(TILE).enumerate() {
                cut.set(which, lane, low, inputs.get(TILE + lane).unwrap_or(&[0.0; TILE]));
            }
        }
    }
}

/// Adds sums to the columns of `out` that begin at `column`.
#[inline(always)]
fn add(out: &mut [f32], width: usize, column: usize, sums: &[Sums]) {
    let tiles = sums.iter().flat_map(|Sums(sums)| sums);
    for (out, sums) in out.chunks_mut(TILE * width).zip(tiles) {
        for (column, sums) in (column..width).step_by(TILE).zip(sums) {
            for (out, sums) in out.chunks_exact_mut(width).zip(sums) {
                match out[column..].first_chunk_mut::<TILE>() {
                    Some(out) => (0..TILE).for_each(|j| out[j] += sums[j]),
                    None => out[column..].iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
                }
            }
        }
    }
}
