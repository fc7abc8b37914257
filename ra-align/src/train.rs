//! Training the towers: the only thing that learns in RA-Rec.
use crate::cache::indices;
use crate::choose::needed;
use crate::chunked::by_chunks;
use crate::extra::{Extra, Side};
use crate::loss::Candidates;
use crate::order::Order;
use crate::standardize::check_vectors;
use crate::teacher::{fitted_scale, spread};
use crate::{
    AlignConfig, AlignLoss, AlignTrain, IdScale, Layerwise, PairLoss, RaRec, TextTower, Towers, Tuning, bpr_in_batch,
    bpr_sampled, distill, info_nce, mmd, mse, softmax_in_batch, user_vectors, with_id_score,
};
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use ra_core::{
    Aligner, Curve, Dataset, Device, FitConfig, History, LanguageModel, Prefix, Progress, Recommender, Result, Sample,
    SplitMix, normal, rng, splitmix64,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What is aligned with what, on which samples.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a, I, L> {
    /// The ID method, frozen.
    pub ids: &'a I,
    /// Who speaks for the users of the samples instead of `ids`, such as [`crate::CrossFitted`].
    pub training_ids: Option<&'a dyn Recommender>,
    /// The language model with its prompts, frozen.
    pub text: &'a Arc<TextTower<L>>,
    /// The data set.
    pub dataset: &'a Dataset,
    /// The samples to learn from.
    pub samples: &'a [Sample],
    /// Items of a history at most.
    pub max_history: usize,
    /// The alignment.
    pub align: &'a AlignConfig,
    /// The training.
    pub train: &'a AlignTrain,
    /// Decides initial weights, order, negatives and noise.
    pub seed: u64,
    /// Where a training is written down while it runs, to go on from there; see [`ra_core::fit`].
    pub state: Option<&'a Path>,
    /// The language model of `text` once more on each further device; see [`FitConfig::further_devices`].
    pub replicas: &'a [L],
}

impl<'a, I, L> Job<'a, I, L> {
    /// A job on `samples` with histories of up to 50 items and seed 1, which is not written down while it runs.
    pub fn new(
        ids: &'a I,
        text: &'a Arc<TextTower<L>>,
        dataset: &'a Dataset,
        samples: &'a [Sample],
        align: &'a AlignConfig,
        train: &'a AlignTrain,
    ) -> Self {
        let (training_ids, max_history, seed, state, replicas) = (None, 50, 1, None, &[][..]);
        Self { ids, training_ids, text, dataset, samples, max_history, align, train, seed, state, replicas }
    }

    /// What was read before a sample's target, and the target.
    fn sample(&self, sample: &Sample) -> (History<'a>, u32) {
        let (items, target) = self.dataset.sample(*sample, self.max_history);
        (History { user: sample.user, items }, target)
    }

    fn order(&self) -> Order {
        Order::new(self.samples.len(), self.train.batch, self.seed)
    }

    /// Samples, by their places, that the planned steps come to: no batch holds the others.
    pub fn reach(&self) -> Vec<usize> {
        self.order().within(self.train.steps.saturating_mul(1 + self.replicas.len()))
    }
}

/// How good a model is, higher is better.
pub type Metric<'a> = &'a dyn Fn(&dyn Recommender) -> f64;

/// A validation metric of the model so far, higher is better.
pub type Validate<'a> = Option<Metric<'a>>;

/// Trains the towers and returns them, on the plain device, as they were at the best validation.
///
/// # Errors
/// As [`ra_core::fit`], [`AlignConfig::check`], [`with_id_score`] for `align.id_residual`, and
/// [`ra_core::Error::Missing`] for an ID method with [`Recommender::additions`]: its vectors are what is left of it.
///
/// # Panics
/// When there are no samples, or one points outside the data set.
pub fn fit<I: Recommender, L: LanguageModel>(
    job: &Job<'_, I, L>,
    validate: Validate<'_>,
    progress: &dyn Progress,
) -> Result<(Towers<Layerwise>, IdScale, Curve)> {
    assert!(!job.samples.is_empty(), "alignment needs samples");
    job.align.check(&job.text.lm.spec()).map_err(ra_core::Error::Settings)?;
    if job.align.id_residual {
        needed(validate, crate::id_score::REMEDY)?;
    }
    if job.align.reads_ids() {
        check_vectors(job.ids, job.samples.iter().map(|sample| job.sample(sample).0))?;
    }
    let mut order = job.order();
    let frozen = Frozen::prepare(job, progress);
    let align = AlignConfig { id_residual: false, ..job.align.clone() };
    let towers = align.towers(job.ids.dim(), &job.text.lm, job.seed, &job.text.lm.device().autodiff());
    if order.batches_per_epoch() <= job.replicas.len() {
        let batch = order.batch_size();
        tracing::warn!(batch, "some devices share a batch: there are fewer batches than devices; lower train.batch");
    }
    let loss = |towers: &Towers<Layerwise>, number: usize| frozen.loss(job, towers, order.batch(number), number);
    let model = |towers| RaRec { ids: job.ids, scale: frozen.scale.clone(), text: job.text.clone(), towers };
    let mut metric = validate.map(|validate| |towers: &Towers<Layerwise>| validate(&model(towers.valid())));
    let metric = metric.as_mut().map(|m| m as ra_core::Validation<'_, _>);
    let further_devices = job.replicas.iter().map(|lm| lm.device().autodiff()).collect();
    let config = FitConfig { further_devices, ..job.train.fit_config() };
    let (towers, curve) = ra_core::fit("align", &config, towers, loss, metric, progress, job.state)?;
    let towers = towers.valid();
    let towers = if job.align.id_residual { with_id_score(model(towers), validate)?.towers } else { towers };
    Ok((towers, frozen.scale, curve))
}

/// All that training reads and never changes.
struct Frozen<'a> {
    histories: Vec<History<'a>>,
    targets: Vec<u32>,
    user_texts: Vec<Vec<u32>>,
    interests: usize,
    /// On each device.
    vectors: Vec<Vectors>,
    shares: BTreeMap<u32, f32>,
    scale: IdScale,
    /// Factor on the ID method's scores before their softmax, `align.distill_scale`.
    teacher_scale: f32,
    /// Texts whose graph is kept at a time; 0 is all.
    chunk: usize,
}

/// Scaled ID vectors.
struct Vectors {
    /// `[samples * interests, dim]`.
    users: Tensor<2>,
    /// `[items + 1, dim]`; row 0 is padding.
    items: Tensor<2>,
}

impl<'a> Frozen<'a> {
    fn prepare<I: Recommender, L: LanguageModel>(job: &Job<'a, I, L>, progress: &dyn Progress) -> Self {
        let (histories, targets): (Vec<_>, Vec<u32>) = job.samples.iter().map(|s| job.sample(s)).unzip();
        let own = || user_vectors(job.ids, &histories);
        let raw_users = job.training_ids.map_or_else(own, |ids| user_vectors(ids, &histories));
        let all: Vec<u32> = job.dataset.catalog.all().collect();
        let scale = IdScale::measure(raw_users.clone(), job.ids.items(&all));
        let users = scale.scaled_users(raw_users);
        // Row 0 stands for padding and is never drawn.
        let with_padding: Vec<u32> = std::iter::once(1).chain(all.iter().copied()).collect();
        let items = scale.items(job.ids, &with_padding);
        let user_texts = job.text.user_texts(&histories);
        let reached: Vec<&[u32]> = job.reach().into_iter().map(|sample| &*user_texts[sample]).collect();
        job.text.cache.fill(&job.text.lm, &reached, "read histories", progress);
        job.text.cache.fill(&job.text.lm, &job.text.item_texts(&all), "read items", progress);
        let mut shares = BTreeMap::new();
        for &target in &targets {
            *shares.entry(target).or_insert(0.0) += 1.0 / targets.len() as f32;
        }
        let devices = std::iter::once(users.device()).chain(job.replicas.iter().map(L::device));
        let on = |device: Device| Vectors {
            users: users.clone().to_device(&device),
            items: items.clone().to_device(&device),
        };
        let (interests, vectors) = (job.ids.interests(), devices.map(on).collect());
        let tuned = job.align.tune != Tuning::None;
        if tuned && job.train.chunk > 0 {
            tracing::warn!("train.chunk is left out: a tuned language model has its gradient in every text's graph");
        }
        let chunk = if tuned { 0 } else { job.train.chunk };
        let teacher_scale = job.align.distill_scale;
        let mut frozen =
            Self { histories, targets, user_texts, interests, vectors, shares, scale, teacher_scale, chunk };
        if job.align.distill > 0.0 && teacher_scale == 0.0 {
            let samples: Vec<usize> = spread(frozen.targets.len(), 1024).collect();
            let (users, targets) = (frozen.users(&users, &samples), samples.iter().map(|&s| frozen.targets[s]));
            frozen.teacher_scale = fitted_scale(&frozen.scale, users, items, &targets.collect::<Vec<u32>>());
            tracing::info!(scale = frozen.teacher_scale, "the ID method's scores as logits");
        }
        frozen
    }

    fn loss<I: Recommender, L: LanguageModel>(
        &self,
        job: &Job<'_, I, L>,
        towers: &Towers<Layerwise>,
        batch: &[usize],
        number: usize,
    ) -> Tensor<1> {
        let (text, align) = (job.text, job.align);
        // `ra_core::fit` gives batch after batch to device after device.
        let device = number % self.vectors.len();
        let (vectors, frozen_lm) =
            (&self.vectors[device], device.checked_sub(1).map_or(&text.lm, |d| &job.replicas[d]));
        let seed = splitmix64(job.seed ^ splitmix64(number as u64));
        let targets: Vec<u32> = batch.iter().map(|&s| self.targets[s]).collect();
        let columns = self.columns(&targets, batch, align, job.dataset.catalog.len(), seed);
        let (unique, place) = unique(&columns);

        let user_ids = self.noisy_users(&vectors.users, batch, align, seed);
        let user_prefix = towers.user.prefix(user_ids);
        let item_ids = dropped(select(&vectors.items, unique.iter().map(|&i| i as usize)), align.id_dropout, seed ^ 1);
        let item_ids = without_some(item_ids, align.item_id_drop, 1, seed ^ 4);
        let item_prefix = towers.item.prefix(item_ids.unsqueeze_dim(1));
        let lm = towers.extra.language_model(frozen_lm);
        let user_texts: Vec<Vec<u32>> = batch.iter().map(|&s| self.user_texts[s].clone()).collect();
        // Of vectors without noise or dropout: the towers are to tell the same from less.
        let teacher = (align.distill > 0.0).then(|| {
            let items = select(&vectors.items, columns.iter().map(|&i| i as usize));
            self.scale.scores(self.users(&vectors.users, batch), items) * self.teacher_scale
        });
        let scored = |[users, items]: [Tensor<2>; 2]| {
            let users = towers.extra.close(Side::User, users, align.normalize);
            let items = towers.extra.close(Side::Item, items, align.normalize);
            let items = select(&items, place.iter().copied());
            let pair = self.pair_loss(align, &towers.extra, batch, &columns, [users.clone(), items.clone()]);
            match &teacher {
                Some(teacher) => {
                    pair + distill(logits(align, &towers.extra, users, items), teacher.clone()) * align.distill
                }
                None => pair,
            }
        };
        let item_texts = text.item_texts(&unique);
        let sides = [(&user_texts[..], &user_prefix), (&item_texts[..], &item_prefix)];
        let pair = match self.chunk {
            0 => scored(sides.map(|(texts, prefix)| text.cache.encode(&lm, texts, Some(prefix)))),
            size => by_chunks(&lm, &text.cache, size, sides, scored),
        };
        if align.loss == AlignLoss::None {
            return pair;
        }
        let user_ids: Vec<u32> = batch.iter().map(|&s| self.histories[s].user).collect();
        let user_means = text.cache.means(frozen_lm, &user_texts);
        let target_texts = text.item_texts(&targets);
        let item_means = text.cache.means(frozen_lm, &target_texts);
        let every: Vec<usize> = (0..batch.len()).collect();
        let ua = layer_loss(align, &user_prefix, &every, user_means, &user_ids);
        let ia = layer_loss(align, &item_prefix, &place[..batch.len()], item_means, &targets);
        pair + (ua + ia) * align.lambda
    }

    /// Candidate items of a step: the batch's targets, then what the pair loss adds.
    fn columns(&self, targets: &[u32], batch: &[usize], align: &AlignConfig, items: usize, seed: u64) -> Vec<u32> {
        let mut random = SplitMix::new(seed ^ 2);
        let mut draw = || random.below(items) as u32 + 1;
        let mut columns = targets.to_vec();
        match align.pair_loss {
            PairLoss::BprInBatch => {}
            PairLoss::SoftmaxInBatch => columns.extend((0..align.extra_negatives).map(|_| draw())),
            PairLoss::BprSampled => columns.extend(batch.iter().zip(targets).map(|(&sample, target)| {
                // A user who has nearly everything gets any item after a few tries.
                let fits = |item: &u32| item != target && !self.histories[sample].items.contains(item);
                (0..100).map(|_| draw()).find(fits).unwrap_or_else(&mut draw)
            })),
        }
        columns
    }

    fn pair_loss(
        &self,
        align: &AlignConfig,
        extra: &Extra,
        batch: &[usize],
        columns: &[u32],
        [users, items]: [Tensor<2>; 2],
    ) -> Tensor<1> {
        let device = users.device().inner();
        let n = batch.len();
        let own: Vec<usize> = (0..n).collect();
        let other =
            |i: usize, j: usize| columns[j] != columns[i] && !self.histories[batch[i]].items.contains(&columns[j]);
        match align.pair_loss {
            PairLoss::BprSampled => {
                let dot = |range: std::ops::Range<usize>| {
                    (users.clone() * items.clone().slice([range])).sum_dim(1).reshape([n])
                };
                bpr_sampled(dot(0..n), dot(n..2 * n))
            }
            PairLoss::BprInBatch => {
                bpr_in_batch(logits(align, extra, users, items), &Candidates::in_batch(&columns[..n], &device))
            }
            PairLoss::SoftmaxInBatch => {
                let scores = logits(align, extra, users, items);
                let candidates = Candidates::new(&own, columns.len(), other, &device);
                let uniform = align.extra_negatives as f32 / (self.vectors[0].items.dims()[0] - 1) as f32;
                let expected =
                    |item: &u32| (n as f32 * self.shares.get(item).copied().unwrap_or(0.0) + uniform).max(1e-9).ln();
                let log_q: Vec<f32> = columns.iter().map(expected).collect();
                let log_q = Tensor::from_data(TensorData::new(log_q, [columns.len()]), &device);
                softmax_in_batch(scores, &candidates, align.logq.then_some(log_q))
            }
        }
    }

    /// User vectors of a batch, `[batch, interests, dim]`.
    fn users(&self, users: &Tensor<2>, batch: &[usize]) -> Tensor<3> {
        let interests = self.interests;
        let rows = batch.iter().flat_map(|&sample| sample * interests..(sample + 1) * interests);
        select(users, rows).reshape([batch.len(), interests, users.dims()[1]])
    }

    /// The same with noise, dropout and samples without ID.
    fn noisy_users(&self, users: &Tensor<2>, batch: &[usize], align: &AlignConfig, seed: u64) -> Tensor<3> {
        let device = users.device();
        let interests = self.interests;
        let mut ids = self.users(users, batch).flatten::<2>(0, 1);
        let [n, dim] = ids.dims();
        if align.id_noise > 0.0 {
            let noise = normal([n, dim], align.id_noise, &mut rng(seed, "id noise", 0), &device).val();
            ids = ids + noise * self.scale.user_std(&device);
        }
        let ids = without_some(dropped(ids, align.id_dropout, seed), align.id_drop, interests, seed ^ 3);
        ids.reshape([batch.len(), interests, dim])
    }
}

/// Scores of `users`, `[batch, width]`, and `items`, `[columns, width]`, as the pair loss reads them.
fn logits(align: &AlignConfig, extra: &Extra, users: Tensor<2>, items: Tensor<2>) -> Tensor<2> {
    let scores = users.matmul(items.transpose());
    match align.pair_loss {
        PairLoss::SoftmaxInBatch => extra.tempered(scores, align.temperature),
        PairLoss::BprInBatch | PairLoss::BprSampled => scores,
    }
}

/// `ids`, `[n, dim]`, with a share of single numbers zeroed and the others scaled up; four places of the mask are one draw
/// of 64 bits.
fn dropped(ids: Tensor<2>, share: f64, seed: u64) -> Tensor<2> {
    if share == 0.0 {
        return ids;
    }
    let ([n, dim], mut random) = (ids.dims(), SplitMix::new(seed));
    let (keep, threshold) = ((1.0 / (1.0 - share)) as f32, (share * 65536.0) as u64);
    let mut mask = Vec::with_capacity(n * dim + 3);
    while mask.len() < n * dim {
        let bits = random.bits();
        mask.extend([0, 16, 32, 48].map(|shift| if (bits >> shift) & 0xFFFF < threshold { 0.0 } else { keep }));
    }
    mask.truncate(n * dim);
    let mask = Tensor::<2>::from_data(TensorData::new(mask, [n, dim]), &ids.device());
    ids * mask
}

/// `ids`, `[n * rows, dim]`, with a `share` of its groups of `rows` rows zeroed: after scaling, the ID of nobody.
fn without_some(ids: Tensor<2>, share: f64, rows: usize, seed: u64) -> Tensor<2> {
    if share == 0.0 {
        return ids;
    }
    let (n, mut random) = (ids.dims()[0], SplitMix::new(seed));
    let keep = |_| if (random.below(1 << 20) as f64) < share * f64::from(1 << 20) { 0.0 } else { 1.0f32 };
    let keep = (0..n / rows).map(keep).flat_map(|k| std::iter::repeat_n(k, rows)).collect::<Vec<f32>>();
    let keep = Tensor::<2>::from_data(TensorData::new(keep, [n, 1]), &ids.device());
    ids * keep
}

/// Mean over layers of the loss between the mean of a layer's prefix rows and the text-only mean after that layer.
fn layer_loss(align: &AlignConfig, prefix: &Prefix, rows: &[usize], means: Vec<Tensor<2>>, ids: &[u32]) -> Tensor<1> {
    let loss = |(layer, mean): (&Tensor<3>, Tensor<2>)| {
        let anchor = select(&layer.clone().mean_dim(1).squeeze_dim::<2>(1), rows.iter().copied());
        match align.loss {
            AlignLoss::InfoNce => info_nce(anchor, mean, ids, align.tau),
            AlignLoss::Mmd => mmd(anchor, mean),
            AlignLoss::Mse => mse(anchor, mean),
            AlignLoss::None => Tensor::zeros([1], &anchor.device()),
        }
    };
    Tensor::cat(prefix.layers().iter().zip(means).map(loss).collect(), 0).mean()
}

fn select(table: &Tensor<2>, rows: impl Iterator<Item = usize>) -> Tensor<2> {
    table.clone().select(0, indices(rows, &table.device()))
}

/// The distinct items in ascending order, and where each of `items` stands among them.
fn unique(items: &[u32]) -> (Vec<u32>, Vec<usize>) {
    let mut distinct = items.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let place = items.iter().map(|item| distinct.partition_point(|d| d < item)).collect();
    (distinct, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::Device;

    #[test]
    fn a_mask_keeps_the_mean() {
        let mask = dropped(Tensor::ones([100, 1000], &Device::flex()), 0.2, 3);
        let mean: f32 = mask.clone().mean().into_scalar();
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let zeros: f32 = mask.equal_elem(0.0).float().mean().into_scalar();
        assert!((zeros - 0.2).abs() < 0.01, "{zeros}");
    }

    #[test]
    fn a_user_loses_all_interests_or_none_and_about_the_share_that_is_asked_for() {
        let ids = Tensor::ones([4000, 3], &Device::flex());
        let kept: Vec<f32> = without_some(ids.clone(), 0.25, 2, 7).into_data().iter().collect();
        let users: Vec<&[f32]> = kept.chunks(6).collect();
        assert!(users.iter().all(|user| user.iter().all(|x| x == &user[0])));
        let lost = users.iter().filter(|user| user[0] == 0.0).count();
        assert!((440..560).contains(&lost), "{lost} of 2000");
        assert_eq!(without_some(ids.clone(), 0.0, 2, 7).into_data(), ids.into_data());
    }
}
