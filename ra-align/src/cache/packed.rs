//! Numbers of a cached text in 20 bits each.
//!
//! Blocks of 128 numbers share a scale, and each number is an integer of 20 bits times it: the error is at most 1.2e-6
//! of the largest number of the block. That is near the error of computing them in `f32`, at five eighths of the size.

/// The numbers that share a scale.
const BLOCK: usize = 128;

/// The largest integer: 19 bits and a sign.
const LARGEST: f32 = ((1 << 19) - 1) as f32;

/// The bytes of a scale, and of two numbers.
const SCALE: usize = size_of::<f32>();
const PAIR: usize = 5;

/// How numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    F32,
    /// In 20 bits each.
    Bits20,
}

impl Form {
    /// Returns how many bytes this many numbers take.
    pub(crate) fn size(self, count: usize) -> usize {
        match self {
            Self::F32 => count * size_of::<f32>(),
            Self::Bits20 => packed_len(count),
        }
    }

    pub(crate) fn bytes(self, numbers: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Bits20 => pack(numbers),
        }
    }

    /// Returns `count` numbers from their [`bytes`](Self::bytes).
    pub(crate) fn numbers(self, bytes: &[u8], count: usize) -> Vec<f32> {
        match self {
            Self::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Self::Bits20 => unpack(bytes, count),
        }
    }
}

/// Returns how many bytes this many numbers take.
fn packed_len(count: usize) -> usize {
    let block = |numbers: usize| if numbers == 0 { 0 } else { SCALE + (numbers * PAIR).div_ceil(2) };
    count / BLOCK * block(BLOCK) + block(count % BLOCK)
}

/// Packs numbers. A block with a number that is not finite comes back as NaN.
fn pack(numbers: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packed_len(numbers.len()));
    for block in numbers.chunks(BLOCK) {
        let finite = block.iter().all(|x| x.is_finite());
        let most = block.iter().fold(0f32, |most, x| most.max(x.abs()));
        let scale = if finite { most / LARGEST } else { f32::NAN };
        // The smallest scales are not normal numbers, and dividing by them would lose more than rounding does.
        let scale = if scale.is_normal() || scale.is_nan() { scale } else { 0.0 };
        bytes.extend_from_slice(&scale.to_le_bytes());
        let integer = |x: f32| if scale > 0.0 { (x / scale).round().clamp(-LARGEST, LARGEST) as i32 } else { 0 };
        for pair in block.chunks(2) {
            let [low, high] = [integer(pair[0]), pair.get(1).map_or(0, |&x| integer(x))].map(|x| x as u64 & 0xf_ffff);
            let both = (low | high << 20).to_le_bytes();
            bytes.extend_from_slice(&both[..if pair.len() == 2 { PAIR } else { PAIR.div_ceil(2) }]);
        }
    }
    bytes
}

/// Returns `count` numbers that [`pack`] packed.
fn unpack(bytes: &[u8], count: usize) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count);
    for (index, block) in bytes.chunks(packed_len(BLOCK)).enumerate() {
        let Some((scale, pairs)) = block.split_first_chunk::<SCALE>() else { break };
        let (scale, end) = (f32::from_le_bytes(*scale), numbers.len() + BLOCK.min(count - index * BLOCK));
        for pair in pairs.chunks(PAIR) {
            let mut both = [0; 8];
            both[..pair.len()].copy_from_slice(pair);
            let both = u64::from_le_bytes(both);
            // Shifted up to the sign bit and down again.
            let number = |bits: u64| ((bits as u32) << 12) as i32 >> 12;
            numbers.push(number(both) as f32 * scale);
            if numbers.len() < end {
                numbers.push(number(both >> 20) as f32 * scale);
            }
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::SplitMix;

    fn there_and_back(numbers: &[f32]) -> Vec<f32> {
        let bytes = pack(numbers);
        assert_eq!(bytes.len(), packed_len(numbers.len()));
        unpack(&bytes, numbers.len())
    }

    #[test]
    fn numbers_come_back_within_half_a_step_of_their_block() {
        let mut random = SplitMix::new(3);
        for count in [0, 1, 2, 3, 127, 128, 129, 255, 256, 257, 784] {
            // Blocks of very different sizes, as a norm's outliers make them.
            let numbers: Vec<f32> =
                (0..count).map(|at| (random.unit() as f32 - 0.5) * 10f32.powi(6 * (at / BLOCK) as i32 - 9)).collect();
            let found = there_and_back(&numbers);
            assert_eq!(found.len(), count);
            // Half a step, and the rounding errors of the scale, the division and the product.
            let bound = 0.5 / LARGEST + 1.5 * f32::EPSILON;
            for (found, numbers) in found.chunks(BLOCK).zip(numbers.chunks(BLOCK)) {
                let most = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
                assert!(found.iter().zip(numbers).all(|(found, x)| (found - x).abs() <= bound * most), "{count}");
            }
        }
    }

    #[test]
    fn extremes_stay_what_they_are() {
        assert_eq!(there_and_back(&[0.0; 130]), [0.0; 130]);
        let largest = there_and_back(&[3e38, -3e38]);
        assert!(largest[0] > 0.0 && largest[0].is_finite() && largest[1] == -largest[0], "{largest:?}");
        assert_eq!(there_and_back(&[f32::MIN_POSITIVE / 4.0, 0.0]), [0.0, 0.0]);
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(there_and_back(&[1.0, broken, 2.0]).iter().all(|x| x.is_nan()));
        }
    }
}
