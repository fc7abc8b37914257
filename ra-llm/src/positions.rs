//! Positions of tokens: rotary angles, biases by relative position, and distances.
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::kernels::rotate;

/// The cosines and sines of all positions.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

/// The cosines and sines of a batch's positions, `[batch * rows, head / 2]` each.
#[derive(Debug)]
pub(crate) struct Angles {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

/// The angle of each pair of a head per position: `theta^(-2j / head)` for `j` below `head / 2`.
pub(crate) fn rotary_frequencies(head: usize, theta: f64) -> Vec<f64> {
    (0..head / 2).map(|j| theta.powf(-2.0 * j as f64 / head as f64)).collect()
}

impl Rotary {
    /// Computes `frequency * position` in double precision, for positions below `positions`.
    pub(crate) fn new(positions: usize, frequencies: &[f64], device: &Device) -> Self {
        let half = frequencies.len();
        let angle = |at: usize| (at / half) as f64 * frequencies[at % half];
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = (0..positions * half).map(|at| f(angle(at)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [positions, half]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    pub(crate) fn at(&self, positions: Tensor<2, Int>) -> Angles {
        let rows: Tensor<1, Int> = positions.flatten(0, 1);
        Angles { cos: self.cos.clone().select(0, rows.clone()), sin: self.sin.clone().select(0, rows) }
    }
}

impl Angles {
    /// Rotates every head of `x`, `[batch, rows, heads * head]`.
    pub(crate) fn apply_rotary(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, rows, width] = x.dims();
        let lift = |a: &Tensor<2>| if x.is_autodiff() { Tensor::from_inner(a.clone()) } else { a.clone() };
        let (cos, sin) = (lift(&self.cos), lift(&self.sin));
        rotate(x.reshape([batch * rows, width]), cos, sin).reshape([batch, rows, width])
    }
}

/// A bias of scores by relative position, with logarithmic buckets (Raffel et al., "T5", JMLR 2020): distances below a
/// quarter of the number of buckets have one each, longer ones share those that are left, and all beyond
/// `max_distance` share the last. Keys before and after a query have half of the buckets each.
#[derive(Debug, Clone)]
pub(crate) struct RelativeBias {
    /// The bias of each head at distances `-max_distance..=max_distance`, `[2 * max_distance + 1, heads]`.
    by_distance: Tensor<2>,
    max_distance: usize,
}

impl RelativeBias {
    /// Buckets that [`new`](Self::new) cannot make, and what to say of them.
    pub(crate) fn bad(buckets: usize, max_distance: usize) -> (bool, String) {
        const FARTHEST: usize = 1 << 14;
        let wrong = buckets < 4 || max_distance <= buckets / 4 || max_distance > FARTHEST;
        let told = format!(
            "{buckets} buckets of relative positions up to a distance of {max_distance} (it must be 4 at least, up to a \
             distance above a quarter of them and of {FARTHEST} at most)"
        );
        (wrong, told)
    }

    /// `table` is `[buckets, heads]`; [`bad`](Self::bad) says which sizes are refused.
    pub(crate) fn new(table: &[f32], [buckets, heads]: [usize; 2], max_distance: usize, device: &Device) -> Self {
        let most = max_distance.cast_signed();
        let rows = (-most..=most).flat_map(|distance| {
            let bucket = bucket(distance, buckets, max_distance);
            table[bucket * heads..(bucket + 1) * heads].iter().copied()
        });
        let data = TensorData::new(rows.collect::<Vec<f32>>(), [2 * max_distance + 1, heads]);
        Self { by_distance: Tensor::from_data(data, device), max_distance }
    }

    /// `[batch, heads, tokens, tokens]`.
    pub(crate) fn at(&self, positions: &Tensor<2, Int>) -> Tensor<4> {
        let ([batch, tokens], [_, heads]) = (positions.dims(), self.by_distance.dims());
        let most = self.max_distance as i64;
        let rows = distances(positions).clamp(-most, most) + most;
        let bias = self.by_distance.clone().select(0, rows.reshape([batch * tokens * tokens]));
        bias.reshape([batch, tokens, tokens, heads]).permute([0, 3, 1, 2])
    }
}

/// The bucket of a key at this distance ahead of its query.
fn bucket(distance: isize, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let (side, distance, own) = (if distance > 0 { half } else { 0 }, distance.unsigned_abs(), half / 2);
    if distance < own {
        return side + distance;
    }
    // In single precision, as the models were trained.
    let far = (distance as f32 / own as f32).ln() / (max_distance as f32 / own as f32).ln();
    side + (own + (far * (half - own) as f32) as usize).min(half - 1)
}

/// How far each key is behind or ahead of each query: position of the key less that of the query, `[batch, tokens,
/// tokens]`.
pub(crate) fn distances(positions: &Tensor<2, Int>) -> Tensor<3, Int> {
    positions.clone().unsqueeze_dim::<3>(1) - positions.clone().unsqueeze_dim::<3>(2)
}
