//! Inner loops. Everything is `inline(always)`, so that [`vectorized`] compiles it for the machine's vector units.

/// Runs a loop compiled for the best vector instructions of this processor. The closure and everything it calls must be
/// `inline(always)`: other functions are compiled for the baseline processor.
#[inline(always)]
pub(crate) fn vectorized<R>(run: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(run)
}

/// The name of the vector instructions that [`vectorized`] uses here, if there is one.
pub(super) fn vectors() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V3(_) => return Some("AVX2"),
        pulp::Arch::V4(_) => return Some("AVX-512"),
        _ => (),
    }
    None
}

/// Whether [`vectorized`] has the 32 vector registers of AVX-512.
pub(super) fn has_wide_registers() -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(pulp::Arch::new(), pulp::Arch::V4(_));
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `e^x` within two units in the last place; 0 below -87, and `e^88` above 88.
///
/// Cody and Waite's reduction and the Cephes polynomial. Unlike the C library's version it has no branch, so a loop
/// over it vectorizes.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let r = whole.mul_add(-0.693_359_4, clamped);
    let r = whole.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 0.166_666_66);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    // The lowest bits of `shifted` are those of the integer; the others are shifted out at the top.
    let scale = f32::from_bits((shifted.to_bits().wrapping_add(127)) << 23);
    if x < -87.0 { 0.0 } else { p * scale }
}

/// The error function within 2e-7 (absolute): a rational function of degree 13 over 8, the one that Eigen uses.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let p = square.mul_add(-2.726_142_3e-10, 2.770_681_4e-8);
    let p = square.mul_add(p, -2.101_024e-6);
    let p = square.mul_add(p, -5.692_506_4e-5);
    let p = square.mul_add(p, -7.349_906_3e-4);
    let p = square.mul_add(p, -2.954_6e-3);
    let p = square.mul_add(p, -1.609_603_3e-2);
    let q = square.mul_add(-1.456_607_2e-5, -2.133_740_6e-4);
    let q = square.mul_add(q, -1.682_827e-3);
    let q = square.mul_add(q, -7.373_329_2e-3);
    let q = square.mul_add(q, -1.426_473_9e-2);
    x * p / q
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// The largest magnitude of a slice, ignoring NaN; zero for an empty slice.
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    most(
        x,
        0.0,
        #[inline(always)]
        |a, b| greater(a, b.abs()),
    )
}

/// Reduces sixteen numbers to one by repeated halving.
#[inline(always)]
fn reduce(lanes: [f32; 16], with: impl Fn(f32, f32) -> f32) -> f32 {
    // Arrays of their own, so that they stay in registers.
    let mut eight = [0.0; 8];
    for lane in 0..8 {
        eight[lane] = with(lanes[lane], lanes[lane + 8]);
    }
    let mut four = [0.0; 4];
    for lane in 0..4 {
        four[lane] = with(eight[lane], eight[lane + 4]);
    }
    with(with(four[0], four[2]), with(four[1], four[3]))
}

/// The largest number of a slice, ignoring NaN; negative infinity for an empty slice.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    most(x, f32::NEG_INFINITY, greater)
}

#[inline(always)]
fn most(x: &[f32], none: f32, of: impl Fn(f32, f32) -> f32) -> f32 {
    // Sixteen running extremes: a single one would be a dependency chain.
    let mut lanes = [none; 16];
    let (chunks, rest) = x.as_chunks::<16>();
    for chunk in chunks {
        for lane in 0..16 {
            lanes[lane] = of(lanes[lane], chunk[lane]);
        }
    }
    let mut found = reduce(lanes, &of);
    for x in rest {
        found = of(found, *x);
    }
    found
}

/// The sum of a slice, in sixteen lanes.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    dot_with(
        x,
        x,
        #[inline(always)]
        |a, _| a,
    )
}

/// The dot product of two slices of the same length, in sixteen lanes.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_with(
        a,
        b,
        #[inline(always)]
        |a, b| a * b,
    )
}

/// The sum of `term` over two slices of the same length, in sixteen lanes.
#[inline(always)]
pub(crate) fn dot_with(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (heads, tails) = (a.chunks_exact(16).zip(b.chunks_exact(16)), a.len() / 16 * 16);
    for (a, b) in heads {
        for lane in 0..16 {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    let tail: f32 = a[tails..].iter().zip(&b[tails..]).map(|(&a, &b)| term(a, b)).sum();
    reduce(
        lanes,
        #[inline(always)]
        |a, b| a + b,
    ) + tail
}

/// The columns of a tile: the widths of the right matrix and of the result of [`multiply`] are multiples of it.
pub(crate) const TILE: usize = 16;

/// `sums += x * w`.
#[inline(always)]
pub(crate) fn add_scaled(sums: &mut [f32; TILE], x: f32, w: &[f32; TILE]) {
    for j in 0..TILE {
        sums[j] = x.mul_add(w[j], sums[j]);
    }
}

/// The transposed tile.
#[inline(always)]
pub(crate) fn transpose(tile: &[[f32; TILE]; TILE]) -> [[f32; TILE]; TILE] {
    let mut turned = [[0.0; TILE]; TILE];
    for (j, row) in tile.iter().enumerate() {
        for i in 0..TILE {
            turned[i][j] = row[i];
        }
    }
    turned
}

/// The rows (MR in BLIS) that are multiplied with a tile of columns at once: their sums fill the vector registers of
/// AVX2.
pub(crate) const MR: usize = 6;

/// The left matrix of a product, row-major with the given width, as it is or transposed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left<'a> {
    Straight(&'a [f32], usize),
    /// Must be readable one tile beyond its rows.
    Transposed(&'a [f32], usize),
}

/// Computes `c = a b`. For [`MR`] rows from a given one, `inner` returns the columns of `a` to sum over and `columns`
/// the columns of `c` to compute, rounded up to whole tiles.
///
/// All matrices are row-major with the given widths; `c` determines the number of rows, the last of which may end after
/// its computed columns.
#[inline(always)]
pub(crate) fn multiply(
    (c, c_width): (&mut [f32], usize),
    a: Left<'_>,
    (b, b_width): (&[f32], usize),
    inner: impl Fn(usize) -> std::ops::Range<usize>,
    columns: impl Fn(usize) -> std::ops::Range<usize>,
) {
    let rows = c.len().div_ceil(c_width);
    let wide = has_wide_registers();
    for row in (0..rows).step_by(MR) {
        let (inner, columns) = (inner(row), columns(row));
        let mut column = columns.start;
        while column < columns.end {
            let b = b.get(inner.start * b_width + column..).unwrap_or_default();
            let (c, inner) = (&mut c[row * c_width..], inner.clone());
            // As in the products of panels, two tiles at once hide the latency of one.
            if wide && column + TILE < columns.end {
                tiles::<2>((c, c_width), a, (b, b_width), row, column, inner);
                column += 2 * TILE;
            } else {
                tiles::<1>((c, c_width), a, (b, b_width), row, column, inner);
                column += TILE;
            }
        }
    }
}

/// [`MR`] rows of `c`, from its start, with `N` tiles of columns of `b`, from its start.
#[inline(always)]
fn tiles<const N: usize>(
    (c, c_width): (&mut [f32], usize),
    a: Left<'_>,
    (mut b, b_width): (&[f32], usize),
    row: usize,
    column: usize,
    inner: std::ops::Range<usize>,
) {
    let mut sums = [[[0.0f32; TILE]; MR]; N];
    // Split off line by line: an iterator over the lines would start with a division.
    match a {
        Left::Straight(a, width) => {
            // Beyond the end, the last row is read again and its results are dropped.
            let last = row + c.len().div_ceil(c_width) - 1;
            let read = |r: usize| a[(row + r).min(last) * width..][inner.clone()].iter();
            let (u, v, w) = (read(0), read(1), read(2));
            let (x, y, z) = (read(3), read(4), read(5));
            for (((((u, v), w), x), y), z) in u.zip(v).zip(w).zip(x).zip(y).zip(z) {
                let Some((lines, _)) = b.split_at_checked(N * TILE) else { break };
                add_tiles(&mut sums, [*u, *v, *w, *x, *y, *z], lines);
                b = b.get(b_width..).unwrap_or_default();
            }
        }
        Left::Transposed(a, width) => {
            let end = inner.end.saturating_sub(1) * width + row + MR;
            assert!(inner.is_empty() || a.len() >= end, "a tile more than its rows can be read");
            let mut a = a.get(inner.start * width + row..).unwrap_or_default();
            for _ in inner {
                let (Some((lines, _)), Some(x)) = (b.split_at_checked(N * TILE), a.first_chunk()) else { break };
                add_tiles(&mut sums, *x, lines);
                (a, b) = (a.get(width..).unwrap_or_default(), b.get(b_width..).unwrap_or_default());
            }
        }
    }
    for (which, sums) in sums.iter().enumerate() {
        let column = column + which * TILE;
        for (c, sums) in c.chunks_mut(c_width).zip(sums) {
            c[column..column + TILE].copy_from_slice(sums);
        }
    }
}

#[inline(always)]
fn add_tiles<const N: usize>(sums: &mut [[[f32; TILE]; MR]; N], x: [f32; MR], lines: &[f32]) {
    let (lines, _) = lines.as_chunks();
    for which in 0..N {
        add_rows(&mut sums[which], x, &lines[which]);
    }
}

/// Computes `sums += x w` for each row of sums. It is unrolled by hand: in a loop over the rows the sums would not stay
/// in registers.
#[inline(always)]
pub(crate) fn add_rows(sums: &mut [[f32; TILE]; MR], [u, v, w, x, y, z]: [f32; MR], b: &[f32; TILE]) {
    add_scaled(&mut sums[0], u, b);
    add_scaled(&mut sums[1], v, b);
    add_scaled(&mut sums[2], w, b);
    add_scaled(&mut sums[3], x, b);
    add_scaled(&mut sums[4], y, b);
    add_scaled(&mut sums[5], z, b);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_that_of_the_library() {
        for k in -9000..9000 {
            let x = k as f32 / 100.0;
            let (got, want) = (exp(x), if x < -87.0 { 0.0 } else { x.min(88.0).exp() });
            assert!((got - want).abs() <= 3e-7 * want, "{x}: {got} {want}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_error_function_is_its_series() {
        // erf(x) = 2 / sqrt(pi) * sum of (-1)^n x^(2n + 1) / (n! (2n + 1)), in double precision.
        let series = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..80 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        };
        for k in -400..=400 {
            let x = k as f32 / 100.0;
            let (got, want) = (f64::from(erf(x)), series(f64::from(x)));
            assert!((got - want).abs() < 3e-7, "{x}: {got} {want}");
        }
        assert!((erf(9.0) - 1.0).abs() < 3e-7 && (erf(f32::NEG_INFINITY) + 1.0).abs() < 3e-7);
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn products_skip_what_they_are_told_to() {
        let (m, k, n) = (8, 16, 32);
        let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i % 5) as f32 - 2.0).collect();
        let turned: Vec<f32> = (0..k * m).map(|i| a[i % m * k + i / m]).chain([f32::NAN; TILE]).collect();
        let lefts = [Left::Straight(&a, k), Left::Transposed(&turned, m)];
        // The last row may end after its computed columns.
        for (left, size) in lefts.into_iter().flat_map(|left| [(left, m * n), (left, (m - 1) * n + TILE)]) {
            let mut c = vec![1.0; size];
            vectorized(
                #[inline(always)]
                || multiply((&mut c, n), left, (&b, n), |row| row..k - 3, |row| 0..row + MR),
            );
            for row in 0..m {
                let first = row / MR * MR;
                for column in 0..n.min(size - row * n) {
                    let sum: f32 = (first..k - 3).map(|i| a[row * k + i] * b[i * n + column]).sum();
                    let expected = if column < (first + MR).next_multiple_of(TILE) { sum } else { 1.0 };
                    assert_eq!(c[row * n + column], expected, "{left:?} {row} {column}");
                }
            }
        }
    }
}
