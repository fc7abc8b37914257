//! Decodes the number formats of weight files to f32.
//!
//! GGUF uses the block formats of ggml: 32 numbers (256 in the K formats) share scales. The tests compare them with
//! values from the reference implementation.
use burn::tensor::f16;

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// The number formats of ggml, by type number; some are obsolete.
const GGML: [&str; 43] = [
    "F32",
    "F16",
    "Q4_0",
    "Q4_1",
    "Q4_2",
    "Q4_3",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q8_1",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "Q8_K",
    "IQ2_XXS",
    "IQ2_XS",
    "IQ3_XXS",
    "IQ1_S",
    "IQ4_NL",
    "IQ3_S",
    "IQ2_S",
    "IQ4_XS",
    "I8",
    "I16",
    "I32",
    "I64",
    "F64",
    "IQ1_M",
    "BF16",
    "Q4_0_4_4",
    "Q4_0_4_8",
    "Q4_0_8_8",
    "TQ1_0",
    "TQ2_0",
    "IQ4_NL_4_4",
    "IQ4_NL_4_8",
    "IQ4_NL_8_8",
    "MXFP4",
    "NVFP4",
    "Q1_0",
    "Q2_0",
];

/// The ggml name of a type number, or the number itself if it has no name here.
pub(crate) fn ggml_name(kind: u32) -> String {
    GGML.get(kind as usize).map_or_else(|| format!("format number {kind}"), ToString::to_string)
}

/// The names of the supported GGUF formats.
pub(crate) fn ggml_formats_read() -> String {
    let read = |kind: &u32| Format::of_gguf(*kind).is_some();
    (0..GGML.len() as u32).filter(read).map(ggml_name).collect::<Vec<_>>().join(", ")
}

impl Format {
    /// The format of a GGUF type number.
    pub(crate) fn of_gguf(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// The numbers and the bytes per block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// The size of `numbers` in bytes; `None` if they are not whole blocks or the size overflows.
    pub(crate) fn bytes(self, numbers: u64) -> Option<u64> {
        let (block, bytes) = self.block();
        numbers.is_multiple_of(block as u64).then(|| (numbers / block as u64).checked_mul(bytes as u64)).flatten()
    }

    /// Decodes whole blocks.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let (numbers, size) = self.block();
        let blocks = bytes.chunks_exact(size);
        let mut out = Vec::with_capacity(blocks.len() * numbers);
        match self {
            Self::F32 => out.extend(blocks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            Self::F16 => out.extend(blocks.map(half)),
            Self::Bf16 => out.extend(blocks.map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))),
            Self::Q8_0 => blocks.for_each(|b| {
                let scale = half(b);
                out.extend(b[2..].iter().map(|&q| scale * f32::from(q.cast_signed())));
            }),
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 => blocks.for_each(|b| legacy(self, b, &mut out)),
            Self::Q4K => blocks.for_each(|b| super_block(&b[..16], &[], &b[16..], &mut out)),
            Self::Q5K => blocks.for_each(|b| super_block(&b[..16], &b[16..48], &b[48..], &mut out)),
            Self::Q6K => blocks.for_each(|b| six_bits(b, &mut out)),
        }
        out
    }
}

fn half(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// 32 numbers of 4 or 5 bits: `scale * q + offset`; without a stored offset, the middle of the range is 0.
fn legacy(format: Format, b: &[u8], out: &mut Vec<f32>) {
    let offset = matches!(format, Format::Q4_1 | Format::Q5_1);
    let fifth = matches!(format, Format::Q5_0 | Format::Q5_1);
    let scale = half(b);
    let (head, middle) = if offset { (4, 0) } else { (2, if fifth { 16 } else { 8 }) };
    let least = if offset { half(&b[2..]) } else { 0.0 };
    let high = if fifth { u32::from_le_bytes([b[head], b[head + 1], b[head + 2], b[head + 3]]) } else { 0 };
    let low = &b[head + if fifth { 4 } else { 0 }..];
    // The low halves of all bytes come first, then the high halves.
    let number = |at: usize| {
        let four = if at < 16 { low[at] & 15 } else { low[at - 16] >> 4 };
        i32::from(four) + ((high >> at & 1) << 4).cast_signed() - middle
    };
    out.extend((0..32).map(|at| (number(at) as f32).mul_add(scale, least)));
}

/// 256 numbers of 4 or 5 bits in eight groups of 32, each with a scale and an offset of 6 bits.
fn super_block(head: &[u8], fifth: &[u8], low: &[u8], out: &mut Vec<f32>) {
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
            let four = if group % 2 == 0 { b & 15 } else { b >> 4 };
            let high = fifth.get(at).map_or(0, |f| (f >> group & 1) << 4);
            scale * f32::from(four | high) - least
        }));
    }
}

/// 256 numbers of 6 bits in sixteen groups of 16, each with a scale of 8 bits.
fn six_bits(b: &[u8], out: &mut Vec<f32>) {
    let (low, high, scales, scale) = (&b[..128], &b[128..192], &b[192..208], half(&b[208..]));
    out.extend((0..256).map(|at| {
        // Two halves of 128, each of four runs of 32: all runs share the bytes of `high`; the first and third, and the
        // second and fourth, share those of `low`.
        let (part, run, j) = (at / 128, at % 128 / 32, at % 32);
        let byte = low[part * 64 + run % 2 * 32 + j];
        let four = if run < 2 { byte & 15 } else { byte >> 4 };
        let two = high[part * 32 + j] >> (2 * run) & 3;
        let q = i32::from(four | two << 4) - 32;
        scale * f32::from(scales[part * 8 + run * 2 + j / 16].cast_signed()) * q as f32
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn blocks_are_those_of_the_reference() {
        let bytes = std::fs::read("tests/reference/formats.safetensors").unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for (kind, name) in
            [(2, "Q4_0"), (3, "Q4_1"), (6, "Q5_0"), (7, "Q5_1"), (8, "Q8_0"), (12, "Q4_K"), (13, "Q5_K"), (14, "Q6_K")]
        {
            let format = Format::of_gguf(kind).unwrap();
            assert_eq!(ggml_name(kind), name);
            let stored = file.tensor(&format!("{name}.bytes")).unwrap();
            let want = Format::F32.decode(file.tensor(&format!("{name}.values")).unwrap().data());
            let got = format.decode(stored.data());
            assert_eq!(format.bytes(want.len() as u64), Some(stored.data().len() as u64), "{name}");
            assert_eq!(got.len(), want.len(), "{name}");
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!((got - want).abs() <= 1e-6 * want.abs().max(1.0), "{name} {at}: {got} {want}");
            }
        }
    }

    #[test]
    fn halves_are_halves() {
        assert_eq!(Format::F16.decode(&[0x00, 0x3c, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(Format::Bf16.decode(&[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(Format::Q8_0.bytes(33), None, "no whole block");
        assert_eq!(Format::F32.bytes(u64::MAX), None, "too many to count");
    }
}
