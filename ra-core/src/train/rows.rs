//! Training that costs what a step touches: a table of which a step reads and changes only some rows.
//!
//! With sampled negatives a step reads a few thousand rows of an item table that may have a million. The step then sees
//! a small table of those rows alone, so that its loss, its gradient and AdamW take time for them alone, and the rows
//! that it leaves out are brought up to date when they are read again.
use super::adamw::{AdamW, Moments};
use crate::host_numbers;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

/// The least number of rows that are worth a thread of their own.
const ROWS_A_TASK: usize = 512;

/// The rows of a table with their moments, each as of the step that changed it last.
#[derive(Debug)]
pub(crate) struct RowTable {
    /// The position of the table among the model's parameters.
    pub(crate) index: usize,
    width: usize,
    device: Device,
    /// For each row: its values, first moments and second moments, `width` numbers each, side by side in memory since
    /// they are read together.
    rows: Vec<f32>,
    /// The step (from 1) up to which each row is current.
    last: Vec<u32>,
    /// The constants of all steps so far.
    passed: Vec<Passed>,
}

/// The constants of a step of AdamW: `value = decay * value - rate * m / (sqrt(v) + epsilon)`.
#[derive(Debug, Clone, Copy)]
struct Passed {
    rate: f64,
    epsilon: f64,
    decay: f64,
}

/// What the steps since a row's last change do to it, if none of them has a gradient for it: `value = decay * value -
/// rate * m / (sqrt(v) + epsilon)`, and each moment times its factor.
///
/// AdamW goes on moving such a row, because its first moment fades over some steps. Step `j` after the last change adds
/// `w_j m / (sqrt(v) + e_j)` with `w_j = rate_j (b1 / sqrt(b2))^j` and `e_j = epsilon_j / b2^(j/2)`. All steps together
/// are one such term, whose epsilon is `far` where `sqrt(v)` is far above it (the mean of `e_j`, weighted by `w_j`),
/// `near` where it is far below (the harmonic mean), and between them what [`apply`](Self::apply) says. Both ends are
/// exact; between them the sum is off by less than .5 %.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CatchUp {
    rate: f32,
    far: f32,
    near: f32,
    decay: f32,
    fade: [f32; 2],
}

impl CatchUp {
    #[inline(always)]
    fn apply(&self, value: &mut f32, first: &mut f32, second: &mut f32) {
        let root = second.sqrt();
        let epsilon = self.near + (self.far - self.near) * root / (root + self.far);
        *value = self.decay * *value - self.rate * *first / (root + epsilon);
        *first *= self.fade[0];
        *second *= self.fade[1];
    }
}

impl RowTable {
    /// Whether the closed form holds for these settings: the first moment must fade faster than the second, or epsilon
    /// decides how far a row goes on moving.
    pub(crate) fn supports(optimizer: &AdamW) -> bool {
        f64::from(optimizer.betas[0]) <= 0.97 * f64::from(optimizer.betas[1])
    }

    /// Takes the table `param` of `model`, whose training has done `optimizer.time` steps. `last` are the steps of its
    /// rows; without them, all are current.
    ///
    /// # Errors
    /// If `last` are not the steps of such a table, in words.
    pub(crate) fn new<M: Module>(
        model: &M,
        param: &Param<Tensor<2>>,
        optimizer: &AdamW,
        last: Option<Vec<u32>>,
        rate: impl Fn(usize) -> f64,
    ) -> Result<Self, String> {
        let (table, device) = (param.val().inner(), param.device().inner());
        let [count, width] = table.dims();
        let index = place_of(model, param.id);
        let mut rows = vec![0.0; count * 3 * width];
        let moments = optimizer.moments.get(index).and_then(Option::as_ref);
        let parts = [
            Some(host_numbers(table)),
            moments.map(|m| host_numbers(m.first.clone())),
            moments.map(|m| host_numbers(m.second.clone())),
        ];
        for (part, values) in parts.iter().enumerate() {
            let Some(values) = values else { continue };
            rows.par_chunks_exact_mut(3 * width).zip(values.par_chunks_exact(width)).for_each(|(row, values)| {
                row[part * width..][..width].copy_from_slice(values);
            });
        }
        let last = last.unwrap_or_else(|| vec![optimizer.time as u32; count]);
        if last.len() != count || last.iter().any(|&step| step as usize > optimizer.time) {
            return Err(format!(
                "the steps of {} rows are not those of {count} after step {}",
                last.len(),
                optimizer.time
            ));
        }
        let mut table = Self { index, width, device, rows, last, passed: Vec::new() };
        (1..=optimizer.time).for_each(|step| table.pass(optimizer, step, rate(step - 1)));
        Ok(table)
    }

    /// Notes the constants of step `time` (from 1), which follows those noted so far.
    pub(crate) fn pass(&mut self, optimizer: &AdamW, time: usize, rate: f64) {
        let [rate, epsilon, decay] = optimizer.constants(time, rate);
        self.passed.push(Passed { rate, epsilon, decay });
    }

    /// Returns the chosen rows, current as of the steps noted so far, and their moments, each `[chosen, width]`.
    pub(crate) fn read(&self, optimizer: &AdamW, chosen: &[u32]) -> (Tensor<2>, Moments) {
        let oldest = chosen.iter().map(|&row| self.last[row as usize]).min().unwrap_or_default();
        let parts = self.gather(chosen, &self.catch_ups(optimizer, oldest));
        self.tensors(parts)
    }

    /// Stores rows that a step has changed.
    pub(crate) fn write(&mut self, chosen: &[u32], values: Tensor<2>, moments: Moments) {
        let parts = [host_numbers(values), host_numbers(moments.first), host_numbers(moments.second)];
        let (width, now) = (self.width, self.passed.len() as u32);
        for (at, &row) in chosen.iter().enumerate() {
            let to = &mut self.rows[row as usize * 3 * width..][..3 * width];
            for (to, part) in to.chunks_exact_mut(width).zip(&parts) {
                to.copy_from_slice(&part[at * width..][..width]);
            }
            self.last[row as usize] = now;
        }
    }

    /// Returns the whole table as of the steps noted so far. It changes nothing, so that a training which is looked at
    /// more often ends with the same bits.
    pub(crate) fn current(&self, optimizer: &AdamW) -> Tensor<2> {
        let oldest = self.last.iter().copied().min().unwrap_or_default();
        let all: Vec<u32> = (0..self.last.len() as u32).collect();
        let [values, ..] = self.gather(&all, &self.catch_ups(optimizer, oldest));
        self.tensor(values)
    }

    /// Returns the whole table and its moments as stored, and the step of each row: what it is created from again.
    pub(crate) fn stored(&self) -> (Tensor<2>, Moments, &[u32]) {
        let part = |part: usize| -> Vec<f32> {
            let mut values = vec![0.0; self.last.len() * self.width];
            let rows = self.rows.par_chunks_exact(3 * self.width);
            values.par_chunks_exact_mut(self.width).zip(rows).for_each(|(to, row)| {
                to.copy_from_slice(&row[part * self.width..][..self.width]);
            });
            values
        };
        let (table, moments) = self.tensors([part(0), part(1), part(2)]);
        (table, moments, &self.last)
    }

    fn tensor(&self, values: Vec<f32>) -> Tensor<2> {
        let count = values.len() / self.width;
        Tensor::from_data(TensorData::new(values, [count, self.width]), &self.device)
    }

    fn tensors(&self, [values, first, second]: [Vec<f32>; 3]) -> (Tensor<2>, Moments) {
        let flat = |values: Vec<f32>| {
            let n = values.len();
            Tensor::from_data(TensorData::new(values, [n]), &self.device)
        };
        (self.tensor(values), Moments { first: flat(first), second: flat(second) })
    }

    /// Copies rows, brought up to date, into three tables.
    fn gather(&self, chosen: &[u32], passed: &[CatchUp]) -> [Vec<f32>; 3] {
        let (width, now) = (self.width, self.passed.len());
        let mut parts = [(); 3].map(|()| vec![0.0; chosen.len() * width]);
        let [values, first, second] = &mut parts;
        let rows = values
            .par_chunks_exact_mut(width)
            .zip(first.par_chunks_exact_mut(width))
            .zip(second.par_chunks_exact_mut(width))
            .zip(chosen)
            .with_min_len(ROWS_A_TASK);
        rows.for_each(|(((value, first), second), &row)| {
            let row = row as usize;
            let stored = &self.rows[row * 3 * width..][..3 * width];
            value.copy_from_slice(&stored[..width]);
            first.copy_from_slice(&stored[width..2 * width]);
            second.copy_from_slice(&stored[2 * width..]);
            let missed = now - self.last[row] as usize;
            if missed > 0 {
                let catch_up = passed[missed];
                crate::kernels::vectorized(
                    #[inline(always)]
                    || {
                        for ((value, first), second) in value.iter_mut().zip(first).zip(second) {
                            catch_up.apply(value, first, second);
                        }
                    },
                );
            }
        });
        parts
    }

    /// Returns what 0, 1, 2, .. missed steps do, for rows that are current as of step `oldest` or later.
    ///
    /// With `S(k) = sum of weight_j r^j` over the missed steps `j = 1..=k`, where `weight_j` is the rate of step `j` times
    /// the decay of those after it, one more step missed before gives `S(k + 1) = r (weight + S(k))`; likewise for the
    /// sums of `w_j e_j` and `w_j / e_j`.
    fn catch_ups(&self, optimizer: &AdamW, oldest: u32) -> Vec<CatchUp> {
        let [b1, b2] = optimizer.betas.map(f64::from);
        let (ratio, steep) = (b1 / b2.sqrt(), b1 / b2);
        let (mut decay, mut rate, mut times, mut over, mut fade) = (1.0, 0.0, 0.0, 0.0, [1.0, 1.0]);
        let none = CatchUp { rate: 0.0, far: 1.0, near: 1.0, decay: 1.0, fade: [1.0; 2] };
        let missed = self.passed[oldest as usize..].iter().rev();
        let all = missed.map(|step| {
            let weight = decay * step.rate;
            decay *= step.decay;
            rate = ratio * (weight + rate);
            times = steep * (weight * step.epsilon + times);
            over = b1 * (weight / step.epsilon + over);
            fade = [fade[0] * b1, fade[1] * b2];
            // A learning rate may be 0.
            let [far, near] = if rate > 0.0 { [times / rate, rate / over] } else { [step.epsilon; 2] };
            let [rate, far, near, decay] = [rate, far, near, decay].map(|x| x as f32);
            CatchUp { rate, far, near, decay, fade: fade.map(|x| x as f32) }
        });
        std::iter::once(none).chain(all).collect()
    }
}

/// Returns the position of a parameter among the floating-point parameters of a model.
fn place_of<M: Module>(model: &M, id: ParamId) -> usize {
    struct Search {
        id: ParamId,
        passed: usize,
        found: Option<usize>,
    }
    impl ModuleVisitor for Search {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.id == self.id {
                self.found = Some(self.passed);
            }
            self.passed += 1;
        }
    }
    let mut search = Search { id, passed: 0, found: None };
    model.visit(&mut search);
    search.found.unwrap_or(search.passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fit, FitConfig, OptimConfig, SplitMix, normal, rng};
    use burn::tensor::Tolerance;
    use std::path::Path;

    const ROWS: usize = 60;

    #[derive(Module, Debug)]
    struct Model {
        before: Param<Tensor<1>>,
        table: Param<Tensor<2>>,
        after: Param<Tensor<1>>,
    }

    fn fresh() -> Model {
        let (device, random) = (Device::flex().autodiff(), &mut rng(1, "rows", 0));
        let table = normal([ROWS, 5], 1.0, random, &device);
        Model { before: normal([5], 1.0, random, &device), table, after: normal([5], 1.0, random, &device) }
    }

    /// The rows of a step: few of the first half, and of the second half one at every fortieth step.
    fn chosen(step: usize) -> Vec<u32> {
        let mut random = SplitMix::new(step as u64);
        let mut rows: Vec<u32> = (0..3).map(|_| random.below(ROWS / 2) as u32).collect();
        rows.extend((step % 40 == 7).then_some((ROWS / 2 + step / 40 % 3) as u32));
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// A loss whose gradient for the rows does not depend on them, so that rounding is not amplified; it turns its
    /// direction from time to time.
    fn loss(model: &Model, table: Tensor<2>, step: usize) -> Tensor<1> {
        let slope = (1.0 + (step % 7) as f32) * if (step / 25).is_multiple_of(2) { 0.1 } else { -0.3 };
        (table * slope).sum() + (model.before.val() * model.after.val() - 1.0).square().sum()
    }

    fn config(steps: usize, weight_decay: f32, cosine: bool, clip: f32) -> FitConfig {
        let betas = [0.9, 0.98];
        let optim = OptimConfig { lr: 0.02, weight_decay, cosine, clip, betas, warmup: 10, ..OptimConfig::default() };
        FitConfig { steps, optim, ..FitConfig::default() }
    }

    fn by_rows(config: &FitConfig, state: Option<&Path>, validate: bool) -> Model {
        let fit = Fit::new("rows", config).state(state);
        // Each validation is better than the one before, so that the last model is kept.
        let mut times = 0.0;
        let better = |_: &Model| {
            times += 1.0;
            times
        };
        let fit = if validate { fit.validate(better) } else { fit };
        let table: fn(&mut Model) -> Option<&mut Param<Tensor<2>>> = |model| Some(&mut model.table);
        let never = |_: &Model, _| unreachable!("this device trains by rows");
        fit.run_by_rows(fresh(), table, |step| (step, chosen(step)), |m, &step| loss(m, m.table.val(), step), never)
            .unwrap()
            .0
    }

    #[test]
    fn rows_that_were_left_out_for_long_end_where_dense_training_puts_them() {
        for (weight_decay, cosine, clip) in [(0.0, false, 0.0), (0.1, true, 0.0), (0.02, false, 0.5)] {
            let config = config(330, weight_decay, cosine, clip);
            let whole = |m: &Model, step: usize| {
                let rows = crate::indices(chosen(step), &m.table.device());
                loss(m, m.table.val().select(0, rows), step)
            };
            let dense = Fit::new("rows", &config).run(fresh(), whole).unwrap().0;
            let rows = by_rows(&config, None, false);
            // Dense training rounds a number at each of the steps, by half the last place of what it then is.
            let most = dense.table.val().abs().max().into_scalar::<f32>();
            let tolerance = Tolerance::<f32>::absolute(most * 330.0 * f32::EPSILON / 2.0);
            rows.table.val().into_data().assert_approx_eq(&dense.table.val().into_data(), tolerance);
            rows.after.val().into_data().assert_approx_eq(&dense.after.val().into_data(), tolerance);
            let moved = (dense.table.val() - fresh().table.val()).abs().max().into_scalar::<f32>();
            assert!(moved > 0.1, "the training must do something: {moved}");
        }
    }

    #[test]
    fn a_row_near_epsilon_gets_what_it_missed_within_half_a_percent() {
        let optimizer =
            AdamW { betas: [0.9, 0.98], epsilon: 1e-8, weight_decay: 0.1, clip: 0.0, time: 150, moments: Vec::new() };
        let model = fresh();
        let mut rows = RowTable::new(&model, &model.table, &optimizer, Some(vec![0; ROWS]), |_| 0.01).unwrap();
        // Second moments from far below the square of epsilon to far above it, with a first moment of the same size.
        for (row, stored) in rows.rows.chunks_exact_mut(15).enumerate() {
            let size = 10f32.powi(row as i32 / 4 - 11);
            stored[5..10].fill(size);
            stored[10..].fill(size * size);
        }
        let found: Vec<f32> = rows.current(&optimizer).into_data().iter::<f32>().collect();
        for (row, (stored, found)) in rows.rows.chunks_exact(15).zip(found.chunks_exact(5)).enumerate() {
            let [mut value, mut first, mut second] = [stored[0], stored[5], stored[10]].map(f64::from);
            let (mut kept, mut moved) = (value, 0.0);
            for step in &rows.passed {
                first *= 0.9;
                second *= 0.98;
                let change = step.rate * first / (second.sqrt() + step.epsilon);
                value = step.decay * value - change;
                kept *= step.decay;
                moved += change.abs();
            }
            let error = (f64::from(found[0]) - value).abs();
            assert!(error < 0.005 * moved + 1e-6 * kept.abs(), "row {row}: {error} of {moved}");
        }
    }

    #[test]
    fn a_training_that_was_cut_off_or_looked_at_ends_with_the_same_bits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let [short, long] = [137, 200].map(|steps| config(steps, 0.1, false, 0.0));
        let whole = by_rows(&long, None, false);
        by_rows(&short, Some(&path), false);
        let resumed = by_rows(&long, Some(&path), false);
        let watched = by_rows(&FitConfig { validate_every: 7, ..long.clone() }, None, true);
        assert_eq!(watched.table.val().into_data(), whole.table.val().into_data());
        assert_eq!(resumed.table.val().into_data(), whole.table.val().into_data());
        assert_eq!(resumed.before.val().into_data(), whole.before.val().into_data());
    }

    #[test]
    fn a_state_with_the_steps_of_other_rows_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        by_rows(&config(5, 0.0, false, 0.0), Some(&path), false);
        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        for last in [vec![0u8; 4 * (ROWS - 1)], [9u32; ROWS].iter().flat_map(|step| step.to_le_bytes()).collect()] {
            let mut views = file.tensors();
            views.retain(|(name, _)| name != "last");
            let shape = vec![last.len() / 4];
            views.push((
                "last".into(),
                safetensors::tensor::TensorView::new(safetensors::Dtype::U32, shape, &last).unwrap(),
            ));
            std::fs::write(&path, safetensors::serialize(views, header.metadata().clone()).unwrap()).unwrap();
            let table: fn(&mut Model) -> Option<&mut Param<Tensor<2>>> = |model| Some(&mut model.table);
            let config = config(9, 0.0, false, 0.0);
            let fit = Fit::new("rows", &config).state(Some(&path));
            let batch = |step| (step, chosen(step));
            let error =
                fit.run_by_rows(fresh(), table, batch, |m, &step| loss(m, m.table.val(), step), |_, _| unreachable!());
            let error = error.unwrap_err().to_string();
            assert!(error.contains("state.safetensors") && error.contains("rows"), "{error}");
        }
    }
}
