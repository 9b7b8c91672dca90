//! `--device`: the name, and the device that it stands for in this build and on this machine.

use std::str::FromStr;

use burn::tensor::Device;
use common::Error;

use crate::options::Result;

/// A device's name.
#[derive(Clone, Debug)]
pub(crate) enum DeviceName {
    /// `cpu`.
    Cpu,
    /// `cuda` or `cuda:N`.
    Cuda(Option<usize>),
    /// `wgpu`: the adapter that wgpu takes by default.
    Wgpu,
    /// `wgpu:N`: the N-th discrete GPU.
    WgpuDiscrete(usize),
    /// `wgpu:cpu`: a software adapter.
    WgpuCpu,
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let expected =
            || Error::input("expected cpu, cuda, cuda:N, wgpu, wgpu:N or wgpu:cpu, N a number from 0");
        let number = |which: &str| which.parse::<usize>().map_err(|_| expected());
        match name.split_once(':') {
            None if name == "cpu" => Ok(Self::Cpu),
            None if name == "cuda" => Ok(Self::Cuda(None)),
            None if name == "wgpu" => Ok(Self::Wgpu),
            Some(("cuda", which)) => Ok(Self::Cuda(Some(number(which)?))),
            Some(("wgpu", "cpu")) => Ok(Self::WgpuCpu),
            Some(("wgpu", which)) => Ok(Self::WgpuDiscrete(number(which)?)),
            _ => Err(expected()),
        }
    }
}

impl DeviceName {
    /// The best device of this build.
    pub(crate) const BEST: Self = if cfg!(feature = "cuda") {
        Self::Cuda(None)
    } else if cfg!(feature = "wgpu") {
        Self::Wgpu
    } else {
        Self::Cpu
    };

    /// The number of a CUDA device.
    pub(crate) fn cuda(&self) -> Option<usize> {
        match self {
            Self::Cuda(n) => Some(n.unwrap_or(0)),
            _ => None,
        }
    }

    /// The device.
    ///
    /// # Errors
    /// A device that this build or this machine does not have.
    pub(crate) fn open(&self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Cuda(_) => cuda(self),
            Self::Wgpu | Self::WgpuDiscrete(_) | Self::WgpuCpu => wgpu(self),
        }
    }
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(n)) => write!(f, "cuda:{n}"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::WgpuDiscrete(n) => write!(f, "wgpu:{n}"),
            Self::WgpuCpu => f.write_str("wgpu:cpu"),
        }
    }
}

/// The error that names the feature which a device needs.
#[cfg(not(all(feature = "cuda", feature = "wgpu")))]
fn not_built(name: &DeviceName, feature: &str) -> Error {
    let have = [("cpu", true), ("cuda", cfg!(feature = "cuda")), ("wgpu", cfg!(feature = "wgpu"))];
    let have: Vec<&str> = have.into_iter().filter(|(_, built)| *built).map(|(name, _)| name).collect();
    Error::input(format!(
        "--device {name}: this build has {} only; build with `--features {feature}` (docs/DEVICES.md)",
        have.join(" and ")
    ))
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &DeviceName) -> Result<Device> {
    Err(not_built(name, "cuda"))
}

#[cfg(feature = "cuda")]
fn cuda(name: &DeviceName) -> Result<Device> {
    let DeviceName::Cuda(index) = *name else { return Err(Error::internal(name)) };
    tried(name, move || Device::cuda(index.unwrap_or(0)))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(name: &DeviceName) -> Result<Device> {
    Err(not_built(name, "wgpu"))
}

#[cfg(feature = "wgpu")]
fn wgpu(name: &DeviceName) -> Result<Device> {
    use burn::tensor::DeviceKind;
    let kind = match name {
        DeviceName::WgpuDiscrete(n) => DeviceKind::DiscreteGpu(*n),
        DeviceName::WgpuCpu => DeviceKind::Cpu,
        _ => DeviceKind::DefaultDevice,
    };
    tried(name, move || Device::wgpu(kind))
}

/// Characters of a panic's message that are told.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
const TOLD: usize = 160;

/// The first line of a panic's message.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn reason(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("burn does not say why");
    text.lines().next().unwrap_or_default().chars().take(TOLD).collect()
}

/// Makes a device and computes one sum on it. burn panics where there is no such hardware or driver.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn tried(name: &DeviceName, make: impl FnOnce() -> Device + std::panic::UnwindSafe) -> Result<Device> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = std::panic::catch_unwind(|| {
        let device = make();
        let sum: f32 = burn::tensor::Tensor::<1>::ones([2], &device).sum().into_scalar();
        (sum == 2.0).then_some(device)
    });
    std::panic::set_hook(hook);
    let why = match found {
        Ok(Some(device)) => return Ok(device),
        Ok(None) => "it adds 1 and 1 wrongly".to_owned(),
        Err(payload) => reason(&*payload),
    };
    Err(Error::input(format!(
        "--device {name}: this machine has no such device, or no driver that fits ({why}); --device cpu needs none"
    )))
}
