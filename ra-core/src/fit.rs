//! The training loop: one for ID methods, alignment and whatever a downstream crate trains.
use crate::{Error, Progress, Result};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Steps at most.
    pub steps: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// Cosine decay to zero over `steps`; else the rate stays.
    pub cosine: bool,
    /// Decoupled weight decay (Loshchilov & Hutter, ICLR 2019), biases included.
    pub weight_decay: f32,
    /// AdamW's decay rates of the two moments.
    pub betas: [f32; 2],
    /// AdamW's stabiliser.
    pub epsilon: f32,
    /// Largest gradient norm of each parameter by itself (Burn clips so; a norm over all parameters is common elsewhere); 0
    /// is off.
    pub clip: f32,
    /// Steps between two validations; 0 is never.
    pub validate_every: usize,
    /// Validations without improvement before training stops; 0 is never.
    pub patience: usize,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            lr: 1e-3,
            warmup: 0,
            cosine: false,
            weight_decay: 0.0,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            clip: 0.0,
            validate_every: 0,
            patience: 0,
        }
    }
}

impl FitConfig {
    /// The learning rate of a step (0-based).
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.lr * (step + 1) as f64 / self.warmup as f64;
        }
        if !self.cosine {
            return self.lr;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1);
        let done = (step - self.warmup) as f64 / span as f64;
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
    }

    /// The optimizer, AdamW.
    pub fn optimizer(&self) -> ModuleOptimizer {
        let clip = (self.clip > 0.0).then_some(GradientClippingConfig::Norm(self.clip));
        AdamWConfig::new()
            .with_beta_1(self.betas[0])
            .with_beta_2(self.betas[1])
            .with_epsilon(self.epsilon)
            .with_weight_decay(self.weight_decay)
            .with_grad_clipping(clip)
            .init()
    }
}

/// A point of a learning curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Steps done.
    pub step: usize,
    /// Mean training loss since the last point.
    pub loss: f64,
    /// Validation metric, higher is better.
    pub validation: Option<f64>,
}

/// A learning curve and where it was best.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The points in order of steps.
    pub points: Vec<CurvePoint>,
    /// Steps done when the model that was kept was seen.
    pub best_step: usize,
    /// Whether patience ran out before the steps did.
    pub stopped_early: bool,
}

/// A validation metric of the model so far, higher is better.
pub type Validation<'a, M> = &'a mut dyn FnMut(&M) -> f64;

/// Minimises `loss` with AdamW and returns the model of the best validation (without validation, the last one).
///
/// `loss(model, step)` makes its own batch: all that is random in it is a function of the seed and `step`, so a run
/// that starts again gives the same bits.
///
/// # Errors
/// [`Error::NotFinite`] when the loss is no longer a number.
pub fn fit<M: Module>(
    stage: &str,
    config: &FitConfig,
    mut model: M,
    mut loss: impl FnMut(&M, usize) -> Tensor<1>,
    mut validate: Option<Validation<'_, M>>,
    progress: &dyn Progress,
) -> Result<(M, Curve)> {
    let mut optimizer = config.optimizer();
    let mut curve = Curve::default();
    let mut best: Option<(f64, M)> = None;
    let (mut sum, mut count, mut bad) = (0.0, 0usize, 0usize);
    let every = if config.validate_every == 0 { (config.steps / 20).max(1) } else { config.validate_every };
    progress.start(stage, config.steps as u64);
    for step in 0..config.steps {
        let value = loss(&model, step);
        let number: f32 = value.clone().into_scalar();
        if !number.is_finite() {
            return Err(Error::NotFinite { stage: stage.into(), step, value: number });
        }
        let grads = GradientsParams::from_grads(value.backward(), &model);
        model = optimizer.step(config.rate(step), model, grads);
        (sum, count) = (sum + f64::from(number), count + 1);
        let done = step + 1;
        if done % every == 0 || done == config.steps {
            let metric = match &mut validate {
                Some(metric) if config.validate_every > 0 => Some(metric(&model)),
                _ => None,
            };
            curve.points.push(CurvePoint { step: done, loss: sum / count as f64, validation: metric });
            tracing::info!(stage, step = done, loss = sum / count as f64, validation = metric, "fit");
            (sum, count) = (0.0, 0);
            if let Some(metric) = metric {
                if best.as_ref().is_none_or(|(top, _)| metric > *top) {
                    best = Some((metric, model.clone()));
                    curve.best_step = done;
                    bad = 0;
                } else {
                    bad += 1;
                }
            }
            if config.patience > 0 && bad >= config.patience {
                curve.stopped_early = true;
                break;
            }
        }
        let note = match &best {
            Some((top, _)) => format!("loss {number:.4}, best {top:.4}"),
            None => format!("loss {number:.4}"),
        };
        progress.update(done as u64, &note);
    }
    progress.finish();
    match best {
        Some((_, model)) => Ok((model, curve)),
        None => {
            curve.best_step = config.steps;
            Ok((model, curve))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use burn::module::Param;
    use burn::tensor::Device;

    #[derive(Module, Debug)]
    struct Point {
        at: Param<Tensor<1>>,
    }

    fn point() -> Point {
        Point { at: Param::from_tensor(Tensor::from_floats([4.0, -3.0], &Device::flex().autodiff())) }
    }

    #[test]
    fn the_best_validation_is_kept() {
        let config = FitConfig { steps: 40, lr: 0.5, validate_every: 1, patience: 5, ..FitConfig::default() };
        let mut calls = 0;
        let mut metric = |_: &Point| {
            calls += 1;
            if calls == 3 { 1.0 } else { 0.0 }
        };
        let (_, curve) =
            fit("test", &config, point(), |m, _| m.at.val().square().sum(), Some(&mut metric), &Silent).unwrap();
        assert_eq!((curve.best_step, curve.stopped_early, curve.points.len()), (3, true, 8));
    }

    #[test]
    fn a_minimum_is_found_and_repeats_bit_for_bit() {
        let config = FitConfig { steps: 200, lr: 0.1, cosine: true, warmup: 5, ..FitConfig::default() };
        let run = || {
            fit("test", &config, point(), |m, _| (m.at.val() - 1.0).square().sum(), None, &Silent)
                .unwrap()
                .0
                .at
                .val()
                .into_data()
        };
        let (a, b) = (run(), run());
        assert_eq!(a, b);
        assert!(a.iter::<f32>().all(|x| (x - 1.0).abs() < 1e-2), "{a}");
    }

    #[test]
    fn a_loss_that_is_no_number_stops_with_the_step() {
        let config = FitConfig { steps: 9, ..FitConfig::default() };
        let loss = |m: &Point, step: usize| m.at.val().sum() * if step == 2 { f32::NAN } else { 1.0 };
        let message = fit("align", &config, point(), loss, None, &Silent).unwrap_err().to_string();
        assert!(message.contains("align") && message.contains("step 2"), "{message}");
    }
}
