//! Attention over sequences in its composed form, on a padded grid.
use crate::encode::attention::{attend, merge_heads, split_heads};
use crate::indices;
use burn::tensor::{Tensor, TensorData};

/// Computes the same as [`super::attention`] with operators that every back end has.
pub(super) fn composed(inputs: [Tensor<2>; 3], lengths: &[usize], heads: usize, causal: bool) -> Tensor<2> {
    let (batch, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
    let device = inputs[0].device();
    // The source row of each cell of the padded grid, and the cell of each row.
    let (mut cells, mut places) = (vec![0; batch * longest], Vec::new());
    let mut bias = vec![-1e9f32; batch * longest * longest];
    for (row, &length) in lengths.iter().enumerate() {
        for at in 0..length {
            let cell = row * longest + at;
            cells[cell] = places.len();
            places.push(cell);
            let seen = if causal { at + 1 } else { length };
            bias[cell * longest..][..seen].fill(0.0);
        }
    }
    let cells = indices(cells, &device);
    let places = indices(places, &device);
    let bias = Tensor::<4>::from_data(TensorData::new(bias, [batch, 1, longest, longest]), &device);
    let width = inputs[0].dims()[1];
    let [q, k, v] = inputs.map(|x| split_heads(x.select(0, cells.clone()).reshape([batch, longest, width]), heads));
    merge_heads(attend(q, k, v, bias)).reshape([batch * longest, width]).select(0, places)
}
