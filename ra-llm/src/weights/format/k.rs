//! The K formats: 256 numbers of 2 to 6 bits in groups of 16 or 32, whose scales are themselves numbers of 4 to 8 bits.
use super::{half, nibble};

/// Two bits of number `at` of 256: two halves of 128, each of four runs of 32 that share the bytes.
pub(super) fn two_bits(bytes: &[u8], at: usize) -> u8 {
    bytes[at / 128 * 32 + at % 32] >> (at % 128 / 32 * 2) & 3
}

/// Groups of 16, each with a scale and an offset of 4 bits.
pub(super) fn q2(b: &[u8], out: &mut Vec<f32>) {
    let (scale, least) = (half(&b[80..]), half(&b[82..]));
    out.extend((0..256).map(|at| {
        let own = b[at / 16];
        let (scale, least) = (scale * f32::from(own & 15), least * f32::from(own >> 4));
        scale * f32::from(two_bits(&b[16..80], at)) - least
    }));
}

/// Groups of 16, each with a scale of 6 bits.
pub(super) fn q3(b: &[u8], out: &mut Vec<f32>) {
    let (third, low, scales, scale) = (&b[..32], &b[32..96], &b[96..108], half(&b[108..]));
    let of_group = |group: usize| {
        let (four, two) = (scales[group % 8] >> (group / 8 * 4) & 15, scales[8 + group % 4] >> (group / 4 * 2) & 3);
        scale * (f32::from(four | two << 4) - 32.0)
    };
    out.extend((0..256).map(|at| {
        let high = third[at % 32] >> (at / 32) & 1;
        of_group(at / 16) * (f32::from(two_bits(low, at) | high << 2) - 4.0)
    }));
}

pub(super) fn q4(b: &[u8], out: &mut Vec<f32>) {
    with_offsets(&b[..16], &[], &b[16..], out);
}

pub(super) fn q5(b: &[u8], out: &mut Vec<f32>) {
    with_offsets(&b[..16], &b[16..48], &b[48..], out);
}

/// 4 or 5 bits in eight groups of 32, each with a scale and an offset of 6 bits.
fn with_offsets(head: &[u8], fifth: &[u8], low: &[u8], out: &mut Vec<f32>) {
    let (scale, least) = (half(head), half(&head[2..]));
    let packed = &head[4..16];
    let six_bits = |group: usize| {
        let (q, m) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            let (low, high) = (packed[group + 4], |at: usize| (packed[at] >> 6) << 4);
            (low & 15 | high(group - 4), low >> 4 | high(group))
        };
        (scale * f32::from(q), least * f32::from(m))
    };
    for group in 0..8 {
        let (scale, least) = six_bits(group);
        let bytes = &low[group / 2 * 32..][..32];
        out.extend(bytes.iter().enumerate().map(|(at, b)| {
            let four = b >> (group % 2 * 4) & 15;
            let high = fifth.get(at).map_or(0, |f| (f >> group & 1) << 4);
            scale * f32::from(four | high) - least
        }));
    }
}

/// Groups of 16, each with a scale of 8 bits.
pub(super) fn q6(b: &[u8], out: &mut Vec<f32>) {
    let (low, high, scales, scale) = (&b[..128], &b[128..192], &b[192..208], half(&b[208..]));
    out.extend((0..256).map(|at| {
        // Of the four runs of a half, the first and third, and the second and fourth, share the bytes of `low`.
        let byte = at / 128 * 64 + at % 64;
        let four = nibble(low, 2 * byte + at % 128 / 64);
        let own = scale * f32::from(scales[at / 16].cast_signed());
        own * (f32::from(four | two_bits(high, at) << 4) - 32.0)
    }));
}
