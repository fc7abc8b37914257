//! GGUF: the golden models once more, their tokenizers, and files that lie.
use crate::golden_of;
use ra_core::{Device, LanguageModel, TextBatch, Tokenizer, encode};
use std::path::Path;

fn states(lm: &dyn LanguageModel) -> Vec<f32> {
    let text = TextBatch::from_rows(&[&[7, 9, 11, 5, 90], &[3, 4]], &Device::flex());
    encode(lm, &text, None).last.into_data().iter::<f32>().collect()
}

#[test]
fn a_gguf_file_is_the_model_of_the_folder_bit_for_bit() {
    for name in ["llama", "gpt2"] {
        let folder = ra_llm::load_weights(&golden_of(&format!("{name}/model")), None, &Device::flex()).unwrap();
        let file = ra_llm::load(&golden_of(&format!("{name}.gguf")), None, &Device::flex()).unwrap();
        assert_eq!(states(&folder), states(&file.model), "{name}");
    }
}

#[test]
fn tokenizers_come_from_the_keys() {
    let bytes = ra_llm::load(&golden_of("gpt2.gguf"), None, &Device::flex()).unwrap().tokenizer;
    assert_eq!(bytes.frame(), (vec![], vec![]));
    // Tokens 0..94 are "!".."~", then "Ġ", "to", "Ġto".
    let id = |c: char| c as u32 - 33;
    assert_eq!(bytes.tokenize(&["to be to"]), [vec![95, 94, id('b'), id('e'), 96]]);

    let pieces = ra_llm::load(&golden_of("llama.gguf"), None, &Device::flex()).unwrap().tokenizer;
    assert_eq!(pieces.frame(), (vec![1], vec![]));
    // "to" scores above "▁t": "▁" + "to" become "▁to"; "▁to" + "y" become "▁toy"; "A" is the byte 65.
    assert_eq!(pieces.tokenize(&["toy to", "A"]), [vec![10, 8], vec![3, 11 + 65 - 60]]);
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
