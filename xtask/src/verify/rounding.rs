//! How far golden cases may be off where products of matrices are rounded more than sums in `f32` are.
use clap::ValueEnum;
use ra_core::Precision;

/// What matrices are multiplied in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rounding {
    /// As the cases were: their own tolerances.
    F32,
    /// What CUDA's tensor cores make of `f32`, of all products: 11 bits. The model is not changed.
    Tf32,
    /// The language model's matrices in `f16`: 11 bits.
    F16,
    /// The language model's matrices in `bf16`: 8 bits.
    Bf16,
}

impl Rounding {
    /// What the language model's matrices are stored in.
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::F32 | Self::Tf32 => Precision::F32,
            Self::F16 => Precision::F16,
            Self::Bf16 => Precision::Bf16,
        }
    }

    /// What is left of it for an ID model, which is trained and used in `f32` whatever the language model is stored in:
    /// what the device makes of `f32`.
    pub(super) fn of_id_models(self, on_cuda: bool) -> Self {
        match self {
            Self::F16 | Self::Bf16 if on_cuda => Self::Tf32,
            Self::F16 | Self::Bf16 => Self::F32,
            own => own,
        }
    }

    /// A tolerance `(absolute, relative to the largest number)` of a case's `group` where products are rounded so.
    ///
    /// A number of `b` bits is off by `u = 2^-b` at most. Through the three layers of a case go 18 products of matrices; their
    /// errors are independent, which makes `sqrt(18) u`, and the largest of some thousand numbers is about three times the
    /// usual one. A gradient is also multiplied by the slope of its loss, a sigmoid of the difference of two scores. These
    /// lie about 12 from zero in the cases and are off by `sqrt(18) u` of themselves, and by so much, twice and
    /// independently, the sigmoid's logarithm moves: `sqrt(2) * 12` is added to the three.
    ///
    /// `on_cuda` all other products are TF32 beside: errors of both kinds, independent as well, add up to the root of the sum
    /// of their squares.
    pub(super) fn loosen(self, (absolute, relative): (f64, f64), group: &str, on_cuda: bool) -> (f64, f64) {
        let tf32 = 2f64.powi(-11);
        let (unit, others) = match self {
            Self::F32 => return (absolute, relative),
            Self::Tf32 => (tf32, 0.0),
            Self::F16 => (2f64.powi(-11), tf32),
            Self::Bf16 => (2f64.powi(-8), tf32),
        };
        let unit = if on_cuda { unit.hypot(others) } else { unit };
        let factor = if group == "grad" { 3.0 + 12.0 * 2f64.sqrt() } else { 3.0 };
        (absolute, relative.max(factor * 18f64.sqrt() * unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarser_language_model_allows_an_id_model_no_more() {
        let own = (1e-5, 1e-5);
        for rounding in [Rounding::F32, Rounding::F16, Rounding::Bf16] {
            assert_eq!(rounding.of_id_models(false).loosen(own, "grad", false), own, "{rounding:?}");
        }
        assert!(Rounding::Bf16.loosen(own, "grad", false).1 > 0.1);
        assert_eq!(Rounding::Bf16.of_id_models(true), Rounding::Tf32);
        assert_eq!(Rounding::Tf32.of_id_models(false), Rounding::Tf32, "as it was asked for");
    }
}
