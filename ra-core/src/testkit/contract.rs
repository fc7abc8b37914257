//! The contracts that every implementation of this crate's traits must meet. Call these checks in a test of your own
//! implementation; each panics with the promise that was broken.
use crate::encode::layers::pooled_rows;
use crate::{
    Aligner, Backend, History, ItemId, LanguageModel, LayerInput, Pooling, Prefix, Recommender, TextBatch,
    attention_bias, encode, encode_from, encode_pooled, gather_rows, int_tensor, normal, open_device, parameter_table,
    pooled_text, rng, run_layers,
};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The tolerance for numbers that differ only in the order of summation.
const TOLERANCE: f32 = 2e-4;

/// The tolerance on `device`: the tensor cores of a GPU round the inputs of an `f32` product (TF32: to 11 bits). As for
/// golden cases, it allows for 18 such products with independent errors and a maximum of three times the typical error.
fn tolerance(device: &Device) -> f32 {
    const ROWS: usize = 128;
    let numbers: Vec<f32> = (0..ROWS * ROWS).map(|k| 1.0 + k as f32 / (ROWS * ROWS) as f32 * 0.999).collect();
    let numbers = Tensor::<2>::from_data(TensorData::new(numbers, [ROWS, ROWS]), device);
    let rounding = distance(numbers.clone().matmul(Tensor::eye(ROWS, device)), numbers);
    assert!(rounding <= 1.0 / 256.0, "numbers times the identity are off by {rounding}, more than any format rounds");
    TOLERANCE.max(3.0 * 18f32.sqrt() * rounding)
}

/// The device on which a test checks contracts: that of the back end with this name (`wgpu`, `cuda`), or the CPU
/// without one. A test that passes the value of `RA_REC_BACKEND` works for all back ends.
///
/// # Panics
/// If there is no such back end in this build or on this machine.
pub fn device(backend: Option<&str>) -> Device {
    let backend = backend.map_or(Ok(Backend::Cpu), str::parse);
    #[allow(clippy::panic)] // Contracts report by panicking.
    match backend.and_then(|backend| open_device(backend).map_err(|error| error.to_string())) {
        Ok(device) => device,
        Err(problem) => panic!("the back end of the tests: {problem}"),
    }
}

fn distance<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar()
}

fn texts(rows: &[&[u32]], left: bool, device: &Device) -> TextBatch {
    let batch = TextBatch::from_rows(rows, device);
    if !left {
        return batch;
    }
    let longest = batch.tokens.dims()[1];
    let padded = |value: &dyn Fn(u32) -> u32| -> Vec<u32> {
        rows.iter().flat_map(|r| std::iter::repeat_n(0, longest - r.len()).chain(r.iter().map(|&t| value(t)))).collect()
    };
    let shape = [rows.len(), longest];
    let mask: Vec<f32> = padded(&|_| 1).iter().map(|&m| m as f32).collect();
    TextBatch {
        tokens: int_tensor(padded(&|token| token), shape, device),
        mask: Tensor::from_data(TensorData::new(mask, shape), device),
    }
}

fn random_prefix<L: LanguageModel + ?Sized>(lm: &L, first: usize, batch: usize, seed: u64, device: &Device) -> Prefix {
    let spec = lm.spec();
    let layer = |l| normal([batch, 3, spec.width], 1.0, &mut rng(seed, "prefix", l as u64), device).val();
    Prefix::new(first, (first..spec.layers).map(layer).collect())
}

/// Checks a language model whose tokens `5..vocabulary` are ordinary words.
///
/// # Panics
/// If padding changes a text's vector, a causal model reads later tokens, a prefix does not reach every position, an
/// empty prefix does not give the plain model bit for bit, dropout is active under a tracked prefix, no gradient
/// reaches the prefix, or the fast path of the last layer differs from the plain one.
pub fn check_language_model<L: LanguageModel + ?Sized>(lm: &L, vocabulary: u32) {
    let device = lm.device();
    let tolerance = tolerance(&device);
    let word = |k: u32| 5 + k * 7 % (vocabulary - 5);
    let short: Vec<u32> = (0..4).map(word).collect();
    let long: Vec<u32> = (10..19).map(word).collect();
    let alone = texts(&[&short], false, &device);
    let prefix_1 = random_prefix(lm, 0, 1, 1, &device);
    let alone_2 = texts(&[&long], false, &device);
    let prefix_2 = random_prefix(lm, 0, 1, 7, &device);
    let beside = prefix_1.layers().iter().zip(prefix_2.layers());
    let each = Prefix::new(0, beside.map(|(a, b)| Tensor::cat(vec![a.clone(), b.clone()], 0)).collect());

    for (left, side) in [(false, "right"), (true, "left")] {
        let both = texts(&[&short, &long], left, &device);
        for (one, other, two) in [(None, None, None), (Some(&prefix_1), Some(&prefix_2), Some(&each))] {
            let expected = encode(lm, &alone, one).pooled;
            let together = encode(lm, &both, two).pooled;
            let d = distance(expected.clone(), together.clone().slice([0..1]));
            assert!(d < tolerance, "padding on the {side} moves a text's vector by {d}");
            let d = distance(encode(lm, &alone_2, other).pooled, together.slice([1..2]));
            assert!(d < tolerance, "another text in the batch, each with its own prefix, moves a text's vector by {d}");
            let embedded = lm.embed(both.tokens.clone(), both.positions());
            let d = distance(expected, encode_from(lm, 0, embedded, &both, two).slice([0..1]));
            assert!(d < tolerance, "the last layer at one row differs from the whole layer by {d}");
        }
    }
    check_reading_order(lm, &long, word(33));
    check_prefix(lm, &alone, &prefix_1, tolerance);
    check_pooled_path(lm, &texts(&[&short, &long], false, &device), tolerance);
    check_linears(lm, &alone);
}

fn check_linears<L: LanguageModel + ?Sized>(lm: &L, text: &TextBatch) {
    let plain = encode(lm, text, None).pooled;
    let Some(matrices) = lm.tunable() else { return };
    let same = matrices.with_linears(0, &mut Clone::clone);
    assert!(encode(&same, text, None).pooled.to_data() == plain.to_data(), "the same matrices give different vectors");
    let tracked = lm.device().autodiff();
    let mut deltas: Vec<Tensor<2>> = Vec::new();
    let changed = matrices.with_linears(0, &mut |linear| {
        let mut random = rng(5, "delta", deltas.len() as u64);
        let delta = normal(linear.dims(), 0.01, &mut random, &tracked).val().detach().require_grad();
        deltas.push(delta.clone());
        linear.plus(delta)
    });
    let prefix = random_prefix(lm, 0, text.tokens.dims()[0], 1, &tracked);
    let direction = normal(plain.dims(), 1.0, &mut rng(4, "direction", 0), &lm.device()).val();
    let grads = (encode(&changed, text, Some(&prefix)).pooled * Tensor::from_inner(direction)).sum().backward();
    for (index, delta) in deltas.iter().enumerate() {
        let norm: f32 = delta.grad(&grads).map_or(0.0, |g| g.abs().sum().into_scalar());
        assert!(norm > 0.0, "no gradient reaches weight matrix {index}");
    }
    assert!(encode(lm, text, None).pooled.to_data() == plain.to_data(), "the model itself was changed");
}

fn check_reading_order<L: LanguageModel + ?Sized>(lm: &L, text: &[u32], other: u32) {
    let device = lm.device();
    let changed: Vec<u32> = text[..text.len() - 1].iter().copied().chain([other]).collect();
    let states = |t: &[u32]| encode(lm, &texts(&[t], false, &device), None).last.slice([0..1, 0..text.len() - 1]);
    let d = distance(states(text), states(&changed));
    if lm.spec().causal {
        assert!(d == 0.0, "a causal model reads later tokens: earlier states move by {d}");
    } else {
        assert!(d > 0.0, "a bidirectional model does not read later tokens");
    }
}

fn check_prefix<L: LanguageModel + ?Sized>(lm: &L, text: &TextBatch, prefix: &Prefix, tolerance: f32) {
    let device = lm.device();
    let plain = encode(lm, text, None);
    let empty = encode(lm, text, Some(&Prefix::new(lm.spec().layers, vec![])));
    assert!(plain.last.to_data() == empty.last.to_data(), "an empty prefix is not the plain model, bit for bit");

    let hybrid = encode(lm, text, Some(prefix));
    let moved: Vec<f32> = (hybrid.last.clone() - plain.last.clone()).abs().max_dim(2).into_data().iter().collect();
    assert!(moved.iter().all(|&d| d > 0.0), "the prefix does not reach every position: {moved:?}");

    let last = lm.spec().layers - 1;
    let alone = random_prefix(lm, last, 1, 3, &device.clone().autodiff());
    let embedded = lm.embed(text.tokens.clone(), text.positions());
    assert!(!plain.last.is_autodiff(), "a text without a prefix is tracked by autodiff: is a weight tracked?");
    let result = run_layers(lm, 0..last + 1, embedded, text, Some(&alone), |layer, state| {
        assert!(layer == last || !state.is_autodiff(), "layer {layer} is kept for backward, below the first prefix");
    });
    assert!(result.is_autodiff(), "a tracked prefix gives an untracked result");

    let tracked: Vec<Tensor<3>> = prefix
        .layers()
        .iter()
        .map(|l| Tensor::from_data(l.to_data(), &device.clone().autodiff()).require_grad())
        .collect();
    let with_grad = encode(lm, text, Some(&Prefix::new(0, tracked.clone())));
    let d = distance(with_grad.pooled.clone().inner(), hybrid.pooled);
    assert!(d < tolerance, "a tracked prefix changes the result by {d}: is dropout on?");
    // A random direction: the plain sum of a layer-normed row is constant, so its gradient is zero.
    let direction = normal(with_grad.pooled.dims(), 1.0, &mut rng(4, "direction", 0), &device).val();
    let grads = (with_grad.pooled * direction).sum().backward();
    for (index, layer) in tracked.iter().enumerate() {
        let norms = layer.grad(&grads).map(|g| g.abs().sum_dim(2).into_data().iter::<f32>().collect::<Vec<_>>());
        let reached = norms.as_ref().is_some_and(|norms| norms.iter().all(|&norm| norm > 0.0));
        assert!(reached, "no gradient reaches a row of the prefix of layer {index}: {norms:?}");
    }
}

fn check_pooled_path<L: LanguageModel + ?Sized>(lm: &L, text: &TextBatch, tolerance: f32) {
    let Some(path) = lm.pooled() else { return };
    let (spec, last) = (lm.spec(), lm.spec().layers - 1);
    let entering = run_layers(lm, 0..last, lm.embed(text.tokens.clone(), text.positions()), text, None, |_, _| ());
    let prefix = random_prefix(lm, last, text.tokens.dims()[0], 2, &lm.device());
    for prefix in [None, Some(&prefix)] {
        let own = prefix.and_then(|prefix| prefix.layer(last)).cloned();
        let input = |prefix: Option<Tensor<3>>| {
            let rows = prefix.as_ref().map_or(0, |prefix| prefix.dims()[1]);
            let bias = attention_bias(&text.mask, rows, spec.causal);
            LayerInput::new(entering.clone(), prefix, bias, text.positions())
        };
        // The fast path must work for any row, whatever the model pools.
        for rows in [Pooling::First, Pooling::Last].into_iter().filter_map(|which| pooled_rows(which, &text.mask)) {
            let plain = lm.finish(gather_rows(lm.layer(last, input(own.clone())), rows.clone()));
            let one = lm.finish(path.last_layer_at(input(own.clone()), rows.clone()));
            let d = distance(plain.clone(), one);
            assert!(d < tolerance, "the last layer at one row differs from the whole layer by {d}");
            let fast = encode_pooled(path, &path.pooled_text(input(None), rows.clone()), own.clone());
            let d = distance(plain, fast.unsqueeze_dim(1));
            assert!(d < tolerance, "the fast path of the last layer differs by {d}");
            let Some(own) = &own else { continue };
            let tracked = || Tensor::<3>::from_data(own.to_data(), &lm.device().autodiff()).require_grad();
            let reached = |prefix: Tensor<3>, result: Tensor<2>| {
                let direction = normal(result.dims(), 1.0, &mut rng(4, "direction", 0), &lm.device()).val();
                let grads = result.is_autodiff().then(|| (result * Tensor::from_inner(direction)).sum().backward());
                let gradient = grads.and_then(|grads| prefix.grad(&grads));
                gradient.is_some_and(|gradient| gradient.abs().sum().into_scalar::<f32>() > 0.0)
            };
            let prefix = tracked();
            let one = lm.finish(path.last_layer_at(input(Some(prefix.clone())), rows.clone())).squeeze_dim::<2>(1);
            assert!(reached(prefix, one), "no gradient reaches the prefix through the last layer at one row");
            let prefix = tracked();
            let fast = encode_pooled(path, &path.pooled_text(input(None), rows), Some(prefix.clone()));
            assert!(reached(prefix, fast), "no gradient reaches the prefix through the fast path");
        }
        let Some(constants) = pooled_text(path, entering.clone(), text) else { continue };
        let d = distance(encode(lm, text, prefix).pooled, encode_pooled(path, &constants, own));
        assert!(d < tolerance, "the fast path of the last layer differs by {d}");
        let positions = gather_positions(text, spec.pooling);
        if let Some(query) = path.pooled_query(constants.hidden, positions) {
            let d = distance(constants.query, query);
            assert!(d < tolerance, "the query of a pooled row differs by {d} from that of its text");
        }
    }
}

/// The positions of the pooled rows, `[batch]`.
fn gather_positions(text: &TextBatch, pooling: Pooling) -> Tensor<1, Int> {
    let rows = pooled_rows(pooling, &text.mask).unwrap_or_else(|| unreachable!("the pooling reads one row"));
    let [batch] = rows.dims();
    text.positions().gather(1, rows.reshape([batch, 1])).reshape([batch])
}

/// Checks a frozen recommender on real histories and items.
///
/// # Panics
/// If shapes are wrong, vectors carry autodiff or are not finite, repeated calls differ, a vector depends on the rest
/// of its batch, or additions are for padding, not finite, or given twice for one item.
pub fn check_recommender<R: Recommender + ?Sized>(model: &R, histories: &[History<'_>], items: &[ItemId]) {
    let users = model.users(histories);
    let table = model.items(items);
    let (interests, tolerance) = (model.interests(), tolerance(&users.device()));
    assert_eq!(users.dims(), [histories.len() * interests, model.dim()], "users: [histories * interests, dim]");
    assert_eq!(table.dims(), [items.len(), model.dim()], "items: [items, dim]");
    assert!(!users.is_autodiff() && !table.is_autodiff(), "a frozen recommender gives plain tensors");
    for (name, tensor) in [("user", &users), ("item", &table)] {
        let finite: bool = tensor.clone().is_finite().all().into_scalar();
        assert!(finite, "a {name} vector is not finite");
    }
    assert!(users.to_data() == model.users(histories).to_data(), "two calls differ: is dropout on?");
    for (row, history) in histories.iter().enumerate() {
        let d = distance(users.clone().slice([row * interests..(row + 1) * interests]), model.users(&[*history]));
        assert!(d < tolerance, "user vector {row} depends on its batch (by {d})");
    }
    for history in histories {
        let added = model.additions(history);
        assert!(added == model.additions(history), "two calls add differently");
        let mut places: Vec<ItemId> = added.iter().map(|(item, _)| *item).collect();
        assert!(
            added.iter().all(|(item, more)| *item != ItemId::PADDING && more.is_finite()),
            "bad additions: {added:?}"
        );
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "an item is added to twice: {added:?}");
    }
    for (row, item) in items.iter().enumerate() {
        let d = distance(table.clone().slice([row..row + 1]), model.items(&[*item]));
        assert!(d < tolerance, "the vector of item {item} depends on its batch (by {d})");
    }
}

/// Checks an alignment module on the autodiff device, for ID vectors of width `dim` and a model of `layers` and
/// `width`.
///
/// # Panics
/// If shapes are wrong, a row depends on another row's ID, the ID has no effect, or a parameter gets no gradient.
pub fn check_aligner<A: Aligner>(aligner: &A, dim: usize, layers: usize, width: usize, device: &Device) {
    let ids = normal([3, 1, dim], 1.0, &mut rng(3, "ids", 0), device).val();
    let prefix = aligner.prefix(ids.clone());
    let two = aligner.prefix(Tensor::cat(vec![ids.clone(), ids.clone() + 1.0], 1));
    assert!(two.rows() > prefix.rows(), "every vector gets its own soft tokens");
    assert_eq!(prefix.first_layer() + prefix.layers().len(), layers, "a prefix for every layer from the first one up");
    let changed = Tensor::cat(vec![ids.clone().slice([0..2]), ids.slice([2..3]) + 1.0], 0);
    let other = aligner.prefix(changed);
    for (index, (a, b)) in prefix.layers().iter().zip(other.layers()).enumerate() {
        assert_eq!(a.dims(), [3, prefix.rows(), width], "layer {index}: [batch, rows, width]");
        let difference = (a.clone() - b.clone()).abs();
        let same: f32 = difference.clone().slice([0..2]).max().into_scalar();
        let moved: f32 = difference.slice([2..3]).max().into_scalar();
        assert!(same == 0.0, "layer {index}: a row's prefix depends on another row's ID");
        assert!(moved > 0.0, "layer {index}: the ID does not reach the prefix");
    }
    let total = prefix.layers().iter().map(|l| l.clone().square().sum()).reduce(|a, b| a + b);
    let grads = total.map(|t| GradientsParams::from_grads(t.backward(), aligner));
    let reached = grads.map_or(0, |g| g.len());
    assert_eq!(reached, parameter_table(aligner).len(), "every trained parameter gets a gradient");
}
