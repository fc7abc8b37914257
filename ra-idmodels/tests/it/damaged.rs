//! Damaged files of imported vectors are refused, or read as far as they are intact.
use crate::import::{ITEMS, batch, bytes, dir, fixed, ipc, items, load, parquet, plain, safetensors, texts};
use ra_core::testkit::damage::{Trial, fuzz_reader};
use safetensors::Dtype;

/// A trial of a reader that counts its memory.
fn trial(cases: usize) -> Trial {
    Trial::new(cases, |name| std::env::var(name).ok(), |read| allocation_counter::measure(read).bytes_max)
}

#[test]
fn damaged_vectors_are_refused_by_name() {
    let (_dir, at) = dir();
    let table = batch(vec![("item", texts(&["10", "20", "30"])), ("vector", fixed(&ITEMS, 2))]);
    plain(&at("items.npy"), 3, &ITEMS);
    safetensors(&at("items.safetensors"), &[("items", Dtype::F32, &[3, 2], bytes(&ITEMS, f32::to_le_bytes))]);
    parquet(&at("items.parquet"), &table);
    ipc(&at("items.arrow"), &table);
    let names = ["items.npy", "items.safetensors", "items.parquet", "items.arrow"];
    let files = names.map(|name| (name.to_owned(), std::fs::read(at(name)).unwrap()));
    fuzz_reader(&files, trial(2_000), |name, bytes| {
        let path = at(&format!("case-{name}"));
        std::fs::write(&path, bytes).unwrap();
        match load(&items(&path)) {
            Ok(_) => true,
            Err(error) => {
                assert!(error.to_string().contains(&format!("case-{name}")), "{error}");
                false
            }
        }
    });
}
