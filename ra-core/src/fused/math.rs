//! Inner loops. Everything is `inline(always)`, so that [`vectorized`] compiles it for the machine's vector units.

/// Runs a loop compiled for the best vector instructions that this processor has. The closure, and all that it calls,
/// must be `inline(always)`: what is not inlined is compiled for the oldest processor.
#[inline(always)]
pub(crate) fn vectorized<R>(run: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(run)
}

/// The name of the vector instructions that [`vectorized`] uses here, if it has one.
pub(super) fn vectors() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V3(_) => return Some("AVX2"),
        pulp::Arch::V4(_) => return Some("AVX-512"),
        _ => (),
    }
    None
}

/// `e^x` within two units in the last place; below -87 it is 0, above 88 that of 88.
///
/// Cody and Waite's reduction and the Cephes polynomial: unlike the C library's it has no branch, so a loop over it
/// runs in vectors.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let clamped = x.clamp(-87.0, 88.0);
    let whole = clamped.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = whole.mul_add(-0.693_359_4, clamped);
    let r = whole.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 0.166_666_66);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    let scale = f32::from_bits((((whole as i32) + 127) << 23) as u32);
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

/// The largest number of a slice, NaN left aside; of an empty one, negative infinity.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    // Running maxima side by side: one alone would wait for itself.
    let mut tops = [f32::NEG_INFINITY; 32];
    let (chunks, rest) = x.as_chunks::<32>();
    for chunk in chunks {
        for (top, &x) in tops.iter_mut().zip(chunk) {
            *top = if x > *top { x } else { *top };
        }
    }
    tops.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// The sum of a slice, in eight lanes.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    dot_with(
        x,
        x,
        #[inline(always)]
        |a, _| a,
    )
}

/// The dot product of two slices of one length, in eight lanes.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_with(
        a,
        b,
        #[inline(always)]
        |a, b| a * b,
    )
}

#[inline(always)]
fn dot_with(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (heads, tails) = (a.chunks_exact(16).zip(b.chunks_exact(16)), a.len() / 16 * 16);
    for (a, b) in heads {
        for lane in 0..16 {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    let tail: f32 = a[tails..].iter().zip(&b[tails..]).map(|(&a, &b)| term(a, b)).sum();
    lanes.iter().sum::<f32>() + tail
}

/// Columns of a tile: widths of what [`multiply`] reads and writes are multiples of it.
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

/// Rows `rows` of `c += scale * a b`, over the columns of `a` that `inner` gives for a row and the columns of `c` that
/// `columns` gives.
///
/// All matrices are row-major with the widths given; `rows` is a multiple of 4, `columns` rounds up to whole tiles.
#[inline(always)]
pub(crate) fn multiply(
    c: (&mut [f32], usize),
    a: (&[f32], usize),
    b: (&[f32], usize),
    rows: usize,
    inner: impl Fn(usize) -> std::ops::Range<usize>,
    columns: impl Fn(usize) -> std::ops::Range<usize>,
) {
    let ((c, c_width), (a, a_width), (b, b_width)) = (c, a, b);
    for row in (0..rows).step_by(4) {
        let inner = inner(row);
        let read = |r: usize| &a[(row + r) * a_width..][inner.clone()];
        for column in columns(row).step_by(TILE) {
            let mut sums = [[0.0f32; TILE]; 4];
            let rows = b[inner.start * b_width + column..].chunks(b_width);
            // Written out row by row: in a loop over the rows the sums would not stay in registers.
            for ((((b, w), x), y), z) in rows.zip(read(0)).zip(read(1)).zip(read(2)).zip(read(3)) {
                let Some(b) = b.first_chunk::<TILE>() else { break };
                add_scaled(&mut sums[0], *w, b);
                add_scaled(&mut sums[1], *x, b);
                add_scaled(&mut sums[2], *y, b);
                add_scaled(&mut sums[3], *z, b);
            }
            for (r, sums) in sums.iter().enumerate() {
                let start = (row + r) * c_width + column;
                for (c, sum) in c[start..start + TILE].iter_mut().zip(sums) {
                    *c += sum;
                }
            }
        }
    }
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
        let mut c = vec![1.0; m * n];
        vectorized(
            #[inline(always)]
            || multiply((&mut c, n), (&a, k), (&b, n), m, |row| row..k, |row| 0..row + 4),
        );
        for row in 0..m {
            let first = row / 4 * 4;
            for column in 0..n {
                let sum: f32 = (first..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
                let expected = if column < (first + 4).next_multiple_of(TILE) { 1.0 + sum } else { 1.0 };
                assert_eq!(c[row * n + column], expected, "{row} {column}");
            }
        }
    }
}
