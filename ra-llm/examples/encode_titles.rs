//! Which titles are alike? `cargo run -p ra-llm --features untrained --example encode_titles -- models/minilm`; without
//! a folder it makes a tiny untrained model, whose answers mean little.
#![allow(clippy::print_stdout)]
use ra_core::{Backend, Tensor, TextBatch, Tokenizer, encode, open_device, write_json};
use std::{collections::HashMap, env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let untrained = tempfile::tempdir()?;
    let folder = match env::args().nth(1) {
        Some(folder) => folder.into(),
        None => write_tiny_model(untrained.path()).map(|()| untrained.path().to_path_buf())?,
    };
    let device = open_device(Backend::Cpu)?;
    let lm = ra_llm::load(&folder, None, &device)?;

    let titles = ["toy story", "toy story two", "the deer hunter", "apocalypse now"];
    let (open, close) = lm.tokenizer.special_tokens();
    let words = lm.tokenizer.tokenize(&titles)?;
    let texts: Vec<Vec<u32>> = words.into_iter().map(|words| [&open[..], &words, &close].concat()).collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let vectors = encode(&lm.model, &TextBatch::from_rows(&texts, &device), None).pooled; // [titles, width]
    let unit: Tensor<2> = vectors.clone() / vectors.square().sum_dim(1).sqrt();
    let cosines: Vec<f32> = unit.clone().matmul(unit.transpose()).into_data().iter().collect();
    for (title, row) in titles.iter().zip(cosines.chunks(titles.len())) {
        println!("{title:>16}  {}", row.iter().map(|cosine| format!("{cosine:6.3}")).collect::<String>());
    }
    Ok(())
}

/// A GPT-2 with random weights whose tokens are letters; `Ġ` is how GPT-2 writes a space.
fn write_tiny_model(folder: &Path) -> Result<(), Box<dyn Error>> {
    let letters = "Ġabcdefghijklmnopqrstuvwxyz".chars().map(String::from).zip(0..);
    write_json(&folder.join("encoder.json"), &letters.collect::<HashMap<String, u32>>())?;
    fs::write(folder.join("vocab.bpe"), "#version: 0.2\n")?;
    Ok(ra_llm::write_untrained_gpt2(folder, 1)?)
}
