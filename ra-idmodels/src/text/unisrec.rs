//! A sequence model over a frozen language model's vectors, after UniSRec (Hou et al., KDD 2022): SASRec with items
//! mapped from text, without the mixture of experts and the pretraining on other data.
use super::features::{MappedFeatures, on_sphere};
use crate::checks::of_train;
use crate::loss::ItemLoss;
use crate::method::sasrec::Encoder;
use crate::method::sequence::{histories, item_rows};
use crate::{Batches, FeatureMap, Job, LearnedMethod, Loss, NextItem, SasRecConfig, SasRecVariant, TrainConfig};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ra_core::{Check, History, IdModel, ItemId, Problem, Recommender, Renumbering, Result, TrainBatch, rng};
use serde::{Deserialize, Serialize};

/// Configures [`UniSRec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UniSRecConfig {
    /// The width of item and user vectors.
    pub dim: usize,
    /// The map from a language model's vector to an item vector.
    pub map: FeatureMap,
    /// The structure of a block.
    pub variant: SasRecVariant,
    /// The number of self-attention blocks.
    pub blocks: usize,
    /// The number of attention heads per block.
    pub heads: usize,
    /// The number of newest items that are read.
    pub max_length: usize,
    /// The dropout rate.
    pub dropout: f64,
    /// The temperature: a score is a cosine similarity divided by it.
    pub temperature: f32,
    /// The training loss.
    pub loss: Loss,
    /// The number of negatives per position or per batch, for losses that use negatives.
    pub negatives: usize,
    /// The calibration `t` of gBCE, from 0 to 1.
    pub calibration: f64,
    /// The training settings.
    pub train: TrainConfig,
}

impl Default for UniSRecConfig {
    fn default() -> Self {
        Self {
            dim: 64,
            map: FeatureMap::Linear,
            variant: SasRecVariant::Original,
            blocks: 2,
            heads: 1,
            max_length: 50,
            dropout: 0.3,
            temperature: 0.07,
            loss: Loss::Softmax,
            negatives: 1,
            calibration: 0.75,
            train: TrainConfig::default(),
        }
    }
}

/// SASRec over items mapped from frozen vectors. In use it becomes a [`FittedUniSRec`].
#[derive(Module, Debug)]
pub struct UniSRec {
    items: MappedFeatures,
    encoder: Encoder,
    #[module(skip)]
    config: UniSRecConfig,
}

impl UniSRecConfig {
    fn item_loss(&self) -> ItemLoss {
        ItemLoss { loss: self.loss, negatives: self.negatives, calibration: self.calibration }
    }

    fn sasrec(&self) -> SasRecConfig {
        let Self { variant, dim, blocks, heads, max_length, dropout, .. } = *self;
        SasRecConfig { variant, dim, blocks, heads, max_length, dropout, ..SasRecConfig::default() }
    }

    /// Creates a new model over the vectors `features`, `[items + 1, width]`.
    pub fn init(&self, features: &Tensor<2>, seed: u64, device: &Device) -> UniSRec {
        let (random, items) = (&mut rng(seed, "unisrec", 0), features.dims()[0] - 1);
        UniSRec {
            items: MappedFeatures::init(self.map, self.dim, features, random, device),
            encoder: self.sasrec().encoder_alone(seed, device),
            config: Self { loss: self.loss.for_catalogue(items), ..self.clone() },
        }
    }
}

impl Check for UniSRecConfig {
    fn problems(&self) -> Vec<Problem> {
        let own = Problem::unless_positive("temperature", self.temperature);
        let own = own.into_iter().chain(self.item_loss().problems());
        own.chain(self.sasrec().problems()).chain(of_train(self.train.problems())).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        self.item_loss().oddities().into_iter().chain(of_train(self.train.oddities())).collect()
    }
}

impl LearnedMethod for UniSRecConfig {
    type Model = UniSRec;
    const READS_FEATURES: bool = true;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<UniSRec> {
        Ok(self.init(job.given_features()?, seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        let (loss, batch) = (self.item_loss(), self.train.batch);
        let batches = NextItem::new(job.dataset, batch, self.max_length, loss.wanted(), job.seed, job.device);
        loss.batches(batches, job)
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

impl IdModel for UniSRec {
    type Fitted = FittedUniSRec;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let (loss, temperature) = (self.config.item_loss(), self.config.temperature);
        if !loss.reads_rows() {
            let [states, table] = on_spheres(self.items.table(), &self.encoder, temperature, batch);
            return loss.of(states, table, batch);
        }
        // Only the items of the batch are mapped.
        let (batch, rows) = Renumbering::new(batch.catalog).renumber(batch.clone());
        let [states, table] = on_spheres(self.items.rows(rows), &self.encoder, temperature, &batch);
        loss.of(states, table, &batch)
    }

    fn fitted(&self) -> FittedUniSRec {
        let plain = self.valid();
        FittedUniSRec::new(plain.items.table(), plain.encoder, plain.config.temperature)
    }
}

/// The states of a batch's histories and the items, scaled so that the product of two is their cosine divided by the
/// temperature. `table` is `[items + 1, dim]`, and histories read its rows scaled to length 1.
pub(super) fn on_spheres(table: Tensor<2>, encoder: &Encoder, temperature: f32, batch: &TrainBatch) -> [Tensor<2>; 2] {
    let read = on_sphere(table.clone(), 1.0).select(0, batch.items.clone());
    let states = encoder.states(read, &batch.lengths, batch.rows.as_ref(), batch.dropout);
    [states, table].map(|x| on_sphere(x, temperature))
}

/// [`UniSRec`] with all items mapped once; keeps neither the map nor its input.
#[derive(Debug)]
pub struct FittedUniSRec {
    /// `[items + 1, dim]`, as histories read them; row 0 is padding.
    read: Tensor<2>,
    /// `[items + 1, dim]`, as they are scored.
    scored: Tensor<2>,
    encoder: Encoder,
    temperature: f32,
}

impl FittedUniSRec {
    /// `table` is `[items + 1, dim]`.
    pub(crate) fn new(table: Tensor<2>, encoder: Encoder, temperature: f32) -> Self {
        let (read, scored) = (on_sphere(table.clone(), 1.0), on_sphere(table, temperature));
        Self { read, scored, encoder, temperature }
    }
}

impl Recommender for FittedUniSRec {
    fn dim(&self) -> usize {
        self.read.dims()[1]
    }
    fn interests(&self) -> usize {
        1
    }

    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let read = histories(all, self.encoder.max_length(), &self.read.device());
        let states = self.encoder.states(self.read.clone().select(0, read.items.clone()), &read.lengths, None, None);
        read.last(on_sphere(states, self.temperature))
    }

    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        item_rows(&self.scored, items)
    }

    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Dataset, Sequences, normal};

    #[test]
    fn a_loss_on_negatives_maps_the_items_of_its_batch_alone_and_is_that_of_all() {
        let device = Device::flex();
        let train = Sequences::from_numbers([vec![1, 2, 9, 4], vec![5, 2], vec![3, 3, 8]]);
        let data = Dataset::from_sequences("tiny", 40, train);
        let given = normal([41, 12], 1.0, &mut rng(5, "features", 0), &device).val();
        let job = Job::new(&data, &device).features(&given);
        let base = UniSRecConfig { dim: 8, max_length: 3, ..UniSRecConfig::default() };
        let maps = [FeatureMap::Linear, FeatureMap::Mlp];
        for (map, loss) in maps.into_iter().flat_map(|map| [(map, Loss::SharedSoftmax), (map, Loss::Gbce)]) {
            let config = UniSRecConfig { map, loss, negatives: 6, ..base.clone() };
            let model = config.fresh(&job, 1, &device).unwrap();
            let batch = config.batches(&job).batch(0);
            let [states, table] = on_spheres(model.items.table(), &model.encoder, config.temperature, &batch);
            let expected: f32 = config.item_loss().of(states, table, &batch).into_scalar();
            let found: f32 = model.loss(&batch).into_scalar();
            assert!((found / expected - 1.0).abs() < 1e-6, "{map:?} {loss:?}: {found} {expected}");
        }
    }
}
