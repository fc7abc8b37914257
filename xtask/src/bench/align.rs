//! Alignment steps on MiniLM's shape: both towers, loss, gradients and optimizer, with cached frozen work.
use super::At;
use super::lm::MINILM;
use super::time::{beyond, least};
use super::work::Measured;
use anyhow::Result;
use burn::tensor::Tensor;
use ra_align::{AlignConfig, AlignLoss, AlignTrain, Job, PromptConfig, Prompts, TextTower};
use ra_core::{Catalog, Dataset, IdTable, LanguageModel, NoProgress, Sequences, SplitMix, Tokenizer, normal, rng};
use std::sync::Arc;

const ITEMS: usize = 512;
const DIM: usize = 64;
/// The number of tokens per title: six titles and their separators make a history of about 64 tokens.
const TITLE: usize = 9;

/// A tokenizer in which every word is one token.
#[derive(Debug)]
pub(super) struct Words;

impl Tokenizer for Words {
    fn tokenize(&self, texts: &[&str]) -> ra_core::Result<Vec<Vec<u32>>> {
        let token = |word: &str| 1000 + word.bytes().fold(7, |h: u32, b| (h * 31 + u32::from(b)) % 20_000);
        Ok(texts.iter().map(|text| text.split(' ').map(token).collect()).collect())
    }
    fn special_tokens(&self) -> (Vec<u32>, Vec<u32>) {
        (vec![101], vec![102])
    }
}

fn dataset(users: usize) -> Dataset {
    let mut random = SplitMix::new(3);
    let mut title = || (0..TITLE).map(|_| random.below(5000).to_string()).collect::<Vec<_>>().join(" ");
    let titles = (0..ITEMS).map(|_| title()).collect();
    let mut random = SplitMix::new(4);
    let mut row = |_| (0..7).map(|_| random.below(ITEMS) as u32 + 1).collect::<Vec<_>>();
    let none = || Sequences::from_numbers(vec![Vec::new(); users]);
    Dataset {
        name: "random".into(),
        users: (0..users).map(|u| u.to_string()).collect(),
        catalog: Catalog::new((0..ITEMS).map(|i| i.to_string()).collect(), titles),
        train: Sequences::from_numbers((0..users).map(&mut row).collect::<Vec<_>>()),
        valid: none(),
        test: none(),
        filter: "none".into(),
        split: "none".into(),
    }
}

/// A step to measure.
pub(super) struct Step {
    pub(super) first_layer: isize,
    pub(super) batch: usize,
    pub(super) extra_negatives: usize,
    /// The number of titles in a history's prompt.
    pub(super) titles: usize,
    /// The number of texts whose graph is kept at a time; 0 keeps all.
    pub(super) chunk: usize,
}

/// 256 samples and 256 negatives, histories of six titles, the prefix in the last two layers.
pub(super) const TWO_LAYERS: Step = Step { first_layer: -2, batch: 256, extra_negatives: 256, titles: 6, chunk: 0 };

/// Returns the seconds per step: a longer training minus a shorter one.
pub(super) fn step(step: &Step, at: &At) -> Result<Measured> {
    let Step { first_layer, batch, extra_negatives, titles, chunk } = *step;
    let data = dataset(batch);
    let table =
        |rows: usize, label: &str| -> Tensor<2> { normal([rows, DIM], 1.0, &mut rng(1, label, 0), &at.device).val() };
    let ids = IdTable::new(table(batch, "users"), table(ITEMS + 1, "items"));
    let align = AlignConfig::default().with(|align| {
        (align.module.first_layer, align.module.n_tok) = (first_layer, 2);
        (align.loss.loss, align.loss.extra_negatives) = (AlignLoss::None, extra_negatives);
    });
    let lm = MINILM.load(at)?;
    let lm: &dyn LanguageModel = &*lm;
    let prompts =
        Prompts::new(&Words, &data.catalog, &PromptConfig { titles, ..PromptConfig::default() }, lm.spec().max_tokens)?;
    let text = Arc::new(TextTower::new(lm, prompts, &align));
    // The last sample of each user: histories of six items.
    let samples: Vec<_> = data.samples().into_iter().filter(|s| s.position == 6).collect();
    let fit = |steps| {
        let train = AlignTrain { batch, chunk, steps, validate_every: 0, ..AlignTrain::default() };
        ra_align::fit(Job::new(&ids, &text, &data, &samples, &align, &train), None, &NoProgress)?;
        Ok(())
    };
    Ok(beyond([1, 3], |steps| least(1, || fit(steps)))?.into())
}
