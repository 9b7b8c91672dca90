//! `--device`: from a name to a device that this build has and that answers.

use burn::tensor::Device;

use crate::options::{Failure, Result};

/// The best device of this build.
pub(crate) fn best() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    Device::flex()
}

/// The device of a name: `cpu`, `cuda`, `cuda:N`, `wgpu`, `wgpu:N` (the N-th discrete GPU), `wgpu:cpu` (a
/// software adapter).
pub(crate) fn parse(name: &str) -> Result<Device> {
    let (kind, which) = match name.split_once(':') {
        Some((kind, which)) => (kind, Some(which)),
        None => (name, None),
    };
    let index = which.and_then(|which| which.parse::<usize>().ok());
    match (kind, which) {
        ("cpu", None) => Ok(Device::flex()),
        ("cuda", _) if which.is_some() == index.is_some() => cuda(name, index),
        ("wgpu", None | Some("cpu")) => wgpu(name, which),
        ("wgpu", Some(_)) if index.is_some() => wgpu(name, which),
        _ => Err(Failure::input(format!(
            "--device {name}: expected cpu, cuda, cuda:N, wgpu, wgpu:N or wgpu:cpu, N a number from 0"
        ))),
    }
}

/// Says which feature a device needs.
#[cfg(not(all(feature = "cuda", feature = "wgpu")))]
fn not_built(name: &str, feature: &str) -> Failure {
    let have = ["cpu", "cuda", "wgpu"]
        .into_iter()
        .zip([true, cfg!(feature = "cuda"), cfg!(feature = "wgpu")])
        .filter_map(|(name, have)| have.then_some(name));
    let have: Vec<&str> = have.collect();
    Failure::input(format!(
        "--device {name}: this build has {} only; build with `--features {feature}` (docs/DEVICES.md)",
        have.join(" and ")
    ))
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _index: Option<usize>) -> Result<Device> {
    Err(not_built(name, "cuda"))
}

#[cfg(feature = "cuda")]
fn cuda(name: &str, index: Option<usize>) -> Result<Device> {
    answers(name, || Device::cuda(index.unwrap_or(0)))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(name: &str, _which: Option<&str>) -> Result<Device> {
    Err(not_built(name, "wgpu"))
}

#[cfg(feature = "wgpu")]
fn wgpu(name: &str, which: Option<&str>) -> Result<Device> {
    use burn::tensor::DeviceKind;
    let kind = match which.map(str::parse::<usize>) {
        None => DeviceKind::DefaultDevice,
        Some(Ok(n)) => DeviceKind::DiscreteGpu(n),
        Some(Err(_)) => DeviceKind::Cpu,
    };
    answers(name, move || Device::wgpu(kind))
}

/// Makes a device and asks it for one number: burn panics where there is no such hardware or driver.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn answers(name: &str, make: impl FnOnce() -> Device + std::panic::UnwindSafe) -> Result<Device> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = std::panic::catch_unwind(|| {
        let device = make();
        let sum: f32 = burn::tensor::Tensor::<1>::ones([2], &device).sum().into_scalar();
        (sum == 2.0).then_some(device)
    });
    std::panic::set_hook(hook);
    match found {
        Ok(Some(device)) => Ok(device),
        _ => Err(Failure::input(format!(
            "--device {name}: this machine has no such device, or no driver for it"
        ))),
    }
}
