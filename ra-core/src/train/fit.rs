//! The training loop for ID methods, alignment and anything that a downstream crate trains.
use super::adamw::AdamW;
use super::checkpoint::not_finite;
use super::rows::RowTable;
use super::state::{Best, State};
use super::steps::{ByRows, Steps, Whole};
use crate::{
    Check, Curve, CurvePoint, Error, NoProgress, Problem, Progress, Result, ensure_memory, flat_config, in_host_memory,
    parameter_table, trainable_params,
};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug};
use std::path::Path;
use std::time::{Duration, Instant};

/// The least time between two writes of a training's state, and the ratio of that time to the duration of a write:
/// writing the state takes at most a fiftieth of the training.
const STATE_EVERY: Duration = Duration::from_millis(250);
const STATE_SHARE: u32 = 50;

/// The optimizer, AdamW, and its learning rate schedule: a block shared by all training configurations, whose keys are
/// next to those of the training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OptimConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// Cosine decay to zero over all steps; otherwise the rate stays constant.
    pub cosine: bool,
    /// Decoupled weight decay (Loshchilov & Hutter, ICLR 2019), biases included.
    pub weight_decay: f32,
    /// AdamW's decay rates of the two moments.
    pub betas: [f32; 2],
    /// AdamW's epsilon, for numerical stability.
    pub epsilon: f32,
    /// The largest gradient norm of each single parameter (as Burn clips; elsewhere the norm is usually over all
    /// parameters); 0 turns clipping off.
    pub clip: f32,
}

flat_config!(OptimConfig { lr, warmup, cosine, weight_decay, betas, epsilon, clip });

impl Default for OptimConfig {
    fn default() -> Self {
        Self { lr: 1e-3, warmup: 0, cosine: false, weight_decay: 0.0, betas: [0.9, 0.999], epsilon: 1e-8, clip: 0.0 }
    }
}

impl Check for OptimConfig {
    fn problems(&self) -> Vec<Problem> {
        let numbers = [
            Problem::unless_positive("lr", self.lr),
            Problem::if_negative("weight_decay", self.weight_decay),
            Problem::unless_positive("epsilon", self.epsilon),
            Problem::if_negative("clip", self.clip),
        ];
        let rates = self.betas.iter().filter_map(|&beta| Problem::unless_share("betas", beta));
        numbers.into_iter().flatten().chain(rates).collect()
    }
}

/// The settings of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct FitConfig {
    /// The most steps.
    pub steps: usize,
    /// The optimizer and its schedule.
    pub optim: OptimConfig,
    /// Steps between two validations; 0 turns validation off.
    pub validate_every: usize,
    /// Validations without improvement before training stops; 0 never stops early.
    pub patience: usize,
    /// Further autodiff devices besides the model's own, each listed once: each takes its own batch per step, and the
    /// step uses the mean of all gradients (data parallel). Rate and steps stay the same, so `n` devices see `n` times
    /// the samples. These are CUDA devices with NCCL, or the CPU any number of times in tests.
    pub replica_devices: Vec<Device>,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self { steps: 1000, optim: OptimConfig::default(), validate_every: 0, patience: 0, replica_devices: Vec::new() }
    }
}

impl FitConfig {
    /// The learning rate of a step (0-based).
    pub fn rate(&self, step: usize) -> f64 {
        let OptimConfig { lr, warmup, cosine, .. } = self.optim;
        if step < warmup {
            return lr * (step + 1) as f64 / warmup as f64;
        }
        if !cosine {
            return lr;
        }
        let span = self.steps.saturating_sub(warmup).max(1);
        let done = (step - warmup) as f64 / span as f64;
        lr * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
    }

    fn optimizer(&self) -> AdamW {
        let OptimConfig { betas, epsilon, weight_decay, clip, .. } = self.optim;
        AdamW { betas, epsilon, weight_decay, clip, time: 0, moments: Vec::new() }
    }

    /// Identifies what a saved state must match to be resumed: the settings, and what the training is `of`. A training
    /// without a schedule may be extended.
    fn key(&self, stage: &str, of: &str) -> String {
        let steps = if self.optim.cosine { self.steps } else { 0 };
        format!("{stage} {of} {:?}", Self { steps, patience: 0, ..self.clone() })
    }
}

/// Returns the validation metric of the current model.
type Metric<'a, M> = Box<dyn FnMut(&M) -> f64 + 'a>;

/// A training to be run: `Fit::new("align", &config).progress(..).state(..).run(model, loss)`.
pub struct Fit<'a, M> {
    stage: &'a str,
    config: &'a FitConfig,
    validate: Option<Metric<'a, M>>,
    progress: &'a dyn Progress,
    state: Option<&'a Path>,
    of: String,
    rates_start: bool,
}

impl<M> Debug for Fit<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit").field("stage", &self.stage).field("config", self.config).finish_non_exhaustive()
    }
}

impl<'a, M: Module> Fit<'a, M> {
    /// Creates a training without validation, state or progress reports. Errors and logs name it by `stage`.
    pub fn new(stage: &'a str, config: &'a FitConfig) -> Self {
        Self {
            stage,
            config,
            validate: None,
            progress: &NoProgress,
            state: None,
            of: String::new(),
            rates_start: false,
        }
    }

    /// Keeps the model with the highest `metric` instead of the last one.
    #[must_use]
    pub fn validate(mut self, metric: impl FnMut(&M) -> f64 + 'a) -> Self {
        self.validate = Some(Box::new(metric));
        self
    }

    /// Reports progress to `progress`.
    #[must_use]
    pub fn progress(mut self, progress: &'a dyn Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Saves the training's state at `path` while it runs, and resumes from there.
    #[must_use]
    pub fn state(mut self, path: Option<&'a Path>) -> Self {
        self.state = path;
        self
    }

    /// Identifies what is trained, for example by its seed and the fingerprint of its data: a state saved for something
    /// else is an error.
    #[must_use]
    pub fn of(mut self, what: impl Into<String>) -> Self {
        self.of = what.into();
        self
    }

    /// Validates the model before the first step as well, if `yes`: a model that was trained before is kept if nothing
    /// becomes better.
    #[must_use]
    pub fn rates_start(mut self, yes: bool) -> Self {
        self.rates_start = yes;
        self
    }

    /// Minimises `loss` with AdamW and returns the model of the best validation (without validation, the last one).
    ///
    /// `loss(model, number)` builds batch `number` on the device of its model. The number is that of the step or, on
    /// `n` devices, `n` times the step and the `n - 1` numbers that follow. Everything random must be a function of the
    /// seed and that number, so that a repeated run gives the same bits. With a `state` file the training saves its
    /// state at the end and while it runs, which takes at most a fiftieth of its time, and resumes from it with the
    /// same result. A state of other settings, or of something else according to [`of`](Self::of), is an error.
    ///
    /// # Errors
    /// [`Error::Settings`] if the model is on a plain device; [`Error::Memory`] if the trained parameters cannot fit;
    /// [`Error::NotFinite`] if the loss or a parameter is no longer finite; [`Error::Io`] and [`Error::Corrupt`] for
    /// the state.
    pub fn run(self, model: M, loss: impl FnMut(&M, usize) -> Tensor<1>) -> Result<(M, Curve)> {
        let config = self.config;
        self.go(model, |_, _, _| Ok(Whole { further: &config.replica_devices, loss }))
    }

    /// Like [`run`](Self::run), for a model of which a step reads only some rows of `table`: a step then takes no time
    /// for the others, however many there are.
    ///
    /// `batch(number)` returns what the step reads, and the rows of `table` that it needs, each once. `loss` gets the
    /// model with a table of these rows alone, in this order. The rows that a step leaves out have no gradient, but AdamW
    /// still moves them by their first moment and their decay; they get that when they are read again, in closed form.
    /// The result equals that of [`run`](Self::run) up to rounding where the square root of a row's second moment is far
    /// above epsilon or far below; between them a row may be off by .5 % of what the missed steps add to it.
    ///
    /// On a GPU, on several devices, for a model without such a table, or if the first moment fades as slowly as the
    /// second (`betas`), it is trained as a whole: `batch` is not called, and `whole` is the loss of a step.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_by_rows<B>(
        self,
        mut model: M,
        table: fn(&mut M) -> Option<&mut Param<Tensor<2>>>,
        batch: impl FnMut(usize) -> (B, Vec<u32>),
        loss: impl FnMut(&M, &B) -> Tensor<1>,
        whole: impl FnMut(&M, usize) -> Tensor<1>,
    ) -> Result<(M, Curve)> {
        let config = self.config;
        let local = config.replica_devices.is_empty() && model.devices().iter().all(in_host_memory);
        let by_rows = local && RowTable::supports(&config.optimizer());
        let Some(first) = table(&mut model).cloned().filter(|_| by_rows) else { return self.run(model, whole) };
        self.go(model, |model, optimizer, last| {
            let param = table(model).cloned().unwrap_or(first);
            let rows = RowTable::new(model, &param, optimizer, last, |step| config.rate(step))?;
            Ok(ByRows { table, rows, batch, loss })
        })
    }

    /// Takes steps until the training is over. `steps` is called with the model and the moments to start from and, for a
    /// training by rows that is resumed, the step of each row.
    fn go<S: Steps<M>>(
        self,
        mut model: M,
        steps: impl FnOnce(&mut M, &AdamW, Option<Vec<u32>>) -> Result<S, String>,
    ) -> Result<(M, Curve)> {
        let Self { stage, config, mut validate, progress, state, of, rates_start } = self;
        if model.devices().iter().any(|device| !device.is_autodiff()) {
            let told = "the model is on a plain device, which computes no gradients: create it on device.autodiff()";
            return Err(Error::Settings(format!("{stage}: {told}")));
        }
        // Besides the model itself: a gradient, two moments and, with validation, the best model so far.
        let copies = if validate.is_some() && config.validate_every > 0 { 4 } else { 3 };
        let numbers = copies * trainable_params(&parameter_table(&model)) as u64;
        let remedy = "free some memory, or train fewer parameters (narrower vectors, no rare users and items)";
        model.devices().iter().try_for_each(|device| ensure_memory(stage, numbers, device, remedy))?;
        let mut optimizer = config.optimizer();
        let mut at = FitCursor::default();
        let mut best: Option<Best<M>> = None;
        let mut rows = None;
        let key = config.key(stage, &of);
        if let Some(path) = state.filter(|path| path.exists()) {
            let State { at: found, model: old, best: top, moments, last } = State::read(path, &key, &model)?;
            if found.step > config.steps {
                let problem =
                    format!("holds {} training steps, more than the {} requested; delete it", found.step, config.steps);
                return Err(Error::corrupt(path, problem));
            }
            tracing::info!(stage, step = found.step, "resuming");
            optimizer = AdamW { time: found.step, moments, ..optimizer };
            (at, model, best, rows) = (found, old, top, last);
        }
        if let (true, 0, Some(metric)) = (rates_start && config.validate_every > 0, at.step, &mut validate) {
            best = Some(Best { metric: rated(stage, 0, metric(&model))?, model: model.clone() });
        }
        let mut steps = steps(&mut model, &optimizer, rows)
            .map_err(|e| Error::corrupt(state.unwrap_or(Path::new("")), format!("damaged training state: {e}")))?;
        let (started, earlier) = (Instant::now(), at.seconds);
        let (mut written, mut pause) = (started, STATE_EVERY);
        let every = if config.validate_every == 0 { (config.steps / 20).max(1) } else { config.validate_every };
        progress.start(stage, config.steps as u64);
        progress.update(at.step as u64, "");
        while at.step < config.steps && (config.patience == 0 || at.bad < config.patience) {
            let step = at.step;
            let number;
            (number, model) = steps.step(model, &mut optimizer, step, config.rate(step));
            if !number.is_finite() {
                return Err(Error::NotFinite { stage: stage.into(), step, what: format!("the loss is {number}") });
            }
            at.step += 1;
            (at.loss, at.count) = (at.loss + f64::from(number), at.count + 1);
            let last = at.step == config.steps;
            if at.step % every == 0 || last {
                let validated = match validate.as_mut().filter(|_| config.validate_every > 0) {
                    Some(metric) => {
                        let current = steps.current(&model, &optimizer);
                        Some((rated(stage, at.step, metric(&current))?, current))
                    }
                    None => None,
                };
                let metric = validated.as_ref().map(|(metric, _)| *metric);
                let loss = at.loss / at.count as f64;
                at.curve.points.push(CurvePoint { step: at.step, loss, validation: metric });
                tracing::info!(stage, step = at.step, loss, validation = metric, "fit");
                (at.loss, at.count) = (0.0, 0);
                if let Some((metric, current)) = validated {
                    if best.as_ref().is_none_or(|best| metric > best.metric) {
                        best = Some(Best { metric, model: current });
                        at.curve.best_step = at.step;
                        at.bad = 0;
                    } else {
                        at.bad += 1;
                    }
                }
            }
            let over = last || (config.patience > 0 && at.bad >= config.patience);
            let due = state.filter(|_| over || written.elapsed() > pause);
            if over || due.is_some() {
                let since = Instant::now();
                let stored = steps.stored(&model, &optimizer);
                // A non-finite gradient shows in the loss one step later: too late for what is saved now.
                if let Some(tensor) = not_finite(&stored.model) {
                    let what = format!("{tensor} is no longer finite");
                    return Err(Error::NotFinite { stage: stage.into(), step, what });
                }
                if let Some(path) = due {
                    at.seconds = earlier + (since - started).as_secs_f64();
                    State::write(path, &key, &at, &stored, best.as_ref())?;
                    written = Instant::now();
                    pause = STATE_EVERY.max((written - since) * STATE_SHARE);
                }
            }
            let note = match &best {
                Some(best) => format!("loss {number:.4}, best {:.4}", best.metric),
                None => format!("loss {number:.4}"),
            };
            progress.update(at.step as u64, &note);
            crate::point(format_args!("step {}", at.step));
        }
        progress.finish();
        let mut curve = at.curve;
        curve.stopped_early = at.step < config.steps;
        curve.seconds = earlier + started.elapsed().as_secs_f64();
        match best {
            Some(best) => Ok((best.model, curve)),
            None => {
                curve.best_step = at.step;
                Ok((steps.current(&model, &optimizer), curve))
            }
        }
    }
}

/// Returns a validation metric, which must be a number: nothing is better than one that is none.
fn rated(stage: &str, step: usize, metric: f64) -> Result<f64> {
    let wrong = || Error::NotFinite { stage: stage.into(), step, what: format!("the validation metric is {metric}") };
    metric.is_finite().then_some(metric).ok_or_else(wrong)
}

/// The progress of a training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FitCursor {
    pub(crate) step: usize,
    /// The sum and number of losses since the last point of the curve.
    loss: f64,
    count: usize,
    /// The number of validations since the best.
    bad: usize,
    /// The seconds so far.
    #[serde(default)]
    seconds: f64,
    curve: Curve,
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::Tolerance;

    #[derive(Module, Debug)]
    struct Point {
        at: Param<Tensor<1>>,
    }

    fn at(lr: f64) -> OptimConfig {
        OptimConfig { lr, ..OptimConfig::default() }
    }

    fn point() -> Point {
        Point { at: Param::from_tensor(Tensor::from_floats([4.0, -3.0], &Device::flex().autodiff())) }
    }

    #[test]
    fn a_validation_that_is_no_number_stops_the_training() {
        let config = FitConfig { steps: 9, optim: at(0.5), validate_every: 3, ..FitConfig::default() };
        let loss = |model: &Point, _: usize| model.at.val().powi_scalar(2).sum();
        for rates_start in [false, true] {
            let fit = Fit::new("point", &config).validate(|_: &Point| f64::NAN).rates_start(rates_start);
            let told = fit.run(point(), loss).unwrap_err().to_string();
            assert!(told.contains("the validation metric is NaN"), "{told}");
        }
    }

    #[test]
    fn the_best_validation_is_kept() {
        let config = FitConfig { steps: 40, optim: at(0.5), validate_every: 1, patience: 5, ..FitConfig::default() };
        let mut calls = 0;
        let metric = |_: &Point| {
            calls += 1;
            if calls == 3 { 1.0 } else { 0.0 }
        };
        let (_, curve) =
            Fit::new("test", &config).validate(metric).run(point(), |m, _| m.at.val().square().sum()).unwrap();
        assert_eq!((curve.best_step, curve.stopped_early, curve.points.len()), (3, true, 8));
    }

    #[test]
    fn a_good_start_is_kept_if_nothing_becomes_better() {
        let config = FitConfig { steps: 4, optim: at(0.5), validate_every: 1, ..FitConfig::default() };
        let kept = |rates_start: bool| {
            // The first number shrinks from 4.
            let metric = |model: &Point| model.at.val().slice([0..1]).into_scalar::<f32>().into();
            let fit = Fit::new("test", &config).validate(metric).rates_start(rates_start);
            fit.run(point(), |m, _| m.at.val().square().sum()).unwrap().1.best_step
        };
        assert_eq!((kept(true), kept(false)), (0, 1));
    }

    #[test]
    fn a_state_of_something_else_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.state.safetensors");
        let run = |of: &str, steps: usize| {
            let config = FitConfig { steps, optim: at(0.1), ..FitConfig::default() };
            let fit = Fit::new("test", &config).state(Some(&path)).of(of);
            fit.run(point(), |m, _| (m.at.val() - 1.0).square().sum())
        };
        run("seed 1", 3).unwrap();
        let written = std::fs::read(&path).unwrap();
        let error = run("seed 2", 3).unwrap_err().to_string();
        assert!(error.contains("a.state.safetensors"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), written);
        run("seed 1", 5).unwrap();
    }

    #[test]
    fn a_minimum_is_found_and_repeats_bit_for_bit() {
        let config =
            FitConfig { steps: 200, optim: OptimConfig { cosine: true, warmup: 5, ..at(0.1) }, ..FitConfig::default() };
        let run = || {
            Fit::new("test", &config)
                .run(point(), |m, _| (m.at.val() - 1.0).square().sum())
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
    fn several_devices_take_the_mean_of_their_batches() {
        let replica_devices = vec![Device::flex().autodiff(); 2];
        // With such a large epsilon, AdamW is sensitive to the size of a gradient.
        let config = FitConfig {
            steps: 30,
            optim: OptimConfig { epsilon: 1.0, ..at(0.1) },
            replica_devices,
            ..FitConfig::default()
        };
        let toward = |m: &Point, batch: usize| (m.at.val() - (batch % 7) as f32).square().sum();
        let (several, curve) = Fit::new("test", &config).run(point(), toward).unwrap();
        let together = |m: &Point, step: usize| {
            (0..3).map(|place| toward(m, 3 * step + place)).reduce(|a, b| a + b).unwrap() / 3.0
        };
        let alone = FitConfig { replica_devices: Vec::new(), ..config };
        let (one, expected) = Fit::new("test", &alone).run(point(), together).unwrap();
        several.at.val().into_data().assert_approx_eq(&one.at.val().into_data(), Tolerance::<f32>::absolute(1e-5));
        for (a, b) in curve.points.iter().zip(&expected.points) {
            assert!((a.loss - b.loss).abs() < 1e-4 * b.loss, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_training_that_was_cut_off_ends_as_if_it_had_not_been() {
        for further in 0..2 {
            cut_off_and_resumed(vec![Device::flex().autodiff(); further]);
        }
    }

    fn cut_off_and_resumed(replica_devices: Vec<Device>) {
        let dir = tempfile::tempdir().unwrap();
        let devices = replica_devices.len() + 1;
        let base = FitConfig { optim: at(0.1), validate_every: 3, replica_devices, ..FitConfig::default() };
        let config = |steps| FitConfig { steps, ..base.clone() };
        let run = |steps, stop: usize, state: Option<&Path>| {
            let metric = |m: &Point| -> f64 { m.at.val().square().sum().into_scalar::<f32>().into() };
            let loss = |m: &Point, step: usize| {
                let noise = f32::from(crate::splitmix64(step as u64) as u8) / 255.0;
                (m.at.val() - noise).square().sum() * if step == stop * devices { f32::NAN } else { 1.0 }
            };
            Fit::new("test", &config(steps)).validate(metric).state(state).run(point(), loss)
        };
        let (model, curve) = run(40, 99, None).unwrap();
        let path = dir.path().join("state.safetensors");
        run(17, 99, Some(&path)).unwrap(); // ends inside an interval of the curve
        assert!(run(40, 25, Some(&path)).is_err(), "must fail");
        let (again, found) = run(40, 99, Some(&path)).unwrap();
        assert_eq!(again.at.val().into_data(), model.at.val().into_data());
        assert_eq!(found.best_step, curve.best_step);
        assert_eq!(found.points.last(), curve.points.last());

        assert!(
            run(30, 99, Some(&path)).unwrap_err().to_string().contains("40 training steps"),
            "a shorter training is a different one"
        );
        let other = FitConfig { optim: at(0.2), ..config(40) };
        let error = Fit::new("test", &other).state(Some(&path)).run(point(), |m, _| m.at.val().sum()).unwrap_err();
        assert!(error.to_string().contains("state.safetensors"), "{error}");
    }

    #[test]
    fn a_gradient_that_is_no_number_is_never_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let config = |steps| FitConfig { steps, ..FitConfig::default() };
        // The square root has a finite value and no gradient at 0.
        let loss = |m: &Point, step: usize| {
            let at = m.at.val();
            if step == 7 { (at.clone() - at.detach()).abs().sqrt().sum() } else { at.sum() }
        };
        Fit::new("align", &config(5)).state(Some(&path)).run(point(), loss).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = Fit::new("align", &config(8)).state(Some(&path)).run(point(), loss).unwrap_err().to_string();
        assert!(error.contains("at is no longer finite at step 7"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(Fit::new("align", &config(8)).run(point(), loss).is_err(), "must fail without a state, too");
    }

    #[test]
    fn a_loss_that_is_no_number_stops_with_the_step() {
        let config = FitConfig { steps: 9, ..FitConfig::default() };
        let loss = |m: &Point, step: usize| m.at.val().sum() * if step == 2 { f32::NAN } else { 1.0 };
        let message = Fit::new("align", &config).run(point(), loss).unwrap_err().to_string();
        assert!(message.contains("align") && message.contains("step 2"), "{message}");
    }
}
