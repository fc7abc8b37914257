//! The cache of frozen work against the plain passes, on a model with the pooled-row path.
use burn::tensor::Tensor;
use ra_align::{AlignConfig, AlignLoss, TextCache, Towers};
use ra_core::{Aligner, Device, LanguageModel, Pooling, Prefix, TextBatch, encode, mean_rows, run_layers};
use std::path::Path;

#[test]
fn cached_vectors_and_means_are_those_of_the_plain_passes() {
    let device = Device::flex();
    let golden = Path::new("../ra-llm/tests/golden/bert/model");
    let texts = vec![vec![2, 7, 8, 9, 3], vec![2, 30, 3], vec![2, 11, 12, 3]];
    let slices: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let batch = TextBatch::from_rows(&slices, &device);
    let close = |a: Tensor<2>, b: Tensor<2>, what: &str| {
        let error: f32 = (a - b).abs().max().into_scalar();
        assert!(error < 1e-5, "{what}: {error}");
    };
    for pooling in [Pooling::First, Pooling::Mean] {
        let lm = ra_llm::load_weights(golden, Some(pooling), &device).unwrap();
        for (first_layer, means) in [(0, true), (1, false), (2, false), (2, true)] {
            let loss = if means { AlignLoss::InfoNce } else { AlignLoss::None };
            let config = AlignConfig::default().with(|config| {
                (config.module.first_layer, config.module.n_tok, config.loss.loss) = (first_layer, 2, loss);
            });
            let tower = Towers::init(&config, 4, &lm, 1, &device).user;
            let prefix: Prefix = tower.prefix(Tensor::ones([3, 1, 4], &device));
            let cache = TextCache::new(&lm, &config);
            for prefix in [None, Some(&prefix)] {
                let plain = encode(&lm, &batch, prefix).pooled;
                close(cache.encode(&lm, &texts, prefix), plain, &format!("{pooling:?}, first layer {first_layer}"));
            }
            if means {
                let embedded = lm.embed(batch.tokens.clone(), batch.positions());
                let mut states = Vec::new();
                run_layers(&lm, 0..3, embedded, &batch, None, |_, h| states.push(mean_rows(h.clone(), &batch.mask)));
                for (cached, plain) in cache.means(&lm, &texts).into_iter().zip(states.split_off(first_layer as usize))
                {
                    close(cached, plain, "means");
                }
            }
        }
    }
}
