//! The constant inputs of a training, and the loss of a step over them.
use crate::config::{AlignConfig, AlignLoss, LossConfig, PairLoss, Tuning};
use crate::method::{Departures, IdNormalizer, Layerwise, Side, Towers, encode_users};
use crate::train::Job;
use crate::train::chunked::by_chunks;
use crate::train::loss::{Candidates, bpr_in_batch, bpr_sampled, distill, info_nce, mmd, mse, softmax_in_batch};
use crate::train::regularize::{drop_ids, dropout};
use crate::train::teacher::{IdVectors, Teacher, evenly_spaced, fitted_scale};
use burn::tensor::{Tensor, TensorData};
use ra_core::{
    Aligner, Device, History, ItemId, LanguageModel, Prefix, Progress, Recommender, SplitMix, UserId, indices, normal,
    rng, splitmix64,
};
use std::collections::BTreeMap;

/// Everything that training reads and never changes.
pub(crate) struct Inputs<'a> {
    histories: Vec<History<'a>>,
    targets: Vec<ItemId>,
    user_texts: Vec<Vec<u32>>,
    interests: usize,
    /// One per device.
    vectors: Vec<Vectors>,
    /// The share of samples whose target is this item.
    shares: BTreeMap<ItemId, f32>,
    pub(crate) normalizer: IdNormalizer,
    teacher: Option<Teacher<'a>>,
    /// The number of texts whose graph is kept at a time; 0 keeps all.
    chunk: usize,
}

/// Normalized ID vectors.
struct Vectors {
    /// `[samples * interests, dim]`.
    users: Tensor<2>,
    /// `[items + 1, dim]`; row 0 is padding.
    items: Tensor<2>,
}

impl<'a> Inputs<'a> {
    /// Computes the ID method's vectors, and the language model's constants of each text that a step may need.
    pub(crate) fn prepare<I: Recommender, L: LanguageModel>(job: &Job<'a, I, L>, progress: &dyn Progress) -> Self {
        let (histories, targets): (Vec<_>, Vec<ItemId>) = job.samples.iter().map(|s| job.sample(s)).unzip();
        let own = || encode_users(&job.ids, &histories);
        let raw_users = job.training_ids.map_or_else(own, |ids| encode_users(ids, &histories));
        let all: Vec<ItemId> = job.dataset.catalog.all().collect();
        let normalizer = IdNormalizer::measure(raw_users.clone(), job.ids.items(&all));
        let users = normalizer.scaled_users(raw_users);
        // Row 0 is padding and is never drawn.
        let with_padding: Vec<ItemId> = std::iter::once(ItemId(1)).chain(all.iter().copied()).collect();
        let items = normalizer.items(&job.ids, &with_padding);
        let user_texts = job.text.user_texts(&histories);
        let visited: Vec<&[u32]> = job.visited_samples().into_iter().map(|sample| &*user_texts[sample]).collect();
        let (lm, cache) = (job.text.lm(), job.text.cache());
        cache.fill(lm, &visited, "read histories", progress);
        cache.fill(lm, &job.text.item_texts(&all), "read items", progress);
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
        let tuned = job.align.tuning.tune != Tuning::None;
        if tuned && job.train.chunk > 0 {
            tracing::warn!("chunk is ignored: tuning the language model needs the graph of every text");
        }
        let chunk = if tuned { 0 } else { job.train.chunk };
        let (departures, catalog) = (&job.align.departures, all.len());
        let teacher = (departures.distill > 0.0).then(|| Teacher::new(job.teacher, catalog, departures.distill_scale));
        let mut inputs =
            Self { histories, targets, user_texts, interests, vectors, shares, normalizer, teacher, chunk };
        if let Some(teacher) = inputs.teacher.as_ref().filter(|teacher| teacher.scale == 0.0) {
            let samples: Vec<usize> = evenly_spaced(inputs.targets.len(), 1024).collect();
            let targets: Vec<ItemId> = samples.iter().map(|&sample| inputs.targets[sample]).collect();
            let scores = |columns: &[ItemId]| inputs.taught(teacher, &samples, columns, 0);
            let scale = fitted_scale(scores, catalog, &targets, &items.device());
            tracing::info!(scale, "the teacher's scores as logits");
            inputs.teacher.iter_mut().for_each(|teacher| teacher.scale = scale);
        }
        inputs
    }

    /// Returns `L = L_p + lambda (L_ua + L_ia)` of the samples `batch`, plus the terms that depart from the paper.
    pub(crate) fn loss<I: Recommender, L: LanguageModel>(
        &self,
        job: &Job<'_, I, L>,
        towers: &Towers<Layerwise>,
        batch: &[usize],
        number: usize,
    ) -> Tensor<1> {
        let (text, align) = (job.text, job.align);
        // [`ra_core::Fit`] distributes batches over the devices in turn.
        let device = number % self.vectors.len();
        let (vectors, frozen_lm) =
            (&self.vectors[device], device.checked_sub(1).map_or(text.lm(), |d| &job.replicas[d]));
        let seed = splitmix64(job.seed ^ splitmix64(number as u64));
        let targets: Vec<ItemId> = batch.iter().map(|&s| self.targets[s]).collect();
        let columns = self.columns(&targets, batch, &align.loss, job.dataset.catalog.len(), seed);
        let (unique, place) = unique(&columns);

        let user_prefix = towers.user.prefix(self.noisy_users(&vectors.users, batch, align, seed));
        let item_ids = select(&vectors.items, unique.iter().map(|item| item.index()));
        let item_ids = dropout(item_ids, align.regularize.id_dropout, seed ^ 1);
        let item_ids = drop_ids(item_ids, align.regularize.item_id_drop, 1, seed ^ 4);
        let item_prefix = towers.item.prefix(item_ids.unsqueeze_dim(1));
        let lm = towers.extra.language_model(frozen_lm);
        let user_texts: Vec<Vec<u32>> = batch.iter().map(|&s| self.user_texts[s].clone()).collect();
        // The teacher has neither noise nor dropout: the towers should reproduce it from less.
        let taught = self.teacher.as_ref().map(|own| self.taught(own, batch, &columns, device) * own.scale);
        let scored = |[users, items]: [Tensor<2>; 2]| {
            let users = towers.extra.project_out(Side::User, users, text.normalizes());
            let items = towers.extra.project_out(Side::Item, items, text.normalizes());
            let items = select(&items, place.iter().copied());
            let pair = self.pair_loss(&align.loss, &towers.extra, batch, &columns, [users.clone(), items.clone()]);
            match &taught {
                Some(taught) => {
                    let logits = logits(&align.loss, &towers.extra, users, items);
                    pair + distill(logits, taught.clone()) * align.departures.distill
                }
                None => pair,
            }
        };
        let item_texts = text.item_texts(&unique);
        let sides = [(&user_texts[..], &user_prefix), (&item_texts[..], &item_prefix)];
        let pair = match self.chunk {
            0 => scored(sides.map(|(texts, prefix)| text.cache().encode(&lm, texts, Some(prefix)))),
            size => by_chunks(&lm, text.cache(), size, sides, scored),
        };
        if align.loss.loss == AlignLoss::None {
            return pair;
        }
        let user_ids: Vec<UserId> = batch.iter().map(|&s| self.histories[s].user).collect();
        let user_means = text.cache().means(frozen_lm, &user_texts);
        let target_texts = text.item_texts(&targets);
        let item_means = text.cache().means(frozen_lm, &target_texts);
        let every: Vec<usize> = (0..batch.len()).collect();
        let ua = layer_loss(&align.loss, &user_prefix, &every, user_means, &user_ids);
        let ia = layer_loss(&align.loss, &item_prefix, &place[..batch.len()], item_means, &targets);
        pair + (ua + ia) * align.loss.lambda
    }

    /// Returns a teacher's scores of `columns`, `[batch, columns]`, on a device and without the factor.
    fn taught(&self, teacher: &Teacher<'_>, batch: &[usize], columns: &[ItemId], device: usize) -> Tensor<2> {
        let vectors = &self.vectors[device];
        let users = self.users(&vectors.users, batch);
        let ids = IdVectors { normalizer: &self.normalizer, users, items: &vectors.items };
        let histories: Vec<History<'_>> = batch.iter().map(|&sample| self.histories[sample]).collect();
        teacher.scores(&histories, columns, &ids)
    }

    /// Returns the candidate items of a step: the batch's targets, then those that the pair loss adds.
    fn columns(
        &self,
        targets: &[ItemId],
        batch: &[usize],
        config: &LossConfig,
        items: usize,
        seed: u64,
    ) -> Vec<ItemId> {
        let mut random = SplitMix::new(seed ^ 2);
        let mut draw = || ItemId(random.below(items) as u32 + 1);
        let mut columns = targets.to_vec();
        match config.pair_loss {
            PairLoss::BprInBatch => {}
            PairLoss::SoftmaxInBatch => columns.extend((0..config.extra_negatives).map(|_| draw())),
            PairLoss::BprSampled => columns.extend(batch.iter().zip(targets).map(|(&sample, target)| {
                // A user who has nearly all items gets any item after a few attempts.
                let fits = |item: &ItemId| item != target && !self.histories[sample].items.contains(item);
                (0..100).map(|_| draw()).find(fits).unwrap_or_else(&mut draw)
            })),
        }
        columns
    }

    fn pair_loss(
        &self,
        config: &LossConfig,
        extra: &Departures,
        batch: &[usize],
        columns: &[ItemId],
        [users, items]: [Tensor<2>; 2],
    ) -> Tensor<1> {
        let device = users.device().inner();
        let n = batch.len();
        let own: Vec<usize> = (0..n).collect();
        let other =
            |i: usize, j: usize| columns[j] != columns[i] && !self.histories[batch[i]].items.contains(&columns[j]);
        match config.pair_loss {
            PairLoss::BprSampled => {
                let dot = |range: std::ops::Range<usize>| {
                    (users.clone() * items.clone().slice([range])).sum_dim(1).reshape([n])
                };
                bpr_sampled(dot(0..n), dot(n..2 * n))
            }
            PairLoss::BprInBatch => {
                bpr_in_batch(logits(config, extra, users, items), &Candidates::in_batch(&columns[..n], &device))
            }
            PairLoss::SoftmaxInBatch => {
                let scores = logits(config, extra, users, items);
                let candidates = Candidates::new(&own, columns.len(), other, &device);
                let uniform = config.extra_negatives as f32 / (self.vectors[0].items.dims()[0] - 1) as f32;
                let expected =
                    |item: &ItemId| (n as f32 * self.shares.get(item).copied().unwrap_or(0.0) + uniform).max(1e-9).ln();
                let log_q: Vec<f32> = columns.iter().map(expected).collect();
                let log_q = Tensor::from_data(TensorData::new(log_q, [columns.len()]), &device);
                softmax_in_batch(scores, &candidates, config.logq.then_some(log_q))
            }
        }
    }

    /// Returns the user vectors of a batch, `[batch, interests, dim]`.
    fn users(&self, users: &Tensor<2>, batch: &[usize]) -> Tensor<3> {
        let interests = self.interests;
        let rows = batch.iter().flat_map(|&sample| sample * interests..(sample + 1) * interests);
        select(users, rows).reshape([batch.len(), interests, users.dims()[1]])
    }

    /// Returns the same vectors with noise, dropout and samples without an ID.
    fn noisy_users(&self, users: &Tensor<2>, batch: &[usize], align: &AlignConfig, seed: u64) -> Tensor<3> {
        let (regularize, device) = (&align.regularize, users.device());
        let interests = self.interests;
        let mut ids = self.users(users, batch).flatten::<2>(0, 1);
        let [n, dim] = ids.dims();
        if regularize.id_noise > 0.0 {
            let noise = normal([n, dim], regularize.id_noise, &mut rng(seed, "id noise", 0), &device).val();
            ids = ids + noise * self.normalizer.user_std(&device);
        }
        let ids = dropout(ids, regularize.id_dropout, seed);
        drop_ids(ids, regularize.id_drop, interests, seed ^ 3).reshape([batch.len(), interests, dim])
    }
}

/// Returns the scores of `users`, `[batch, width]`, and `items`, `[columns, width]`, as input of the pair loss.
fn logits(config: &LossConfig, extra: &Departures, users: Tensor<2>, items: Tensor<2>) -> Tensor<2> {
    let scores = users.matmul(items.transpose());
    match config.pair_loss {
        PairLoss::SoftmaxInBatch => extra.over_temperature(scores, config.temperature),
        PairLoss::BprInBatch | PairLoss::BprSampled => scores,
    }
}

/// Returns the mean over layers of the loss between the mean of a layer's prefix rows and the text-only mean after that
/// layer.
fn layer_loss<T: PartialEq>(
    config: &LossConfig,
    prefix: &Prefix,
    rows: &[usize],
    means: Vec<Tensor<2>>,
    ids: &[T],
) -> Tensor<1> {
    let loss = |(layer, mean): (&Tensor<3>, Tensor<2>)| {
        let anchor = select(&layer.clone().mean_dim(1).squeeze_dim::<2>(1), rows.iter().copied());
        match config.loss {
            AlignLoss::InfoNce => info_nce(anchor, mean, ids, config.tau),
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

/// Returns the distinct items in ascending order, and the index of each of `items` among them.
fn unique(items: &[ItemId]) -> (Vec<ItemId>, Vec<usize>) {
    let mut distinct = items.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let place = items.iter().map(|item| distinct.partition_point(|d| d < item)).collect();
    (distinct, place)
}
