//! Frozen language models with random weights: forward passes, and backward passes to the prefix.
use super::At;
use super::time::{Seconds, least};
use super::work::{Measured, pairs};
use anyhow::{Context, Result};
use burn::tensor::{Tensor, TensorData};
use ra_core::{Device, LanguageModel, Prefix, SplitMix, TextBatch, Tokenizer, encode, encode_from, normal, rng};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

/// A shape to measure: its configuration, its texts, and the tensors of a layer and around them.
pub(super) struct Shape {
    config: fn() -> Value,
    /// The number of texts, and of the tokens of each.
    texts: [usize; 2],
    tensors: fn() -> Vec<(String, Vec<usize>)>,
}

const PREFIX: usize = 8;

pub(super) const MINILM: Shape = Shape {
    config: || {
        json!({ "model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
            "intermediate_size": 1536, "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
            "hidden_act": "gelu" })
    },
    texts: [32, 64],
    tensors: || {
        let mut all = vec![
            ("embeddings.word_embeddings.weight".into(), vec![30522, 384]),
            ("embeddings.position_embeddings.weight".into(), vec![512, 384]),
            ("embeddings.token_type_embeddings.weight".into(), vec![2, 384]),
        ];
        let mut layer = |name: &str, shape: Vec<usize>| {
            all.push((format!("{name}.bias"), vec![shape[0]]));
            all.push((format!("{name}.weight"), shape));
        };
        layer("embeddings.LayerNorm", vec![384]);
        for l in 0..6 {
            for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
            {
                layer(&format!("encoder.layer.{l}.{part}"), vec![384, 384]);
            }
            layer(&format!("encoder.layer.{l}.intermediate.dense"), vec![1536, 384]);
            layer(&format!("encoder.layer.{l}.output.dense"), vec![384, 1536]);
            for part in ["attention.output.LayerNorm", "output.LayerNorm"] {
                layer(&format!("encoder.layer.{l}.{part}"), vec![384]);
            }
        }
        all
    },
};

/// Enough texts to keep a GPU busy.
pub(super) const MANY: Shape = Shape { texts: [1024, 64], ..MINILM };

/// The prompt of one request to a service.
pub(super) const PROMPT: Shape = Shape { texts: [1, 85], ..MINILM };

pub(super) const SMOLLM2: Shape = Shape {
    config: || {
        json!({ "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
            "rope_theta": 1e5, "hidden_act": "silu" })
    },
    texts: [8, 64],
    tensors: || {
        let mut all = vec![("embed_tokens.weight".into(), vec![49152, 576]), ("norm.weight".into(), vec![576])];
        for l in 0..30 {
            let mut layer =
                |part: &str, shape: &[usize]| all.push((format!("layers.{l}.{part}.weight"), shape.to_vec()));
            layer("self_attn.q_proj", &[576, 576]);
            layer("self_attn.k_proj", &[192, 576]);
            layer("self_attn.v_proj", &[192, 576]);
            layer("self_attn.o_proj", &[576, 576]);
            layer("mlp.gate_proj", &[1536, 576]);
            layer("mlp.up_proj", &[1536, 576]);
            layer("mlp.down_proj", &[576, 1536]);
            layer("input_layernorm", &[576]);
            layer("post_attention_layernorm", &[576]);
        }
        all
    },
};

/// What is computed of texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    /// The prefix rows of each layer.
    prefix: usize,
    /// Whether the last layer has every state, not only the pooled row.
    whole: bool,
    /// Whether gradients of the prefix rows follow.
    backward: bool,
}

/// A pass forward to every state of the last layer.
pub(super) const EVERY_STATE: Pass = Pass { prefix: 0, whole: true, backward: false };

impl Shape {
    /// Returns the operations of all matrix products of a pass over a number of texts of as many tokens: two for each
    /// multiply-add. Attention counts only the pairs that a mask leaves. Weights are frozen, so that a layer costs as
    /// much backward as forward, its attention twice as much; the first one sends gradients to its prefix rows alone.
    pub(super) fn flops(&self, [texts, tokens]: [usize; 2], pass: Pass) -> f64 {
        let config = (self.config)();
        let number = |key: &str| config[key].as_u64().map(|number| number as usize);
        let of = |key: &str| number(key).unwrap_or(0);
        let (width, inner, layers, heads) =
            (of("hidden_size"), of("intermediate_size"), of("num_hidden_layers"), of("num_attention_heads"));
        let keys_and_values = 2 * width * width / heads * number("num_key_value_heads").unwrap_or(heads);
        let causal = config["model_type"] == "llama";
        let feed_forward = if causal { 3 } else { 2 } * width * inner;
        let products = (0..layers).map(|layer| {
            // The rows of queries and of keys, and the pairs that attend.
            let pooled = !pass.whole && layer + 1 == layers;
            let queries = if pooled { texts } else { texts * tokens };
            let keys = texts * (tokens + pass.prefix);
            let attended = queries * pass.prefix + if pooled { texts * tokens } else { texts * pairs(tokens, causal) };
            let own = queries * (width * width + feed_forward);
            let read = queries * width * width + keys * keys_and_values;
            let forward = own + read + 2 * attended * width;
            let backward = match layer {
                0 => own + texts * pass.prefix * keys_and_values + 3 * attended * width,
                _ => own + read + 4 * attended * width,
            };
            forward + if pass.backward { backward } else { 0 }
        });
        2.0 * products.sum::<usize>() as f64
    }

    /// Creates a model of this shape, loaded like any other model.
    pub(super) fn load(&self, at: &At) -> Result<Box<dyn LanguageModel>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("config.json"), (self.config)().to_string())?;
        let mut random = SplitMix::new(1);
        let mut tensors = Vec::new();
        for (name, shape) in (self.tensors)() {
            let values = (0..shape.iter().product()).map(|_| (random.unit() as f32 - 0.5) * 0.07);
            let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
            tensors.push((name, shape, bytes));
        }
        let view = |(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape, bytes)?));
        let views = tensors.iter().map(|(n, s, b): &(_, Vec<usize>, Vec<u8>)| view((n, s.clone(), b)));
        let views = views.collect::<Result<Vec<_>>>()?;
        std::fs::write(folder.path().join("model.safetensors"), safetensors::serialize(views, None)?)?;
        let lm = ra_llm::load_weights(folder.path(), None, &at.device)?;
        Ok(at.precision.of_matrices(lm, &at.device)?)
    }

    fn texts(&self, device: &Device) -> TextBatch {
        let mut random = SplitMix::new(2);
        let tokens: Vec<i32> = (0..self.texts.iter().product()).map(|_| 5 + random.below(30_000) as i32).collect();
        TextBatch {
            tokens: Tensor::from_data(TensorData::new(tokens, self.texts), device),
            mask: Tensor::ones(self.texts, device),
        }
    }
}

/// Returns the seconds of a call, the minimum of seven after a warm-up call. The peak memory counts from here on.
fn warm(mut run: impl FnMut() -> Result<()>) -> Result<Seconds> {
    crate::machine::forget_peak();
    run()?;
    least(7, run)
}

/// Encodes text alone, with every state of the last layer.
pub(super) fn forward(shape: &Shape, at: &At) -> Result<Measured> {
    let (lm, text) = (shape.load(at)?, shape.texts(&at.device));
    let seconds = warm(|| {
        encode(&lm, &text, None).last.into_data();
        Ok(())
    })?;
    Ok(Measured::of_flops(seconds, shape.flops(shape.texts, EVERY_STATE)))
}

/// Encodes text alone to its vector: the last layer only at the pooled row, as for a tower.
pub(super) fn vector(shape: &Shape, at: &At) -> Result<Measured> {
    let (lm, text) = (shape.load(at)?, shape.texts(&at.device));
    let seconds = warm(|| {
        encode_from(&lm, 0, lm.embed(text.tokens.clone(), text.positions()), &text, None).into_data();
        Ok(())
    })?;
    Ok(Measured::of_flops(seconds, shape.flops(shape.texts, Pass { whole: false, ..EVERY_STATE })))
}

/// Runs forward and backward to the prefixes of all layers, from every state of the last layer or only from the pooled
/// row.
pub(super) fn backward(shape: &Shape, whole: bool, at: &At) -> Result<Measured> {
    let (lm, text) = (shape.load(at)?, shape.texts(&at.device));
    let spec = lm.spec();
    let row = |layer: usize| {
        let random = &mut rng(3, "prefix", layer as u64);
        normal([shape.texts[0], PREFIX, spec.width], 1.0, random, &at.device.clone().autodiff()).val().detach()
    };
    let seconds = warm(|| {
        let rows: Vec<Tensor<3>> = (0..spec.layers).map(|l| row(l).require_grad()).collect();
        let prefix = Prefix::new(0, rows.clone());
        let pooled = if whole {
            encode(&lm, &text, Some(&prefix)).pooled
        } else {
            encode_from(&lm, 0, lm.embed(text.tokens.clone(), text.positions()), &text, Some(&prefix))
        };
        let grads = pooled.square().mean().backward();
        rows[0].grad(&grads).context("the first prefix has no gradient")?.into_data();
        Ok(())
    })?;
    Ok(Measured::of_flops(seconds, shape.flops(shape.texts, Pass { prefix: PREFIX, whole, backward: true })))
}

/// Returns the folder of a fetched model.
fn available(name: &str, at: &At) -> Result<std::path::PathBuf> {
    let folder = at.root.join("models").join(name);
    anyhow::ensure!(folder.exists(), "{} is not there; {} fetch {name}", folder.display(), crate::terminal::program());
    Ok(folder)
}

/// Reads a model from disk until it can be used.
pub(super) fn load(name: &str, at: &At) -> Result<Measured> {
    let folder = available(name, at)?;
    let seconds = warm(|| {
        ra_llm::load(&folder, None, &at.device)?;
        Ok(())
    })?;
    Ok(seconds.into())
}

/// Tokenizes titles: 100,000 titles of words of a product catalogue, reported per thousand.
pub(super) fn tokens(name: &str, at: &At) -> Result<Measured> {
    const WORDS: &str = "stainless steel replacement filter pack inch digital thermometer with probe black large safety glasses \
        laboratory beaker 250ml borosilicate scale 3M tape industrial heavy duty adhesive Scotch-Brite nitrile gloves disposable";
    let lm = ra_llm::load(&available(name, at)?, None, &Device::flex())?;
    let (words, mut random): (Vec<&str>, _) = (WORDS.split_whitespace().collect(), SplitMix::new(4));
    let title = |_| (0..8).map(|_| words[random.below(words.len())]).collect::<Vec<_>>().join(" ");
    let titles: Vec<String> = (0..100_000).map(title).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let (cpu, wall) = least(1, || {
        let all = lm.tokenizer.tokenize(&titles)?.iter().all(|ids| ids.len() >= 8);
        anyhow::ensure!(all, "a title has fewer tokens than words");
        Ok(())
    })?;
    Ok((cpu / 100.0, wall / 100.0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The multiply-adds of a text's token with all matrices of the layers, by their tensors.
    fn of_a_token(shape: &Shape) -> usize {
        let layers = (shape.tensors)().into_iter().filter(|(name, _)| name.contains("layer"));
        layers.filter(|(_, shape)| shape.len() == 2).map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn operations_are_those_of_every_matrix_and_of_attention() {
        let [minilm, smollm2] = [MINILM, SMOLLM2].map(|shape| shape.flops([3, 1], EVERY_STATE));
        // A text of one token attends to itself: two products of the width.
        assert_eq!(minilm, (2 * 3 * (of_a_token(&MINILM) + 6 * 2 * 384)) as f64);
        assert_eq!(smollm2, (2 * 3 * (of_a_token(&SMOLLM2) + 30 * 2 * 576)) as f64);
        // Of four tokens, 16 pairs, or 10 if each sees only those before it.
        assert_eq!(MINILM.flops([1, 4], EVERY_STATE), (2 * (4 * of_a_token(&MINILM) + 6 * 2 * 16 * 384)) as f64);
        assert_eq!(SMOLLM2.flops([1, 4], EVERY_STATE), (2 * (4 * of_a_token(&SMOLLM2) + 30 * 2 * 10 * 576)) as f64);
    }

    #[test]
    fn a_pooled_row_costs_less_and_gradients_cost_more() {
        for shape in [MINILM, SMOLLM2] {
            let flops = |pass| shape.flops([4, 64], pass);
            let whole = flops(EVERY_STATE);
            assert!(flops(Pass { whole: false, ..EVERY_STATE }) < whole);
            let prefix = flops(Pass { prefix: 8, ..EVERY_STATE });
            let both = flops(Pass { prefix: 8, whole: true, backward: true });
            assert!(whole < prefix && 1.8 * prefix < both && both < 2.2 * prefix, "{whole} {prefix} {both}");
        }
    }
}
