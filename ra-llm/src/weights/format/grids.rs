//! The formats of 1 to 3 bits that look up several numbers at once in a grid of frequent combinations: 256 numbers in
//! groups of 16 or 32 with a scale each.
//!
//! The grids are those of ggml (`ggml-common.h` of llama.cpp, MIT licence, Copyright (c) 2023-2024 The ggml authors),
//! as the Python package `gguf` packs them. `tests/reference/make_formats.py` writes the file.
use super::{half, nibble, u16_at, u32_at};

/// All grids, one after another; a row is 16 bits that choose 8 or 4 numbers.
static ROWS: &[u8] = include_bytes!("grids.bin");

/// The number of rows before a grid, and the numbers that its bits choose from: 2 bits from up to 4, 4 bits from more.
struct Grid<const N: usize> {
    start: usize,
    numbers: [f32; N],
}

const IQ2_XXS: Grid<4> = Grid { start: 0, numbers: SPREAD };
const IQ2_XS: Grid<4> = Grid { start: 256, numbers: SPREAD };
const IQ2_S: Grid<4> = Grid { start: 768, numbers: SPREAD };
const IQ3_XXS: Grid<8> = Grid { start: 1792, numbers: [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0] };
const IQ3_S: Grid<8> = Grid { start: 2048, numbers: [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0] };
const IQ1: Grid<4> = Grid { start: 2560, numbers: [-1.0, 0.0, 1.0, 0.0] };

const SPREAD: [f32; 4] = [8.0, 25.0, 43.0, 0.0];

impl<const N: usize> Grid<N> {
    /// The numbers of a row.
    fn row(&self, index: usize) -> impl Iterator<Item = f32> {
        let bits = if N <= 4 { 2 } else { 4 };
        let row = u16_at(ROWS, self.start + index);
        (0..16 / bits).map(move |at| self.numbers[usize::from(row >> (at * bits)) % N])
    }

    /// Appends the numbers of a row times `scale`; each bit of `signs` turns the sign of one.
    fn signed(&self, index: usize, scale: f32, signs: u8, out: &mut Vec<f32>) {
        let sign = |at: usize| if signs >> at & 1 == 1 { -1.0 } else { 1.0 };
        out.extend(self.row(index).enumerate().map(|(at, number)| scale * number * sign(at)));
    }
}

/// Eight signs in 7 bits: an even number of them is negative.
fn even_signs(bits: u32) -> u8 {
    let seven = (bits & 127) as u8;
    seven | ((seven.count_ones() & 1) as u8) << 7
}

/// The scale of a group from 4 bits, halfway between whole numbers.
fn halfway(scale: f32, bits: impl Into<f64>) -> f32 {
    scale * (0.5 + bits.into() as f32)
}

pub(super) fn iq2_xxs(b: &[u8], out: &mut Vec<f32>) {
    for group in b[2..].chunks_exact(8) {
        let packed = u32_at(group, 1);
        let scale = halfway(half(b), packed >> 28) * 0.25;
        for (at, &row) in group[..4].iter().enumerate() {
            IQ2_XXS.signed(row.into(), scale, even_signs(packed >> (7 * at)), out);
        }
    }
}

pub(super) fn iq2_xs(b: &[u8], out: &mut Vec<f32>) {
    let (rows, scales) = (&b[2..66], &b[66..]);
    for at in 0..32 {
        let row = u16_at(rows, at);
        let scale = halfway(half(b), nibble(scales, at / 2)) * 0.25;
        IQ2_XS.signed((row & 511).into(), scale, even_signs((row >> 9).into()), out);
    }
}

pub(super) fn iq2_s(b: &[u8], out: &mut Vec<f32>) {
    let (low, signs, high, scales) = (&b[2..34], &b[34..66], &b[66..74], &b[74..]);
    for at in 0..32 {
        let row = usize::from(low[at]) | usize::from(high[at / 4] >> (at % 4 * 2) & 3) << 8;
        IQ2_S.signed(row, halfway(half(b), nibble(scales, at / 2)) * 0.25, signs[at], out);
    }
}

pub(super) fn iq3_xxs(b: &[u8], out: &mut Vec<f32>) {
    let (rows, packed) = (&b[2..66], &b[66..]);
    for (at, &row) in rows.iter().enumerate() {
        let packed = u32_at(packed, at / 8);
        let signs = even_signs(packed >> (7 * (at % 8 / 2)));
        IQ3_XXS.signed(row.into(), halfway(half(b), packed >> 28) * 0.5, signs >> (at % 2 * 4), out);
    }
}

pub(super) fn iq3_s(b: &[u8], out: &mut Vec<f32>) {
    let (low, high, signs, scales) = (&b[2..66], &b[66..74], &b[74..106], &b[106..]);
    for (at, &low) in low.iter().enumerate() {
        let row = usize::from(low) | usize::from(high[at / 8] >> (at % 8) & 1) << 8;
        let scale = half(b) * f32::from(2 * nibble(scales, at / 8) + 1);
        IQ3_S.signed(row, scale, nibble(signs, at), out);
    }
}

pub(super) fn iq1_s(b: &[u8], out: &mut Vec<f32>) {
    let (low, high) = (&b[2..34], &b[34..]);
    for (at, &low) in low.iter().enumerate() {
        let high = u16_at(high, at / 4);
        let row = usize::from(low) | usize::from(high >> (at % 4 * 3) & 7) << 8;
        let scale = half(b) * f32::from(2 * (high >> 12 & 7) + 1);
        shifted(row, scale, high >> 15 == 1, out);
    }
}

pub(super) fn iq1_m(b: &[u8], out: &mut Vec<f32>) {
    let (low, high, scales) = (&b[..32], &b[32..48], &b[48..]);
    // The top four bits of each of the four numbers with scales are the common scale.
    let common = (0..4).map(|at| (u16_at(scales, at) >> 12) << (4 * at)).sum::<u16>();
    let common = half(&common.to_le_bytes());
    for (at, &low) in low.iter().enumerate() {
        let high = nibble(high, at);
        let row = usize::from(low) | usize::from(high & 7) << 8;
        let scale = common * f32::from(2 * (u16_at(scales, at / 8) >> (at / 2 % 4 * 3) & 7) + 1);
        shifted(row, scale, high & 8 != 0, out);
    }
}

/// Appends the numbers of a row of the 1-bit grid, all shifted by an eighth.
fn shifted(row: usize, scale: f32, down: bool, out: &mut Vec<f32>) {
    let shift = if down { -0.125 } else { 0.125 };
    out.extend(IQ1.row(row).map(|number| scale * (number + shift)));
}
