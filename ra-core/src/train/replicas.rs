//! One model on several devices: each learns from a batch of its own, and the mean of their gradients is one step.
//!
//! The mean is Burn's collective operation (`burn::tensor::distributed`), which CUDA has where NVIDIA's NCCL is installed. On
//! the CPU back end, where all devices are one, it is a plain mean: that is how the path is tested where no GPU is.
use crate::in_host_memory;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::distributed::{CollectiveTensor, ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor};

/// The loss of a step and its gradient.
///
/// With `further` devices each gets a copy of `model` and the next of the batches: `loss` is called with
/// `step * devices + place`. What it returns is their mean.
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

/// Gradients of copies of a model, whose parameters have the same ids everywhere.
struct Mean {
    parts: Vec<GradientsParams>,
    mean: GradientsParams,
}

impl ModuleVisitor for Mean {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let grads: Vec<Tensor<D>> = self.parts.iter_mut().filter_map(|part| part.remove(param.id)).collect();
        // A parameter that no loss reads has none, anywhere; a mean over some devices would wait for the others for ever.
        assert!(
            grads.is_empty() || grads.len() == self.parts.len(),
            "a loss reads the same parameters on every device"
        );
        if let Some(mean) = mean(grads) {
            self.mean.register(param.id, mean);
        }
    }
}

/// The mean, on the first one's device.
pub(crate) fn mean<const D: usize>(grads: Vec<Tensor<D>>) -> Option<Tensor<D>> {
    let devices: Vec<Device> = grads.iter().map(Tensor::device).collect();
    if devices.iter().all(in_host_memory) {
        let count = grads.len() as f32;
        return grads.into_iter().reduce(|a, b| a + b).map(|sum| sum / count);
    }
    let begun: Vec<CollectiveTensor<D>> =
        grads.into_iter().map(|grad| all_reduce(grad, ReduceOperation::Mean, devices.clone())).collect();
    // Every device waits for the operation it takes part in.
    begun.into_iter().map(CollectiveTensor::resolve).collect::<Vec<_>>().into_iter().next()
}
