//! AdamW in one pass over each parameter.
//!
//! Burn's own takes about twelve passes, which is a tenth of a step if a model is mostly an embedding table, and keys
//! its state by random parameter ids. Here the state follows the order of the module's fields, so that an interrupted
//! run finds it again.
use crate::in_host_memory;
use crate::kernels::{on_host, vectorized};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use rayon::prelude::*;

/// The moments of one parameter, flattened.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub(crate) first: Tensor<1>,
    pub(crate) second: Tensor<1>,
}

/// AdamW (Loshchilov & Hutter, ICLR 2019) and its progress.
#[derive(Debug, Clone)]
pub(crate) struct AdamW {
    pub(crate) betas: [f32; 2],
    pub(crate) epsilon: f32,
    pub(crate) weight_decay: f32,
    /// The largest gradient norm of a parameter; 0 turns clipping off.
    pub(crate) clip: f32,
    /// The number of steps done.
    pub(crate) time: usize,
    /// One entry per parameter that ever had a gradient, in the order of the module's fields.
    pub(crate) moments: Vec<Option<Moments>>,
}

impl AdamW {
    /// Updates every parameter that has a gradient.
    pub(crate) fn step<M: Module>(&mut self, rate: f64, model: M, grads: GradientsParams) -> M {
        self.time += 1;
        let [rate, epsilon, decay] = self.constants(self.time, rate).map(|x| x as f32);
        let update = Update { betas: self.betas, rate, epsilon, decay };
        model.map(&mut Pass { optimizer: self, grads, update, index: 0 })
    }
}

impl AdamW {
    /// Returns `rate`, `epsilon` and `decay` of step `time` (from 1): `value = decay * value - rate * m / (sqrt(v) +
    /// epsilon)`, where `m` and `v` are the moments without correction.
    pub(crate) fn constants(&self, time: usize, rate: f64) -> [f64; 3] {
        let correction = self.betas.map(|beta| 1.0 - f64::from(beta).powi(time as i32));
        // (m / c1) / (sqrt(v / c2) + eps) = (m sqrt(c2) / c1) / (sqrt(v) + eps sqrt(c2))
        [
            rate * correction[1].sqrt() / correction[0],
            f64::from(self.epsilon) * correction[1].sqrt(),
            1.0 - rate * f64::from(self.weight_decay),
        ]
    }
}

/// The constants of one step.
#[derive(Debug, Clone, Copy)]
struct Update {
    betas: [f32; 2],
    rate: f32,
    epsilon: f32,
    decay: f32,
}

impl Update {
    fn apply(&self, value: Tensor<1>, grad: Tensor<1>, moments: Moments) -> (Tensor<1>, Moments) {
        let Moments { first, second } = moments;
        let mut all = [value, first, second, grad];
        if let Some([value, first, second, _]) = on_host(&mut all, |all| self.loops(all)) {
            return (value, Moments { first, second });
        }
        let [value, first, second, grad] = all;
        let [b1, b2] = self.betas;
        let first = first * b1 + grad.clone() * (1.0 - b1);
        let second = second * b2 + grad.square() * (1.0 - b2);
        let step = first.clone() / (second.clone().sqrt() + self.epsilon) * self.rate;
        (value * self.decay - step, Moments { first, second })
    }

    fn loops(&self, [value, first, second, grad]: [&mut [f32]; 4]) {
        if value.len() <= AT_ONCE {
            return self.part([value, first, second, grad]);
        }
        let moments = first.par_chunks_mut(AT_ONCE).zip(second.par_chunks_mut(AT_ONCE));
        let parts = value.par_chunks_mut(AT_ONCE).zip(moments).zip(grad.par_chunks_mut(AT_ONCE));
        parts.for_each(|((value, (first, second)), grad)| self.part([value, first, second, grad]));
    }

    fn part(&self, [value, first, second, grad]: [&mut [f32]; 4]) {
        let [b1, b2] = self.betas;
        vectorized(
            #[inline(always)]
            || {
                for (((value, first), second), &mut grad) in value.iter_mut().zip(first).zip(second).zip(grad) {
                    *first = b1 * *first + (1.0 - b1) * grad;
                    *second = b2 * *second + (1.0 - b2) * grad * grad;
                    *value = self.decay * *value - self.rate * *first / (second.sqrt() + self.epsilon);
                }
            },
        );
    }
}

/// The numbers that a thread updates at a time: 1 MiB of values, moments and gradients.
const AT_ONCE: usize = 1 << 16;

/// Scales a gradient so that its norm is at most `most`.
fn clipped(grad: Tensor<1>, most: f32) -> Tensor<1> {
    let norm = grad.clone().square().sum().sqrt();
    if !in_host_memory(&grad.device()) {
        // Reading the norm back from a GPU would wait for all queued work.
        return grad * (norm.clamp_min(most).recip() * most);
    }
    let norm: f32 = norm.into_scalar();
    if norm > most { grad * (most / norm) } else { grad }
}

struct Pass<'a> {
    optimizer: &'a mut AdamW,
    grads: GradientsParams,
    update: Update,
    index: usize,
}

impl ModuleMapper for Pass<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let index = self.index;
        self.index += 1;
        if self.optimizer.moments.len() <= index {
            self.optimizer.moments.resize(index + 1, None);
        }
        let Some(grad) = self.grads.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let (shape, tracked) = (tensor.dims(), tensor.is_require_grad());
        let n: usize = shape.iter().product();
        let mut grad = grad.reshape([n]);
        if self.optimizer.clip > 0.0 {
            grad = clipped(grad, self.optimizer.clip);
        }
        let moments = self.optimizer.moments[index].take().unwrap_or_else(|| {
            let zeros = || Tensor::zeros([n], &grad.device());
            Moments { first: zeros(), second: zeros() }
        });
        let (value, moments) = self.update.apply(tensor.inner().reshape([n]), grad, moments);
        self.optimizer.moments[index] = Some(moments);
        let value = Tensor::from_inner(value.reshape(shape));
        Param::from_mapped_value(id, if tracked { value.require_grad() } else { value }, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{normal, rng};
    use burn::optim::AdamWConfig;
    use burn::tensor::{Device, Tolerance};

    #[derive(Module, Debug)]
    struct Two {
        a: Param<Tensor<2>>,
        unused: Param<Tensor<1>>,
        b: Param<Tensor<1>>,
    }

    #[test]
    fn it_walks_the_way_of_burns_own() {
        let device = Device::flex().autodiff();
        let fresh = || {
            let random = &mut rng(1, "two", 0);
            Two {
                a: normal([9_000, 9], 1.0, random, &device),
                unused: normal([3], 1.0, random, &device),
                b: normal([9], 1.0, random, &device),
            }
        };
        let loss = |m: &Two| (m.a.val() * m.b.val().unsqueeze()).square().mean();
        let mut ours =
            AdamW { betas: [0.9, 0.98], epsilon: 1e-8, weight_decay: 0.1, clip: 0.05, time: 0, moments: Vec::new() };
        let mut theirs = AdamWConfig::new()
            .with_beta_2(0.98)
            .with_epsilon(1e-8)
            .with_weight_decay(0.1)
            .with_grad_clipping(Some(burn::grad_clipping::GradientClippingConfig::Norm(0.05)))
            .init();
        let (mut a, mut b) = (fresh(), fresh());
        for _ in 0..30 {
            let grads = GradientsParams::from_grads(loss(&a).backward(), &a);
            a = ours.step(0.01, a, grads);
            let grads = GradientsParams::from_grads(loss(&b).backward(), &b);
            b = theirs.step(0.01, b, grads);
        }
        a.a.val().into_data().assert_approx_eq(&b.a.val().into_data(), Tolerance::<f32>::absolute(1e-5));
        a.b.val().into_data().assert_approx_eq(&b.b.val().into_data(), Tolerance::<f32>::absolute(1e-5));
        assert_eq!(a.unused.val().into_data(), fresh().unused.val().into_data());
    }
}
