//! Message passing over a graph: a sparse matrix times a dense one.
use super::{Matrix, Operator, Sparse, apply};
use crate::indices;
use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use std::sync::Arc;

/// A symmetric graph with the weights of `D^-1/2 A D^-1/2`, in compressed rows.
///
/// Because it is symmetric, the gradient of a product with it is the same product.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph(Sparse);

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
        let weight = |node: usize, other: u32| (scale[node] * scale[other as usize]) as f32;
        let weighted = |(node, row): (usize, &Vec<u32>)| -> Vec<(u32, f32)> {
            row.iter().map(|&other| (other, weight(node, other))).collect()
        };
        Self(Sparse::from_rows(nodes, rows.iter().enumerate().map(weighted)))
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.0.rows()
    }
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
    let Sparse { offsets, columns, weights, .. } = &graph.0;
    let from = indices(columns.iter().copied(), &device);
    let to = offsets.windows(2).zip(0i32..).flat_map(|(w, node)| std::iter::repeat_n(node, w[1] - w[0]));
    let to = indices(to, &device);
    let weights = Tensor::<2>::from_data(TensorData::new(weights.clone(), [weights.len(), 1]), &device);
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
            let next = self.graph.0.product(layer.as_deref().unwrap_or(x), width);
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
        assert_eq!(graph.0.entries(), 12, "duplicate edges count once");
        for (layers, width) in [(0, 4), (1, 8), (3, 64), (2, 75)] {
            agree(|| [random([9, width], 1)], |[x]| propagate(&graph, layers, x), |[x]| composed(&graph, layers, x));
        }
    }
}
