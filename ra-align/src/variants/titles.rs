//! Item vectors that a frozen language model makes of titles alone, for methods that take item vectors as input.
use crate::cache::packed::Form;
use crate::cache::store::Store;
use crate::method::{PromptConfig, Prompts};
use burn::tensor::{Tensor, TensorData};
use ra_core::{
    Catalog, ItemId, LanguageModel, Progress, Result, TextBatch, Tokenizer, encode, host_numbers, mean_rows,
};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The number of titles per batch.
const BATCH: usize = 32;

/// How vectors are kept in a file.
const FORM: Form = Form::Bits20;

/// The stage that progress reports name.
const STAGE: &str = "encode titles";

/// The tokens of a title, and the items that have it.
type Titles = Vec<(Vec<u32>, Vec<ItemId>)>;

/// Returns the language model's vectors of a catalogue's titles, `[items + 1, width]`, with padding in row 0. They are
/// means over tokens, whatever the model's pooling, because sentence encoders are trained that way. Equal titles are
/// encoded once.
///
/// # Errors
/// Names the title that cannot be tokenized.
pub fn encode_titles<L: LanguageModel + ?Sized>(
    lm: &L,
    tokenizer: &dyn Tokenizer,
    catalog: &Catalog,
    progress: &dyn Progress,
) -> Result<Tensor<2>> {
    let table = Table::new(lm, catalog);
    encode_each(lm, &titles(lm, tokenizer, catalog)?, progress, |part, vectors| {
        for ((_, items), vector) in part.iter().zip(vectors.chunks_exact(table.width)) {
            table.put(items, vector);
        }
        Ok(())
    })?;
    Ok(table.tensor(lm))
}

/// Like [`encode_titles`], with a file that keeps vectors from run to run: those that it has are read, the others are
/// added to it as they are made, so that a killed run loses nothing. Each is kept in 20 bits a number, with an error of at
/// most 1.2e-6 of the largest of 128, and is returned with that error the first time too.
///
/// `maker` names everything that the vectors depend on besides the tokens.
///
/// # Errors
/// As [`encode_titles`]; if the file is no such cache or cannot be written, names the path.
pub fn encode_titles_in<L: LanguageModel + ?Sized>(
    path: &Path,
    maker: &str,
    lm: &L,
    tokenizer: &dyn Tokenizer,
    catalog: &Catalog,
    progress: &dyn Progress,
) -> Result<Tensor<2>> {
    let table = Table::new(lm, catalog);
    let (store, index) = Store::open(path, maker)?;
    let known: HashMap<Box<[u32]>, _> = index.into_iter().collect();
    let (found, missing): (Titles, Titles) =
        titles(lm, tokenizer, catalog)?.into_iter().partition(|(text, _)| known.contains_key(text.as_slice()));
    for (text, items) in &found {
        table.put(items, &FORM.numbers(&store.read(known[text.as_slice()])?, table.width));
    }
    encode_each(lm, &missing, progress, |part, vectors| {
        let packed: Vec<Vec<u8>> = vectors.chunks_exact(table.width).map(|vector| FORM.bytes(vector)).collect();
        store.append(part.iter().zip(&packed).map(|((text, _), row)| (text.as_slice(), row.as_slice())))?;
        for ((_, items), row) in part.iter().zip(&packed) {
            table.put(items, &FORM.numbers(row, table.width));
        }
        Ok(())
    })?;
    Ok(table.tensor(lm))
}

/// The vectors of a catalogue, written in place: they may take gigabytes.
struct Table {
    width: usize,
    values: Mutex<Vec<f32>>,
}

impl Table {
    fn new<L: LanguageModel + ?Sized>(lm: &L, catalog: &Catalog) -> Self {
        let width = lm.spec().width;
        Self { width, values: Mutex::new(vec![0.0; (catalog.len() + 1) * width]) }
    }

    fn put(&self, items: &[ItemId], vector: &[f32]) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        for item in items {
            values[item.index() * self.width..][..self.width].copy_from_slice(vector);
        }
    }

    fn tensor<L: LanguageModel + ?Sized>(self, lm: &L) -> Tensor<2> {
        let values = self.values.into_inner().unwrap_or_else(PoisonError::into_inner);
        let rows = values.len() / self.width;
        Tensor::from_data(TensorData::new(values, [rows, self.width]), &lm.device())
    }
}

/// Returns the different titles of a catalogue, short ones first.
fn titles<L: LanguageModel + ?Sized>(lm: &L, tokenizer: &dyn Tokenizer, catalog: &Catalog) -> Result<Titles> {
    let prompt = PromptConfig { item: String::new(), item_tokens: 64, ..PromptConfig::default() };
    let prompts = Prompts::new(tokenizer, catalog, &prompt, lm.spec().max_tokens)?;
    let mut texts: HashMap<Vec<u32>, Vec<ItemId>> = HashMap::new();
    catalog.all().for_each(|item| texts.entry(prompts.item(item)).or_default().push(item));
    let mut titles: Titles = texts.into_iter().collect();
    // The first item of each decides among equal lengths: the order must not be that of a hash map.
    titles.sort_unstable_by_key(|(text, items)| (text.len(), items[0]));
    Ok(titles)
}

/// Encodes titles in batches of nearly one length, and passes each batch with its vectors to `made`.
fn encode_each<L: LanguageModel + ?Sized>(
    lm: &L,
    titles: &[(Vec<u32>, Vec<ItemId>)],
    progress: &dyn Progress,
    made: impl Fn(&[(Vec<u32>, Vec<ItemId>)], Vec<f32>) -> Result<()> + Sync,
) -> Result<()> {
    if titles.is_empty() {
        return Ok(());
    }
    let (device, done) = (lm.device(), AtomicUsize::new(0));
    progress.start(STAGE, titles.len() as u64);
    let outcome = titles.par_chunks(BATCH).try_for_each(|part| {
        let rows: Vec<&[u32]> = part.iter().map(|(text, _)| text.as_slice()).collect();
        let batch = TextBatch::from_rows(&rows, &device);
        made(part, host_numbers(mean_rows(encode(lm, &batch, None).last, &batch.mask)))?;
        progress.update((done.fetch_add(part.len(), Ordering::Relaxed) + part.len()) as u64, "titles");
        Ok(())
    });
    progress.finish();
    outcome
}
