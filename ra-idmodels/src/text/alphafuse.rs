//! AlphaFuse (Hu et al., "AlphaFuse: Learn ID Embeddings for Sequential Recommendation in Null Space of Language
//! Embeddings", SIGIR 2025).
use super::principal::Principal;
use super::unisrec::{FittedUniSRec, on_spheres};
use crate::checks::of_train;
use crate::loss::whole_catalogue;
use crate::method::sasrec::Encoder;
use crate::{Batches, Job, LearnedMethod, NextItem, SasRecConfig, SasRecVariant, TrainConfig};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ra_core::{Check, IdModel, Problem, Result, TrainBatch, normal, rng};
use serde::{Deserialize, Serialize};

/// Configures [`AlphaFuse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlphaFuseConfig {
    /// The width of item and user vectors.
    pub dim: usize,
    /// How many numbers of an item vector are those of the given vectors along their widest axes, and frozen; the
    /// others are learned.
    pub semantic: usize,
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
    /// The temperature of the softmax over cosine similarities.
    pub temperature: f32,
    /// The training settings.
    pub train: TrainConfig,
}

impl Default for AlphaFuseConfig {
    fn default() -> Self {
        Self {
            dim: 128,
            semantic: 64,
            variant: SasRecVariant::Original,
            blocks: 2,
            heads: 1,
            max_length: 50,
            dropout: 0.3,
            temperature: 0.07,
            train: TrainConfig::default(),
        }
    }
}

/// SASRec over items of two parts: the given vectors along their widest axes, standardised and frozen, and numbers of
/// their own along the axes that the given vectors hardly use. In use it becomes a [`FittedUniSRec`].
///
/// The axes are those of the items' covariance. Of the two forms of the paper this is the one in which an item's own
/// numbers take the place of what the given vectors have along those axes.
#[derive(Module, Debug)]
pub struct AlphaFuse {
    /// `[items + 1, semantic]`; not trained.
    semantic: Tensor<2>,
    /// `[items + 1, dim - semantic]`
    own: Param<Tensor<2>>,
    encoder: Encoder,
    #[module(skip)]
    config: AlphaFuseConfig,
}

impl AlphaFuseConfig {
    fn sasrec(&self) -> SasRecConfig {
        let Self { variant, dim, blocks, heads, max_length, dropout, .. } = *self;
        SasRecConfig { variant, dim, blocks, heads, max_length, dropout, ..SasRecConfig::default() }
    }

    /// Creates a new model over the vectors `features`, `[items + 1, width]`.
    ///
    /// # Errors
    /// [`Error::Missing`](ra_core::Error::Missing) if a number of the vectors is not finite. If they are narrower than
    /// `semantic`, what they lack is learned.
    pub fn init(&self, features: &Tensor<2>, seed: u64, device: &Device) -> Result<AlphaFuse> {
        let semantic = Principal::new(features, self.semantic, device)?.standardised();
        let [rows, axes] = semantic.dims();
        Ok(AlphaFuse {
            semantic: semantic.detach(),
            own: normal([rows, self.dim - axes], 0.02, &mut rng(seed, "alphafuse", 0), device),
            encoder: self.sasrec().encoder_alone(seed, device),
            config: self.clone(),
        })
    }
}

impl Check for AlphaFuseConfig {
    fn problems(&self) -> Vec<Problem> {
        let told = || format!("is {}, it must be below dim, {}", self.semantic, self.dim);
        let own = [
            Problem::unless_positive("temperature", self.temperature),
            (self.semantic >= self.dim).then(|| Problem::new("semantic", told())),
            Problem::if_below("semantic", self.semantic, 1),
        ];
        let own = own.into_iter().flatten();
        own.chain(self.sasrec().problems()).chain(of_train(self.train.problems())).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        of_train(self.train.oddities()).collect()
    }
}

impl LearnedMethod for AlphaFuseConfig {
    type Model = AlphaFuse;
    const READS_FEATURES: bool = true;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<AlphaFuse> {
        self.init(job.given_features()?, seed, device)
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        Box::new(NextItem::new(job.dataset, self.train.batch, self.max_length, 0, job.seed, job.device))
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

impl AlphaFuse {
    /// Returns the item table, `[items + 1, dim]`: first what is frozen, then what is learned.
    pub fn table(&self) -> Tensor<2> {
        Tensor::cat(vec![self.semantic.clone(), self.own.val()], 1)
    }
}

impl IdModel for AlphaFuse {
    type Fitted = FittedUniSRec;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let [states, table] = on_spheres(self.table(), &self.encoder, self.config.temperature, batch);
        whole_catalogue(states, table, batch)
    }

    fn fitted(&self) -> FittedUniSRec {
        let plain = self.valid();
        FittedUniSRec::new(plain.table(), plain.encoder, plain.config.temperature)
    }
}
