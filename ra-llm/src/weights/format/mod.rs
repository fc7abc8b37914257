//! Decodes the number formats of weight files to f32.
//!
//! GGUF uses the block formats of ggml: 16 to 256 numbers share scales. The tests compare them with values from the
//! reference implementation.
mod grids;
mod k;
mod small;
mod ternary;

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
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq1S,
    Iq1M,
    Iq2Xxs,
    Iq2Xs,
    Iq2S,
    Iq3Xxs,
    Iq3S,
    Iq4Nl,
    Iq4Xs,
    Tq1_0,
    Tq2_0,
    Mxfp4,
    Nvfp4,
    F64,
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
            10 => Self::Q2K,
            11 => Self::Q3K,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            16 => Self::Iq2Xxs,
            17 => Self::Iq2Xs,
            18 => Self::Iq3Xxs,
            19 => Self::Iq1S,
            20 => Self::Iq4Nl,
            21 => Self::Iq3S,
            22 => Self::Iq2S,
            23 => Self::Iq4Xs,
            28 => Self::F64,
            29 => Self::Iq1M,
            30 => Self::Bf16,
            34 => Self::Tq1_0,
            35 => Self::Tq2_0,
            39 => Self::Mxfp4,
            40 => Self::Nvfp4,
            _ => return None,
        })
    }

    /// The numbers and the bytes per block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F64 => (1, 8),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 | Self::Iq4Nl => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Mxfp4 => (32, 17),
            Self::Nvfp4 => (64, 36),
            Self::Q2K => (256, 84),
            Self::Q3K | Self::Iq3S => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::Iq1S => (256, 50),
            Self::Iq1M => (256, 56),
            Self::Iq2Xxs | Self::Tq2_0 => (256, 66),
            Self::Iq2Xs => (256, 74),
            Self::Iq2S => (256, 82),
            Self::Iq3Xxs => (256, 98),
            Self::Iq4Xs => (256, 136),
            Self::Tq1_0 => (256, 54),
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
        let decode: fn(&[u8], &mut Vec<f32>) = match self {
            Self::F32 => |b, out| out.push(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            Self::F64 => |b, out| {
                out.push(f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32);
            },
            Self::F16 => |b, out| out.push(half(b)),
            Self::Bf16 => |b, out| out.push(f32::from_bits(u32::from(u16_at(b, 0)) << 16)),
            Self::Q4_0 => small::q4_0,
            Self::Q4_1 => small::q4_1,
            Self::Q5_0 => small::q5_0,
            Self::Q5_1 => small::q5_1,
            Self::Q8_0 => small::q8_0,
            Self::Iq4Nl => small::iq4_nl,
            Self::Iq4Xs => small::iq4_xs,
            Self::Mxfp4 => small::mxfp4,
            Self::Nvfp4 => small::nvfp4,
            Self::Q2K => k::q2,
            Self::Q3K => k::q3,
            Self::Q4K => k::q4,
            Self::Q5K => k::q5,
            Self::Q6K => k::q6,
            Self::Iq1S => grids::iq1_s,
            Self::Iq1M => grids::iq1_m,
            Self::Iq2Xxs => grids::iq2_xxs,
            Self::Iq2Xs => grids::iq2_xs,
            Self::Iq2S => grids::iq2_s,
            Self::Iq3Xxs => grids::iq3_xxs,
            Self::Iq3S => grids::iq3_s,
            Self::Tq1_0 => ternary::tq1_0,
            Self::Tq2_0 => ternary::tq2_0,
        };
        blocks.for_each(|block| decode(block, &mut out));
        out
    }
}

fn half(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// Number `at` of 16 bits.
fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[2 * at], b[2 * at + 1]])
}

/// Number `at` of 32 bits.
fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from(u16_at(b, 2 * at)) | u32::from(u16_at(b, 2 * at + 1)) << 16
}

/// Number `at` of 4 bits, the low half of a byte first.
fn nibble(b: &[u8], at: usize) -> u8 {
    b[at / 2] >> (at % 2 * 4) & 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn blocks_are_those_of_the_reference() {
        let bytes = std::fs::read("tests/reference/formats.safetensors").unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let read = (0..GGML.len() as u32).filter_map(|kind| Some((Format::of_gguf(kind)?, ggml_name(kind))));
        for (format, name) in read.filter(|(format, _)| *format != Format::F32) {
            let stored = file.tensor(&format!("{name}.bytes")).unwrap();
            let want = Format::F32.decode(file.tensor(&format!("{name}.values")).unwrap().data());
            let got = format.decode(stored.data());
            assert_eq!(format.bytes(want.len() as u64), Some(stored.data().len() as u64), "{name}");
            assert_eq!(got, want, "{name}");
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
