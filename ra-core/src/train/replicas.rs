//! One model on several devices: each device learns from its own batch, and one step uses the mean of their gradients.
//!
//! The mean is Burn's collective operation (`burn::tensor::distributed`), which CUDA supports if NVIDIA's NCCL is
//! installed. On the CPU back end, where all devices are the same, it is a plain mean, so that tests can run the path
//! without a GPU.
use crate::in_host_memory;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::distributed::{CollectiveTensor, ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor};

/// The loss of a step and its gradient.
///
/// Each of the `further` devices gets a copy of `model` and the next batch: `loss` is called with `step * devices +
/// place`. The result is the mean over the devices.
pub(crate) fn gradients<M: Module>(
    model: &M,
    further: &[Device],
    step: usize,
    loss: &mut impl FnMut(&M, usize) -> Tensor<1>,
) -> (f32, GradientsParams) {
    if further.is_empty() {
        let value = loss(model, step);
        let number = value.clone().into_scalar();
        return (number, GradientsParams::from_grads(value.backward(), model));
    }
    let devices = further.len() + 1;
    let copies: Vec<M> = further.iter().map(|device| model.clone().fork(device)).collect();
    let models: Vec<&M> = std::iter::once(model).chain(&copies).collect();
    // Nothing is read before every device has its work.
    let values: Vec<Tensor<1>> =
        models.iter().enumerate().map(|(place, model)| loss(model, step * devices + place)).collect();
    let parts = values.iter().zip(&models).map(|(v, model)| GradientsParams::from_grads(v.clone().backward(), *model));
    let mut mean = Mean { parts: parts.collect(), mean: GradientsParams::new() };
    model.visit(&mut mean);
    let sum: f32 = values.into_iter().map(|value| value.into_scalar::<f32>()).sum();
    (sum / devices as f32, mean.mean)
}

/// Averages the gradients of a model's copies, whose parameters have the same ids.
struct Mean {
    parts: Vec<GradientsParams>,
    mean: GradientsParams,
}

impl ModuleVisitor for Mean {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let grads: Vec<Tensor<D>> = self.parts.iter_mut().filter_map(|part| part.remove(param.id)).collect();
        // A parameter that no loss reads has no gradient on any device; a mean over some devices would wait for the
        // others forever.
        assert!(
            grads.is_empty() || grads.len() == self.parts.len(),
            "a loss reads the same parameters on every device"
        );
        if let Some(mean) = mean(grads) {
            self.mean.register(param.id, mean);
        }
    }
}

/// The mean, on the first tensor's device.
pub(crate) fn mean<const D: usize>(grads: Vec<Tensor<D>>) -> Option<Tensor<D>> {
    let devices: Vec<Device> = grads.iter().map(Tensor::device).collect();
    if devices.iter().all(in_host_memory) {
        let count = grads.len() as f32;
        return grads.into_iter().reduce(|a, b| a + b).map(|sum| sum / count);
    }
    let begun: Vec<CollectiveTensor<D>> =
        grads.into_iter().map(|grad| all_reduce(grad, ReduceOperation::Mean, devices.clone())).collect();
    // Every device waits for its own operation.
    begun.into_iter().map(CollectiveTensor::resolve).collect::<Vec<_>>().into_iter().next()
}
