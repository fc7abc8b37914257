//! Ternary formats: 256 numbers that are -1, 0 or 1 times a scale.
use super::half;
use super::k::two_bits;

/// Five numbers in a byte, which is their value in base 3, scaled from 243 to 256 steps.
pub(super) fn tq1_0(b: &[u8], out: &mut Vec<f32>) {
    let scale = half(&b[52..]);
    // Runs of 32, 16 and 4 share the bytes; the last bytes hold only four numbers.
    for (bytes, digits) in [(&b[..32], 5), (&b[32..48], 5), (&b[48..52], 4)] {
        for digit in 0..digits {
            let place = 3u8.pow(digit);
            // Multiplying moves a digit to the top; the rest overflows.
            let number = |&b: &u8| f32::from((u16::from(b.wrapping_mul(place)) * 3) >> 8) - 1.0;
            out.extend(bytes.iter().map(|b| scale * number(b)));
        }
    }
}

/// Four numbers in a byte.
pub(super) fn tq2_0(b: &[u8], out: &mut Vec<f32>) {
    let scale = half(&b[64..]);
    out.extend((0..256).map(|at| scale * (f32::from(two_bits(b, at)) - 1.0)));
}
