//! The number formats of frozen matrices.
use crate::{Error, LanguageModel, Result, device_name, in_host_memory};
use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The number format in which a frozen model's weight matrices are stored and multiplied. Outputs, gradients, norms,
/// attention and everything trained stay `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of precision.
    #[default]
    F32,
    /// 11 bits of precision, range 6e-8 to 65504; most published weights are stored in it.
    F16,
    /// 8 bits of precision, the range of `f32`; the input of a product is rounded alike, and sums are `f32`. On the CPU
    /// the last bits depend on the instructions: AMX or, on AMD, AVX-512 BF16 where there is one of them, else `f32`.
    Bf16,
    /// Integers of 11 bits and a sign, with a scale for each output; the input of a product is rounded alike, with a
    /// scale for each row. On the CPU alone, and fast where it has AVX-512 VNNI. Every processor gives the same bits.
    Int16,
}

impl Precision {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int16 => "int16",
        }
    }

    /// All formats.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Int16];

    /// The type of a tensor that holds such a matrix, and of the other factor; integers are not multiplied by Burn.
    pub(crate) fn dtype(self) -> FloatDType {
        match self {
            Self::F32 | Self::Int16 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// Checks that `device` can compute in this format.
    ///
    /// # Errors
    /// [`Error::Precision`] if it cannot.
    pub fn check(self, device: &Device) -> Result<()> {
        if device.supports_dtype(self.dtype()) && (self != Self::Int16 || in_host_memory(device)) {
            return Ok(());
        }
        let problem = format!("{} does not support it", device_name(device));
        Err(Error::Precision { wanted: self.name(), problem })
    }

    /// Returns `lm`, which lives on `device`, with its weight matrices in this format.
    ///
    /// # Errors
    /// [`Error::Precision`] if the device cannot compute in it or the model does not expose its matrices.
    pub fn of_matrices(self, lm: Box<dyn LanguageModel>, device: &Device) -> Result<Box<dyn LanguageModel>> {
        if self == Self::F32 {
            return Ok(lm);
        }
        self.check(device)?;
        let matrices = lm.tunable().ok_or_else(|| Error::Precision {
            wanted: self.name(),
            problem: "the language model does not expose its matrices".into(),
        })?;
        Ok(matrices.with_linears(0, &mut |linear| linear.in_precision(self)))
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|precision| precision.name() == name);
        found.ok_or_else(|| {
            format!("unknown precision {name:?}; choose one of {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}
