//! The products of pairs by AVX-512 VNNI: Intel since Cascade Lake, AMD since Zen 4.
#![allow(unsafe_code)]

use super::{GROUP, Line, MR, Pair, Sums, TILE};
use std::arch::x86_64::{__m512i, _mm512_dpwssd_epi32, _mm512_set1_epi32, _mm512_setzero_si512};

/// Whether this processor has the instructions.
pub(super) fn exists() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
}

/// See [`super::Multiply`].
///
/// # Panics
/// If the processor lacks the instructions.
pub(super) fn multiply(pairs: &[Pair], distance: usize, lines: &[Line], sums: &mut [Sums]) {
    assert!(exists());
    // SAFETY: the processor has the instructions that the function is compiled for.
    unsafe { rows(pairs, distance, lines, sums) }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn rows(pairs: &[Pair], distance: usize, lines: &[Line], sums: &mut [Sums]) {
    for (at, sums) in sums.chunks_mut(MR).enumerate() {
        // Beyond the end, the last row is read again and its results are dropped.
        let read = |r: usize| &pairs[(at * MR + r.min(sums.len() - 1)) * distance..][..lines.len()];
        let found = tile([read(0), read(1), read(2), read(3), read(4), read(5)], lines);
        sums.iter_mut().zip(&found).for_each(|(sums, found)| *sums = pulp::cast(*found));
    }
}

/// Six rows with a group: 24 of the 32 registers hold sums.
#[target_feature(enable = "avx512f,avx512vnni")]
fn tile([a, b, c, d, e, f]: [&[Pair]; MR], lines: &[Line]) -> [[__m512i; GROUP / TILE]; MR] {
    let mut sums = [[_mm512_setzero_si512(); GROUP / TILE]; MR];
    for ((((((Line(line), a), b), c), d), e), f) in lines.iter().zip(a).zip(b).zip(c).zip(d).zip(e).zip(f) {
        let line: [__m512i; GROUP / TILE] = pulp::cast(*line);
        for (sums, x) in sums.iter_mut().zip([a, b, c, d, e, f]) {
            let x = _mm512_set1_epi32(pulp::cast(*x));
            for (sum, w) in sums.iter_mut().zip(line) {
                *sum = _mm512_dpwssd_epi32(*sum, x, w);
            }
        }
    }
    sums
}
