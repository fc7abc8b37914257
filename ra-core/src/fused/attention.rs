//! Self-attention over sequences that lie one after another, without padding between them.
use super::math::{TILE, dot, exp, multiply, vectorized};
use super::padded::composed;
use super::{Matrix, Operator, apply};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

/// `softmax(q k^T / sqrt(head width)) v` (Vaswani et al., NeurIPS 2017, eq. 1) within each sequence and head.
///
/// Nothing is spent on padding, and a causal product only on what is read: a batch of histories costs what its items
/// cost.
///
/// # Shapes
/// `q`, `k` and `v` are `[rows, heads * head width]`, with `rows` the sum of `lengths`; so is the result.
///
/// # Panics
/// When the rows are not those of the sequences, or the width is no multiple of `heads`.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    lengths: &Arc<[usize]>,
    heads: usize,
    causal: bool,
) -> Tensor<2> {
    let [rows, width] = q.dims();
    assert_eq!(rows, lengths.iter().sum::<usize>(), "the rows are those of the sequences");
    assert_eq!(width % heads, 0, "the width is a multiple of the heads");
    let inputs = [q, k, v];
    let operator = Attention { lengths: lengths.clone(), heads, causal };
    apply(operator, &inputs).unwrap_or_else(|| composed(inputs, lengths, heads, causal))
}

#[derive(Debug)]
struct Attention {
    lengths: Arc<[usize]>,
    heads: usize,
    causal: bool,
}

/// One head of one sequence: buffers padded with zeros to whole tiles.
#[derive(Default)]
struct Head {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    grad: Vec<f32>,
    transposed: Vec<f32>,
    scores: Vec<f32>,
    out: Vec<f32>,
}

/// Sizes of a head: `length` rows of `width`, both also rounded up.
#[derive(Clone, Copy)]
struct Size {
    length: usize,
    rows: usize,
    columns: usize,
    width: usize,
    wide: usize,
    causal: bool,
}

impl Size {
    fn new(length: usize, width: usize, causal: bool) -> Self {
        let columns = length.next_multiple_of(TILE);
        Self { length, rows: length.next_multiple_of(4), columns, width, wide: width.next_multiple_of(TILE), causal }
    }

    /// Keys that the four queries from `row` on read at most.
    #[inline(always)]
    fn read(self, row: usize) -> std::ops::Range<usize> {
        0..if self.causal { (row + 4).min(self.length) } else { self.length }
    }

    /// Queries that read one of the four keys from `row` on.
    #[inline(always)]
    fn readers(self, row: usize) -> std::ops::Range<usize> {
        if self.causal { row..self.length } else { 0..self.length }
    }
}

/// Copies a head's columns of `x` into a buffer of `wide` columns, scaled.
#[inline(always)]
fn load(buffer: &mut Vec<f32>, x: &[f32], (stride, from): (usize, usize), size: Size, scale: f32) {
    buffer.clear();
    buffer.resize(size.columns * size.wide, 0.0);
    for (row, x) in buffer.chunks_exact_mut(size.wide).zip(x.chunks_exact(stride)) {
        for (to, x) in row.iter_mut().zip(&x[from..from + size.width]) {
            *to = x * scale;
        }
    }
}

/// `[height, width]` to `[width, tall]`, of which the first `height` columns are filled.
#[inline(always)]
fn transpose(to: &mut Vec<f32>, x: &[f32], x_width: usize, height: usize, width: usize, tall: usize) {
    to.clear();
    to.resize(width.next_multiple_of(4) * tall, 0.0);
    for row in 0..height {
        for (column, x) in x[row * x_width..][..width].iter().enumerate() {
            to[column * tall + row] = *x;
        }
    }
}

#[inline(always)]
fn zeros(buffer: &mut Vec<f32>, n: usize) {
    buffer.clear();
    buffer.resize(n, 0.0);
}

#[inline(always)]
fn store(buffer: &[f32], out: &mut [f32], (stride, from): (usize, usize), size: Size, scale: f32) {
    for (row, out) in buffer.chunks_exact(size.wide).zip(out.chunks_exact_mut(stride)) {
        for (out, x) in out[from..from + size.width].iter_mut().zip(row) {
            *out = x * scale;
        }
    }
}

/// Attention weights in place of scores.
#[inline(always)]
fn softmax(scores: &mut [f32], size: Size) {
    for (row, scores) in scores.chunks_exact_mut(size.columns).take(size.length).enumerate() {
        let seen = if size.causal { row + 1 } else { size.length };
        let (seen, hidden) = scores.split_at_mut(seen);
        hidden.fill(0.0);
        let top = seen.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for score in seen.iter_mut() {
            *score = exp(*score - top);
        }
        let scale = 1.0 / super::math::sum(seen);
        for score in seen {
            *score *= scale;
        }
    }
}

impl Head {
    #[inline(always)]
    fn forward(&mut self, x: [&[f32]; 3], out: &mut [f32], saved: &mut [f32], at: (usize, usize), size: Size) {
        let scale = 1.0 / (size.width as f32).sqrt();
        load(&mut self.q, x[0], at, size, scale);
        load(&mut self.k, x[1], at, size, 1.0);
        load(&mut self.v, x[2], at, size, 1.0);
        transpose(&mut self.transposed, &self.k, size.wide, size.length, size.width, size.columns);
        let (q, k) = ((&self.q[..], size.wide), (&self.transposed[..], size.columns));
        multiply(
            (saved, size.columns),
            q,
            k,
            size.rows,
            #[inline(always)]
            |_| 0..size.width,
            #[inline(always)]
            |row| size.read(row),
        );
        softmax(saved, size);
        zeros(&mut self.out, size.rows * size.wide);
        let (p, v) = ((&saved[..], size.columns), (&self.v[..], size.wide));
        multiply(
            (&mut self.out, size.wide),
            p,
            v,
            size.rows,
            #[inline(always)]
            |row| size.read(row),
            #[inline(always)]
            |_| 0..size.width,
        );
        store(&self.out, out, at, size, 1.0);
    }

    #[inline(always)]
    fn backward(
        &mut self,
        x: [&[f32]; 3],
        p: &[f32],
        grad: &[f32],
        out: [&mut [f32]; 3],
        at: (usize, usize),
        size: Size,
    ) {
        let scale = 1.0 / (size.width as f32).sqrt();
        let [dq, dk, dv] = out;
        load(&mut self.q, x[0], at, size, scale);
        load(&mut self.k, x[1], at, size, 1.0);
        load(&mut self.v, x[2], at, size, 1.0);
        load(&mut self.grad, grad, at, size, 1.0);
        let cells = size.rows * size.wide;

        // dV = P^T dO
        transpose(&mut self.transposed, p, size.columns, size.length, size.length, size.columns);
        zeros(&mut self.out, cells);
        let (a, b) = ((&self.transposed[..], size.columns), (&self.grad[..], size.wide));
        multiply(
            (&mut self.out, size.wide),
            a,
            b,
            size.rows,
            #[inline(always)]
            |row| size.readers(row),
            #[inline(always)]
            |_| 0..size.width,
        );
        store(&self.out, dv, at, size, 1.0);

        // dS = P * (dP - sum(P * dP)), dP = dO V^T
        transpose(&mut self.transposed, &self.v, size.wide, size.length, size.width, size.columns);
        zeros(&mut self.scores, size.rows * size.columns);
        let (a, b) = ((&self.grad[..], size.wide), (&self.transposed[..], size.columns));
        multiply(
            (&mut self.scores, size.columns),
            a,
            b,
            size.rows,
            #[inline(always)]
            |_| 0..size.width,
            #[inline(always)]
            |row| size.read(row),
        );
        let rows = self.scores.chunks_exact_mut(size.columns).zip(p.chunks_exact(size.columns));
        for (ds, p) in rows.take(size.length) {
            let mean = dot(ds, p);
            for (ds, p) in ds.iter_mut().zip(p) {
                *ds = p * (*ds - mean);
            }
        }

        // dQ = dS K / sqrt(width)
        zeros(&mut self.out, cells);
        let (a, b) = ((&self.scores[..], size.columns), (&self.k[..], size.wide));
        multiply(
            (&mut self.out, size.wide),
            a,
            b,
            size.rows,
            #[inline(always)]
            |row| size.read(row),
            #[inline(always)]
            |_| 0..size.width,
        );
        store(&self.out, dq, at, size, scale);

        // dK = dS^T Q / sqrt(width)
        transpose(&mut self.transposed, &self.scores, size.columns, size.length, size.length, size.columns);
        zeros(&mut self.out, cells);
        let (a, b) = ((&self.transposed[..], size.columns), (&self.q[..], size.wide));
        multiply(
            (&mut self.out, size.wide),
            a,
            b,
            size.rows,
            #[inline(always)]
            |row| size.readers(row),
            #[inline(always)]
            |_| 0..size.width,
        );
        store(&self.out, dk, at, size, 1.0);
    }
}

/// Cuts a slice into one piece a sequence.
fn pieces(mut x: &mut [f32], sizes: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    sizes
        .map(|size| {
            let (piece, rest) = std::mem::take(&mut x).split_at_mut(size);
            x = rest;
            piece
        })
        .collect()
}

impl Attention {
    fn size(&self, length: usize, width: usize) -> Size {
        Size::new(length, width / self.heads, self.causal)
    }

    /// Floats that a sequence's weights take.
    fn weights(&self, length: usize, width: usize) -> usize {
        let size = self.size(length, width);
        self.heads * size.rows * size.columns
    }

    /// First row and length of each sequence.
    fn spans(&self) -> Vec<(usize, usize)> {
        let starts = self.lengths.iter().scan(0, |start, &length| {
            let from = *start;
            *start += length;
            Some(from)
        });
        starts.zip(self.lengths.iter().copied()).collect()
    }
}

impl Operator<3> for Attention {
    /// The attention weights, padded to tiles.
    type Saved = Vec<f32>;

    fn forward(&self, inputs: [Matrix<'_>; 3]) -> (Vec<f32>, usize, Self::Saved) {
        let width = inputs[0].width;
        let mut out = vec![0.0; inputs[0].values.len()];
        let mut saved = vec![0.0; self.lengths.iter().map(|&l| self.weights(l, width)).sum()];
        let outs = pieces(&mut out, self.lengths.iter().map(|l| l * width));
        let weights = pieces(&mut saved, self.lengths.iter().map(|&l| self.weights(l, width)));
        let spans = self.spans();
        spans.into_par_iter().zip(outs).zip(weights).with_min_len(8).for_each_init(
            Head::default,
            |head, (((start, length), out), weights)| {
                let size = self.size(length, width);
                let x = inputs.map(|m| &m.values[start * width..(start + length) * width]);
                let weights = weights.chunks_exact_mut((size.rows * size.columns).max(1));
                vectorized(
                    #[inline(always)]
                    || {
                        for (index, weights) in weights.enumerate() {
                            head.forward(x, out, weights, (width, index * size.width), size);
                        }
                    },
                );
            },
        );
        (out, width, saved)
    }

    fn backward(&self, inputs: [Matrix<'_>; 3], saved: &Self::Saved, grad: &[f32]) -> [Vec<f32>; 3] {
        let width = inputs[0].width;
        let mut grads: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; grad.len()]);
        let [dq, dk, dv] = grads.each_mut().map(|d| pieces(d, self.lengths.iter().map(|l| l * width)));
        let mut weights = Vec::with_capacity(self.lengths.len());
        let mut at = 0;
        for &length in self.lengths.iter() {
            let n = self.weights(length, width);
            weights.push(&saved[at..at + n]);
            at += n;
        }
        let spans = self.spans();
        spans.into_par_iter().zip(dq).zip(dk).zip(dv).zip(weights).with_min_len(8).for_each_init(
            Head::default,
            |head, (((((start, length), dq), dk), dv), weights)| {
                let size = self.size(length, width);
                let rows = start * width..(start + length) * width;
                let x = inputs.map(|m| &m.values[rows.clone()]);
                vectorized(
                    #[inline(always)]
                    || {
                        for (index, p) in weights.chunks_exact((size.rows * size.columns).max(1)).enumerate() {
                            let at = (width, index * size.width);
                            head.backward(x, p, &grad[rows.clone()], [&mut *dq, &mut *dk, &mut *dv], at, size);
                        }
                    },
                );
            },
        );
        grads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fused::tests::{agree, random};

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        for (lengths, width, heads) in
            [(vec![5, 1, 17, 33, 2], 24, 2), (vec![50, 3], 64, 1), (vec![16, 1], 20, 1), (vec![7], 8, 4)]
        {
            let lengths: Arc<[usize]> = lengths.into();
            let rows = lengths.iter().sum();
            for causal in [true, false] {
                agree(
                    || [1, 2, 3].map(|seed| random([rows, width], seed)),
                    |[q, k, v]| attention(q, k, v, &lengths, heads, causal),
                    |inputs| composed(inputs, &lengths, heads, causal),
                );
            }
        }
    }

    #[test]
    fn a_sequence_does_not_depend_on_its_neighbours() {
        let rows =
            |range: std::ops::Range<usize>| [1, 2, 3].map(|seed| random([12, 16], seed).inner().slice([range.clone()]));
        let run =
            |[q, k, v]: [Tensor<2>; 3], lengths: &[usize]| attention(q, k, v, &lengths.into(), 2, true).into_data();
        let both = run(rows(0..12), &[5, 7]);
        let alone = run(rows(5..12), &[7]);
        assert_eq!(both.iter::<f32>().skip(5 * 16).collect::<Vec<_>>(), alone.iter::<f32>().collect::<Vec<_>>());
    }
}
