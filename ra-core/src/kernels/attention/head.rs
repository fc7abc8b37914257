//! One head of attention over one sequence, on the host.
use crate::kernels::math::{Left, MR, TILE, dot, exp, max, multiply, sum, transpose};
use std::ops::Range;

/// The buffers of a head, in rows of whole tiles. Values beyond the width of a head or the keys of a sequence are left
/// over from earlier use; they only ever meet other such values.
#[derive(Default)]
pub(super) struct Head {
    rows: Vec<f32>,
    grad: Vec<f32>,
    turned: Vec<f32>,
    scores: Vec<f32>,
    out: Vec<f32>,
}

/// The numbers of queries and keys of a sequence, the width of a head, and how far a query reads.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
    /// Query `r` reads keys `0..=r + ahead`; `None` reads all.
    pub(super) ahead: Option<usize>,
}

impl Size {
    /// The columns of the weights: the number of keys, rounded up to whole tiles.
    #[inline(always)]
    pub(super) fn columns(self) -> usize {
        self.keys.next_multiple_of(TILE)
    }

    /// The floats that the weights need: their rows, plus one tile so that [`MR`] columns can be read from any column.
    #[inline(always)]
    pub(super) fn weights(self) -> usize {
        self.queries * self.columns() + TILE
    }

    #[inline(always)]
    fn wide(self) -> usize {
        self.width.next_multiple_of(TILE)
    }

    /// The keys that query `row` and the `more` queries after it may read.
    #[inline(always)]
    fn read(self, row: usize, more: usize) -> Range<usize> {
        0..self.ahead.map_or(self.keys, |ahead| (row + more + ahead + 1).min(self.keys))
    }

    /// The queries that read any of the keys from `row` on.
    #[inline(always)]
    fn readers(self, row: usize) -> Range<usize> {
        self.ahead.map_or(0, |ahead| row.saturating_sub(ahead)).min(self.queries)..self.queries
    }
}

/// The columns of a head in a row: the row's width, and the head's first column.
pub(super) type Place = (usize, usize);

/// Copies a head's columns of `x`, scaled, into a buffer.
#[inline(always)]
fn load(buffer: &mut Vec<f32>, x: &[f32], (stride, from): Place, size: Size, scale: f32) {
    let rows = x.len() / stride.max(1);
    buffer.resize(rows * size.wide(), 0.0);
    for (row, x) in buffer.chunks_exact_mut(size.wide()).zip(x.chunks_exact(stride)) {
        for (to, x) in row.iter_mut().zip(&x[from..from + size.width]) {
            *to = x * scale;
        }
    }
}

/// Transposes a head's columns of `x` to `[width, tall]` in whole tiles; returns `tall`.
#[inline(always)]
fn turn(buffer: &mut Vec<f32>, x: &[f32], (stride, from): Place, size: Size, scale: f32) -> usize {
    let rows = x.len() / stride.max(1);
    let tall = rows.next_multiple_of(TILE);
    buffer.resize(size.wide() * tall, 0.0);
    for row in (0..rows).step_by(TILE) {
        for column in (0..size.width).step_by(TILE) {
            let mut tile = [[0.0; TILE]; TILE];
            let wide = TILE.min(size.width - column);
            for (to, x) in tile.iter_mut().zip(x[row * stride..].chunks_exact(stride)) {
                let x = &x[from + column..][..wide];
                match x.first_chunk() {
                    Some(x) => *to = *x,
                    None => to[..wide].copy_from_slice(x),
                }
            }
            for (to, line) in buffer[column * tall..].chunks_exact_mut(tall).zip(&transpose(&tile)) {
                to[row..row + TILE].iter_mut().zip(line).for_each(|(to, x)| *to = x * scale);
            }
        }
    }
    tall
}

/// Adds a buffer to a head's columns of `out`; query heads that share keys accumulate.
#[inline(always)]
fn add(buffer: &[f32], out: &mut [f32], (stride, from): Place, size: Size, scale: f32) {
    for (row, out) in buffer.chunks_exact(size.wide()).zip(out.chunks_exact_mut(stride)) {
        for (out, x) in out[from..from + size.width].iter_mut().zip(row) {
            *out = x.mul_add(scale, *out);
        }
    }
}

/// Turns scores into attention weights in place, after adding `bias`, `[queries, keys]`.
#[inline(always)]
fn softmax(scores: &mut [f32], bias: Option<&[f32]>, size: Size) {
    for (row, line) in scores.chunks_exact_mut(size.columns()).enumerate() {
        let end = size.read(row, 0).end;
        // Whole tiles of the keys that are read.
        let (tiles, _) = line[..end.next_multiple_of(TILE)].as_chunks_mut::<TILE>();
        let scores = tiles.as_flattened_mut();
        let (seen, hidden) = scores.split_at_mut(end);
        hidden.fill(f32::NEG_INFINITY);
        if let Some(bias) = bias {
            for (score, bias) in seen.iter_mut().zip(&bias[row * size.keys..]) {
                *score += bias;
            }
        }
        let top = max(scores);
        for tile in &mut *tiles {
            tile.iter_mut().for_each(|score| *score = exp(*score - top));
        }
        let scale = 1.0 / sum(tiles.as_flattened());
        for tile in tiles {
            tile.iter_mut().for_each(|score| *score *= scale);
        }
        line[end..].fill(0.0);
    }
}

impl Head {
    /// Writes the attended values to `out`, which holds zeros, and leaves the weights, `[queries, keys]` in whole tiles,
    /// in `weights`. `own` is the place of the queries and of `out`, `shared` that of the keys and values.
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
        if size.queries.min(size.keys) == 0 {
            return;
        }
        let tall = turn(&mut self.turned, x[1], shared, size, 1.0 / (size.width as f32).sqrt());
        let q = Left::Straight(&x[0][own.1..], own.0);
        let (all, read) = (|_| 0..size.width, |row| size.read(row, MR - 1));
        let scores = &mut weights[..size.queries * tall];
        multiply((scores, tall), q, (&self.turned, tall), all, read);
        softmax(scores, bias, size);
        let (scores, wide) = (Left::Straight(scores, tall), size.wide());
        if wide == size.width {
            // Whole tiles are read and written where they are.
            multiply((&mut out[own.1..], own.0), scores, (&x[2][shared.1..], shared.0), read, all);
            return;
        }
        load(&mut self.rows, x[2], shared, size, 1.0);
        self.out.resize(size.queries * wide, 0.0);
        multiply((&mut self.out, wide), scores, (&self.rows, wide), read, all);
        add(&self.out, out, own, size, 1.0);
    }

    /// Adds the gradients of queries, keys and values to `out`; an empty slice skips that gradient.
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
        if size.queries.min(size.keys) == 0 {
            return;
        }
        let scale = 1.0 / (size.width as f32).sqrt();
        let (wide, columns) = (size.wide(), size.columns());
        let (all, read) = (|_| 0..size.width, |row| size.read(row, MR - 1));
        let readers = |row| size.readers(row);
        let [dq, dk, dv] = out;
        load(&mut self.grad, grad, own, size, 1.0);

        if !dv.is_empty() {
            // dV = P^T dO
            self.out.resize(size.keys * wide, 0.0);
            multiply((&mut self.out, wide), Left::Transposed(weights, columns), (&self.grad, wide), readers, all);
            add(&self.out, dv, shared, size, 1.0);
        }
        if dq.is_empty() && dk.is_empty() {
            return;
        }
        // dS = P * (dP - sum(P * dP)), dP = dO V^T
        let tall = turn(&mut self.turned, x[2], shared, size, 1.0);
        self.scores.resize(size.weights(), 0.0);
        let scores = &mut self.scores[..size.queries * columns];
        multiply((scores, columns), Left::Straight(&self.grad, wide), (&self.turned, tall), all, read);
        for (row, (ds, p)) in scores.chunks_exact_mut(columns).zip(weights.chunks_exact(columns)).enumerate() {
            let (seen, hidden) = ds.split_at_mut(size.read(row, 0).end);
            hidden.fill(0.0);
            let mean = dot(seen, &p[..seen.len()]);
            for (ds, p) in seen.iter_mut().zip(p) {
                *ds = p * (*ds - mean);
            }
        }
        if !dq.is_empty() {
            // dQ = dS K / sqrt(width)
            load(&mut self.rows, x[1], shared, size, 1.0);
            self.out.resize(size.queries * wide, 0.0);
            multiply((&mut self.out, wide), Left::Straight(&self.scores, columns), (&self.rows, wide), read, all);
            add(&self.out, dq, own, size, scale);
        }
        if !dk.is_empty() {
            // dK = dS^T Q / sqrt(width)
            load(&mut self.rows, x[0], own, size, scale);
            self.out.resize(size.keys * wide, 0.0);
            multiply((&mut self.out, wide), Left::Transposed(&self.scores, columns), (&self.rows, wide), readers, all);
            add(&self.out, dk, shared, size, 1.0);
        }
    }
}
