//! SASRec (Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018), the original code's variant.
use crate::{TrainConfig, binary_cross_entropy, softmax_cross_entropy};
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::attention::{attend, merge_heads, project, split_heads};
use ra_core::{
    History, IdModel, NextItemBatch, Recommender, attention_bias, dropout_mask, normal, rng, splitmix64, xavier_normal,
};
use serde::{Deserialize, Serialize};

/// What SASRec minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SasRecLoss {
    /// Cross-entropy over the whole catalogue.
    #[default]
    Softmax,
    /// Binary cross-entropy with one negative a position, as in the paper.
    Bce,
}

/// Configures [`SasRec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SasRecConfig {
    /// Width of item and user vectors.
    pub dim: usize,
    /// Self-attention blocks.
    pub blocks: usize,
    /// Heads a block.
    pub heads: usize,
    /// Items read at most, the newest ones.
    pub max_length: usize,
    /// Dropout rate.
    pub dropout: f64,
    /// The loss.
    pub loss: SasRecLoss,
    /// How it is trained.
    pub train: TrainConfig,
}

impl Default for SasRecConfig {
    fn default() -> Self {
        Self {
            dim: 64,
            blocks: 2,
            heads: 1,
            max_length: 50,
            dropout: 0.3,
            loss: SasRecLoss::Softmax,
            train: TrainConfig::default(),
        }
    }
}

#[derive(Module, Debug)]
struct Block {
    attention_norm: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    inner_norm: LayerNorm,
    up: Linear,
    down: Linear,
}

/// SASRec; a user is the state at the last position of the history.
#[derive(Module, Debug)]
pub struct SasRec {
    items: Param<Tensor<2>>,
    positions: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    #[module(skip)]
    config: SasRecConfig,
}

impl SasRecConfig {
    /// What does not make sense, in words a person can act on.
    ///
    /// # Errors
    /// The key, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        for (key, value) in [("dim", self.dim), ("heads", self.heads), ("max_length", self.max_length)] {
            if value == 0 {
                return Err(format!("id.{key} is 0, it must be at least 1"));
            }
        }
        if !self.dim.is_multiple_of(self.heads) {
            return Err(format!("id.dim is {}, it must be a multiple of id.heads, {}", self.dim, self.heads));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("id.dropout is {}, it must be in 0..1", self.dropout));
        }
        Ok(())
    }

    /// A fresh model for a catalogue of `items` items.
    pub fn init(&self, items: usize, seed: u64, device: &Device) -> SasRec {
        let (dim, random) = (self.dim, &mut rng(seed, "sasrec", 0));
        let norm = || LayerNormConfig::new(dim).with_epsilon(1e-8).init(device);
        let mut linear = || {
            let mut layer = LinearConfig::new(1, 1).init(device);
            layer.weight = xavier_normal([dim, dim], random, device);
            layer.bias = Some(Param::from_tensor(Tensor::zeros([dim], device)));
            layer
        };
        let blocks = (0..self.blocks)
            .map(|_| Block {
                attention_norm: norm(),
                query: linear(),
                key: linear(),
                value: linear(),
                inner_norm: norm(),
                up: linear(),
                down: linear(),
            })
            .collect();
        SasRec {
            items: normal([items + 1, dim], 0.02, random, device),
            positions: normal([self.max_length, dim], 0.02, random, device),
            blocks,
            norm: norm(),
            config: self.clone(),
        }
    }
}

impl SasRec {
    /// The item table with a zero row for padding, `[items + 1, dim]`.
    pub fn table(&self) -> Tensor<2> {
        let [rows, dim] = self.items.dims();
        Tensor::cat(vec![Tensor::zeros([1, dim], &self.items.device()), self.items.val().slice([1..rows])], 0)
    }

    /// States `[batch, length, dim]` of left-padded histories `[batch, length]`, `length <= max_length`.
    pub fn states(&self, items: Tensor<2, Int>, dropout: Option<u64>) -> Tensor<3> {
        let [batch, length] = items.dims();
        let (dim, device) = (self.config.dim, self.items.device());
        let mask: Tensor<2> = items.clone().not_equal_elem(0).float();
        let keep = mask.clone().reshape([batch, length, 1]);
        let bias = attention_bias(&mask, 0, true);
        let noise = |x: Tensor<3>, site: u64| match dropout {
            Some(seed) if self.config.dropout > 0.0 => {
                let shape = x.dims();
                x * dropout_mask(shape, self.config.dropout, splitmix64(seed ^ site), &device)
            }
            _ => x,
        };
        let rows = self.table().select(0, items.reshape([batch * length])).reshape([batch, length, dim]);
        let from = self.config.max_length - length;
        let positions = self.positions.val().slice([from..self.config.max_length]).unsqueeze_dim(0);
        let mut x = noise(rows * (dim as f32).sqrt() + positions, 0) * keep.clone();
        for (index, block) in self.blocks.iter().enumerate() {
            let site = 3 * index as u64 + 1;
            let heads = |layer: &Linear, x: Tensor<3>| split_heads(project(layer, x), self.config.heads);
            // The query alone is normed, and the residual is the normed query: as in the original code.
            let query = block.attention_norm.forward(x.clone());
            let attended = attend(
                heads(&block.query, query.clone()),
                heads(&block.key, x.clone()),
                heads(&block.value, x),
                bias.clone(),
            );
            // Dropout on the attention's output instead of its weights: the same regulariser at 1/length of the cost.
            let inner = block.inner_norm.forward(noise(merge_heads(attended), site) + query);
            let up = noise(relu(project(&block.up, inner.clone())), site + 1);
            x = (noise(project(&block.down, up), site + 2) + inner) * keep.clone();
        }
        self.norm.forward(x) * keep
    }

    /// Every parameter under its name in the original code; matrices of linear layers are stored `[in, out]`.
    pub(crate) fn original_names(&mut self) -> Vec<(String, Parameter<'_>)> {
        let mut all = vec![
            ("item_emb".into(), Parameter::Table(&mut self.items)),
            ("pos_emb".into(), Parameter::Table(&mut self.positions)),
        ];
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let linears = [
                ("q", &mut block.query),
                ("k", &mut block.key),
                ("v", &mut block.value),
                ("f1", &mut block.up),
                ("f2", &mut block.down),
            ];
            for (name, linear) in linears {
                all.push((format!("{index}.{name}.w"), Parameter::Matrix(&mut linear.weight)));
                all.extend(linear.bias.as_mut().map(|b| (format!("{index}.{name}.b"), Parameter::Vector(b))));
            }
            for (name, norm) in [("ln_attn", &mut block.attention_norm), ("ln_ffn", &mut block.inner_norm)] {
                all.push((format!("{index}.{name}.w"), Parameter::Vector(&mut norm.gamma)));
                all.extend(norm.beta.as_mut().map(|b| (format!("{index}.{name}.b"), Parameter::Vector(b))));
            }
        }
        all.push(("ln_out.w".into(), Parameter::Vector(&mut self.norm.gamma)));
        all.extend(self.norm.beta.as_mut().map(|b| ("ln_out.b".into(), Parameter::Vector(b))));
        all
    }

    fn device(&self) -> Device {
        self.items.device()
    }
}

/// A parameter and how the original code stores it.
pub(crate) enum Parameter<'a> {
    /// As it is.
    Table(&'a mut Param<Tensor<2>>),
    /// Transposed.
    Matrix(&'a mut Param<Tensor<2>>),
    /// As it is.
    Vector(&'a mut Param<Tensor<1>>),
}

impl IdModel for SasRec {
    type Fitted = Self;

    fn loss(&self, batch: &NextItemBatch) -> Tensor<1> {
        let [users, length] = batch.items.dims();
        let (dim, table) = (self.config.dim, self.table());
        let cells = |grid: &Tensor<2, Int>| grid.clone().reshape([users * length]).select(0, batch.rows.clone());
        let states = self.states(batch.items.clone(), batch.dropout).reshape([users * length, dim]);
        let hidden = states.select(0, batch.rows.clone());
        let positives = cells(&batch.positives);
        match self.config.loss {
            SasRecLoss::Bce => {
                let row = |ids| table.clone().select(0, ids);
                binary_cross_entropy(hidden, row(positives), row(cells(&batch.negatives)))
            }
            SasRecLoss::Softmax => {
                // At most 32 MiB of scores at a time.
                let chunk = ((1 << 23) / table.dims()[0]).clamp(1, 1024);
                softmax_cross_entropy(hidden, table, positives, chunk)
            }
        }
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for SasRec {
    fn dim(&self) -> usize {
        self.config.dim
    }

    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let limit = self.config.max_length;
        let read: Vec<&[u32]> = histories.iter().map(|h| &h.items[h.items.len().saturating_sub(limit)..]).collect();
        let length = read.iter().map(|r| r.len()).max().unwrap_or(0).max(1);
        let mut cells = vec![0i32; read.len() * length];
        for (row, items) in read.iter().enumerate() {
            for (column, &item) in items.iter().enumerate() {
                cells[(row + 1) * length - items.len() + column] = item as i32;
            }
        }
        let items = Tensor::from_data(TensorData::new(cells, [read.len(), length]), &self.device());
        let last = self.states(items, None).slice([0..read.len(), length - 1..length]);
        last.reshape([read.len(), self.config.dim])
    }

    fn items(&self, items: &[u32]) -> Tensor<2> {
        let rows: Vec<i32> = items.iter().map(|&i| i as i32).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [items.len()]), &self.device());
        let keep = rows.clone().not_equal_elem(0).float().reshape([items.len(), 1]);
        self.items.val().select(0, rows) * keep
    }
}
