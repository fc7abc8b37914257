//! A cache of frozen work: what a text contributes does not depend on any trained parameter.
pub(crate) mod packed;
pub(crate) mod store;

use crate::config::{AlignConfig, AlignLoss, Placement, Tuning};
use burn::tensor::{Tensor, TensorData};
use packed::Form;
use ra_core::{
    LanguageModel, LmSpec, PooledPath, PooledText, Pooling, Prefix, Progress, Result, TextBatch, encode_from,
    encode_pooled, encode_with_tokens, host_numbers, indices, mean_rows, pooled_text, run_layers,
};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Place, Store};

/// The number of texts per batch when the cache is filled.
const BATCH: usize = 32;

/// The packed numbers of texts.
type Rows = HashMap<Box<[u32]>, Arc<[u8]>>;

/// The place of a text's packed numbers.
#[derive(Debug, Clone)]
enum Row {
    Held(Arc<[u8]>),
    Stored(Place),
}

/// The constants of texts under a frozen language model with a prefix from `first_layer` up, each computed once.
///
/// With one injected layer and first- or last-token pooling, the constants of a text are the `2 * width + heads`
/// numbers of [`PooledText`] without its query, which follows from them; otherwise they are the hidden states that enter
/// the first injected layer. On request, the means of the text-only states after each injected layer (the targets of
/// InfoNCE) follow. Texts of equal length form a batch, so there is no padding.
///
/// The numbers of [`PooledText`] are kept in 20 bits each, with an error of at most 1.2e-6 of the largest of 128, others
/// as they are. A text that is computed anew gets the same error, so that a result does not depend on what is cached.
#[derive(Debug)]
pub struct TextCache {
    first_layer: usize,
    /// The form of a text's constants if they are those of [`PooledText`].
    pooled: Option<Pooled>,
    means: bool,
    placement: Placement,
    /// The most bytes to add, and those added so far.
    budget: usize,
    added: AtomicUsize,
    rows: Mutex<HashMap<Box<[u32]>, Row>>,
    store: Option<Store>,
}

/// The form of the constants of [`PooledText`].
#[derive(Debug, Clone, Copy)]
struct Pooled {
    heads: usize,
    head: usize,
    pooling: Pooling,
    /// Whether the query is kept too, because the model does not offer it.
    with_query: bool,
}

impl TextCache {
    /// Creates a cache for what `align` injects into `lm`. It adds at most `cache_mib` of rows; the rest is computed
    /// again when needed.
    pub fn new<L: LanguageModel + ?Sized>(lm: &L, align: &AlignConfig) -> Self {
        let spec = lm.spec();
        let (first_layer, means) = (align.module.first_layer(&spec), align.loss.loss != AlignLoss::None);
        // Trained layers leave no constants.
        let alone = first_layer + 1 == spec.layers
            && spec.pooling.reads_one_row()
            && align.module.placement == Placement::Layers
            && align.tuning.tune == Tuning::None;
        let pooled = if alone { pooled_path(lm) } else { None };
        let rows = Mutex::new(HashMap::new());
        // Looking up the input of layer 0 is faster than reading it.
        let budget = if first_layer == 0 && pooled.is_none() && !means { 0 } else { align.cache_mib << 20 };
        Self {
            first_layer,
            pooled,
            means,
            placement: align.module.placement,
            budget,
            added: AtomicUsize::new(0),
            rows,
            store: None,
        }
    }

    /// Keeps rows in the file `path` instead of memory from now on, and reads the rows that it holds. While another
    /// cache uses the file, new rows go to a separate file next to it (`text.1.rows`), which later caches read too.
    ///
    /// `maker` names everything that rows depend on besides their text: the weights, the layer and the kind of
    /// constants.
    ///
    /// # Errors
    /// Names the path. Delete a file that is not a cache of this version, or that has another maker.
    pub fn keep_in(&mut self, path: &Path, maker: &str) -> Result<()> {
        let (store, index) = Store::open(path, maker)?;
        self.lock().extend(index.into_iter().map(|(text, place)| (text, Row::Stored(place))));
        self.store = Some(store);
        Ok(())
    }

    /// Returns whether the cache holds what `align` needs of a text.
    pub(crate) fn serves<L: LanguageModel + ?Sized>(&self, lm: &L, align: &AlignConfig) -> bool {
        self.first_layer == align.module.first_layer(&lm.spec())
            && self.placement == align.module.placement
            && (self.means || align.loss.loss == AlignLoss::None)
            && (self.pooled.is_none() || align.tuning.tune == Tuning::None)
    }

    /// Returns how numbers are kept. Hidden states pass through whole layers, of which a norm may amplify an error.
    fn form(&self) -> Form {
        if self.pooled.is_some() { Form::Bits20 } else { Form::F32 }
    }

    /// Returns how many numbers a text of this many tokens has.
    fn numbers(&self, spec: &LmSpec, tokens: usize) -> usize {
        let own = match self.pooled {
            Some(Pooled { heads, head, with_query, .. }) => {
                spec.width + heads * head * (1 + usize::from(with_query)) + heads
            }
            None => tokens * spec.width,
        };
        own + if self.means { (spec.layers - self.first_layer) * spec.width } else { 0 }
    }

    /// Returns the number of cached texts.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u32]>, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes the texts that are not cached yet, as far as the budget allows.
    pub fn fill<L: LanguageModel + ?Sized, T: AsRef<[u32]>>(
        &self,
        lm: &L,
        texts: &[T],
        stage: &str,
        progress: &dyn Progress,
    ) {
        let missing = self.missing(texts);
        let spec = lm.spec();
        let bytes = missing.iter().map(|text| self.form().size(self.numbers(&spec, text.len()))).sum::<usize>();
        if bytes == 0 || self.budget == 0 {
            return;
        }
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let free = self.budget.saturating_sub(self.added.load(Ordering::Relaxed));
        if bytes > free {
            let (needed, free) = (mib(bytes), mib(free));
            tracing::warn!(stage, needed, free, "too few MiB for texts: the rest is computed again; see cache_mib");
        }
        progress.start(&format!("{stage}, {} MiB", mib(bytes.min(free))), missing.len() as u64);
        self.make(lm, missing, false, progress);
        progress.finish();
    }

    fn missing<'a, T: AsRef<[u32]>>(&self, texts: &'a [T]) -> Vec<&'a [u32]> {
        let rows = self.lock();
        let unique: HashSet<&[u32]> = texts.iter().map(AsRef::as_ref).filter(|t| !rows.contains_key(*t)).collect();
        unique.into_iter().collect()
    }

    /// Computes `missing`, keeps what fits into the budget and, if `needed`, returns the rest.
    fn make<L: LanguageModel + ?Sized>(
        &self,
        lm: &L,
        missing: Vec<&[u32]>,
        needed: bool,
        progress: &dyn Progress,
    ) -> Rows {
        let uncached = Mutex::new(Rows::new());
        let done = AtomicUsize::new(0);
        same_length(missing).par_iter().for_each(|batch| {
            let size = batch.len() * self.form().size(self.numbers(&lm.spec(), batch[0].len()));
            let room = self.added.fetch_add(size, Ordering::Relaxed) + size <= self.budget;
            if !room {
                self.added.fetch_sub(size, Ordering::Relaxed);
            }
            if room || needed {
                let made = self.compute(lm, batch);
                if room {
                    self.keep(batch, made);
                } else {
                    let made = batch.iter().map(|t| Box::from(*t)).zip(made);
                    uncached.lock().unwrap_or_else(PoisonError::into_inner).extend(made);
                }
            }
            progress.update((done.fetch_add(batch.len(), Ordering::Relaxed) + batch.len()) as u64, "texts");
        });
        uncached.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, batch: &[&[u32]], made: Vec<Arc<[u8]>>) {
        let stored =
            self.store.as_ref().map(|store| store.append(batch.iter().copied().zip(made.iter().map(|r| &**r))));
        let rows: Vec<Row> = match stored {
            Some(Ok(places)) => places.into_iter().map(Row::Stored).collect(),
            other => {
                if let Some(Err(error)) = other {
                    tracing::warn!(%error, "the text cache cannot be written: texts stay in memory");
                }
                made.into_iter().map(Row::Held).collect()
            }
        };
        self.lock().extend(batch.iter().map(|t| Box::from(*t)).zip(rows));
    }

    fn compute<L: LanguageModel + ?Sized>(&self, lm: &L, texts: &[&[u32]]) -> Vec<Arc<[u8]>> {
        let layers = lm.spec().layers;
        let batch = TextBatch::from_rows(texts, &lm.device());
        let hidden = lm.embed(batch.tokens.clone(), batch.positions());
        let hidden = run_layers(lm, 0..self.first_layer, hidden, &batch, None, |_, _| ());
        let path = self.pooled.and(lm.pooled());
        let constants = path.and_then(|path| pooled_text(path, hidden.clone(), &batch));
        let mut parts: Vec<Tensor<2>> = match constants {
            Some(text) => {
                let query = self.pooled.filter(|form| form.with_query).map(|_| flat(text.query));
                [text.hidden, flat(text.context), text.score].into_iter().chain(query).collect()
            }
            None => vec![flat(hidden.clone())],
        };
        if self.means {
            run_layers(lm, self.first_layer..layers, hidden, &batch, None, |_, state| {
                parts.push(mean_rows(state.clone(), &batch.mask));
            });
        }
        let values = host_numbers(Tensor::cat(parts, 1));
        values.chunks_exact(values.len() / texts.len()).map(|row| self.form().bytes(row).into()).collect()
    }

    /// Returns the numbers of each text.
    fn rows<L: LanguageModel + ?Sized>(&self, lm: &L, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let mut uncached = self.make(lm, self.missing(texts), true, &ra_core::NoProgress);
        let found: Vec<Option<Row>> = {
            let rows = self.lock();
            texts.iter().map(|t| rows.get(t.as_slice()).cloned()).collect()
        };
        let spec = lm.spec();
        let mut packed = |text: &Vec<u32>, found: Option<Row>| match (found, &self.store) {
            (Some(Row::Held(row)), _) => row,
            (Some(Row::Stored(place)), Some(store)) => match store.read(place) {
                Ok(row) => row.into(),
                Err(error) => {
                    tracing::warn!(%error, "a cached text cannot be read and is computed again");
                    self.compute(lm, &[text]).swap_remove(0)
                }
            },
            _ => uncached
                .entry(text.as_slice().into())
                .or_insert_with(|| self.compute(lm, &[text]).swap_remove(0))
                .clone(),
        };
        let row = |(text, found): (&Vec<u32>, Option<Row>)| {
            self.form().numbers(&packed(text, found), self.numbers(&spec, text.len()))
        };
        texts.iter().zip(found).map(row).collect()
    }

    /// Returns the vectors of the texts under `prefix`, `[texts, output width]`; without a prefix, those of the untouched
    /// language model.
    pub fn encode<L: LanguageModel + ?Sized>(&self, lm: &L, texts: &[Vec<u32>], prefix: Option<&Prefix>) -> Tensor<2> {
        let rows = self.rows(lm, texts);
        let (spec, device) = (lm.spec(), lm.device());
        if let (Some(form), Some(path)) = (self.pooled, lm.pooled()) {
            let text = form.text(path, &rows, texts, spec.width);
            return encode_pooled(path, &text, prefix.and_then(|p| p.layer(self.first_layer)).cloned());
        }
        if texts.is_empty() {
            return Tensor::zeros([0, lm.output_width()], &device);
        }
        // Texts of similar length are computed together and returned in the requested order.
        let groups = near_length(texts);
        let part = |group: &Vec<usize>| {
            let slices: Vec<&[u32]> = group.iter().map(|&at| texts[at].as_slice()).collect();
            let batch = TextBatch::from_rows(&slices, &device);
            let [count, longest] = batch.tokens.dims();
            let mut states = vec![0.0; count * longest * spec.width];
            for (&at, state) in group.iter().zip(states.chunks_exact_mut(longest * spec.width)) {
                let filled = texts[at].len() * spec.width;
                state[..filled].copy_from_slice(&rows[at][..filled]);
            }
            let hidden = Tensor::from_data(TensorData::new(states, [count, longest, spec.width]), &device);
            let own = prefix.map(|prefix| prefix.select(&indices(group.iter().copied(), &device)));
            match (self.placement, own.as_ref().and_then(|own| own.layer(0))) {
                (Placement::Input, Some(rows)) => encode_with_tokens(lm, hidden, &batch, rows.clone()),
                _ => encode_from(lm, self.first_layer, hidden, &batch, own.as_ref()),
            }
        };
        in_order(Tensor::cat(groups.iter().map(part).collect(), 0), &groups.concat())
    }

    /// Returns the means of the text-only states after each injected layer, each `[texts, width]`.
    ///
    /// # Panics
    /// If the cache was created without means.
    pub fn means<L: LanguageModel + ?Sized>(&self, lm: &L, texts: &[Vec<u32>]) -> Vec<Tensor<2>> {
        assert!(self.means, "the cache was made without means");
        let rows = self.rows(lm, texts);
        let (spec, device) = (lm.spec(), lm.device());
        let injected = spec.layers - self.first_layer;
        let layer = |l: usize| {
            let cut = |row: &Vec<f32>| {
                let start = row.len() - (injected - l) * spec.width;
                row[start..start + spec.width].to_vec()
            };
            let values: Vec<f32> = rows.iter().flat_map(cut).collect();
            Tensor::from_data(TensorData::new(values, [rows.len(), spec.width]), &device)
        };
        (0..injected).map(layer).collect()
    }
}

/// Returns the form of a text's constants if the model has the fast path of the last layer.
fn pooled_path<L: LanguageModel + ?Sized>(lm: &L) -> Option<Pooled> {
    let path = lm.pooled()?;
    let probe = TextBatch::from_rows(&[&[0]], &lm.device());
    let hidden = lm.embed(probe.tokens.clone(), probe.positions());
    pooled_text(path, hidden, &probe).map(|text| {
        let [_, heads, head] = text.query.dims();
        let with_query = path.pooled_query(text.hidden, indices([0], &lm.device())).is_none();
        Pooled { heads, head, pooling: lm.spec().pooling, with_query }
    })
}

impl Pooled {
    /// Returns the constants of texts from their numbers.
    fn text(self, path: &dyn PooledPath, rows: &[Vec<f32>], texts: &[Vec<u32>], width: usize) -> PooledText {
        let Self { heads, head, pooling, with_query } = self;
        let (batch, inner, device) = (rows.len(), heads * head, path.device());
        let cut = |from: usize, size: usize| {
            let values: Vec<f32> = rows.iter().flat_map(|r| r[from..from + size].iter().copied()).collect();
            Tensor::<2>::from_data(TensorData::new(values, [batch, size]), &device)
        };
        let kept = || cut(width + inner + heads, inner).reshape([batch, heads, head]);
        let hidden = cut(0, width);
        let position = |text: &Vec<u32>| if pooling == Pooling::First { 0 } else { text.len().saturating_sub(1) };
        let positions = || indices(texts.iter().map(position), &device);
        let query = if with_query { None } else { path.pooled_query(hidden.clone(), positions()) };
        PooledText {
            query: query.unwrap_or_else(kept),
            hidden,
            context: cut(width, inner).reshape([batch, heads, head]),
            score: cut(width + inner, heads),
        }
    }
}

/// Returns rows that were computed in `order` in their original order.
pub(crate) fn in_order<const D: usize>(rows: Tensor<D>, order: &[usize]) -> Tensor<D> {
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &at)| places[at] = place);
    let places = indices(places, &rows.device());
    rows.select(0, places)
}

/// Returns groups of texts, by index, in which the longest text is at most an eighth longer than the shortest. At most
/// a ninth of a group's tokens are padding, far fewer than in a batch.
pub(crate) fn near_length(texts: &[Vec<u32>]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&at| texts[at].len());
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in order {
        match groups.last_mut() {
            Some(group) if texts[at].len() * 8 <= texts[group[0]].len() * 9 => group.push(at),
            _ => groups.push(vec![at]),
        }
    }
    groups
}

fn flat(x: Tensor<3>) -> Tensor<2> {
    let [batch, a, b] = x.dims();
    x.reshape([batch, a * b])
}

fn same_length(mut texts: Vec<&[u32]>) -> Vec<Vec<&[u32]>> {
    texts.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    texts.chunk_by(|a, b| a.len() == b.len()).flat_map(|run| run.chunks(BATCH)).map(<[_]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_nearly_one_length_go_together() {
        let mut random = ra_core::SplitMix::new(1);
        let texts: Vec<Vec<u32>> = (0..256).map(|_| vec![1; 8 + random.below(72)]).collect();
        let groups = near_length(&texts);
        let mut all = groups.concat();
        all.sort_unstable();
        assert_eq!(all, (0..256).collect::<Vec<_>>(), "each text once");
        let padded: usize = groups.iter().map(|g| g.len() * texts[g[g.len() - 1]].len()).sum();
        let tokens: usize = texts.iter().map(Vec::len).sum();
        assert!(padded * 10 < tokens * 11, "{padded} cells for {tokens} tokens");
        assert!(near_length(&[]).is_empty());
    }
}
