//! The products of pairs by AVX-512 BF16: Intel's Cooper Lake and every Xeon since Sapphire Rapids, AMD since Zen 4.
#![allow(unsafe_code)]

use super::{GROUP, HALF, Line, MR, Pair, Sums, TILE};
use std::arch::x86_64::{__cpuid, __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_set1_epi32};
use std::mem::transmute;

/// Whether this processor has the instructions.
pub(super) fn exists() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
}

/// Whether they are faster here than products of `f32`: where they exist on a processor of AMD. Intel's do half of what
/// its `f32` does (measured on family 6, model 207), and its Xeons have a matrix unit for this format.
pub(super) fn pays() -> bool {
    let vendor = __cpuid(0);
    exists() && [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

/// See [`super::Way::add_products`].
///
/// # Panics
/// If the processor lacks the instructions.
pub(super) fn add_products(pairs: &[Pair], distance: usize, lines: [&[Line]; 2], sums: &mut [Sums]) {
    assert!(exists());
    // SAFETY: the processor has the instructions that the function is compiled for.
    unsafe { rows(pairs, distance, lines, sums) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn rows(pairs: &[Pair], distance: usize, lines: [&[Line]; 2], sums: &mut [Sums]) {
    for (at, sums) in sums.chunks_mut(MR).enumerate() {
        // Beyond the end, the last row is read again and its results are dropped.
        let last = sums.len() - 1;
        let read = |r: usize| &pairs[(at * MR + r.min(last)) * distance..][..lines[0].len()];
        let before = std::array::from_fn(|r| pulp::cast(sums[r.min(last)].0));
        let found = tile([read(0), read(1), read(2), read(3), read(4), read(5)], lines, before);
        sums.iter_mut().zip(&found).for_each(|(sums, found)| sums.0 = pulp::cast(*found));
    }
}

/// Six rows with a group: 24 of the 32 registers hold sums.
#[target_feature(enable = "avx512f,avx512bf16")]
fn tile(
    [a, b, c, d, e, f]: [&[Pair]; MR],
    [left, right]: [&[Line]; 2],
    mut sums: [[__m512; GROUP / TILE]; MR],
) -> [[__m512; GROUP / TILE]; MR] {
    let lines = left.iter().zip(right);
    for ((((((line, a), b), c), d), e), f) in lines.zip(a).zip(b).zip(c).zip(d).zip(e).zip(f) {
        let (left, right): ([__m512i; HALF / TILE], [__m512i; HALF / TILE]) =
            (pulp::cast(line.0.0), pulp::cast(line.1.0));
        let line = [left[0], left[1], right[0], right[1]];
        for (sums, x) in sums.iter_mut().zip([a, b, c, d, e, f]) {
            let x = halves(_mm512_set1_epi32(x.cast_signed()));
            for (sum, w) in sums.iter_mut().zip(line) {
                *sum = _mm512_dpbf16_ps(*sum, x, halves(w));
            }
        }
    }
    sums
}

/// The same bits as pairs of `bf16`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn halves(x: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits, and any bits are valid for both.
    unsafe { transmute(x) }
}
