//! Weight matrices in half precision: how far states and gradients move, on the golden models.
use crate::device;
use crate::golden_of;
use burn::tensor::Tensor;
use ra_core::{LanguageModel, Precision, Prefix, TextBatch, encode, normal, rng};

/// The texts' vectors under a prefix and the gradient of the first layer's prefix.
fn vectors_and_gradient(lm: &dyn LanguageModel) -> [Vec<f32>; 2] {
    let text = TextBatch::from_rows(&[&[5, 6, 7, 8, 9, 10, 11], &[12, 13, 14]], &device());
    let spec = lm.spec();
    let row = |l: usize| normal([2, 3, spec.width], 0.5, &mut rng(1, "prefix", l as u64), &device().autodiff()).val();
    let rows: Vec<Tensor<3>> = (0..spec.layers).map(|l| row(l).detach().require_grad()).collect();
    let pooled = encode(lm, &text, Some(&Prefix::new(0, rows.clone()))).pooled;
    let direction = normal(pooled.dims(), 1.0, &mut rng(2, "direction", 0), &device()).val();
    let grads = (pooled.clone() * Tensor::from_inner(direction)).sum().backward();
    [pooled.into_data().iter().collect(), rows[0].grad(&grads).unwrap().into_data().iter().collect()]
}

#[test]
fn half_the_numbers_move_vectors_and_gradients_by_their_rounding() {
    for name in ["bert/model", "gpt2/model", "llama/model"] {
        let lm = ra_llm::load_weights(&golden_of(name), None, &device()).unwrap();
        let exact = vectors_and_gradient(&lm);
        // One rounding error is 2^-11 of a number in f16, 2^-8 in bf16, and 2^-11 of the largest number in int16. Three layers of six products each, forward
        // and backward, with independent errors, add up to about sqrt(18) of them; the largest of many is three times
        // that.
        let coarser = [(Precision::F16, -11), (Precision::Bf16, -8), (Precision::Int16, -11)];
        for (precision, rounding) in coarser.map(|(precision, bits)| (precision, 2f32.powi(bits))) {
            if precision.check(&device()).is_err() {
                println!("{name}: no {} here", precision.name());
                continue;
            }
            let coarse = lm.tunable().unwrap().with_linears(0, &mut |linear| linear.in_precision(precision));
            let found = vectors_and_gradient(&coarse);
            for (what, exact, found) in [("vectors", &exact[0], &found[0]), ("gradient", &exact[1], &found[1])] {
                let top = exact.iter().fold(0f32, |top, x| top.max(x.abs()));
                let error = exact.iter().zip(found).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / top;
                println!("{name} {} {what}: {error:.1e} of the largest", precision.name());
                assert!(error < 3.0 * 18f32.sqrt() * rounding, "{name}, {}, {what}: {error}", precision.name());
                assert!(error > 1e-6, "{name}, {}: nothing was rounded", precision.name());
            }
        }
        let same = lm.tunable().unwrap().with_linears(0, &mut |linear| linear.in_precision(Precision::F32));
        assert_eq!(vectors_and_gradient(&same), exact, "f32 is what it was");
    }
}
