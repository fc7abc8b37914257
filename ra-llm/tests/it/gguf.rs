//! GGUF: the golden models again, their tokenizers, and files with false claims.
use crate::gguf_writer::{File, Tensor, golden, number, text};
use crate::golden_of;
use crate::strangers::configure;
use ra_core::{Device, LanguageModel, TextBatch, encode};
use serde_json::json;
use std::path::Path;

fn states(lm: &dyn LanguageModel) -> Vec<f32> {
    let text = TextBatch::from_rows(&[&[7, 9, 11, 5, 60, 22, 41, 3, 19], &[3, 4]], &Device::flex());
    encode(lm, &text, None).last.into_data().iter::<f32>().collect()
}

#[test]
fn a_gguf_file_is_the_model_of_the_folder_bit_for_bit() {
    for name in ["bert", "llama", "gpt2"] {
        let folder = ra_llm::load_weights(&golden_of(&format!("{name}/model")), None, &Device::flex()).unwrap();
        let file = ra_llm::load(&golden_of(&format!("{name}.gguf")), None, &Device::flex()).unwrap();
        assert_eq!(states(&folder), states(&file.model), "{name}");
    }
    for name in ["roberta", "gemma2", "gemma3", "embeddinggemma", "modernbert", "nomic_bert", "phi3", "llama3"] {
        let dir = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(golden_of(name).join(file), dir.path().join(file)).unwrap();
        }
        if name.contains("gemma") {
            // No key of GGUF holds this number; it is derived from the width of a head.
            configure(dir.path(), &[("query_pre_attn_scalar", json!(8))]);
        }
        let folder = ra_llm::load_weights(dir.path(), None, &Device::flex()).unwrap();
        let file = ra_llm::load_weights(&golden_of(&format!("{name}.gguf")), None, &Device::flex()).unwrap();
        assert_eq!((file.spec().causal, file.spec().max_tokens), (folder.spec().causal, folder.spec().max_tokens));
        let (want, got) = (states(&folder), states(&file));
        // The file has Llama 3's divisors of angles in f32.
        let most = if name == "llama3" { 1e-5 } else { 0.0 };
        let error = want.iter().zip(&got).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        let top = want.iter().fold(0f32, |top, x| top.max(x.abs()));
        assert!(error <= most * top, "{name}: {error} of {top}");
    }
}

/// `[output, input]` numbers of a dense layer, as a tensor of a file.
fn dense(name: &str, [output, input]: [usize; 2]) -> (Tensor, Vec<f32>) {
    let values: Vec<f32> = (0..output * input).map(|at| ((at * 7 % 11) as f32 - 5.0) / 8.0).collect();
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    (Tensor { name: format!("{name}.weight"), dims: vec![input as u64, output as u64], kind: 0, bytes }, values)
}

#[test]
fn dense_layers_of_embeddinggemma_are_applied_or_told() {
    let load = |file: &File| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.gguf");
        std::fs::write(&path, file.bytes()).unwrap();
        ra_llm::load_weights(&path, None, &Device::flex()).map_err(|error| error.to_string())
    };
    let vector = |lm: &dyn LanguageModel| -> Vec<f32> {
        encode(lm, &TextBatch::from_rows(&[&[7, 9, 11, 5]], &Device::flex()), None).pooled.into_data().iter().collect()
    };
    let mut file = golden("embeddinggemma.gguf");
    let plain = vector(&load(&file).unwrap());
    let ((first, up), (second, down)) = (dense("dense_2", [10, plain.len()]), dense("dense_3", [6, 10]));
    let times = |matrix: &[f32], x: &[f32]| -> Vec<f32> {
        matrix.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    };
    let want = times(&down, &times(&up, &plain));
    file.tensors.extend([first, second]);
    let got = vector(&load(&file).unwrap());
    assert_eq!(got.len(), 6);
    assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs())), "{got:?} {want:?}");
    file.tensors.pop();
    file.tensors.push(dense("dense_3", [6, 9]).0);
    assert!(load(&file).unwrap_err().contains("dense_3.weight is left over"));
}

#[test]
fn a_folder_with_one_file_is_that_file_and_with_two_is_a_question() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(golden_of("gpt2.gguf"), dir.path().join("a.gguf")).unwrap();
    assert!(ra_llm::load(dir.path(), None, &Device::flex()).is_ok());
    std::fs::copy(golden_of("gpt2.gguf"), dir.path().join("b.gguf")).unwrap();
    let told = ra_llm::load(dir.path(), None, &Device::flex()).unwrap_err().to_string();
    assert!(told.contains("a.gguf") && told.contains("b.gguf"), "{told}");
}

fn message(path: &Path) -> Option<String> {
    ra_llm::load(path, None, &Device::flex()).err().map(|e| e.to_string())
}

#[test]
fn what_a_file_lacks_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let whole = std::fs::read(golden_of("llama.gguf")).unwrap();
    let swap = |from: &str, to: &str| {
        let mut bytes = whole.clone();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        message(&path).unwrap()
    };
    let told = swap("blk.1.ffn_up.weight", "blk.1.ffn_xx.weight");
    assert!(
        told.contains("layers.1.mlp.up_proj.weight is missing") && told.contains("blk.1.ffn_xx.weight is left over"),
        "{told}"
    );
    let told = swap("llama.block_count", "llama.block_kount");
    assert!(told.contains("llama.block_count is missing"), "{told}");
    std::fs::write(&path, b"not a model").unwrap();
    assert!(message(&path).unwrap().contains("not a GGUF file"));
}

/// The parts of the golden Llama, named as by llama-gguf-split.
fn write_parts(folder: &Path, sizes: &[usize]) -> Vec<std::path::PathBuf> {
    let parts = golden("llama.gguf").parts(sizes);
    let name = |number: usize| folder.join(format!("tiny-{:05}-of-{:05}.gguf", number + 1, sizes.len()));
    let write = |(number, part): (usize, &File)| {
        std::fs::write(name(number), part.bytes()).unwrap();
        name(number)
    };
    parts.iter().enumerate().map(write).collect()
}

#[test]
fn a_model_in_parts_is_the_model_whole_from_the_folder_or_from_any_part() {
    let whole = golden("llama.gguf");
    let count = whole.tensors.len();
    let want = states(&ra_llm::load(&golden_of("llama.gguf"), None, &Device::flex()).unwrap().model);
    for sizes in [vec![count / 2, count - count / 2], vec![0, 3, count - 3]] {
        let dir = tempfile::tempdir().unwrap();
        let files = write_parts(dir.path(), &sizes);
        for path in files.iter().map(std::path::PathBuf::as_path).chain([dir.path()]) {
            let lm = ra_llm::load(path, None, &Device::flex()).unwrap();
            assert_eq!(states(&lm.model), want, "{sizes:?} {}", path.display());
        }
        for (number, file) in files.iter().enumerate() {
            let bytes = std::fs::read(file).unwrap();
            std::fs::remove_file(file).unwrap();
            let told = message(dir.path()).unwrap();
            assert!(told.contains(&format!("part {} of {} is missing", number + 1, sizes.len())), "{told}");
            assert!(told.contains(file.to_str().unwrap()), "{told}");
            std::fs::write(file, bytes).unwrap();
        }
        // A renamed part, and parts in the wrong order.
        let alone = dir.path().join("renamed.gguf");
        std::fs::copy(&files[0], &alone).unwrap();
        let told = message(&alone).unwrap();
        assert!(told.contains(&format!("part 1 of {}", sizes.len())) && told.contains("--merge"), "{told}");
        std::fs::copy(&files[1], &files[0]).unwrap();
        assert!(message(&files[1]).unwrap().contains(&format!("it is part 2 of {}", sizes.len())));
    }
}

#[test]
fn number_formats_that_are_not_read_are_told_by_name_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let told = |kind: u32| {
        let mut file = golden("llama.gguf");
        file.tensors.iter_mut().filter(|t| t.dims.len() == 2).for_each(|t| t.kind = kind);
        std::fs::write(&path, file.bytes()).unwrap();
        message(&path).unwrap()
    };
    for (kind, name) in [
        (4, "Q4_2"),
        (9, "Q8_1"),
        (15, "Q8_K"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (31, "Q4_0_4_4"),
        (41, "Q1_0"),
        (42, "Q2_0"),
        (200, "format number 200"),
    ] {
        let told = told(kind);
        assert_eq!(told.matches(&format!("in {name} (22 tensors)")).count(), 1, "{told}");
        assert!(told.contains("Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ2_XXS") && told.len() < 400, "{told}");
    }
}

#[test]
fn what_a_file_is_stands_before_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let told = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        let told = message(&path).unwrap();
        assert!(told.contains("model.gguf") && told.len() < 400, "{told}");
        told
    };
    let file = golden("llama.gguf");
    assert!(told([&b"GGUF\x01\0\0\0"[..], &[0; 72]].concat()).contains("GGUF version 1 (supported: 2 and 3)"));
    assert!(told([&b"GGUF\x09\0\0\0"[..], &[0; 72]].concat()).contains("GGUF version 9"));
    assert!(told([&b"GGUF\0\0\0\x03"[..], &[0; 72]].concat()).contains("big-endian"));
    for (magic, name) in [(b"lmgg", "ggml"), (b"fmgg", "ggmf"), (b"tjgg", "ggjt"), (b"algg", "ggla")] {
        assert!(told([&magic[..], &[0; 72]].concat()).contains(&format!("the old format {name}")));
    }
    assert!(
        told(b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4\n".to_vec())
            .contains("Git LFS pointer")
    );
    for architecture in ["mamba", "qwen2moe", "clip"] {
        let told = told(file.of_architecture(architecture).bytes());
        assert!(told.contains(&format!("{architecture:?} is not supported")) && told.contains("llama"), "{told}");
    }
    let scaled = file.with("llama.rope.scaling.type", text("yarn"));
    assert!(told(scaled.bytes()).contains("rope_scaling \"yarn\""));
    let longer = file.with("llama.rope.scaling.attn_factor", number(2));
    assert!(told(longer.bytes()).contains("llama.rope.scaling.attn_factor is set, which is not supported"));
    let alibi = file.of_architecture("jina-bert-v2");
    assert!(told(alibi.bytes()).contains("\"jina-bert-v2\" has ALiBi positions, which are not supported"));
    assert!(told(file.with("llama.expert_count", number(8)).bytes()).contains("mixture of experts"));
    assert!(told(file.with("llama.rope.dimension_count", number(4)).bytes()).contains("4 of 8 numbers of a head"));
    for key in ["attention.max_alibi_bias", "attn_logit_softcapping"] {
        let told = told(file.with(&format!("llama.{key}"), number(2)).bytes());
        assert!(told.contains(&format!("llama.{key} is set, which is not supported")), "{told}");
    }
    let epsilon = file.with("llama.attention.layer_norm_rms_epsilon", number(2));
    assert!(told(epsilon.bytes()).contains("rms_norm_eps 2"));
    let merges = file.with("tokenizer.ggml.model", text("gpt2")).with("tokenizer.ggml.pre", text("default"));
    assert!(told(merges.bytes()).contains("it holds no tokenizer.ggml.merges"));
    let falcon = file.with("tokenizer.ggml.model", text("gpt2")).with("tokenizer.ggml.pre", text("falcon"));
    assert!(told(falcon.bytes()).contains("tokenizer.ggml.pre \"falcon\" is not supported"));
    let whole = file.bytes();
    let cut = told(whole[..whole.len() - 5].to_vec());
    assert!(cut.contains(&format!("ends at byte {}, but the file ends at {}", whole.len(), whole.len() - 5)), "{cut}");
}

#[test]
fn a_file_of_an_embedding_model_says_how_it_is_pooled() {
    use ra_core::Pooling;
    let dir = tempfile::tempdir().unwrap();
    // The content decides, not the name.
    let path = dir.path().join("embedding.bin");
    for (kind, pooling) in [(0, Pooling::Last), (1, Pooling::Mean), (2, Pooling::First), (3, Pooling::Last)] {
        let file = golden("llama.gguf").with("llama.pooling_type", number(kind));
        std::fs::write(&path, file.bytes()).unwrap();
        assert_eq!(ra_llm::load(&path, None, &Device::flex()).unwrap().model.spec().pooling, pooling);
        let chosen = ra_llm::load(&path, Some(Pooling::Mean), &Device::flex()).unwrap();
        assert_eq!(chosen.model.spec().pooling, Pooling::Mean);
    }
    for (kind, told) in [(4, "the pooling rank, which is not supported; choose"), (9, "the pooling number 9,")] {
        let file = golden("llama.gguf").with("llama.pooling_type", number(kind));
        std::fs::write(&path, file.bytes()).unwrap();
        let found = message(&path).unwrap();
        assert!(found.contains(told) && found.contains("embedding.bin"), "{found}");
        assert!(ra_llm::load(&path, Some(Pooling::Mean), &Device::flex()).is_ok());
    }
}
