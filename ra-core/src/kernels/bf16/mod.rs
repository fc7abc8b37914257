//! Matrix products of `bf16`, summed in `f32`.
//!
//! A weight is stored as `bf16`, and each input of a product is rounded to it; the product of two such numbers is exact
//! in `f32`. Whichever instructions add them up, the result is a sum in `f32` of the products of the rounded numbers.
//! Only its last bits depend on the instructions, which the processor alone decides, see [`Way`].
#[cfg(target_arch = "x86_64")]
mod avx512;

use super::Layout;
use super::math::{MR, TILE, add_rows, has_wide_registers, transpose, vectorized};
use super::matrix_unit::{UNIT_ROWS, Unit};
use super::panels::in_parts;

/// The panels of [`TILE`] outputs that are computed at once.
const PANELS: usize = 4;

/// The outputs that are computed at once.
pub(super) const GROUP: usize = PANELS * TILE;

/// The outputs of a line.
pub(super) const HALF: usize = GROUP / 2;

/// The rows of a task: they stay in the cache while the weight streams past. In whole tiles of the matrix unit.
const MC: usize = 96;

/// The pairs of inputs that are processed before the next group: that part of a group stays in the cache while the rows
/// stream past. The matrix unit reads all at once: it would lose more by storing its sums in between.
const PIECE: usize = 12 * TILE;

/// Two neighbouring inputs, the first in the low half.
pub(super) type Pair = u32;

/// Two inputs of each output of half a group: what the matrix unit reads at once lies together.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [Pair; HALF]);

/// What a row has in a group.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [f32; GROUP]);

/// A weight in `bf16`.
#[derive(Debug)]
pub(super) struct Bf16 {
    /// `[groups, 2, deep]`, padded with zeros.
    lines: Vec<Line>,
    dims: [usize; 2],
}

/// What multiplies pairs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// The matrix unit.
    Unit(Unit),
    /// AVX-512's products of pairs.
    #[cfg(target_arch = "x86_64")]
    Pairs,
    /// Products of `f32`, to which the numbers are widened in the cache.
    Vectors,
}

impl Way {
    /// The fastest way on this processor: its matrix unit where it has one, and AVX-512 BF16 where that is faster than
    /// `f32`, see [`avx512::pays`].
    pub(super) fn find() -> Self {
        if let Some(unit) = Unit::find() {
            return Self::Unit(unit);
        }
        #[cfg(target_arch = "x86_64")]
        if avx512::pays() {
            return Self::Pairs;
        }
        Self::Vectors
    }

    /// The name of the instructions that only this format uses, if there are any.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Pairs => Some("BF16"),
            Self::Unit(_) | Self::Vectors => None,
        }
    }

    /// The number of sums that [`Way::multiply`] needs for `rows` rows.
    fn padded(self, rows: usize) -> usize {
        if matches!(self, Self::Unit(_)) { rows.next_multiple_of(UNIT_ROWS) } else { rows }
    }

    /// The words of a row for each pair of inputs: the pair, or two `f32`.
    fn words(self) -> usize {
        if matches!(self, Self::Vectors) { 2 } else { 1 }
    }

    /// Rounds rows, in the order in which [`Way::multiply`] reads them. Numbers beyond a row are zero and stay so.
    #[inline(always)]
    fn round(self, a: &[f32], inner: usize, deep: usize, rounded: &mut [u32]) {
        match self {
            Self::Unit(_) => {
                for (at, row) in a.chunks_exact(inner).enumerate() {
                    // The tiles of a pair of row tiles, one depth after the other.
                    let tiles = &mut rounded[at / UNIT_ROWS * UNIT_ROWS * deep..];
                    for (row, tiles) in row.chunks(2 * TILE).zip(tiles.chunks_exact_mut(UNIT_ROWS * TILE)) {
                        round(row, &mut tiles[at % UNIT_ROWS * TILE..][..TILE]);
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Pairs => {
                a.chunks_exact(inner).zip(rounded.chunks_exact_mut(deep)).for_each(|(row, pairs)| round(row, pairs))
            }
            Self::Vectors => {
                let rows = a.chunks_exact(inner).zip(rounded.chunks_exact_mut(2 * deep));
                rows.for_each(|(row, words)| round_wide(row, words));
            }
        }
    }

    /// The sums of `start` and the products of rounded rows with the lines of a group.
    fn multiply(self, rows: &[u32], lines: &[Line], start: Sums, sums: &mut [Sums]) {
        let deep = lines.len() / 2;
        if let Self::Unit(unit) = self {
            return unit.multiply_pairs(&rows[..sums.len() * deep], lines, &start, sums);
        }
        vectorized(
            #[inline(always)]
            || sums.fill(start),
        );
        let (left, right) = lines.split_at(deep);
        for (piece, lines) in left.chunks(PIECE).zip(right.chunks(PIECE)).enumerate() {
            let (rows, lines) = (&rows[piece * PIECE * self.words()..], lines.into());
            self.add_products(rows, deep * self.words(), lines, sums);
        }
    }

    /// Adds the products of rows, each at a `distance` from the last, with a piece of both halves of a group.
    fn add_products(self, rows: &[u32], distance: usize, lines: [&[Line]; 2], sums: &mut [Sums]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Pairs => avx512::add_products(rows, distance, lines, sums),
            _ => vectorized(
                #[inline(always)]
                || match has_wide_registers() {
                    true => widened::<PANELS>(rows, distance, lines, sums),
                    false => widened::<1>(rows, distance, lines, sums),
                },
            ),
        }
    }
}

impl Bf16 {
    /// Rounds a weight.
    pub(super) fn new(weight: &[f32], layout: Layout, [input, output]: [usize; 2]) -> Self {
        let mut new = Self::zeros([input, output]);
        let deep = new.deep();
        let number = |at: usize, column: usize| match layout {
            Layout::OutIn => weight[column * input + at],
            Layout::InOut => weight[at * output + column],
        };
        for column in 0..output {
            let lines = &mut new.lines[column / HALF * deep..][..deep];
            for at in 0..input {
                lines[at / 2].0[column % HALF] |= nearest(number(at, column)) >> (16 * (1 - at % 2));
            }
        }
        new
    }

    fn zeros(dims: [usize; 2]) -> Self {
        let mut new = Self { lines: Vec::new(), dims };
        new.lines.resize(dims[1].div_ceil(GROUP) * 2 * new.deep(), Line([0; HALF]));
        new
    }

    /// The numbers of inputs and outputs.
    pub(super) fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// The pairs of inputs, in whole tiles.
    fn deep(&self) -> usize {
        self.dims[0].div_ceil(2).next_multiple_of(TILE)
    }

    /// The rounded weight, `[in, out]`.
    pub(super) fn unpacked(&self) -> Vec<f32> {
        let ([input, output], deep) = (self.dims, self.deep());
        let number = |at: usize, column: usize| {
            let Line(line) = &self.lines[column / HALF * deep + at / 2];
            widen(line[column % HALF])[at % 2]
        };
        (0..input).flat_map(|at| (0..output).map(move |column| number(at, column))).collect()
    }

    /// The transposed weight, for gradients; rebuilt for each backward pass so that only one copy is stored.
    pub(super) fn transposed(&self) -> Self {
        let [input, output] = self.dims;
        let mut turned = Self::zeros([output, input]);
        let (deep, tall) = (self.deep(), turned.deep());
        let (from, to) = (&self.lines, &mut turned.lines);
        vectorized(
            #[inline(always)]
            || {
                for input in (0..input).step_by(TILE) {
                    for output in (0..output).step_by(TILE) {
                        let lines = &from[output / HALF * deep + input / 2..];
                        let mut tile = [[0.0; TILE]; TILE];
                        for (two, Line(line)) in tile.as_chunks_mut::<2>().0.iter_mut().zip(lines) {
                            for j in 0..TILE {
                                [two[0][j], two[1][j]] = widen(line[output % HALF + j]);
                            }
                        }
                        let tile = transpose(&tile);
                        let lines = &mut to[input / HALF * tall + output / 2..];
                        for (two, Line(line)) in tile.as_chunks::<2>().0.iter().zip(lines) {
                            for j in 0..TILE {
                                line[input % HALF + j] = two[0][j].to_bits() >> 16 | two[1][j].to_bits();
                            }
                        }
                    }
                }
            },
        );
        turned
    }

    /// `a W + bias` by a given way. `bias` is as long as whole tiles. `finish` is called with each block of rows when
    /// it is complete.
    pub(super) fn product(&self, way: Way, a: &[f32], bias: &[f32], finish: impl Fn(&mut [f32]) + Sync) -> Vec<f32> {
        let ([inner, width], deep) = (self.dims, self.deep());
        in_parts(a, inner, MC, |a| {
            // A block is computed in the cache and written out once, without zeroing the output first.
            let mut out = Vec::with_capacity(a.len() / inner * width);
            let mut made = vec![0.0; MC * width];
            let (mut rounded, mut sums) = (vec![0; MC * deep * way.words() + TILE], vec![Sums([0.0; GROUP]); MC]);
            // A row of a tile that crosses a cache line takes the matrix unit twice as long.
            let aligned = rounded.as_ptr().align_offset(align_of::<Line>()).min(TILE);
            let rounded = &mut rounded[aligned..];
            for a in a.chunks(MC * inner) {
                let rows = a.len() / inner;
                let made = &mut made[..rows * width];
                vectorized(
                    #[inline(always)]
                    || way.round(a, inner, deep, rounded),
                );
                // What rows beyond the end hold is left over from earlier ones, and their sums are dropped.
                let sums = &mut sums[..way.padded(rows)];
                for (group, lines) in self.lines.chunks_exact(2 * deep).enumerate() {
                    let (first, mut start) = (group * GROUP, Sums([0.0; GROUP]));
                    start.0.iter_mut().zip(&bias[first..]).for_each(|(to, b)| *to = *b);
                    way.multiply(rounded, lines, start, sums);
                    vectorized(
                        #[inline(always)]
                        || put(made, width, first, sums),
                    );
                }
                finish(made);
                out.extend_from_slice(made);
            }
            out
        })
    }
}

/// The nearest `bf16`, the even one of two, in the high half. What is not a number stays so.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // Rounding could carry into the sign, and dropping bits could leave those of infinity.
    let kept = if x.is_nan() { bits | 0x0040_0000 } else { rounded };
    kept & 0xffff_0000
}

/// The two numbers of a pair.
#[inline(always)]
fn widen(pair: Pair) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
}

/// Rounds numbers to pairs.
#[inline(always)]
fn round(numbers: &[f32], pairs: &mut [Pair]) {
    // The first of a pair is in its low half, so in memory the halves are one number after the other.
    let halves: &mut [u16] = pulp::bytemuck::cast_slice_mut(pairs);
    for (half, x) in halves.iter_mut().zip(numbers) {
        *half = (nearest(*x) >> 16) as u16;
    }
}

/// Rounds numbers, and keeps them as `f32`.
#[inline(always)]
fn round_wide(row: &[f32], words: &mut [u32]) {
    for (word, x) in words.iter_mut().zip(row) {
        *word = nearest(*x);
    }
}

/// Writes the columns of a group.
#[inline(always)]
fn put(out: &mut [f32], width: usize, first: usize, sums: &[Sums]) {
    for (out, Sums(sums)) in out.chunks_exact_mut(width).zip(sums) {
        let out = &mut out[first..];
        match out.first_chunk_mut() {
            Some(out) => *out = *sums,
            None => out.copy_from_slice(&sums[..out.len()]),
        }
    }
}

/// The pairs that are widened at once: those of a group fill two thirds of the first cache.
const WIDENED: usize = PIECE / 3;

/// The products in `f32` of rows that are widened already, `N` panels at a time.
#[inline(always)]
fn widened<const N: usize>(rows: &[u32], distance: usize, [left, right]: [&[Line]; 2], sums: &mut [Sums]) {
    let mut wide = [[[0.0f32; TILE]; PANELS]; 2 * WIDENED];
    for (piece, (left, right)) in left.chunks(WIDENED).zip(right.chunks(WIDENED)).enumerate() {
        for (half, lines) in [left, right].into_iter().enumerate() {
            for (to, Line(line)) in wide.as_chunks_mut::<2>().0.iter_mut().zip(lines) {
                let [low, high] = to;
                let (low, high) =
                    (&mut low.as_flattened_mut()[half * HALF..], &mut high.as_flattened_mut()[half * HALF..]);
                for j in 0..HALF {
                    [low[j], high[j]] = widen(line[j]);
                }
            }
        }
        let (first, wide) = (2 * piece * WIDENED, &wide[..2 * left.len()]);
        for (at, sums) in sums.chunks_mut(MR).enumerate() {
            // Beyond the end, the last row is read again and its results are dropped.
            let last = sums.len() - 1;
            let read = |r: usize| &rows[(at * MR + r.min(last)) * distance + first..][..wide.len()];
            let rows = [read(0), read(1), read(2), read(3), read(4), read(5)];
            for column in (0..PANELS).step_by(N) {
                add_products::<N>(rows, wide, column, sums);
            }
        }
    }
}

/// Adds the products of six rows with the panels from `column` on.
#[inline(always)]
fn add_products<const N: usize>(
    [a, b, c, d, e, f]: [&[u32]; MR],
    lines: &[[[f32; TILE]; PANELS]],
    column: usize,
    sums: &mut [Sums],
) {
    let mut found = [[[0.0; TILE]; MR]; N];
    for (r, Sums(sums)) in sums.iter().enumerate().take(MR) {
        for (n, found) in found.iter_mut().enumerate() {
            found[r] = sums.as_chunks().0[column + n];
        }
    }
    for ((((((line, a), b), c), d), e), f) in lines.iter().zip(a).zip(b).zip(c).zip(d).zip(e).zip(f) {
        let x = [f32::from_bits(*a), f32::from_bits(*b), f32::from_bits(*c)];
        let y = [f32::from_bits(*d), f32::from_bits(*e), f32::from_bits(*f)];
        for n in 0..N {
            add_rows(&mut found[n], [x[0], x[1], x[2], y[0], y[1], y[2]], &line[column + n]);
        }
    }
    for (r, Sums(sums)) in sums.iter_mut().enumerate().take(MR) {
        for (n, found) in found.iter().enumerate() {
            sums.as_chunks_mut().0[column + n] = found[r];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;
    use rand_distr::{Distribution, StandardNormal};

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut random = rng(seed, "halves", 0);
        (0..n).map(|_| StandardNormal.sample(&mut random)).collect()
    }

    /// Every way that this processor has, and the model of one that it may lack.
    fn ways() -> Vec<Way> {
        let mut ways = vec![Way::Vectors, Way::Unit(Unit::Model)];
        ways.extend(Unit::find().map(Way::Unit));
        #[cfg(target_arch = "x86_64")]
        ways.extend(avx512::exists().then_some(Way::Pairs));
        ways
    }

    fn rounded(x: f32) -> f32 {
        f32::from_bits(nearest(x))
    }

    const SIZES: [[usize; 3]; 7] =
        [[1, 1, 1], [5, 3, 17], [13, 100, 64], [MC + 3, 70, 130], [2, 515, 40], [7, 1536, 96], [33, 32, 200]];

    #[test]
    fn a_number_is_rounded_to_the_nearest_and_of_two_to_the_even_one() {
        let near = |bits: u32| f32::from_bits(bits << 16);
        // The numbers of both signs that are neither infinite nor next to it.
        for bits in (0..0x7f7f_u32).step_by(7).flat_map(|bits| [bits, bits | 0x8000]) {
            let (below, above) = (near(bits), near(bits + 1));
            let middle = ((f64::from(below) + f64::from(above)) / 2.0) as f32;
            assert_eq!(rounded(below), below);
            assert_eq!(rounded(middle), if bits % 2 == 0 { below } else { above }, "{middle:e}");
            let [under, over] = [middle.to_bits() - 1, middle.to_bits() + 1].map(f32::from_bits);
            assert_eq!([rounded(under), rounded(over)], [below, above], "{middle:e}");
        }
        assert_eq!(
            [f32::INFINITY, f32::NEG_INFINITY, f32::MAX].map(rounded),
            [f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY]
        );
        for bits in [0x7f80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xff80_0001, 0xffff_ffff] {
            assert!(rounded(f32::from_bits(bits)).is_nan(), "{bits:x}");
        }
    }

    #[test]
    fn a_product_is_that_of_the_rounded_numbers_row_by_row() {
        for [rows, inner, width] in SIZES {
            let (a, b) = (numbers(rows * inner, 1), numbers(inner * width, 2));
            let bias = numbers(width.next_multiple_of(TILE), 3);
            let weight = Bf16::new(&b, Layout::InOut, [inner, width]);
            let (left, right) = (a.iter().map(|&x| rounded(x)), b.iter().map(|&x| rounded(x)));
            let (left, right): (Vec<f32>, Vec<f32>) = (left.collect(), right.collect());
            assert_eq!(weight.unpacked(), right);
            for way in ways() {
                // Doubling is exact and shows how often a row is finished.
                let double = |rows: &mut [f32]| rows.iter_mut().for_each(|x| *x *= 2.0);
                let product = |a: &[f32]| weight.product(way, a, &bias, double);
                let all = product(&a);
                assert_eq!(all.len(), rows * width);
                for (at, (row, found)) in left.chunks(inner).zip(all.chunks(width)).enumerate() {
                    for (j, &found) in found.iter().enumerate() {
                        let terms = row.iter().zip(right[j..].iter().step_by(width));
                        let terms: Vec<f64> = terms.map(|(&x, &w)| f64::from(x) * f64::from(w)).collect();
                        let sum = terms.iter().sum::<f64>() + f64::from(bias[j]);
                        let size = terms.iter().map(|x| x.abs()).sum::<f64>() + f64::from(bias[j].abs());
                        // As for products in `f32`: nothing is lost but the rounding of sums.
                        let bound = f64::from(f32::EPSILON) * size * (inner as f64).sqrt().max(2.0);
                        assert!((f64::from(found) / 2.0 - sum).abs() <= bound, "{way:?} {at} {j}: {found} {sum}");
                    }
                    if at % 17 == 0 {
                        assert_eq!(product(&a[at * inner..][..inner]), found, "{way:?}: row {at} by itself");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so_and_harms_no_other_row() {
        let (inner, width) = (40, 20);
        let weight = Bf16::new(&numbers(inner * width, 2), Layout::InOut, [inner, width]);
        let clean = numbers(3 * inner, 1);
        for way in ways() {
            let product = |a: &[f32]| weight.product(way, a, &[0.5; 2 * TILE], |_| ());
            let expected = product(&clean);
            for bits in [0x7f80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xffff_ffff] {
                let mut a = clean.clone();
                a[inner + 7] = f32::from_bits(bits);
                let found = product(&a);
                assert!(found[width..2 * width].iter().all(|x| x.is_nan()), "{way:?} {bits:x}");
                assert_eq!([&found[..width], &found[2 * width..]], [&expected[..width], &expected[2 * width..]]);
            }
        }
    }

    #[test]
    fn the_transposed_weight_is_that_of_the_other_layout() {
        for [_, input, output] in SIZES {
            let weight = numbers(input * output, 5);
            let turned = Bf16::new(&weight, Layout::InOut, [input, output]).transposed();
            let other = Bf16::new(&weight, Layout::OutIn, [output, input]);
            assert_eq!(turned.dims(), other.dims());
            let lines = |x: &Bf16| x.lines.iter().flat_map(|Line(line)| *line).collect::<Vec<_>>();
            assert!(lines(&turned) == lines(&other), "{input} x {output}");
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (rows, inner, width) = (3 * MC + 5, 50, 70);
        let (a, weight) =
            (numbers(rows * inner, 1), Bf16::new(&numbers(inner * width, 2), Layout::InOut, [inner, width]));
        let product = |way: Way, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| weight.product(way, &a, &[0.5; 5 * TILE], |_| ()))
        };
        for way in ways() {
            assert_eq!(product(way, 1), product(way, 3), "{way:?}");
        }
    }
}
