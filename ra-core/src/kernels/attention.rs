//! Attention, shared by all models of the workspace: over histories in ID methods, over texts in language models.
mod head;

use super::math::vectorized;
use super::padded::composed;
use super::{Matrix, Operator, apply, in_host_memory};
use crate::encode::attention::{attend as composed_attend, merge_heads, repeat_heads, split_heads};
use burn::tensor::{DType, Tensor};
use head::{Head, Size};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// `softmax(q k^T / sqrt(head width)) v` (Vaswani et al., NeurIPS 2017, eq. 1) within each sequence and head, over
/// concatenated sequences without padding.
///
/// Padding costs nothing, and a causal product only computes what is read: a batch of histories costs what its items
/// cost.
///
/// # Shapes
/// `q`, `k` and `v` are `[rows, heads * head width]`, where `rows` is the sum of `lengths`; the result has the same
/// shape.
///
/// # Panics
/// If the number of rows is not the sum of `lengths`, or the width is not a multiple of `heads`.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    lengths: &Arc<[usize]>,
    heads: usize,
    causal: bool,
) -> Tensor<2> {
    let [rows, width] = q.dims();
    assert_eq!(rows, lengths.iter().sum::<usize>(), "the rows match the sequences");
    assert_eq!(width % heads, 0, "the width is a multiple of the number of heads");
    let inputs = [q, k, v];
    let starts = lengths.iter().scan(0, |start, &length| {
        let from = *start;
        *start += length;
        Some(from..*start)
    });
    let spans = starts.map(|rows| [rows.clone(), rows]).collect();
    let operator = Attention { spans, heads, ahead: causal.then_some(0), bias: None };
    apply(operator, &inputs).unwrap_or_else(|| composed(inputs, lengths, heads, causal))
}

/// `softmax(q k^T / sqrt(head width) + bias) v` over a batch of texts, each of which may have a prefix.
///
/// There may be fewer heads of keys and values than of queries; each then serves several consecutive query heads
/// (grouped-query attention, Ainslie et al., EMNLP 2023). If `causal`, a text token attends to no later one, and `bias`
/// must say so too.
///
/// # Shapes
/// `q` is `[batch, tokens, heads * head width]`; `k` and `v` are `[batch, keys, fewer heads * head width]` and start
/// with the `keys - tokens` rows of the prefix; `bias` is `[batch, 1, tokens, keys]`, or `[batch, heads, tokens, keys]`
/// if heads differ (relative positions); the result has the shape of `q`.
///
/// Tensors of another type than `f32`, or on a back end without these operators, take the composed form; the result has
/// the number type of `q`.
///
/// # Panics
/// If the shapes do not match, or the tensors are on several devices.
pub fn attend(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, bias: Tensor<4>, heads: usize, causal: bool) -> Tensor<3> {
    let ([batch, tokens, width], [_, keys, key_width]) = (q.dims(), k.dims());
    assert_eq!(width % heads, 0, "the width is a multiple of the number of heads");
    let head = width / heads;
    let [_, biased, ..] = bias.dims();
    assert!(biased == 1 || biased == heads, "one bias, or one per head");
    assert_eq!(bias.dims(), [batch, biased, tokens, keys], "a bias for every query and key");
    assert_eq!(heads * head % key_width, 0, "each head of keys serves as many heads of queries");
    let fits = |x: &Tensor<3>| in_host_memory(&x.device()) && x.dtype() == DType::F32;
    if [&q, &k, &v].into_iter().all(fits) {
        let rows = |n: usize| move |b: usize| b * n..(b + 1) * n;
        let spans = (0..batch).map(|b| [rows(tokens)(b), rows(keys)(b)]).collect();
        let bias = Some(Bias { values: bias.to_data().iter::<f32>().collect(), heads: biased });
        let operator = Attention { spans, heads, ahead: causal.then(|| keys - tokens), bias };
        let flat = |x: Tensor<3>, rows: usize, width: usize| x.reshape([batch * rows, width]);
        let inputs = [(&q, tokens, width), (&k, keys, key_width), (&v, keys, key_width)];
        if let Some(out) = apply(operator, &inputs.map(|(x, rows, width)| flat(x.clone(), rows, width))) {
            return out.reshape([batch, tokens, width]);
        }
    }
    let (bias, dtype) = (bias.cast(q.dtype()), q.dtype());
    let shared = |x: Tensor<3>| repeat_heads(split_heads(x.cast(dtype), key_width / head), heads);
    merge_heads(composed_attend(split_heads(q, heads), shared(k), shared(v), bias))
}

#[derive(Debug)]
struct Attention {
    /// The query rows and key rows of each sequence.
    spans: Vec<[Range<usize>; 2]>,
    heads: usize,
    /// See [`Size`].
    ahead: Option<usize>,
    bias: Option<Bias>,
}

/// What is added to the scores.
#[derive(Debug)]
struct Bias {
    /// The concatenated `[heads, queries, keys]` of all sequences.
    values: Vec<f32>,
    /// 1 if all heads share it.
    heads: usize,
}

/// One sequence's part of the attention.
struct Part<'a> {
    rows: [Range<usize>; 2],
    bias: Option<&'a [f32]>,
    size: Size,
}

impl<'a> Part<'a> {
    /// The bias of a head, `[queries, keys]`.
    fn bias_of(&self, head: usize) -> Option<&'a [f32]> {
        let one = self.size.queries * self.size.keys;
        self.bias.map(|all| if all.len() > one { &all[head * one..(head + 1) * one] } else { all })
    }
}

/// Splits a slice into one piece per sequence; an empty slice gives empty pieces.
fn pieces(mut x: &mut [f32], sizes: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    sizes
        .map(|size| {
            let size = size.min(x.len());
            let (piece, rest) = std::mem::take(&mut x).split_at_mut(size);
            x = rest;
            piece
        })
        .collect()
}

impl Attention {
    fn parts(&self, width: usize) -> Vec<Part<'_>> {
        let mut bias = self.bias.as_ref().map(|bias| &bias.values[..]);
        let heads = self.bias.as_ref().map_or(1, |bias| bias.heads);
        let part = |rows: &[Range<usize>; 2]| {
            let (queries, keys) = (rows[0].len(), rows[1].len());
            let own = bias.map(|all| all.split_at(heads * queries * keys));
            bias = own.map(|(_, rest)| rest);
            let size = Size { queries, keys, width: width / self.heads, ahead: self.ahead };
            Part { rows: rows.clone(), bias: own.map(|(own, _)| own), size }
        };
        self.spans.iter().map(part).collect()
    }

    /// The places of a head's queries and of its keys.
    fn places(&self, head: usize, width: usize, shared: usize) -> [(usize, usize); 2] {
        let size = width / self.heads;
        [(width, head * size), (shared, head * shared / width * size)]
    }

    /// The number of sequences that are worth a task.
    fn grain(&self, width: usize) -> usize {
        let work: usize = self.spans.iter().map(|[q, k]| q.len() * k.len() * width).sum();
        self.spans.len() * (1 << 18) / work.max(1) + 1
    }

    /// The value; `saved` has room for the weights of all heads, or is `None`.
    fn value(&self, inputs: [Matrix<'_>; 3], saved: Option<&mut [f32]>) -> Vec<f32> {
        let (width, shared) = (inputs[0].width, inputs[1].width);
        let mut out = vec![0.0; inputs[0].values.len()];
        let parts = self.parts(width);
        let outs = pieces(&mut out, parts.iter().map(|p| p.size.queries * width));
        let sizes = parts.iter().map(|p| self.heads * p.size.weights());
        let kept = pieces(saved.unwrap_or_default(), sizes);
        parts.par_iter().zip(outs).zip(kept).with_min_len(self.grain(width)).for_each_init(
            || (Head::default(), Vec::new()),
            |(head, scratch), ((part, out), kept)| {
                let x = cut(inputs, &part.rows);
                vectorized(
                    #[inline(always)]
                    || {
                        for index in 0..self.heads {
                            let n = part.size.weights();
                            let weights = match kept.get_mut(index * n..(index + 1) * n) {
                                Some(weights) => weights,
                                None => {
                                    scratch.resize(n, 0.0);
                                    &mut scratch[..]
                                }
                            };
                            head.forward(
                                x,
                                part.bias_of(index),
                                out,
                                weights,
                                self.places(index, width, shared),
                                part.size,
                            );
                        }
                    },
                );
            },
        );
        out
    }
}

/// The rows of one sequence.
fn cut<'a>(inputs: [Matrix<'a>; 3], [own, shared]: &[Range<usize>; 2]) -> [&'a [f32]; 3] {
    let rows = |m: Matrix<'a>, rows: &Range<usize>| &m.values[rows.start * m.width..rows.end * m.width];
    [rows(inputs[0], own), rows(inputs[1], shared), rows(inputs[2], shared)]
}

impl Operator<3> for Attention {
    /// The attention weights, in whole tiles.
    type Saved = Vec<f32>;

    fn plain(&self, inputs: [Matrix<'_>; 3]) -> (Vec<f32>, usize) {
        (self.value(inputs, None), inputs[0].width)
    }

    fn forward(&self, inputs: [Matrix<'_>; 3]) -> (Vec<f32>, usize, Self::Saved) {
        let width = inputs[0].width;
        let mut saved = vec![0.0; self.parts(width).iter().map(|p| self.heads * p.size.weights()).sum()];
        (self.value(inputs, Some(&mut saved)), width, saved)
    }

    fn backward(&self, inputs: [Matrix<'_>; 3], saved: &Self::Saved, grad: &[f32], wanted: [bool; 3]) -> [Vec<f32>; 3] {
        let (width, shared) = (inputs[0].width, inputs[1].width);
        let mut grads: [Vec<f32>; 3] =
            std::array::from_fn(|i| vec![0.0; if wanted[i] { inputs[i].values.len() } else { 0 }]);
        let parts = self.parts(width);
        let [dq, dk, dv] = grads.each_mut();
        let dq = pieces(dq, parts.iter().map(|p| p.size.queries * width));
        let [dk, dv] = [dk, dv].map(|d| pieces(d, parts.iter().map(|p| p.size.keys * shared)));
        let mut at = 0;
        let weights: Vec<&[f32]> = parts
            .iter()
            .map(|p| {
                let from = at;
                at += self.heads * p.size.weights();
                &saved[from..at]
            })
            .collect();
        parts.par_iter().zip(dq).zip(dk).zip(dv).zip(weights).with_min_len(self.grain(width)).for_each_init(
            Head::default,
            |head, ((((part, dq), dk), dv), weights)| {
                let x = cut(inputs, &part.rows);
                let grad = &grad[part.rows[0].start * width..part.rows[0].end * width];
                vectorized(
                    #[inline(always)]
                    || {
                        for (index, p) in weights.chunks_exact(part.size.weights()).enumerate() {
                            let at = self.places(index, width, shared);
                            head.backward(x, p, grad, [&mut *dq, &mut *dk, &mut *dv], at, part.size);
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
    use crate::attention_bias;
    use crate::kernels::tests::{agree, random};
    use burn::tensor::Device;

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        for (lengths, width, heads) in [
            (vec![5, 1, 17, 33, 2], 24, 2),
            (vec![50, 3], 64, 1),
            (vec![5, 17], 96, 2),
            (vec![16, 1], 20, 1),
            (vec![7], 8, 4),
        ] {
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

    /// Texts with padding on both sides, with and without a prefix, with shared key heads.
    #[test]
    fn texts_with_prefixes_are_the_composed_form_in_value_and_gradient() {
        let device = Device::flex();
        let mask = Tensor::<2>::from_floats(
            [[1., 1., 1., 1., 1., 1.], [0., 0., 1., 1., 1., 1.], [1., 1., 1., 0., 0., 0.]],
            &device,
        );
        for (heads, fewer, head, prefix) in
            [(4, 4, 8, 0), (4, 2, 8, 3), (3, 1, 20, 1), (2, 2, 16, 21), (4, 2, 16, 3), (4, 1, 32, 0)]
        {
            for (causal, relative) in [(true, false), (false, false), (false, true)] {
                let bias = attention_bias(&mask, prefix, causal);
                let of_heads = || random([3 * heads, 6 * (6 + prefix)], 5).inner().reshape([3, heads, 6, 6 + prefix]);
                let bias = if relative { bias + of_heads() } else { bias };
                let (batch, tokens, keys) = (3, 6, 6 + prefix);
                let deep = |x: Tensor<2>, rows: usize| {
                    let [n, width] = x.dims();
                    x.reshape([batch, n / batch, width]).slice([0..batch, 0..rows])
                };
                let shared = |x: Tensor<2>| repeat_heads(split_heads(deep(x, keys), fewer), heads);
                // The output of a padded query has no meaning.
                let real = mask.clone().reshape([batch, tokens, 1]);
                let flat = |x: Tensor<3>| {
                    let real = if x.is_autodiff() { Tensor::from_inner(real.clone()) } else { real.clone() };
                    (x * real).reshape([batch * tokens, heads * head])
                };
                agree(
                    || {
                        let (q, k) = ([batch * tokens, heads * head], [batch * keys, fewer * head]);
                        [random(q, 1), random(k, 2), random(k, 3)]
                    },
                    |[q, k, v]| {
                        let [k, v] = [k, v].map(|x| deep(x, keys));
                        flat(attend(deep(q, tokens), k, v, bias.clone(), heads, causal))
                    },
                    |[q, k, v]| {
                        let q = split_heads(deep(q, tokens), heads);
                        flat(merge_heads(composed_attend(q, shared(k), shared(v), bias.clone())))
                    },
                );
            }
        }
    }

    /// Operators of the CPU back end only read `f32`; `f64` inputs, or a single `f64` key, take the composed form.
    #[test]
    fn other_types_than_f32_are_composed_and_no_panic() {
        let (device, bias) = (Device::flex(), attention_bias(&Tensor::ones([2, 3], &Device::flex()), 0, true));
        let input = |seed| random([6, 8], seed).inner().reshape([2, 3, 8]);
        let [q, k, v] = [1, 2, 3].map(input);
        let single = attend(q.clone(), k.clone(), v.clone(), bias.clone(), 2, true).into_data();
        let tolerance = burn::tensor::Tolerance::<f32>::rel_abs(1e-4, 1e-5);
        let mixed = attend(q.clone(), k.clone().cast(DType::F64), v.clone(), bias.clone(), 2, true);
        assert_eq!(mixed.dtype(), DType::F32);
        mixed.into_data().assert_approx_eq(&single, tolerance);
        let [q, k, v] = [q, k, v].map(|x: Tensor<3>| x.cast(DType::F64));
        let double = attend(q, k, v, bias, 2, true);
        assert_eq!((double.dtype(), double.device()), (DType::F64, device));
        double.into_data().convert_dtype(DType::F32).assert_approx_eq(&single, tolerance);
    }

    #[test]
    fn a_sequence_does_not_depend_on_its_neighbours() {
        // Heads of 12 numbers, preceded by longer sequences, by none, and by NaN.
        let run = |rows: std::ops::Range<usize>, lengths: &[usize], causal: bool| {
            let inputs = [1, 2, 3].map(|seed| {
                let x = random([52, 24], seed).inner();
                let x = x.slice_fill([0..40], f32::NAN).slice([rows.clone()]);
                Tensor::from_inner(x).require_grad()
            });
            let [q, k, v] = inputs.clone();
            let out = attention(q, k, v, &lengths.into(), 2, causal);
            let grads = out.clone().square().sum().backward();
            let own = |x: Tensor<2>| x.slice([rows.len() - 7..rows.len()]).into_data().try_to_vec::<f32>().unwrap();
            [own(out.inner())].into_iter().chain(inputs.map(|x| own(x.grad(&grads).unwrap()))).collect::<Vec<_>>()
        };
        for causal in [true, false] {
            let alone = run(45..52, &[7], causal);
            assert!(alone.iter().flatten().all(|x| x.is_finite()));
            assert_eq!(run(0..52, &[40, 0, 5, 7], causal), alone);
            assert_eq!(run(40..52, &[0, 5, 7], causal), alone);
        }
    }
}
