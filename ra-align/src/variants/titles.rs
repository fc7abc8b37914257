//! Item vectors that a frozen language model makes of titles alone, for methods that take item vectors as input.
use crate::method::{PromptConfig, Prompts};
use burn::tensor::{Tensor, TensorData};
use ra_core::{Catalog, ItemId, LanguageModel, Result, TextBatch, Tokenizer, encode, mean_rows};
use rayon::prelude::*;

/// The number of titles per batch.
const BATCH: usize = 32;

/// Returns the language model's vectors of a catalogue's titles, `[items + 1, width]`, with padding in row 0. They are
/// means over tokens, whatever the model's pooling, because sentence encoders are trained that way.
///
/// # Errors
/// Names the title that cannot be tokenized.
pub fn encode_titles<L: LanguageModel + ?Sized>(
    lm: &L,
    tokenizer: &dyn Tokenizer,
    catalog: &Catalog,
) -> Result<Tensor<2>> {
    let (spec, device) = (lm.spec(), lm.device());
    let prompt = PromptConfig { item: String::new(), item_tokens: 64, ..PromptConfig::default() };
    let prompts = Prompts::new(tokenizer, catalog, &prompt, spec.max_tokens)?;
    let mut texts: Vec<(ItemId, Vec<u32>)> = catalog.all().map(|item| (item, prompts.item(item))).collect();
    texts.sort_by_key(|(_, text)| text.len());
    let vectors = |part: &[(ItemId, Vec<u32>)]| -> Vec<f32> {
        let rows: Vec<&[u32]> = part.iter().map(|(_, text)| text.as_slice()).collect();
        let batch = TextBatch::from_rows(&rows, &device);
        mean_rows(encode(lm, &batch, None).last, &batch.mask).into_data().iter().collect()
    };
    let vectors: Vec<Vec<f32>> = texts.par_chunks(BATCH).map(vectors).collect();
    let mut table = vec![0.0; (catalog.len() + 1) * spec.width];
    for ((item, _), vector) in texts.iter().zip(vectors.concat().chunks_exact(spec.width)) {
        table[item.index() * spec.width..][..spec.width].copy_from_slice(vector);
    }
    Ok(Tensor::from_data(TensorData::new(table, [catalog.len() + 1, spec.width]), &device))
}
