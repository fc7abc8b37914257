//! One head of attention over one sequence, on the host.
use crate::fused::math::{TILE, dot, exp, max, multiply, sum};
use std::ops::Range;

/// The buffers of a head, padded with zeros to whole tiles.
#[derive(Default)]
pub(super) struct Head {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    grad: Vec<f32>,
    transposed: Vec<f32>,
    scores: Vec<f32>,
    out: Vec<f32>,
}

/// Queries and keys of a sequence, the width of a head, and how far a query reads.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
    /// Query `r` reads keys `0..=r + ahead`; `None` reads all.
    pub(super) ahead: Option<usize>,
}

impl Size {
    /// Columns of the weights: the keys, rounded up.
    #[inline(always)]
    pub(super) fn columns(self) -> usize {
        self.keys.next_multiple_of(TILE)
    }

    /// Floats that the weights take.
    #[inline(always)]
    pub(super) fn weights(self) -> usize {
        self.queries.next_multiple_of(4) * self.columns()
    }

    #[inline(always)]
    fn wide(self) -> usize {
        self.width.next_multiple_of(TILE)
    }

    /// Keys that query `row` reads at most, together with the `more` queries after it.
    #[inline(always)]
    fn read(self, row: usize, more: usize) -> Range<usize> {
        0..self.ahead.map_or(self.keys, |ahead| (row + more + ahead + 1).min(self.keys))
    }

    /// Queries that read one of the four keys from `row` on.
    #[inline(always)]
    fn readers(self, row: usize) -> Range<usize> {
        self.ahead.map_or(0, |ahead| row.saturating_sub(ahead)).min(self.queries)..self.queries
    }
}

/// Where a head's columns lie in a row: the row's width, and the first column.
pub(super) type Place = (usize, usize);

/// Copies a head's columns of `x` into a buffer, scaled.
#[inline(always)]
fn load(buffer: &mut Vec<f32>, x: &[f32], (stride, from): Place, size: Size, scale: f32) {
    let rows = x.len() / stride.max(1);
    zeros(buffer, rows.next_multiple_of(TILE) * size.wide());
    for (row, x) in buffer.chunks_exact_mut(size.wide()).zip(x.chunks_exact(stride)) {
        for (to, x) in row.iter_mut().zip(&x[from..from + size.width]) {
            *to = x * scale;
        }
    }
}

/// `[height, width]` to `[width, tall]`, of which the first `height` columns are filled.
#[inline(always)]
fn transpose(to: &mut Vec<f32>, x: &[f32], x_width: usize, height: usize, width: usize) -> usize {
    let tall = height.next_multiple_of(TILE);
    zeros(to, width.next_multiple_of(4) * tall);
    for row in 0..height {
        for (column, x) in x[row * x_width..][..width].iter().enumerate() {
            to[column * tall + row] = *x;
        }
    }
    tall
}

#[inline(always)]
fn zeros(buffer: &mut Vec<f32>, n: usize) {
    buffer.clear();
    buffer.resize(n, 0.0);
}

/// Adds a buffer to a head's columns of `out`: query heads that share keys add up.
#[inline(always)]
fn add(buffer: &[f32], out: &mut [f32], (stride, from): Place, size: Size, scale: f32) {
    for (row, out) in buffer.chunks_exact(size.wide()).zip(out.chunks_exact_mut(stride)) {
        for (out, x) in out[from..from + size.width].iter_mut().zip(row) {
            *out = x.mul_add(scale, *out);
        }
    }
}

/// Attention weights in place of scores; `bias` is added first, `[queries, keys]`.
#[inline(always)]
fn softmax(scores: &mut [f32], bias: Option<&[f32]>, size: Size) {
    for (row, scores) in scores.chunks_exact_mut(size.columns()).take(size.queries).enumerate() {
        let (seen, hidden) = scores.split_at_mut(size.read(row, 0).end);
        hidden.fill(0.0);
        if let Some(bias) = bias {
            for (score, bias) in seen.iter_mut().zip(&bias[row * size.keys..]) {
                *score += bias;
            }
        }
        let top = max(seen);
        for score in seen.iter_mut() {
            *score = exp(*score - top);
        }
        let scale = 1.0 / sum(seen);
        for score in seen {
            *score *= scale;
        }
    }
}

impl Head {
    /// Adds the attended values to `out` and leaves the weights, `[queries, keys]` in whole tiles, in `weights`, which
    /// is zero before. `own` is the place of queries and `out`, `shared` that of keys and values.
    #[inline(always)]
    pub(super) fn forward(
        &mut self,
        x: [&[f32]; 3],
        bias: Option<&[f32]>,
        out: &mut [f32],
        weights: &mut [f32],
        [own, shared]: [Place; 2],
        size: Size,
    ) {
        let (rows, wide) = (size.queries.next_multiple_of(4), size.wide());
        load(&mut self.q, x[0], own, size, 1.0 / (size.width as f32).sqrt());
        load(&mut self.k, x[1], shared, size, 1.0);
        load(&mut self.v, x[2], shared, size, 1.0);
        let tall = transpose(&mut self.transposed, &self.k, wide, size.keys, size.width);
        let (q, k) = ((&self.q[..], wide), (&self.transposed[..], tall));
        let (all, read) = (|_| 0..size.width, |row| size.read(row, 3));
        multiply((weights, tall), q, k, rows, all, read);
        softmax(weights, bias, size);
        zeros(&mut self.out, rows * wide);
        multiply((&mut self.out, wide), (weights, tall), (&self.v, wide), rows, read, all);
        add(&self.out, out, own, size, 1.0);
    }

    /// Adds the gradients of queries, keys and values to `out`; of what has an empty slice there is none.
    #[inline(always)]
    pub(super) fn backward(
        &mut self,
        x: [&[f32]; 3],
        weights: &[f32],
        grad: &[f32],
        out: [&mut [f32]; 3],
        [own, shared]: [Place; 2],
        size: Size,
    ) {
        let scale = 1.0 / (size.width as f32).sqrt();
        let (wide, columns) = (size.wide(), size.columns());
        let (query_rows, key_rows) = (size.queries.next_multiple_of(4), size.keys.next_multiple_of(4));
        let (all, read) = (|_| 0..size.width, |row| size.read(row, 3));
        let readers = |row| size.readers(row);
        let [dq, dk, dv] = out;
        load(&mut self.grad, grad, own, size, 1.0);

        if !dv.is_empty() {
            // dV = P^T dO
            let tall = transpose(&mut self.transposed, weights, columns, size.queries, size.keys);
            zeros(&mut self.out, key_rows * wide);
            let (p, g) = ((&self.transposed[..], tall), (&self.grad[..], wide));
            multiply((&mut self.out, wide), p, g, key_rows, readers, all);
            add(&self.out, dv, shared, size, 1.0);
        }
        if dq.is_empty() && dk.is_empty() {
            return;
        }
        // dS = P * (dP - sum(P * dP)), dP = dO V^T
        load(&mut self.v, x[2], shared, size, 1.0);
        let tall = transpose(&mut self.transposed, &self.v, wide, size.keys, size.width);
        zeros(&mut self.scores, query_rows * columns);
        let (g, v) = ((&self.grad[..], wide), (&self.transposed[..], tall));
        multiply((&mut self.scores, columns), g, v, query_rows, all, read);
        let rows = self.scores.chunks_exact_mut(columns).zip(weights.chunks_exact(columns));
        for (ds, p) in rows.take(size.queries) {
            let mean = dot(ds, p);
            for (ds, p) in ds.iter_mut().zip(p) {
                *ds = p * (*ds - mean);
            }
        }
        if !dq.is_empty() {
            // dQ = dS K / sqrt(width)
            load(&mut self.k, x[1], shared, size, 1.0);
            zeros(&mut self.out, query_rows * wide);
            let (s, k) = ((&self.scores[..], columns), (&self.k[..], wide));
            multiply((&mut self.out, wide), s, k, query_rows, read, all);
            add(&self.out, dq, own, size, scale);
        }
        if !dk.is_empty() {
            // dK = dS^T Q / sqrt(width)
            load(&mut self.q, x[0], own, size, scale);
            let tall = transpose(&mut self.transposed, &self.scores, columns, size.queries, size.keys);
            zeros(&mut self.out, key_rows * wide);
            let (s, q) = ((&self.transposed[..], tall), (&self.q[..], wide));
            multiply((&mut self.out, wide), s, q, key_rows, readers, all);
            add(&self.out, dk, shared, size, 1.0);
        }
    }
}
