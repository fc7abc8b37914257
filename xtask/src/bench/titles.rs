//! Titles of a catalogue, encoded as for ID methods that read text.
use super::At;
use super::align::Words;
use super::lm::{EVERY_STATE, MINILM};
use super::time::least;
use super::work::Measured;
use anyhow::Result;
use ra_core::{Catalog, SplitMix};

const TITLES: usize = 2000;

/// Encodes titles of 5 to 11 words on MiniLM's shape by the call of a run, texts of like length together. One step is
/// the whole catalogue; nothing is cached.
pub(super) fn encode(at: &At) -> Result<Measured> {
    let (lm, mut random) = (MINILM.load(at)?, SplitMix::new(5));
    let mut title = || (0..5 + random.below(7)).map(|_| random.below(5000).to_string()).collect::<Vec<_>>();
    let titles: Vec<Vec<String>> = (0..TITLES).map(|_| title()).collect();
    // A word is a token, and each text has one token before and one after.
    let flops = titles.iter().map(|words| MINILM.flops([1, words.len() + 2], EVERY_STATE)).sum();
    let ids = (0..TITLES).map(|item| item.to_string()).collect();
    let catalog = Catalog::new(ids, titles.iter().map(|words| words.join(" ")).collect());
    crate::machine::forget_peak();
    let seconds = least(3, || {
        ra_align::encode_titles(&*lm, &Words, &catalog, &ra_core::NoProgress)?.into_data();
        Ok(())
    })?;
    Ok(Measured::of_flops(seconds, flops))
}
