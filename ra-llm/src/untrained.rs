//! Untrained models: a baseline that a pretrained model must beat.
use crate::gguf::tokenizer::{GPT2_CUT, byte_pairs};
use crate::{LlmError, Result};
use ra_core::{Error, normal_numbers, read_bytes, read_json, rng, write_atomic, write_json};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// Width, layers and heads of the model that [`write_untrained_gpt2`] writes: a sixth of GPT-2's width and a third of
/// its depth. It is large enough to run and too small to be mistaken for the real one.
const SHAPE: [usize; 3] = [128, 4, 4];
const POSITIONS: usize = 1024;

/// The files that [`write_untrained_gpt2`] writes.
pub const UNTRAINED_GPT2_FILES: [&str; 3] = ["tokenizer.json", "config.json", "model.safetensors"];

/// Writes a Hugging Face folder with GPT-2's tokenizer and a small GPT-2 with random weights (normal, standard
/// deviation 0.02, as GPT-2's initialisation) into `folder`, which must hold the vocabulary as `encoder.json` and
/// `vocab.bpe`.
///
/// # Errors
/// Names the file that is missing or invalid.
pub fn write_untrained_gpt2(folder: &Path, seed: u64) -> Result<()> {
    let [tokenizer_file, config_file, weights_file] = UNTRAINED_GPT2_FILES.map(|name| folder.join(name));
    let (encoder, merges) = (folder.join("encoder.json"), folder.join("vocab.bpe"));
    let vocabulary: HashMap<String, usize> = read_json(&encoder)?;
    let size = vocabulary.len();
    let mut tokens = vec![String::new(); size];
    for (token, id) in vocabulary {
        let place =
            tokens.get_mut(id).ok_or_else(|| Error::corrupt(&encoder, format!("token id {id} of {size} tokens")))?;
        *place = token;
    }
    let text = String::from_utf8(read_bytes(&merges)?).map_err(|_| Error::corrupt(&merges, "not UTF-8"))?;
    let lines: Vec<String> =
        text.lines().filter(|l| !l.starts_with("#version") && l.contains(' ')).map(Into::into).collect();
    let mut tokenizer = byte_pairs(&tokens, &lines, &GPT2_CUT);
    tokenizer["added_tokens"] = json!([]);
    write_json(&tokenizer_file, &tokenizer)?;

    let [width, layers, heads] = SHAPE;
    write_json(
        &config_file,
        &json!({
            "model_type": "gpt2", "vocab_size": size, "n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": POSITIONS,
            "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new",
        }),
    )?;
    let mut shapes = vec![("wte.weight".to_string(), vec![size, width]), ("wpe.weight".into(), vec![POSITIONS, width])];
    let norm = |name: String, shapes: &mut Vec<(String, Vec<usize>)>| {
        shapes.extend(["weight", "bias"].map(|part| (format!("{name}.{part}"), vec![width])));
    };
    norm("ln_f".into(), &mut shapes);
    for layer in 0..layers {
        for (part, from, to) in [
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, 4 * width),
            ("mlp.c_proj", 4 * width, width),
        ] {
            shapes.push((format!("h.{layer}.{part}.weight"), vec![from, to]));
            shapes.push((format!("h.{layer}.{part}.bias"), vec![to]));
        }
        ["ln_1", "ln_2"].iter().for_each(|part| norm(format!("h.{layer}.{part}"), &mut shapes));
    }
    let numbers = |index: usize, name: &str, shape: &[usize]| -> Vec<u8> {
        let count = shape.iter().product();
        let values: Vec<f32> = match (name.ends_with("bias"), shape.len()) {
            (true, _) => vec![0.0; count],
            (false, 1) => vec![1.0; count],
            _ => {
                let random = &mut rng(seed, "untrained", index as u64);
                normal_numbers(count, 0.02, random)
            }
        };
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    };
    let tensors: Vec<_> = shapes.iter().enumerate().map(|(i, (n, s))| (n, s, numbers(i, n, s))).collect();
    let fail = |e: safetensors::SafeTensorError| LlmError::from(Error::corrupt(&weights_file, e.to_string()));
    let views = tensors.iter().map(|t| {
        let (name, shape, bytes) = t;
        TensorView::new(Dtype::F32, (*shape).clone(), bytes).map(|v| ((*name).clone(), v)).map_err(fail)
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    Ok(write_atomic(&weights_file, &safetensors::serialize(views, None).map_err(fail)?)?)
}
