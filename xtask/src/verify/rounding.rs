//! The tolerance of golden cases if matrix products are rounded more than sums in `f32`.
use clap::ValueEnum;
use ra_core::Precision;

/// The number format of matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rounding {
    /// The format that the cases were made in: their own tolerances apply.
    F32,
    /// CUDA's tensor cores on `f32`, for all products: 11 bits. The model is not changed.
    Tf32,
    /// The language model's matrices in `f16`: 11 bits.
    F16,
    /// The language model's matrices in `bf16`: 8 bits.
    Bf16,
    /// The language model's matrices in integers: 11 bits of the largest number, so about 10 of the others.
    Int16,
}

impl Rounding {
    /// Returns the number format in which the language model's matrices are stored.
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::F32 | Self::Tf32 => Precision::F32,
            Self::F16 => Precision::F16,
            Self::Bf16 => Precision::Bf16,
            Self::Int16 => Precision::Int16,
        }
    }

    /// Returns the rounding for an ID model, which is trained and used in `f32` whatever the language model is stored
    /// in: only that of the device.
    pub(super) fn of_id_models(self, on_cuda: bool) -> Self {
        match self {
            Self::F16 | Self::Bf16 | Self::Int16 if on_cuda => Self::Tf32,
            Self::F16 | Self::Bf16 | Self::Int16 => Self::F32,
            own => own,
        }
    }

    /// Returns a tolerance `(absolute, relative to the largest number)` of a case's `group` under this rounding.
    ///
    /// A number of `b` bits is off by at most `u = 2^-b`. The three layers of a case contain 18 matrix products with
    /// independent errors, which gives `sqrt(18) u`; the largest of some thousand numbers is off by about three times
    /// as much. A gradient is also multiplied by the slope of its loss, a sigmoid of the difference of two scores.
    /// These are about 12 from zero in the cases and each has a relative error of `sqrt(18) u`. The logarithm of the
    /// sigmoid changes by that much, twice and independently: `sqrt(2) * 12` is added to the three.
    ///
    /// `on_cuda`, all other products are TF32 as well. Errors of both kinds are independent and add up to the root of
    /// the sum of their squares.
    pub(super) fn loosen(self, (absolute, relative): (f64, f64), group: &str, on_cuda: bool) -> (f64, f64) {
        let tf32 = 2f64.powi(-11);
        let (unit, others) = match self {
            Self::F32 => return (absolute, relative),
            Self::Tf32 => (tf32, 0.0),
            Self::F16 => (2f64.powi(-11), tf32),
            // A step of 2^-11 of the largest number is off by 2^-11 / sqrt(12) of it, which is about three times as large
            // as the others: 2^-11.2 of those, where `f16` is off by 2^-12.6. One bit and a half fewer.
            Self::Int16 => (2f64.powf(-9.5), tf32),
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
