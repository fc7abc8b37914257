//! Back ends: the only file in the workspace with `cfg(feature)`.
use crate::{Error, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Burn's pure Rust CPU back end, always at hand.
    #[default]
    Cpu,
    /// Any GPU through WGPU (Cargo feature `wgpu`).
    Wgpu,
    /// An NVIDIA GPU through CUDA (Cargo feature `cuda`).
    Cuda,
}

impl Backend {
    /// The name in recipes and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// The back ends of this build.
    pub fn built() -> Vec<Self> {
        let mut built = vec![Self::Cpu];
        if cfg!(feature = "wgpu") {
            built.push(Self::Wgpu);
        }
        if cfg!(feature = "cuda") {
            built.push(Self::Cuda);
        }
        built
    }
}

/// Opens the plain (not autodiff) device of a back end.
///
/// # Errors
/// [`Error::Backend`] when the build lacks it.
pub fn open_device(backend: Backend) -> Result<Device> {
    match backend {
        Backend::Cpu => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        Backend::Cuda => Ok(Device::cuda(0usize)),
        #[allow(unreachable_patterns)]
        other => Err(Error::Backend {
            wanted: other.name(),
            built: Backend::built().iter().map(|b| b.name()).collect::<Vec<_>>().join(", "),
        }),
    }
}
