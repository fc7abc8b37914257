//! Message passing over a graph: a sparse matrix times a dense one.
use super::math::vectorized;
use super::{Matrix, Operator, apply};
use crate::indices;
use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use rayon::prelude::*;
use std::sync::Arc;

/// A symmetric graph with the weights of `D^-1/2 A D^-1/2`, in compressed rows.
///
/// Because it is symmetric, the gradient of a product with it is the same product.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    offsets: Vec<usize>,
    neighbours: Vec<u32>,
    weights: Vec<f32>,
}

impl Graph {
    /// Creates a graph from undirected edges between nodes below `nodes`; both directions of each edge are added.
    /// Duplicate edges count once.
    ///
    /// # Panics
    /// If an edge has a node that is not below `nodes`.
    pub fn new(nodes: usize, edges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); nodes];
        for (a, b) in edges {
            rows[a as usize].push(b);
            rows[b as usize].push(a);
        }
        for row in &mut rows {
            row.sort_unstable();
            row.dedup();
        }
        let scale: Vec<f64> = rows.iter().map(|row| 1.0 / (row.len() as f64).sqrt()).collect();
        let mut graph = Self { offsets: vec![0], neighbours: Vec::new(), weights: Vec::new() };
        for (node, row) in rows.iter().enumerate() {
            graph.weights.extend(row.iter().map(|&other| (scale[node] * scale[other as usize]) as f32));
            graph.neighbours.extend_from_slice(row);
            graph.offsets.push(graph.neighbours.len());
        }
        graph
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Computes `A x`; `x` and the result are `[nodes, width]`.
    fn product(&self, x: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        const BLOCK: usize = 256;
        out.par_chunks_mut(BLOCK * width.max(1)).enumerate().for_each(|(block, out)| {
            vectorized(
                #[inline(always)]
                || {
                    for (index, out) in out.chunks_exact_mut(width).enumerate() {
                        let node = block * BLOCK + index;
                        let edges = self.offsets[node]..self.offsets[node + 1];
                        let edges = self.neighbours[edges.clone()].iter().zip(&self.weights[edges]);
                        let mut column = 0;
                        while column + 64 <= width {
                            gather::<64>(out, x, width, column, edges.clone());
                            column += 64;
                        }
                        while column + 8 <= width {
                            gather::<8>(out, x, width, column, edges.clone());
                            column += 8;
                        }
                        for column in column..width {
                            gather::<1>(out, x, width, column, edges.clone());
                        }
                    }
                },
            );
        });
        out
    }
}

#[inline(always)]
fn gather<'a, const W: usize>(
    out: &mut [f32],
    x: &[f32],
    width: usize,
    column: usize,
    edges: impl Iterator<Item = (&'a u32, &'a f32)>,
) {
    let mut sums = [0.0f32; W];
    for (&neighbour, &weight) in edges {
        let start = neighbour as usize * width + column;
        if let Some(x) = x[start..].first_chunk::<W>() {
            for j in 0..W {
                sums[j] = weight.mul_add(x[j], sums[j]);
            }
        }
    }
    out[column..column + W].copy_from_slice(&sums);
}

/// The mean of `x`, `A x`, ..., `A^layers x` (He et al., LightGCN, SIGIR 2020, eq. 8).
///
/// # Shapes
/// `x` and the result are `[nodes, width]`.
///
/// # Panics
/// If `x` does not have one row per node.
pub fn propagate(graph: &Arc<Graph>, layers: usize, x: Tensor<2>) -> Tensor<2> {
    assert_eq!(x.dims()[0], graph.nodes(), "one row per node");
    let inputs = [x];
    apply(Propagate { graph: graph.clone(), layers }, &inputs).unwrap_or_else(|| {
        let [x] = inputs;
        composed(graph, layers, x)
    })
}

fn composed(graph: &Graph, layers: usize, x: Tensor<2>) -> Tensor<2> {
    let device = x.device();
    let from = indices(graph.neighbours.iter().copied(), &device);
    let to = graph.offsets.windows(2).zip(0i32..).flat_map(|(w, node)| std::iter::repeat_n(node, w[1] - w[0]));
    let to = indices(to, &device);
    let weights = Tensor::<2>::from_data(TensorData::new(graph.weights.clone(), [graph.weights.len(), 1]), &device);
    let (mut layer, mut sum) = (x.clone(), x);
    for _ in 0..layers {
        let messages = layer.clone().select(0, from.clone()) * weights.clone();
        layer = layer.zeros_like().select_assign(0, to.clone(), messages, IndexingUpdateOp::Add);
        sum = sum + layer.clone();
    }
    sum / (layers + 1) as f32
}

#[derive(Debug)]
struct Propagate {
    graph: Arc<Graph>,
    layers: usize,
}

impl Propagate {
    fn run(&self, x: &[f32], width: usize) -> Vec<f32> {
        let mut sum = x.to_vec();
        let mut layer = None;
        for _ in 0..self.layers {
            let next = self.graph.product(layer.as_deref().unwrap_or(x), width);
            sum.iter_mut().zip(&next).for_each(|(sum, next)| *sum += next);
            layer = Some(next);
        }
        let scale = 1.0 / (self.layers + 1) as f32;
        sum.iter_mut().for_each(|sum| *sum *= scale);
        sum
    }
}

impl Operator<1> for Propagate {
    type Saved = ();

    fn forward(&self, [x]: [Matrix<'_>; 1]) -> (Vec<f32>, usize, ()) {
        (self.run(x.values, x.width), x.width, ())
    }

    fn backward(&self, [x]: [Matrix<'_>; 1], _: &(), grad: &[f32], _: [bool; 1]) -> [Vec<f32>; 1] {
        [self.run(grad, x.width)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{agree, random};

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        let edges = [(0, 5), (0, 6), (1, 5), (2, 7), (2, 6), (2, 5), (0, 6)];
        let graph = Arc::new(Graph::new(9, edges)); // nodes 3, 4 and 8 are isolated
        assert_eq!(graph.neighbours.len(), 12, "duplicate edges count once");
        for (layers, width) in [(0, 4), (1, 8), (3, 64), (2, 75)] {
            agree(|| [random([9, width], 1)], |[x]| propagate(&graph, layers, x), |[x]| composed(&graph, layers, x));
        }
    }
}
