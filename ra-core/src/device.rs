//! Back ends: the only file in the workspace with `cfg` attributes for them.
use crate::{Error, Result};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The back end that holds tensors and computes with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Burn's pure Rust CPU back end; always available.
    #[default]
    Cpu,
    /// Any GPU through WGPU (Cargo feature `wgpu`), or the CPU through a software Vulkan driver.
    Wgpu,
    /// An NVIDIA GPU through CUDA (Cargo feature `cuda`).
    Cuda,
}

impl Backend {
    /// All back ends, whether in this build or not.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Wgpu, Self::Cuda];

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
        let here = |backend: &Self| match backend {
            Self::Cpu => true,
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Cuda => cfg!(feature = "cuda"),
        };
        Self::ALL.into_iter().filter(here).collect()
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|backend| backend.name() == name);
        found.ok_or_else(|| format!("unknown backend {name:?}; choose one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Opens the plain (not autodiff) device of a back end: the first GPU, or the one that the back end's own environment
/// variables select.
///
/// # Errors
/// [`Error::Backend`] if this build lacks the back end, [`Error::NoDevice`] if the machine has no device for it,
/// [`Error::NoKernels`] if the device cannot run a kernel.
pub fn open_device(backend: Backend) -> Result<Device> {
    match backend {
        Backend::Cpu => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => {
            use burn::tensor::{DeviceKind, DeviceType};
            let remedy = "install a Vulkan driver (the GPU's own, or Mesa's for the CPU: apt-get install \
                          mesa-vulkan-drivers libvulkan1)";
            found(backend, DeviceType::Wgpu, Device::wgpu(DeviceKind::DefaultDevice), remedy)
        }
        #[cfg(feature = "cuda")]
        Backend::Cuda => {
            let remedy = "install NVIDIA's driver and, for a build with `cuda-nvrtc`, NVRTC from the CUDA toolkit \
                          (libnvrtc.so, on LD_LIBRARY_PATH); nvidia-smi shows the GPU";
            #[cfg(feature = "cuda-nvrtc")]
            check_headers()?;
            found(backend, burn::tensor::DeviceType::Cuda, Device::cuda(0usize), remedy)
        }
        #[allow(unreachable_patterns)]
        other => Err(Error::Backend {
            wanted: other.name(),
            built: Backend::built().iter().map(|b| b.name()).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// Opens `count` devices of a back end for data-parallel training, starting with that of [`open_device`]. The CPU is
/// the same device `count` times, which is useful in tests. Of the GPU back ends, only CUDA can average across devices
/// (through NVIDIA's NCCL).
///
/// # Errors
/// Those of [`open_device`]; [`Error::Devices`] if there are fewer devices, [`Error::Exchange`] if they cannot
/// communicate.
pub fn open_devices(backend: Backend, count: usize) -> Result<Vec<Device>> {
    let first = open_device(backend)?;
    let (all, why) = match backend {
        Backend::Cpu => (vec![first; count], ""),
        #[cfg(feature = "cuda")]
        Backend::Cuda => (Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(), ""),
        _ => (vec![first], " (Burn's collective operations need CUDA)"),
    };
    if count > all.len() {
        return Err(Error::Devices { wanted: backend.name(), asked: count, usable: all.len(), why });
    }
    let devices: Vec<Device> = all.into_iter().take(count).collect();
    if count == 1 {
        return Ok(devices);
    }
    // Without NCCL the back end panics at the first mean.
    let ones = devices.iter().map(|device| Tensor::<1>::ones([1], device)).collect();
    let mean = std::panic::catch_unwind(|| crate::train::mean(ones).map(|mean| mean.into_scalar::<f32>()));
    if mean.is_ok_and(|mean| mean == Some(1.0)) {
        return Ok(devices);
    }
    Err(Error::Exchange {
        wanted: backend.name(),
        asked: count,
        needs: "NVIDIA's NCCL (libnccl.so.2)",
        remedy: "install it (pip package nvidia-nccl-cu13)",
    })
}

/// Checks for CUDA's headers, which NVRTC needs to compile kernels; without them the back end panics at the first
/// kernel.
///
/// # Errors
/// [`Error::Missing`] if they are not where the back end looks for them.
#[cfg(feature = "cuda-nvrtc")]
fn check_headers() -> Result<()> {
    let folder = cubecl_cuda::install::cuda_path();
    let all = ["cuda_fp16.h", "cuda_bf16.h", "crt/mma.h"];
    if folder.is_some_and(|folder| all.iter().all(|file| folder.join("include").join(file).is_file())) {
        return Ok(());
    }
    Err(Error::Missing {
        what: "backend cuda: a folder of CUDA's headers (include/cuda_fp16.h, include/crt/mma.h)".into(),
        remedy: "install the CUDA toolkit, or the pip packages nvidia-cuda-runtime, nvidia-cuda-crt and \
                 nvidia-cuda-cccl, and set CUDA_PATH to the folder that holds include/"
            .into(),
    })
}

/// Returns the device if the machine has one of its kind. Without one, the back ends themselves panic at the first
/// tensor.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn found(backend: Backend, kind: burn::tensor::DeviceType, device: Device, remedy: &'static str) -> Result<Device> {
    if Device::enumerate(kind).into_vec().is_empty() {
        return Err(Error::NoDevice { wanted: backend.name(), remedy });
    }
    // The back end looks for its kernel compiler only when there is a kernel to compile.
    let four = Tensor::<1>::full([64], 2.0, &device).square().try_into_data();
    if !four.is_ok_and(|four| four.iter::<f32>().all(|x| x == 4.0)) {
        return Err(Error::NoKernels { wanted: backend.name(), device: device_name(&device), remedy });
    }
    Ok(device)
}

/// Whether a device's tensors, tracked or not, are in host memory, as those of the CPU back end are.
pub fn in_host_memory(device: &Device) -> bool {
    // Devices are equal if their hardware is, tracked or not.
    *device == Device::flex()
}

/// The device's name, such as the GPU's.
pub fn device_name(device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let Some(identity) = device.identity() {
        return identity.name;
    }
    if in_host_memory(device) { "processor".into() } else { format!("{device:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_again_and_a_wrong_one_lists_them() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
        }
        assert_eq!("gpu".parse::<Backend>().unwrap_err(), "unknown backend \"gpu\"; choose one of cpu, wgpu, cuda");
    }

    #[test]
    fn several_devices_are_the_first_and_others_like_it() {
        assert_eq!(open_devices(Backend::Cpu, 3).unwrap(), vec![Device::flex(); 3]);
        if Backend::built().contains(&Backend::Wgpu) && open_device(Backend::Wgpu).is_ok() {
            assert!(
                open_devices(Backend::Wgpu, 2).unwrap_err().to_string().contains("2 devices requested, but only 1 can")
            );
        }
    }

    #[test]
    fn what_cannot_be_opened_says_what_to_do() {
        for backend in Backend::ALL {
            match open_device(backend) {
                Ok(device) => assert!(!device.is_autodiff() && !device_name(&device).is_empty()),
                Err(Error::Backend { wanted, built }) => {
                    assert!(!Backend::built().contains(&backend) && wanted == backend.name() && built.contains("cpu"));
                }
                Err(error) => assert!(error.to_string().contains("install"), "{error}"),
            }
        }
    }
}
