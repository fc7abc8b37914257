//! Small blocks: 16 or 32 numbers of 4, 5 or 8 bits share a scale.
use super::{half, nibble, u16_at, u32_at};

/// The 16 numbers of ggml's `kvalues_iq4nl` (MIT licence): closer together near 0, where most weights are.
const UNEVEN: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Floating-point numbers of 4 bits (E2M1), doubled to make them whole.
const FLOATS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// All low halves of the bytes, then all high halves.
fn halves(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4))
}

/// The low four bits of 32 numbers, each with its fifth bit from `high`.
fn five_bits(low: &[u8], high: u32) -> impl Iterator<Item = u8> {
    halves(low).enumerate().map(move |(at, four)| four | ((high >> at & 1) as u8) << 4)
}

pub(super) fn q4_0(b: &[u8], out: &mut Vec<f32>) {
    let scale = half(b);
    out.extend(halves(&b[2..]).map(|q| scale * (f32::from(q) - 8.0)));
}

pub(super) fn q4_1(b: &[u8], out: &mut Vec<f32>) {
    let (scale, least) = (half(b), half(&b[2..]));
    out.extend(halves(&b[4..]).map(|q| scale * f32::from(q) + least));
}

pub(super) fn q5_0(b: &[u8], out: &mut Vec<f32>) {
    let scale = half(b);
    out.extend(five_bits(&b[6..], u32_at(&b[2..], 0)).map(|q| scale * (f32::from(q) - 16.0)));
}

pub(super) fn q5_1(b: &[u8], out: &mut Vec<f32>) {
    let (scale, least) = (half(b), half(&b[2..]));
    out.extend(five_bits(&b[8..], u32_at(b, 1)).map(|q| scale * f32::from(q) + least));
}

pub(super) fn q8_0(b: &[u8], out: &mut Vec<f32>) {
    let scale = half(b);
    out.extend(b[2..].iter().map(|&q| scale * f32::from(q.cast_signed())));
}

pub(super) fn iq4_nl(b: &[u8], out: &mut Vec<f32>) {
    listed(half(b), UNEVEN, &b[2..], out);
}

/// 256 numbers in eight groups of 32, each with a scale of 6 bits.
pub(super) fn iq4_xs(b: &[u8], out: &mut Vec<f32>) {
    let (scale, high, low) = (half(b), u16_at(b, 1), &b[4..8]);
    for (group, bytes) in b[8..].chunks_exact(16).enumerate() {
        let own = i16::from(nibble(low, group)) + (high >> (2 * group) & 3).cast_signed() * 16 - 32;
        listed(scale * f32::from(own), UNEVEN, bytes, out);
    }
}

/// The scale is a power of two, given by its exponent (E8M0).
pub(super) fn mxfp4(b: &[u8], out: &mut Vec<f32>) {
    // Half of the scale, because the listed numbers are doubled; the two smallest are subnormal.
    let scale = if b[0] < 2 { 0x0020_0000 << b[0] } else { u32::from(b[0] - 1) << 23 };
    listed(f32::from_bits(scale), FLOATS, &b[1..], out);
}

/// 64 numbers in four groups of 16, each with an unsigned scale of 8 bits (E4M3).
pub(super) fn nvfp4(b: &[u8], out: &mut Vec<f32>) {
    for (&scale, bytes) in b.iter().zip(b[4..].chunks_exact(8)) {
        let (exponent, fraction) = (i32::from(scale >> 3 & 15), f32::from(scale & 7) / 8.0);
        let scale = match (scale, exponent) {
            // Not a number, which stands for 0.
            (0x7f, _) => 0.0,
            (_, 0) => fraction * 2f32.powi(-6),
            _ => (1.0 + fraction) * 2f32.powi(exponent - 7),
        };
        listed(scale * 0.5, FLOATS, bytes, out);
    }
}

/// Numbers of a list of 16, times a scale.
fn listed(scale: f32, list: [i8; 16], bytes: &[u8], out: &mut Vec<f32>) {
    out.extend(halves(bytes).map(|q| scale * f32::from(list[usize::from(q)])));
}
