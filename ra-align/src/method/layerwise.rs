//! The alignment module (RA-Rec, section 4): a separate projection and instruction for every layer.
use crate::config::{ModuleConfig, ProjectionKind};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ra_core::{Aligner, LmSpec, Prefix, normal, rng};

/// The shape and initialization of [`Layerwise`].
#[derive(Debug, Clone, PartialEq)]
pub struct LayerwiseConfig {
    /// How an ID vector becomes prefix rows.
    pub projection: ProjectionKind,
    /// The width of the ID vectors.
    pub dim: usize,
    /// The number of projected rows per layer.
    pub n_tok: usize,
    /// The number of instruction rows per layer.
    pub n_ctx: usize,
    /// The first layer with a prefix.
    pub first_layer: usize,
    /// The initial standard deviation of `W` and `R`.
    pub init_std: f32,
}

/// `W [out, in]` and `b [out]`; for an elementwise projection, `s` as `[1, numbers]`.
#[derive(Module, Debug)]
struct Projection {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Projection {
    fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze()
    }

    fn elementwise(&self, x: Tensor<2>) -> Tensor<2> {
        x * self.weight.val() + self.bias.val().unsqueeze()
    }
}

/// The alignment module: `d^(l) = [c^(l) ; p^(l)]`, `n_ctx` shared instruction rows, then `n_tok` rows projected from
/// the ID.
///
/// Row `t` of `p^(l)` is the numbers `t * width .. (t + 1) * width` of the output of [`ProjectionKind`]. The rows of
/// several vectors `e` follow each other.
///
/// # Example
/// ```
/// use burn::tensor::Tensor;
/// use ra_align::{LayerwiseConfig, ProjectionKind};
/// use ra_core::{Aligner, Backend, LmSpec, Pooling, open_device, parameter_table, trainable_params};
///
/// let device = open_device(Backend::Cpu)?;
/// let minilm = LmSpec { layers: 6, width: 384, max_tokens: 512, causal: false, pooling: Pooling::First };
/// let projection = ProjectionKind::Dense;
/// let config = LayerwiseConfig { projection, dim: 64, n_tok: 1, n_ctx: 4, first_layer: 0, init_std: 0.1 };
/// let tower = config.init(&minilm, "user", 1, &device);
/// let prefix = tower.prefix(Tensor::ones([2, 1, 64], &device)); // two users, a vector each
/// assert_eq!(prefix.layer(5).unwrap().dims(), [2, 5, 384]); // four instruction rows, one projected row
/// assert_eq!(trainable_params(&parameter_table(&tower)), 6 * (384 * 64 + 384 + 4 * 384));
/// # Ok::<(), ra_core::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Layerwise {
    /// `B [rank, dim]` of a low-rank projection.
    down: Option<Param<Tensor<2>>>,
    /// One per layer, or a single one for all.
    project: Vec<Projection>,
    instruction: Vec<Param<Tensor<2>>>,
    /// `R [n_tok * width, dim]`, frozen.
    lift: Option<Tensor<2>>,
    #[module(skip)]
    kind: ProjectionKind,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    first_layer: usize,
    #[module(skip)]
    layers: usize,
}

impl LayerwiseConfig {
    /// Returns the configuration for `module`, a language model and ID vectors of width `dim`.
    pub fn new(module: &ModuleConfig, dim: usize, spec: &LmSpec) -> Self {
        let ModuleConfig { projection, n_tok, n_ctx, init_std, .. } = *module;
        Self { projection, dim, n_tok, n_ctx, first_layer: module.first_layer(spec), init_std }
    }

    /// Creates a fresh module for a language model: `W ~ N(0, init_std)`, `s = 1`, `b = 0`, `c ~ N(0, 0.02)`.
    pub fn init(&self, spec: &LmSpec, label: &str, seed: u64, device: &Device) -> Layerwise {
        use ProjectionKind::{Dense, Diagonal, LowRank, None as NoId, Shared, Vector};
        let random = &mut rng(seed, label, 0);
        let (rows, layers) = (self.n_tok * spec.width, spec.layers - self.first_layer);
        let ones = |n: usize| Param::from_tensor(Tensor::ones([1, n], device));
        let down = match self.projection {
            LowRank(rank) => Some(normal([rank, self.dim], (self.dim as f32).sqrt().recip(), random, device)),
            _ => None,
        };
        let lift = matches!(self.projection, Diagonal | Vector).then(|| {
            let fixed = &mut rng(0, "lift", 0);
            normal([rows, self.dim], self.init_std, fixed, device).val().detach()
        });
        let mut projection = |_| {
            let (weight, out) = match self.projection {
                Dense | Shared | NoId => (normal([rows, self.dim], self.init_std, random, device), rows),
                LowRank(rank) => (normal([rows, rank], self.init_std, random, device), rows),
                Diagonal => (ones(rows), rows),
                Vector => (ones(self.dim), self.dim),
            };
            Projection { weight, bias: Param::from_tensor(Tensor::zeros([out], device)) }
        };
        let copies = match self.projection {
            NoId => 0,
            Shared => 1,
            _ => layers,
        };
        let project = (0..copies).map(&mut projection).collect();
        let contextual = if self.n_ctx == 0 { 0 } else { layers };
        let instruction = (0..contextual).map(|_| normal([self.n_ctx, spec.width], 0.02, random, device)).collect();
        let (kind, width, first_layer) = (self.projection, spec.width, self.first_layer);
        Layerwise { down, project, instruction, lift, kind, width, first_layer, layers }
    }
}

impl Layerwise {
    /// Creates the dense module from given parameters: for each layer `W [n_tok * width, dim]`, `b [n_tok * width]`
    /// and, if there are instruction rows, `c [n_ctx, width]`.
    pub fn from_parts(
        first_layer: usize,
        n_tok: usize,
        layers: Vec<(Tensor<2>, Tensor<1>, Option<Tensor<2>>)>,
    ) -> Self {
        let width = layers.first().map_or(0, |(w, _, _)| w.dims()[0] / n_tok);
        let count = layers.len();
        let instruction = layers.iter().filter_map(|(_, _, c)| c.clone().map(Param::from_tensor)).collect();
        let project = layers
            .into_iter()
            .map(|(w, b, _)| Projection { weight: Param::from_tensor(w), bias: Param::from_tensor(b) })
            .collect();
        let kind = ProjectionKind::Dense;
        Self { down: None, project, instruction, lift: None, kind, width, first_layer, layers: count }
    }

    /// Returns `W` (or `A`, or `s`), `b` and `c` of each projection.
    pub fn parts(&self) -> Vec<(Tensor<2>, Tensor<1>, Option<Tensor<2>>)> {
        let instruction = |l: usize| self.instruction.get(l).map(Param::val);
        self.project.iter().enumerate().map(|(l, p)| (p.weight.val(), p.bias.val(), instruction(l))).collect()
    }

    /// Returns the projection of layer `l`, `[vectors, n_tok * width]`, given the input that all layers share; `None`
    /// without an ID.
    fn projected(&self, l: usize, read: &Tensor<2>) -> Option<Tensor<2>> {
        let own = self.project.get(l).or(self.project.first())?;
        let read = read.clone();
        Some(match (self.kind, &self.lift) {
            (ProjectionKind::Diagonal, _) => own.elementwise(read),
            (ProjectionKind::Vector, Some(lift)) => own.elementwise(read).matmul(lift.clone().transpose()),
            _ => own.linear(read),
        })
    }
}

impl Aligner for Layerwise {
    fn prefix(&self, ids: Tensor<3>) -> Prefix {
        let [batch, vectors, dim] = ids.dims();
        let ids: Tensor<2> = ids.reshape([batch * vectors, dim]);
        let read = match (self.kind, &self.down, &self.lift) {
            (ProjectionKind::LowRank(_), Some(down), _) => ids.matmul(down.val().transpose()),
            (ProjectionKind::Diagonal, _, Some(lift)) => ids.matmul(lift.clone().transpose()),
            _ => ids,
        };
        let layer = |l: usize| {
            let instruction = self.instruction.get(l).map(|c| {
                let n_ctx = c.dims()[0];
                c.val().unsqueeze_dim::<3>(0).expand([batch, n_ctx, self.width])
            });
            let projected = self.projected(l, &read).map(|rows| {
                let n_tok = rows.dims()[1] / self.width;
                rows.reshape([batch, vectors * n_tok, self.width])
            });
            Tensor::cat(instruction.into_iter().chain(projected).collect(), 1)
        };
        Prefix::new(self.first_layer, (0..self.layers).map(layer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::testkit::contract::check_aligner;
    use ra_core::{Pooling, parameter_table, trainable_params};

    /// Opens the back end that `RA_REC_BACKEND` names, by default the CPU's.
    fn device() -> Device {
        ra_core::testkit::contract::device(std::env::var("RA_REC_BACKEND").ok().as_deref())
    }

    #[test]
    fn every_projection_meets_the_contract_with_and_without_instruction() {
        let spec = LmSpec { layers: 4, width: 6, max_tokens: 8, causal: false, pooling: Pooling::First };
        let device = device();
        let kinds = [
            ProjectionKind::Dense,
            ProjectionKind::LowRank(2),
            ProjectionKind::Diagonal,
            ProjectionKind::Vector,
            ProjectionKind::Shared,
        ];
        for projection in kinds {
            for (n_tok, n_ctx, first_layer) in [(1, 0, 0), (2, 3, 1), (1, 4, 3)] {
                let config = LayerwiseConfig { projection, dim: 5, n_tok, n_ctx, first_layer, init_std: 0.1 };
                let aligner = config.init(&spec, "user", 1, &device.clone().autodiff());
                check_aligner(&aligner, 5, 4, 6, &device);
                let layers = 4 - first_layer;
                let own = match projection {
                    ProjectionKind::Dense => layers * (n_tok * 6 * 5 + n_tok * 6),
                    ProjectionKind::LowRank(r) => r * 5 + layers * (n_tok * 6 * r + n_tok * 6),
                    ProjectionKind::Diagonal => layers * 2 * n_tok * 6,
                    ProjectionKind::Vector => layers * 2 * 5,
                    ProjectionKind::Shared => n_tok * 6 * 5 + n_tok * 6,
                    ProjectionKind::None => 0,
                };
                let rows = parameter_table(&aligner);
                assert_eq!(trainable_params(&rows), own + layers * n_ctx * 6, "{projection:?} {rows:?}");
            }
        }
        let config =
            LayerwiseConfig { projection: kinds[0], dim: 5, n_tok: 2, n_ctx: 0, first_layer: 0, init_std: 0.1 };
        let rows = parameter_table(&config.init(&spec, "user", 1, &device));
        assert_eq!((rows[0].name.as_str(), &rows[0].shape), ("project.0.weight", &vec![12, 5]));
    }

    #[test]
    fn a_shared_projection_is_the_same_in_all_layers_and_none_reads_no_id() {
        let spec = LmSpec { layers: 3, width: 4, max_tokens: 8, causal: false, pooling: Pooling::First };
        let device = device();
        let prefix = |projection, scale: f32| {
            let config = LayerwiseConfig { projection, dim: 2, n_tok: 1, n_ctx: 1, first_layer: 0, init_std: 0.1 };
            config.init(&spec, "user", 1, &device).prefix(Tensor::ones([2, 1, 2], &device) * scale)
        };
        let row = |p: &Prefix, l: usize| p.layer(l).unwrap().clone().slice([0..2, 1..2]).into_data();
        let shared = prefix(ProjectionKind::Shared, 1.0);
        assert_eq!(row(&shared, 0), row(&shared, 2));
        let dense = prefix(ProjectionKind::Dense, 1.0);
        assert_ne!(row(&dense, 0), row(&dense, 2));
        let config = LayerwiseConfig {
            projection: ProjectionKind::None,
            dim: 2,
            n_tok: 1,
            n_ctx: 1,
            first_layer: 0,
            init_std: 0.1,
        };
        assert_eq!(
            trainable_params(&parameter_table(&config.init(&spec, "user", 1, &device))),
            3 * 4,
            "instructions alone"
        );
        let (one, two) = (prefix(ProjectionKind::None, 1.0), prefix(ProjectionKind::None, 2.0));
        assert_eq!(one.rows(), 1);
        assert_eq!(one.layer(1).unwrap().to_data(), two.layer(1).unwrap().to_data());
    }

    #[test]
    fn the_count_of_the_paper_beside_gpt2_large() {
        let gpt2_large = LmSpec { layers: 36, width: 1280, max_tokens: 1024, causal: true, pooling: Pooling::Last };
        let config = LayerwiseConfig {
            projection: ProjectionKind::Vector,
            dim: 128,
            n_tok: 1,
            n_ctx: 0,
            first_layer: 0,
            init_std: 0.1,
        };
        let tower = parameter_table(&config.init(&gpt2_large, "user", 1, &device()));
        assert_eq!(2 * trainable_params(&tower), 18_432);
    }
}
