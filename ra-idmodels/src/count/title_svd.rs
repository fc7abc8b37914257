//! Truncated singular vectors of users and of the words of titles at once: one dense vector for each item, without
//! training.
use super::decayed;
use super::spectrum::{ITERATIONS, OVERSAMPLING, Spectrum, largest};
use super::titles::TitleWords;
use crate::checks::WIDEST;
use crate::choose::{Best, judge, open};
use crate::{IdMethod, Job, Trained};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::kernels::Sparse;
use ra_core::{
    Check, Dataset, Error, History, ItemId, Problem, Recommender, Result, ensure_host_memory, host_numbers, indices,
    load_grown_module, load_module, rng,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

/// The values that validation chooses among, in this order; the first ones are those without validation.
const TITLES: [f32; 4] = [6.0, 0.0, 3.0, 12.0];
const POPULARITIES: [f32; 3] = [0.35, 0.2, 0.5];
const POWERS: [f32; 3] = [0.5, 0.7, 1.0];
const DECAYS: [f32; 5] = [0.8, 0.6, 0.7, 0.9, 1.0];

/// Configures [`TitleSvd`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TitleSvdConfig {
    /// The width of item and user vectors. A larger catalogue needs more; a catalogue of fewer items leaves the rest 0.
    pub dim: usize,
    /// The number of users that two items with the same words in their titles count as, beside those that they share. 0
    /// leaves titles out. By default, validation chooses; without it, 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub titles: Option<f32>,
    /// How much less an item of the history says for being popular: `p` of [`TitleSvd`], from 0 to 1. By default,
    /// validation chooses; without it, 0.35.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub popularity: Option<f32>,
    /// The power of an eigenvalue that is the weight of its component, from 0 to 4: 0 weighs all alike, 1 by their
    /// eigenvalues. By default, validation chooses; without it, 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f32>,
    /// The weight of an item of the history relative to the next newer one. By default, validation chooses; without it,
    /// 0.8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f32>,
}

impl Default for TitleSvdConfig {
    fn default() -> Self {
        Self { dim: 512, titles: None, popularity: None, power: None, decay: None }
    }
}

impl Check for TitleSvdConfig {
    fn problems(&self) -> Vec<Problem> {
        let found = [
            Problem::unless_within("dim", self.dim, WIDEST),
            // Far more than that and users are lost in rounding.
            self.titles.and_then(|titles| unless_up_to("titles", titles, 1e6)),
            self.popularity.and_then(|popularity| unless_up_to("popularity", popularity, 1.0)),
            self.power.and_then(|power| unless_up_to("power", power, 4.0)),
            self.decay.and_then(decayed::problem),
        ];
        found.into_iter().flatten().collect()
    }
}

/// A number that is not from 0 to `most`.
fn unless_up_to(key: &str, value: f32, most: f32) -> Option<Problem> {
    let told = || Problem::new(key, format!("is {value}, it must be from 0 to {most}"));
    (!(0.0..=most).contains(&value)).then(told)
}

impl IdMethod for TitleSvdConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        let chosen = self.chosen(job)?;
        let (factors, choices) = (chosen.factors.clone(), chosen.choices());
        Ok(Trained::chosen(chosen, factors, choices))
    }

    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        let items = job.dataset.catalog.len();
        let known = job.known_items.unwrap_or(items);
        // Zeros, the file, and the numbers that are checked.
        let bytes = (items as u64 + 1).saturating_mul(self.dim as u64).saturating_mul(16);
        ensure_host_memory("loading title-svd", bytes, REMEDY)?;
        let fresh = Factors::empty(items, self.dim, job.device);
        let factors = match job.known_items {
            Some(known) => load_grown_module(fresh, path, known, items)?,
            None => load_module(fresh, path)?,
        };
        let numbers = Numbers::of(&factors, known).map_err(|problem| Error::corrupt(path, problem))?;
        let mut model = TitleSvd { factors, numbers };
        if known < items {
            model = model.with_titles_after(known, job.dataset);
        }
        let (factors, choices) = (model.factors.clone(), model.choices());
        Ok(Trained::chosen(model, factors, choices))
    }

    fn reads_histories(&self) -> bool {
        true
    }

    fn reads_titles(&self) -> bool {
        true
    }
}

const REMEDY: &str = "title-svd keeps dense vectors of items, users and words: lower dim";

/// What a fit chooses.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    titles: f32,
    popularity: f32,
    power: f32,
    decay: f32,
}

/// What is kept of a fit.
#[derive(Module, Debug)]
struct Factors {
    /// `[items + 1, dim]`: the eigenvectors; row 0 is padding.
    vectors: Param<Tensor<2>>,
    /// `[dim]`: the eigenvalues.
    values: Param<Tensor<1>>,
    /// `[items + 1]`: `d`, the number of users of an item, plus `titles` if it has words; at least 1.
    sizes: Param<Tensor<1>>,
    /// `[4]`: titles, popularity, power and decay.
    chosen: Param<Tensor<1>>,
}

impl Factors {
    fn empty(items: usize, dim: usize, device: &Device) -> Self {
        let zeros = |length| Param::from_tensor(Tensor::zeros([length], device));
        Self {
            vectors: Param::from_tensor(Tensor::zeros([items + 1, dim], device)),
            values: zeros(dim),
            sizes: zeros(items + 1),
            chosen: zeros(4),
        }
    }
}

impl Numbers {
    /// Reads the numbers of a checkpoint, all of which must be possible.
    /// Items after the first `known` have no size yet.
    fn of(factors: &Factors, known: usize) -> std::result::Result<Self, String> {
        let from = |least: f32| move |number: &f32| number.is_finite() && *number >= least;
        let [values, sizes] = [factors.values.val(), factors.sizes.val()].map(host_numbers);
        let vectors = host_numbers(factors.vectors.val());
        if !values.iter().all(from(0.0))
            || !sizes[..=known].iter().all(from(1.0))
            || !vectors.iter().all(from(f32::MIN))
        {
            return Err("an eigenvalue, a size or a vector is no number that a fit gives; fit title-svd again".into());
        }
        let chosen = host_numbers(factors.chosen.val());
        let own = Self { titles: chosen[0], popularity: chosen[1], power: chosen[2], decay: chosen[3] };
        let config = TitleSvdConfig {
            dim: 1,
            titles: Some(own.titles),
            popularity: Some(own.popularity),
            power: Some(own.power),
            decay: Some(own.decay),
        };
        match config.problems().first() {
            Some(problem) => Err(problem.to_string()),
            None => Ok(own),
        }
    }
}

/// Scores an item by the product of its vector with the decayed sum of the vectors of the history. With `A = D^-p [X^T,
/// sqrt(titles) T]`, the largest eigenvalues `L` of `A A^T` and their eigenvectors `V`, an item is scored by its row of
/// `D^p V L^(power / 2)` and read by its row of `D^-p V L^(power / 2)`. So with all components and `power = 1` scores are
/// `h D^-2p (X^T X + titles T T^T)`, for the weights `h` of the history.
///
/// `X` are the sets of training interactions of each user, and the rows of `T` the TF-IDF vectors of titles, of length 1,
/// as in [`Lexical`](super::Lexical). `D` is the diagonal of `X^T X + titles T T^T`, at least 1, and `p` the
/// [popularity](TitleSvdConfig::popularity). So a word in common speaks for an item as some users in common do, as in
/// [`TitleEase`](super::TitleEase), and an item without interactions has a vector by its title.
///
/// Without titles, with `p = 0`, `power = 0` and no decay, it is PureSVD (Cremonesi, Koren & Turrin, "Performance of
/// Recommender Algorithms on Top-N Recommendation Tasks", RecSys 2010). To scale items by a power of their popularity
/// before the decomposition follows EigenRec (Nikolakopoulos, Kalantzis, Gallopoulos & Garofalakis, Knowledge and
/// Information Systems 2019); that scores are scaled back is ours.
#[derive(Debug, Clone)]
pub struct TitleSvd {
    factors: Factors,
    numbers: Numbers,
}

impl TitleSvd {
    /// The same vectors with other weights, which need no decomposition.
    fn with(&self, power: f32, decay: f32) -> Self {
        let numbers = Numbers { power, decay, ..self.numbers };
        let chosen = numbers.param(&self.factors.chosen.device());
        Self { factors: Factors { chosen, ..self.factors.clone() }, numbers }
    }

    /// Returns rows of `D^scale V L^(power / 2)`.
    fn rows(&self, items: &[ItemId], scale: f32) -> Tensor<2> {
        let Factors { vectors, values, sizes, .. } = &self.factors;
        let rows = indices(items.iter().map(|item| item.0), &vectors.device());
        let scales: Tensor<2> = sizes.val().select(0, rows.clone()).powf_scalar(scale).unsqueeze_dim(1);
        let weights: Tensor<2> = values.val().powf_scalar(self.numbers.power / 2.0).unsqueeze();
        vectors.val().select(0, rows) * scales * weights
    }

    fn choices(&self) -> Vec<String> {
        let Numbers { titles, popularity, power, decay } = self.numbers;
        vec![format!("titles = {titles}, popularity = {popularity}, power = {power}, decay = {decay}")]
    }

    /// Gives the items after the first `known` the vectors of their titles: `V = A W`, where `W = A^T V / L` are the vectors
    /// of words by the items that are known. Words are weighted as the larger catalogue weights them.
    fn with_titles_after(self, known: usize, dataset: &Dataset) -> Self {
        let (factors, Numbers { titles, popularity, .. }) = (&self.factors, self.numbers);
        let ([rows, dim], device) = (factors.vectors.dims(), factors.vectors.device());
        let words = TitleWords::new(&dataset.catalog);
        let mut sizes = host_numbers(factors.sizes.val());
        (known + 1..rows).for_each(|item| sizes[item] = size(0, titles, &words.of_item[item]));
        let by_title = |item: usize| words_of(&words.of_item[item], titles, sizes[item].powf(-popularity));
        let of = |items: Range<usize>| Sparse::from_rows(words.with_word.len(), items.map(by_title));
        let vectors = factors.vectors.val().slice_dim(0, 0..known + 1);
        let of_words = of(0..known + 1).transposed().product(&host_numbers(vectors.clone()), dim);
        let added = Tensor::from_data(
            TensorData::new(of(known + 1..rows).product(&of_words, dim), [rows - known - 1, dim]),
            &device,
        );
        // A component that is rounding has no eigenvalue, and none of an item's vector.
        let values = factors.values.val();
        let inverse: Tensor<2> = values.clone().recip().mask_fill(values.equal_elem(0.0), 0.0).unsqueeze();
        let factors = Factors {
            vectors: Param::from_tensor(Tensor::cat(vec![vectors, added * inverse], 0)),
            sizes: Param::from_tensor(Tensor::from_data(TensorData::new(sizes, [rows]), &device)),
            ..factors.clone()
        };
        Self { factors, numbers: self.numbers }
    }
}

impl Numbers {
    fn param(self, device: &Device) -> Param<Tensor<1>> {
        let Self { titles, popularity, power, decay } = self;
        Param::from_tensor(Tensor::from_floats([titles, popularity, power, decay], device))
    }
}

/// Returns what an item with so many users and these words is divided by, to a power.
fn size(users: usize, titles: f32, words: &[(u32, f64)]) -> f32 {
    (users as f32 + if words.is_empty() { 0.0 } else { titles }).max(1.0)
}

/// Returns the words of a title as columns, scaled.
fn words_of(words: &[(u32, f64)], titles: f32, scale: f32) -> Vec<(u32, f32)> {
    let scale = f64::from(scale) * f64::from(titles).sqrt();
    words.iter().filter(|_| titles > 0.0).map(|&(word, weight)| (word, (scale * weight) as f32)).collect()
}

impl TitleSvdConfig {
    /// Chooses what is left open, one number after the other.
    fn chosen(&self, job: &Job<'_>) -> Result<TitleSvd> {
        let open = |own, among| open(own, among, job.validate);
        let (titles, popularities) = (open(self.titles, &TITLES[..]), open(self.popularity, &POPULARITIES[..]));
        let (powers, decays) = (open(self.power, &POWERS[..]), open(self.decay, &DECAYS[..]));
        let counted = Counted::new(job.dataset);
        job.progress.start("decompose", ((titles.len() + popularities.len() - 1) * ITERATIONS) as u64);
        let mut done = 0;
        let mut solve = |titles, popularity| -> Result<TitleSvd> {
            let numbers = Numbers { titles, popularity, power: powers[0], decay: decays[0] };
            let round = |round| job.progress.update((done + round) as u64, "");
            let factors = counted.factors(self.dim, numbers, job, &round)?;
            done += ITERATIONS;
            Ok(TitleSvd { factors, numbers })
        };
        // One decomposition at a time, of which the best is kept: at a million items each takes gigabytes.
        let mut best = Best::new(solve(titles[0], popularities[0])?, judge(job.validate));
        for &titles in &titles[1..] {
            best.offer(solve(titles, popularities[0])?);
        }
        let own = best.value.numbers.titles;
        for &popularity in &popularities[1..] {
            best.offer(solve(own, popularity)?);
        }
        job.progress.finish();
        powers[1..].iter().for_each(|&power| best.offer(best.value.with(power, decays[0])));
        let power = best.value.numbers.power;
        decays[1..].iter().for_each(|&decay| best.offer(best.value.with(power, decay)));
        Ok(best.value)
    }
}

/// What no choice changes.
struct Counted {
    /// The users of each item, padding left out.
    users_of: Vec<Vec<u32>>,
    users: usize,
    words: TitleWords,
}

impl Counted {
    fn new(dataset: &Dataset) -> Self {
        let mut users_of = vec![Vec::new(); dataset.catalog.len() + 1];
        let mut users = 0;
        for (user, row) in (0u32..).zip(dataset.train.rows()) {
            let mut own: Vec<ItemId> = row.to_vec();
            own.sort_unstable();
            own.dedup();
            own.iter().for_each(|item| users_of[item.index()].push(user));
            users = user as usize + 1;
        }
        users_of.remove(0);
        Self { users_of, users, words: TitleWords::new(&dataset.catalog) }
    }

    fn factors(&self, dim: usize, numbers: Numbers, job: &Job<'_>, round: &dyn Fn(usize)) -> Result<Factors> {
        let Numbers { titles, popularity, .. } = numbers;
        let words = &self.words.of_item[1..];
        let sizes: Vec<f32> =
            self.users_of.iter().zip(words).map(|(users, words)| size(users.len(), titles, words)).collect();
        let row = |item: usize| -> Vec<(u32, f32)> {
            let scale = sizes[item].powf(-popularity);
            let users = self.users_of[item].iter().map(|&user| (user, scale));
            // The columns of words come after those of users.
            let words = words_of(&words[item], titles, scale).into_iter();
            users.chain(words.map(|(word, weight)| (self.users as u32 + word, weight))).collect()
        };
        let columns = self.users + self.words.with_word.len();
        let rows = Sparse::from_rows(columns, (0..words.len()).map(row));
        let (items, width) = (rows.rows() as u64, (dim.min(rows.rows()) + OVERSAMPLING) as u64);
        // The matrix and its transpose; an argument, a product and a basis, and the product of the transpose; and the Gram
        // matrix, its eigenvectors and what they are made of, in double precision.
        let bytes = [16 * rows.entries() as u64, 4 * (3 * items + columns as u64) * width, 48 * width * width];
        ensure_host_memory("title-svd", bytes.iter().sum(), REMEDY)?;
        let start = &mut rng(job.seed, "title-svd", 0);
        let Spectrum { values, vectors } = largest(&rows, dim, start, round, job.device)?;
        // The width does not depend on the catalogue: what is aligned to it fits when items come or go.
        let empty = Factors::empty(rows.rows(), dim, job.device);
        let (found, items) = (values.len(), rows.rows());
        let own = |values: Vec<f32>| {
            let length = values.len();
            Tensor::from_data(TensorData::new(values, [length]), job.device)
        };
        let place = [1..items + 1, 0..found];
        Ok(Factors {
            vectors: empty.vectors.map(|zeros| zeros.slice_assign(place, vectors)),
            values: empty.values.map(|zeros| zeros.slice_assign([0..found], own(values))),
            sizes: Param::from_tensor(own(std::iter::once(1.0).chain(sizes).collect())),
            chosen: numbers.param(job.device),
        })
    }
}

impl Recommender for TitleSvd {
    fn dim(&self) -> usize {
        self.factors.vectors.dims()[1]
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let read = |items: &[ItemId]| self.rows(items, -self.numbers.popularity);
        decayed::sums(read, histories, self.numbers.decay.into())
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        self.rows(items, self.numbers.popularity)
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}
