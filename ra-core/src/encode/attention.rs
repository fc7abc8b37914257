//! Scaled dot-product attention in its composed form; models call the fused one in [`crate::kernels`].
use burn::tensor::{Tensor, activation::softmax};

/// Reshapes `[batch, length, heads * head_dim]` to `[batch, heads, length, head_dim]`.
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = x.dims();
    x.reshape([batch, length, heads, width / heads]).swap_dims(1, 2)
}

/// Reshapes `[batch, heads, length, head_dim]` to `[batch, length, heads * head_dim]`.
pub fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, length, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, length, heads * head_dim])
}

/// Repeats key or value heads, `[batch, fewer heads, rows, width]`, to `[batch, heads, rows, width]`.
pub fn repeat_heads(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, fewer, rows, width] = x.dims();
    if fewer == heads {
        return x;
    }
    let many = x.unsqueeze_dim::<5>(2).expand([batch, fewer, heads / fewer, rows, width]);
    many.reshape([batch, heads, rows, width])
}

/// `softmax(q k^T / sqrt(head_dim) + bias) v` (Vaswani et al., NeurIPS 2017, eq. 1).
///
/// # Shapes
/// `q` is `[batch, heads, queries, head_dim]`, `k` and `v` are `[batch, heads, keys, head_dim]`, `bias` broadcasts to
/// `[batch, heads, queries, keys]`; the result has the shape of `q`.
pub fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, bias: Tensor<4>) -> Tensor<4> {
    let scale = 1.0 / (q.dims()[3] as f32).sqrt();
    let scores = (q * scale).matmul(k.swap_dims(2, 3)) + bias;
    softmax(scores, 3).matmul(v)
}
