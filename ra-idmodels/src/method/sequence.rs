//! Code shared by methods that read histories.
use burn::module::Param;
use burn::nn::{LayerNorm, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::kernels::{dropout, layer_norm};
use ra_core::{History, ItemId, indices, splitmix64};
use std::sync::Arc;

/// Concatenated histories, none of them empty.
pub(crate) struct Histories {
    /// `[rows]`.
    pub(crate) items: Tensor<1, Int>,
    /// The number of rows of each history.
    pub(crate) lengths: Arc<[usize]>,
    /// `[histories, 1]`, 0 for an empty history, which padding stands in for.
    pub(crate) known: Tensor<2>,
}

/// Returns the newest `max_length` items of each history.
pub(crate) fn histories(all: &[History<'_>], max_length: usize, device: &Device) -> Histories {
    let read = |h: &History<'_>| match &h.items[h.items.len().saturating_sub(max_length)..] {
        [] => vec![ItemId::PADDING.0],
        items => items.iter().map(|item| item.0).collect(),
    };
    let rows: Vec<Vec<u32>> = all.iter().map(read).collect();
    let known: Vec<f32> = all.iter().map(|h| if h.items.is_empty() { 0.0 } else { 1.0 }).collect();
    Histories {
        items: indices(rows.concat(), device),
        lengths: rows.iter().map(Vec::len).collect(),
        known: Tensor::from_data(TensorData::new(known, [all.len(), 1]), device),
    }
}

impl Histories {
    /// Returns the last row of each history in `states`, `[rows, width]`; zeros for an empty history.
    pub(crate) fn last(&self, states: Tensor<2>) -> Tensor<2> {
        states.select(0, ends(&self.lengths, &self.known.device())) * self.known.clone()
    }
}

/// Returns the rows of `items` in a table that starts with padding.
pub(crate) fn item_rows(table: &Tensor<2>, items: &[ItemId]) -> Tensor<2> {
    table.clone().select(0, indices(items.iter().map(|item| item.0), &table.device()))
}

/// Creates a linear layer with this weight, `[in, out]`, and a bias of zeros.
pub(crate) fn linear_of(weight: Param<Tensor<2>>) -> Linear {
    let ([_, to], device) = (weight.dims(), weight.device());
    let mut layer = LinearConfig::new(1, 1).init(&device);
    layer.weight = weight;
    layer.bias = Some(Param::from_tensor(Tensor::zeros([to], &device)));
    layer
}

/// Creates a linear layer with this weight, `[in, out]`, and no bias.
pub(crate) fn linear_without_bias(weight: Param<Tensor<2>>) -> Linear {
    Linear { bias: None, ..linear_of(weight) }
}

/// Returns the positions of concatenated sequences of these lengths: the last item of each has the last of `max_length`
/// positions.
pub(crate) fn last_places(lengths: &[usize], max_length: usize, device: &Device) -> Tensor<1, Int> {
    let place = |&length: &usize| (max_length - length..max_length).map(|place| place as u32);
    indices(lengths.iter().flat_map(place).collect::<Vec<u32>>(), device)
}

/// Returns the dropout of a step: a function of a tensor and of the place in the model, which keeps its input where there
/// is no `seed`.
pub(crate) fn noise(rate: f64, seed: Option<u64>) -> impl Fn(Tensor<2>, u64) -> Tensor<2> {
    move |x, site| match seed {
        Some(seed) => dropout(x, rate, splitmix64(seed ^ site)),
        None => x,
    }
}

/// Writes, in the `impl` of [`Recommender`](ra_core::Recommender) of a method whose item vectors are the rows of its
/// parameter `items`, which its histories read too, the methods that follow from that.
macro_rules! own_item_table {
    () => {
        fn items(&self, items: &[ra_core::ItemId]) -> burn::tensor::Tensor<2> {
            $crate::method::sequence::item_rows(&self.items.val(), items)
        }

        fn additions(&self, _: &ra_core::History<'_>) -> Vec<(ra_core::ItemId, f32)> {
            Vec::new()
        }

        fn with_items(&self, items: &burn::tensor::Tensor<2>) -> Option<Box<dyn ra_core::Recommender>> {
            let items = burn::module::Param::from_tensor(items.clone());
            Some(Box::new(Self { items, ..self.clone() }))
        }
    };
}

pub(crate) use own_item_table;

/// Returns the chosen rows of `x`, `[rows, width]`, or all of them.
pub(crate) fn chosen(x: Tensor<2>, rows: Option<&Tensor<1, Int>>) -> Tensor<2> {
    match rows {
        Some(rows) => x.select(0, rows.clone()),
        None => x,
    }
}

/// Applies a layer norm to `x`, `[rows, width]`, with the fused kernel, which Burn's own module lacks.
pub(crate) fn normed(norm: &LayerNorm, x: Tensor<2>, epsilon: f32) -> Tensor<2> {
    let beta = norm.beta.as_ref().map_or_else(|| norm.gamma.val().zeros_like(), Param::val);
    layer_norm(x, norm.gamma.val(), beta, epsilon)
}

/// Returns the last row of each sequence.
pub(crate) fn ends(lengths: &[usize], device: &Device) -> Tensor<1, Int> {
    let end = |end: &mut u32, &n: &usize| {
        *end += n as u32;
        Some(*end - 1)
    };
    indices(lengths.iter().scan(0, end), device)
}

/// The positions of sequence rows in a grid padded on the right to the longest sequence.
pub(crate) struct Grid {
    /// The row of each cell.
    cells: Tensor<1, Int>,
    /// The cell of each row.
    places: Tensor<1, Int>,
    mask: Tensor<2>,
}

impl Grid {
    pub(crate) fn new(lengths: &[usize], device: &Device) -> Self {
        let (batch, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let (mut cells, mut mask, mut row) = (vec![0; batch * longest], vec![0.0f32; batch * longest], 0);
        let mut places = Vec::new();
        for (sequence, &length) in lengths.iter().enumerate() {
            for at in 0..length {
                (cells[sequence * longest + at], mask[sequence * longest + at]) = (row, 1.0);
                places.push((sequence * longest + at) as u32);
                row += 1;
            }
        }
        let mask = Tensor::from_data(TensorData::new(mask, [batch, longest]), device);
        Self { cells: indices(cells, device), places: indices(places, device), mask }
    }

    /// Returns the number of sequences and the length of the longest.
    pub(crate) fn dims(&self) -> [usize; 2] {
        self.mask.dims()
    }

    /// Returns `[sequences, longest]`: 1 at an item, 0 at padding.
    pub(crate) fn mask(&self) -> Tensor<2> {
        self.mask.clone()
    }

    /// Turns `[rows, width]` into `[sequences, longest, width]`, with zeros at padding.
    pub(crate) fn pad(&self, x: Tensor<2>) -> Tensor<3> {
        let ([batch, longest], [_, width]) = (self.dims(), x.dims());
        x.select(0, self.cells.clone()).reshape([batch, longest, width]) * self.mask().reshape([batch, longest, 1])
    }

    /// Turns `[sequences, longest, width]` back into `[rows, width]`.
    pub(crate) fn rows(&self, x: Tensor<3>) -> Tensor<2> {
        let [batch, longest, width] = x.dims();
        x.reshape([batch * longest, width]).select(0, self.places.clone())
    }
}
