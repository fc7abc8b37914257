//! Any byte may be wrong and a file may end anywhere: it is read or rejected by name, and nothing panics or requests
//! more memory than the file can fill.
use crate::{folder, golden_of};
use ra_core::Device;
use ra_core::testkit::damage::{Trial, fuzz_reader};
use std::path::Path;

/// A trial of a reader with memory accounting.
fn trial(cases: usize) -> Trial {
    Trial::new(cases, |name| std::env::var(name).ok(), |read| allocation_counter::measure(read).bytes_max)
}

/// Whether the model loads; if not, the error must name the file or its folder.
fn loads(path: &Path, named: &str) -> bool {
    match ra_llm::load(path, None, &Device::flex()) {
        Ok(_) => true,
        Err(error) => {
            assert!(error.to_string().contains(named), "{named}: {error}");
            false
        }
    }
}

#[test]
fn damaged_gguf_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let files = ["llama.gguf", "gpt2.gguf"].map(|name| (name.to_owned(), std::fs::read(golden_of(name)).unwrap()));
    // Everything but the weights is in the first part, where damage is most revealing.
    let heads = files.each_ref().map(|(name, bytes)| (name.clone(), bytes[..bytes.len().min(12_000)].to_vec()));
    fuzz_reader(&heads, trial(800), |name, head| {
        let whole = &files.iter().find(|(own, _)| own == name).unwrap().1;
        std::fs::write(&path, [head, &whole[whole.len().min(12_000)..]].concat()).unwrap();
        loads(&path, "model.gguf")
    });
    fuzz_reader(&files, trial(100), |_, bytes| {
        std::fs::write(&path, bytes).unwrap();
        loads(&path, "model.gguf")
    });
}

#[test]
fn a_damaged_model_folder_is_refused_by_name() {
    let dir = folder();
    let names = ["config.json", "tokenizer.json", "model.safetensors"];
    let files = names.map(|name| (name.to_owned(), std::fs::read(dir.path().join(name)).unwrap()));
    fuzz_reader(&files, trial(900), |name, bytes| {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let loaded = loads(dir.path(), dir.path().to_str().unwrap());
        let whole = &files.iter().find(|(own, _)| own == name).unwrap().1;
        std::fs::write(dir.path().join(name), whole).unwrap();
        loaded
    });
}

/// `tokenizers` 0.23 panics if a decoder is not valid JSON.
#[test]
fn a_tokenizer_that_panics_is_refused_by_name() {
    let dir = folder();
    let path = dir.path().join("tokenizer.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.replace("\"decoder\": null,\n", "\"decoder\": :::::::")).unwrap();
    assert!(!loads(dir.path(), "tokenizer.json"));
}
