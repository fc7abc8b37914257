//! Matrix products on a processor's matrix unit (Intel's AMX), with the precision of `f32`. For those in `bf16`, see
//! [`super::bf16`], the unit multiplies the numbers as they are, in one pass instead of six.
//!
//! The unit multiplies `bf16` and adds in `f32`. An `f32` is the sum of three `bf16` of 8 bits each, and the product of
//! two such sums is the sum of six products of parts, without the three smallest, which together are about 2^-24 of the
//! result. The unit is sixteen times as fast as the vector units, so six passes pay off. The result is that of an `f32`
//! product that adds its terms in another order, and each row is independent of the rows next to it. Infinite values
//! and those within 2^-8 of the largest `f32` give NaN; parts, products and sums below 2^-126 count as zero.
#[cfg(all(feature = "matrix-unit", target_os = "linux", target_arch = "x86_64"))]
mod amx;
#[cfg(test)]
mod model;

#[cfg(test)]
use super::bf16::GROUP;
#[cfg(any(test, all(feature = "matrix-unit", target_os = "linux", target_arch = "x86_64")))]
use super::bf16::HALF;
use super::bf16::{Line, Pair, Sums};
use super::math::{TILE, vectorized};
use super::panels::Panels;
use std::cell::RefCell;
use std::ops::Range;

/// The tiles of rows, and the panels, that are multiplied at once: their sums take half of the unit's registers.
const PAIR: usize = 2;

/// The inputs of a tile: those of the first half are in the low halves of its lanes, those of the second in the high
/// ones.
const INNER: usize = 2 * TILE;

/// The most cuts of a row that are processed at a time: with more, fewer columns would stay in the cache.
const MAX_DEPTH: usize = 12;

/// The bytes of cut columns that are used at a time: together with the rows they fit into the L2 cache, which has 2 MiB
/// on every processor with the unit.
const CACHED: usize = 3 << 19;

/// The columns of a pair of panels.
const UNIT_COLUMNS: usize = PAIR * TILE;

/// The rows of a pair of tiles.
pub(super) const UNIT_ROWS: usize = PAIR * TILE;

/// 16 rows of 16 pairs of `bf16`: 16 rows of the left matrix, or 16 pairs of inputs of a panel.
type Tile = [[u32; TILE]; TILE];

/// Two tiles, neighbours in rows or panels, each split into three parts, the largest first.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct SplitTiles([[Tile; 3]; PAIR]);

/// The products of two tiles of rows with two panels.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Accumulators([[[[f32; TILE]; TILE]; PAIR]; PAIR]);

/// The implementation that multiplies tiles: none in a build without the feature `matrix-unit` or for other processors.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// The processor's own unit.
    #[cfg(all(feature = "matrix-unit", target_os = "linux", target_arch = "x86_64"))]
    Amx(amx::Amx),
    /// A model of its instructions in plain Rust.
    #[cfg(test)]
    Model,
}

impl Unit {
    /// The unit of this processor, if it has one and the system lets this process use it.
    pub(super) fn find() -> Option<Self> {
        #[cfg(all(feature = "matrix-unit", target_os = "linux", target_arch = "x86_64"))]
        return amx::Amx::find().map(Self::Amx);
        #[cfg(not(all(feature = "matrix-unit", target_os = "linux", target_arch = "x86_64")))]
        None
    }

    /// Multiplies a pair of row tiles with pairs of column tiles, all of the same depth.
    #[allow(unused_variables)] // Unused in a build without the unit.
    fn multiply(self, rows: &[SplitTiles], columns: &[SplitTiles], sums: &mut [Accumulators]) {
        match self {
            #[cfg(all(feature = "matrix-unit", target_os = "linux", target_arch = "x86_64"))]
            Self::Amx(unit) => unit.multiply(rows, columns, sums),
            #[cfg(test)]
            Self::Model => model::multiply(rows, columns, sums),
        }
    }

    /// The sums of `start` and the products of rows of pairs of `bf16` with the lines of a group. There are sums for a
    /// multiple of [`UNIT_ROWS`] rows; of so many rows, the first 16 pairs of each come first, then the next 16.
    #[allow(unused_variables)] // Unused in a build without the unit.
    pub(super) fn multiply_pairs(self, tiles: &[Pair], lines: &[Line], start: &Sums, sums: &mut [Sums]) {
        match self {
            #[cfg(all(feature = "matrix-unit", target_os = "linux", target_arch = "x86_64"))]
            Self::Amx(unit) => unit.multiply_pairs(tiles, lines, start, sums),
            #[cfg(test)]
            Self::Model => model::multiply_pairs(tiles, lines, start, sums),
        }
    }
}

/// A right matrix, which is split while it is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) unit: Unit,
    pub(super) panels: &'a Panels,
    /// Whether to multiply with the transposed matrix; a row then has one number per output.
    pub(super) transposed: bool,
}

impl Columns<'_> {
    /// The product of rows with this matrix, plus `bias`. `finish` is called with each [`UNIT_ROWS`] rows when they are
    /// complete.
    pub(super) fn product(&self, a: &[f32], bias: &[f32], finish: impl Fn(&mut [f32])) -> Vec<f32> {
        let [inner, width] = self.panels.sides(self.transposed);
        let mut out = Vec::with_capacity(a.len() / inner * width);
        let deep = even(inner.div_ceil(INNER), MAX_DEPTH);
        let wide = even(width.div_ceil(UNIT_COLUMNS), CACHED / (deep * size_of::<SplitTiles>())) * UNIT_COLUMNS;
        SCRATCH.with_borrow_mut(|Scratch { rows, columns, sums }| {
            for from in (0..inner).step_by(deep * INNER) {
                let piece = from..(from + deep * INNER).min(inner);
                let deep = piece.len().div_ceil(INNER);
                rows.resize(deep, SplitTiles::NONE);
                for first in (0..width).step_by(wide) {
                    let pairs = (width - first).min(wide).div_ceil(UNIT_COLUMNS);
                    columns.resize(pairs * deep, SplitTiles::NONE);
                    sums.resize(pairs, Accumulators::NONE);
                    vectorized(
                        #[inline(always)]
                        || {
                            for (pair, cut) in columns.chunks_exact_mut(deep).enumerate() {
                                self.cut(cut, from, first + pair * UNIT_COLUMNS);
                            }
                        },
                    );
                    for (index, a) in a.chunks(UNIT_ROWS * inner).enumerate() {
                        let (start, many) = (index * UNIT_ROWS * width, a.len() / inner);
                        if out.len() == start {
                            (0..many).for_each(|_| out.extend_from_slice(&bias[..width]));
                        }
                        let out = &mut out[start..start + many * width];
                        vectorized(
                            #[inline(always)]
                            || cut_rows(rows, a, inner, piece.clone()),
                        );
                        self.unit.multiply(rows, columns, sums);
                        vectorized(
                            #[inline(always)]
                            || add(out, width, first, sums),
                        );
                        if piece.end == inner && first + wide >= width {
                            finish(out);
                        }
                    }
                }
            }
        });
        out
    }

    /// Splits two panels, starting at input `from` and at `column`.
    #[inline(always)]
    fn cut(&self, cut: &mut [SplitTiles], from: usize, column: usize) {
        for (from, cut) in (from..).step_by(INNER).zip(cut) {
            for which in 0..PAIR {
                let column = column + which * TILE;
                let blocks;
                let [low, high] = match self.panels.lanes(from, column).as_chunks::<TILE>().0 {
                    // In place, without a copy.
                    [low, high, ..] if !self.transposed => [low, high],
                    _ => {
                        blocks = [
                            self.panels.block(from, column, self.transposed),
                            self.panels.block(from + TILE, column, self.transposed),
                        ];
                        blocks.each_ref()
                    }
                };
                for lane in 0..TILE {
                    cut.set(which, lane, &low[lane], &high[lane]);
                }
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The buffers of a product. Each thread keeps its own, a few MiB: allocating them would cost a twentieth of a product.
#[derive(Debug, Default)]
struct Scratch {
    rows: Vec<SplitTiles>,
    columns: Vec<SplitTiles>,
    sums: Vec<Accumulators>,
}

impl SplitTiles {
    const NONE: Self = Self([[[[0; TILE]; TILE]; 3]; PAIR]);

    /// Splits each number into three parts of 8 bits, whose sum is the number unless a part is too small.
    #[inline(always)]
    fn set(&mut self, which: usize, lane: usize, low: &[f32; TILE], high: &[f32; TILE]) {
        let (mut low, mut high) = (*low, *high);
        for i in 0..TILE {
            // Other NaN payloads would overflow into the sign and round to zero.
            low[i] = if low[i].is_nan() { f32::NAN } else { low[i] };
            high[i] = if high[i].is_nan() { f32::NAN } else { high[i] };
        }
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

impl Accumulators {
    const NONE: Self = Self([[[[0.0; TILE]; TILE]; PAIR]; PAIR]);
}

/// The nearest number of 8 bits: adds half of the last place and drops the bits below.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    x.to_bits().wrapping_add(0x8000) & 0xffff_0000
}

/// How many of `all` to process at a time, at most `most`: shares as equal as possible, and at least one.
fn even(all: usize, most: usize) -> usize {
    all.div_ceil(all.div_ceil(most).max(1)).max(1)
}

/// Splits a piece of at most [`UNIT_ROWS`] rows of `a`.
#[inline(always)]
fn cut_rows(cut: &mut [SplitTiles], a: &[f32], inner: usize, piece: Range<usize>) {
    for (number, row) in a.chunks_exact(inner).enumerate() {
        let (which, lane) = (number / TILE, number % TILE);
        for (cut, x) in cut.iter_mut().zip(row[piece.clone()].chunks(INNER)) {
            let mut rest = [0.0; INNER];
            let (x, _) = match x.first_chunk::<INNER>() {
                Some(x) => x.as_chunks::<TILE>(),
                None => {
                    rest[..x.len()].copy_from_slice(x);
                    rest.as_chunks()
                }
            };
            cut.set(which, lane, &x[0], &x[1]);
        }
    }
}

/// Adds sums to the columns of `out` from `first` on.
#[inline(always)]
fn add(out: &mut [f32], width: usize, first: usize, sums: &[Accumulators]) {
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        let panels = sums.iter().flat_map(|Accumulators(tiles)| &tiles[row / TILE]);
        for (out, panel) in out[first..].chunks_mut(TILE).zip(panels) {
            let sums = &panel[row % TILE];
            match out.first_chunk_mut::<TILE>() {
                Some(out) => (0..TILE).for_each(|j| out[j] += sums[j]),
                None => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix;

    /// The three parts of each number, from the low and the high half of a lane.
    fn parts(low: [f32; TILE], high: [f32; TILE]) -> [[[f64; TILE]; 3]; 2] {
        let mut cut = SplitTiles::NONE;
        cut.set(1, 5, &low, &high);
        let number = |bits: u32| f64::from(f32::from_bits(bits));
        let half = |take: fn(u32) -> u32| cut.0[1].map(|part| part[5].map(|pair| number(take(pair))));
        [half(|pair| pair << 16), half(|pair| pair & 0xffff_0000)]
    }

    #[test]
    fn the_unit_does_what_its_model_does() {
        let Some(unit) = Unit::find() else {
            return crate::testkit::skipped(
                "the_unit_does_what_its_model_does",
                "this processor has no matrix unit (AMX), or the build leaves it out",
            );
        };
        let mut random = SplitMix::new(3);
        let mut cut = || {
            let mut cut = SplitTiles::NONE;
            for (which, lane) in (0..PAIR).flat_map(|which| (0..TILE).map(move |lane| (which, lane))) {
                let mut numbers = || std::array::from_fn(|_| random.unit() as f32 - 0.5);
                cut.set(which, lane, &numbers(), &numbers());
            }
            cut
        };
        let (rows, columns) = ([cut(), cut()], [cut(), cut(), cut(), cut()]);
        let sums = |unit: Unit| {
            let mut sums = [Accumulators::NONE; 2];
            unit.multiply(&rows, &columns, &mut sums);
            sums.map(|Accumulators(tiles)| tiles.as_flattened().as_flattened().as_flattened().to_vec()).concat()
        };
        for (own, model) in sums(unit).into_iter().zip(sums(Unit::Model)) {
            // 64 products of at most a quarter; the sums may be added in another order.
            assert!((own - model).abs() < 64.0 / 4.0 * f32::EPSILON, "{own} {model}");
        }
    }

    #[test]
    fn the_unit_multiplies_pairs_as_its_model_does() {
        let Some(unit) = Unit::find() else {
            return crate::testkit::skipped(
                "the_unit_multiplies_pairs_as_its_model_does",
                "this processor has no matrix unit (AMX), or the build leaves it out",
            );
        };
        let mut random = SplitMix::new(4);
        let mut number = || ((random.unit() - 0.5) as f32).to_bits() >> 16;
        let mut pair = || number() | number() << 16;
        let (rows, deep) = (2 * UNIT_ROWS, 3 * TILE);
        let tiles: Vec<Pair> = (0..rows * deep).map(|_| pair()).collect();
        let lines: Vec<Line> = (0..2 * deep).map(|_| Line(std::array::from_fn(|_| pair()))).collect();
        let start = Sums(std::array::from_fn(|j| j as f32));
        let sums = |unit: Unit| {
            let mut sums = vec![Sums([f32::NAN; GROUP]); rows];
            unit.multiply_pairs(&tiles, &lines, &start, &mut sums);
            sums.iter().flat_map(|Sums(sums)| *sums).collect::<Vec<_>>()
        };
        for (own, model) in sums(unit).into_iter().zip(sums(Unit::Model)) {
            // 96 products of at most a quarter, added to at most 63, maybe in another order.
            assert!((own - model).abs() < 96.0 * f32::EPSILON, "{own} {model}");
        }
    }

    #[test]
    fn three_parts_are_the_number() {
        let mut random = SplitMix::new(1);
        for _ in 0..10_000 {
            // Large enough that the last part is not subnormal, and small enough that the first is finite.
            let exponent = 25 + random.below(227) as u32;
            let mut number = || f32::from_bits(random.bits() as u32 & 0x807f_ffff | exponent << 23);
            let given = [std::array::from_fn(|_| number()), std::array::from_fn(|_| number())];
            for (given, [first, second, third]) in given.into_iter().zip(parts(given[0], given[1])) {
                for (i, x) in given.into_iter().enumerate() {
                    assert_eq!(first[i] + second[i] + third[i], f64::from(x), "{x:e}");
                    assert!(second[i].abs() <= first[i].abs() / 256.0 && third[i].abs() <= first[i].abs() / 65_536.0);
                }
            }
        }
    }

    #[test]
    fn what_has_no_three_parts_is_not_a_number() {
        for x in
            [f32::NAN, -f32::NAN, f32::from_bits(0x7fff_ffff), f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]
        {
            let [low, high] = parts([x; TILE], [x; TILE]);
            for [first, second, third] in [low, high] {
                assert!((first[0] + second[0] + third[0]).is_nan(), "{x:e}");
            }
        }
        assert_eq!(parts([0.0; TILE], [0.0; TILE]), [[[0.0; TILE]; 3]; 2]);
    }
}
