//! Truncated singular vectors of users and of the words of titles at once: one dense vector for each item, without
//! training.
use super::decayed;
use super::spectrum::{Spectrum, largest};
use super::titles::TitleWords;
use crate::choose::best_of;
use crate::method::sequence::item_rows;
use crate::{IdMethod, Job, Trained};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::kernels::Sparse;
use ra_core::{
    Check, Dataset, Error, History, ItemId, Problem, Recommender, Result, Validate, host_numbers, load_grown_module,
    load_module, rng,
};
use serde::{Deserialize, Serialize};
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
    /// The width of item and user vectors. A larger catalogue needs more.
    pub dim: usize,
    /// The number of users that two items with the same words in their titles count as, beside those that they share. 0
    /// leaves titles out. By default, validation chooses; without it, 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub titles: Option<f32>,
    /// How much less an item counts for being popular: its users and words are divided by the number of its users, plus
    /// `titles` if it has words, to this power. By default, validation chooses; without it, 0.35.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub popularity: Option<f32>,
    /// The power of an eigenvalue that is the weight of its direction. By default, validation chooses; without it, 0.5.
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
            Problem::if_below("dim", self.dim, 1),
            self.titles.and_then(|titles| Problem::if_negative("titles", titles)),
            self.popularity.and_then(|popularity| Problem::if_negative("popularity", popularity)),
            self.power.and_then(|power| Problem::if_negative("power", power)),
            self.decay.and_then(decayed::problem),
        ];
        found.into_iter().flatten().collect()
    }
}

impl IdMethod for TitleSvdConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        let chosen = self.chosen(job)?;
        let (factors, choices) = (chosen.factors.clone(), chosen.choices());
        Ok(Trained::chosen(chosen, factors, choices))
    }

    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        let items = job.dataset.catalog.len();
        let fresh = Factors::empty(items, self.dim.min(job.known_items.unwrap_or(items)), job.device);
        let factors = match job.known_items {
            Some(known) => load_grown_module(fresh, path, known, items)?,
            None => load_module(fresh, path)?,
        };
        let numbers = Numbers::of(&factors).map_err(|problem| Error::corrupt(path, problem))?;
        let mut model = TitleSvd::new(factors, numbers);
        if let Some(known) = job.known_items {
            model = model.with_titles_after(known, job.dataset);
        }
        let (factors, choices) = (model.factors.clone(), model.choices());
        Ok(Trained::chosen(model, factors, choices))
    }

    fn reads_titles(&self) -> bool {
        true
    }
}

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

    /// Returns `d^power` of each item, `[items + 1, 1]`.
    fn sized(&self, power: f32) -> Tensor<2> {
        self.sizes.val().clamp_min(1.0).powf_scalar(power).unsqueeze_dim(1)
    }
}

impl Numbers {
    /// Reads the numbers of a checkpoint.
    fn of(factors: &Factors) -> std::result::Result<Self, String> {
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
/// `D^p V L^(power / 2)` and read by its row of `D^-p V L^(power / 2)`.
///
/// `X` are the sets of training interactions of each user, and the rows of `T` the TF-IDF vectors of titles, of length 1,
/// as in [`Lexical`](super::Lexical). `D` is the diagonal of `X^T X + titles T T^T`, and `p` the
/// [popularity](TitleSvdConfig::popularity). So a word in common speaks for an item as some users in common do, as in
/// [`TitleEase`](super::TitleEase), and an item without interactions has a vector by its title.
///
/// Without titles, with `p = 0`, it is PureSVD (Cremonesi, Koren & Turrin, "Performance of Recommender Algorithms on Top-N
/// Recommendation Tasks", RecSys 2010), and with a power below 1 it weighs directions more evenly. The scaling is that of
/// EigenRec (Nikolakopoulos, Kalantzis, Gallopoulos & Garofalakis, Knowledge and Information Systems 2019).
#[derive(Debug, Clone)]
pub struct TitleSvd {
    factors: Factors,
    numbers: Numbers,
    /// `[items + 1, dim]`, as histories read them; row 0 is padding.
    read: Tensor<2>,
    /// `[items + 1, dim]`, as they are scored.
    scored: Tensor<2>,
}

impl TitleSvd {
    fn new(factors: Factors, numbers: Numbers) -> Self {
        let Numbers { popularity, power, .. } = numbers;
        let weights: Tensor<2> = factors.values.val().clamp_min(0.0).powf_scalar(power / 2.0).unsqueeze();
        let vectors = factors.vectors.val() * weights;
        let (read, scored) = (vectors.clone() * factors.sized(-popularity), vectors * factors.sized(popularity));
        Self { factors, numbers, read, scored }
    }

    /// The same vectors with other weights, which need no decomposition.
    fn with(&self, power: f32, decay: f32) -> Self {
        let numbers = Numbers { power, decay, ..self.numbers };
        let mut factors = self.factors.clone();
        factors.chosen = numbers.param(&factors.chosen.device());
        Self::new(factors, numbers)
    }

    fn choices(&self) -> Vec<String> {
        let Numbers { titles, popularity, power, decay } = self.numbers;
        vec![format!("titles = {titles}, popularity = {popularity}, power = {power}, decay = {decay}")]
    }

    /// Gives the items after the first `known` the vectors of their titles: what the decomposition would give an item with
    /// these words if it changed nothing else.
    fn with_titles_after(self, known: usize, dataset: &Dataset) -> Self {
        let (factors, Numbers { titles, popularity, .. }) = (&self.factors, self.numbers);
        let [rows, dim] = factors.vectors.dims();
        let device = factors.vectors.device();
        let words = TitleWords::new(&dataset.catalog);
        let mut sizes = host_numbers(factors.sizes.val());
        let (mut cosines, mut met) = (vec![0.0; rows], Vec::new());
        let mut like: Vec<Vec<(u32, f32)>> = vec![Vec::new(); rows];
        for item in (known as u32 + 1..rows as u32).map(ItemId) {
            words.meet(item, &mut cosines, &mut met);
            sizes[item.index()] = size(0, titles, &words.of_item[item.index()]);
            met.sort_unstable();
            for other in met.drain(..) {
                let cosine = std::mem::take(&mut cosines[other.index()]);
                if other.index() <= known {
                    let scale = (sizes[item.index()] * sizes[other.index()].max(1.0)).powf(-popularity);
                    like[item.index()].push((other.0, titles * scale * cosine as f32));
                }
            }
        }
        // V = A A^T V / L; a direction without weight is none of an item's.
        let values = factors.values.val();
        let least = values.clone().max() * LEAST;
        let inverse = values.clone().recip().mask_fill(values.lower_equal(least), 0.0);
        let added = Sparse::from_rows(like).product(&host_numbers(factors.vectors.val()), dim);
        let added = Tensor::<2>::from_data(TensorData::new(added, [rows, dim]), &device) * inverse.unsqueeze();
        let sizes = Tensor::from_data(TensorData::new(sizes, [rows]), &device);
        let factors = Factors {
            vectors: Param::from_tensor(factors.vectors.val() + added),
            sizes: Param::from_tensor(sizes),
            ..factors.clone()
        };
        Self::new(factors, self.numbers)
    }
}

/// The part of the largest eigenvalue below which a direction is rounding.
const LEAST: f32 = 1e-5;

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

impl TitleSvdConfig {
    /// Chooses what is left open, one number after the other.
    fn chosen(&self, job: &Job<'_>) -> Result<TitleSvd> {
        let open = |own: Option<f32>, among: &[f32]| match own {
            Some(own) => vec![own],
            None => among[..if job.validate.is_some() { among.len() } else { 1 }].to_vec(),
        };
        let (titles, popularities) = (open(self.titles, &TITLES), open(self.popularity, &POPULARITIES));
        let (powers, decays) = (open(self.power, &POWERS), open(self.decay, &DECAYS));
        let counted = Counted::new(job.dataset);
        let solve = |titles, popularity| {
            let numbers = Numbers { titles, popularity, power: powers[0], decay: decays[0] };
            counted.factors(self.dim, numbers, job).map(|factors| TitleSvd::new(factors, numbers))
        };
        let first = solve(titles[0], popularities[0])?;
        let others: Vec<TitleSvd> =
            titles[1..].iter().map(|&titles| solve(titles, popularities[0])).collect::<Result<_>>()?;
        let model = best(first, others, job.validate);
        let own = model.numbers.titles;
        let others: Vec<TitleSvd> =
            popularities[1..].iter().map(|&popularity| solve(own, popularity)).collect::<Result<_>>()?;
        let model = best(model, others, job.validate);
        let others = powers[1..].iter().map(|&power| model.with(power, decays[0])).collect();
        let model = best(model, others, job.validate);
        let others = decays[1..].iter().map(|&decay| model.with(model.numbers.power, decay)).collect();
        Ok(best(model, others, job.validate))
    }
}

/// Returns the model that validates best, of equals the first; without a metric, the first.
fn best(first: TitleSvd, others: Vec<TitleSvd>, validate: Option<Validate<'_>>) -> TitleSvd {
    match validate.filter(|_| !others.is_empty()) {
        Some(validate) => best_of(first, others, |model| validate(model)).0,
        None => first,
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

    fn factors(&self, dim: usize, numbers: Numbers, job: &Job<'_>) -> Result<Factors> {
        let Numbers { titles, popularity, .. } = numbers;
        let words = &self.words.of_item[1..];
        let sizes: Vec<f32> =
            self.users_of.iter().zip(words).map(|(users, words)| size(users.len(), titles, words)).collect();
        let after = self.users as u32;
        let row = |((users, words), size): ((&Vec<u32>, &Vec<(u32, f64)>), &f32)| -> Vec<(u32, f32)> {
            let scale = size.powf(-popularity);
            let users = users.iter().map(|&user| (user, scale));
            let by_title = f64::from(scale) * f64::from(titles).sqrt();
            let words = words.iter().filter(|_| titles > 0.0);
            users.chain(words.map(|&(word, weight)| (after + word, (by_title * weight) as f32))).collect()
        };
        let rows = Sparse::from_rows(self.users_of.iter().zip(words).zip(&sizes).map(row));
        let columns = self.users + self.words.with_word.len();
        let remedy = "title-svd keeps a few dense vectors of each item, user and word: lower dim";
        let start = &mut rng(job.seed, "title-svd", 0);
        let Spectrum { values, vectors } = largest(&rows, columns, dim, start, ("title-svd", remedy))?;
        let (found, device) = (values.len(), job.device);
        let padding = Tensor::zeros([1, found], &vectors.device());
        let vectors = Tensor::cat(vec![padding, vectors], 0);
        let mut all = vec![1.0];
        all.extend(sizes);
        Ok(Factors {
            vectors: Param::from_tensor(Tensor::from_data(vectors.into_data(), device)),
            values: Param::from_tensor(Tensor::from_data(TensorData::new(values, [found]), device)),
            sizes: Param::from_tensor(Tensor::from_data(TensorData::new(all, [rows.rows() + 1]), device)),
            chosen: numbers.param(device),
        })
    }
}

impl Recommender for TitleSvd {
    fn dim(&self) -> usize {
        self.read.dims()[1]
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        decayed::sums(&self.read, histories, self.numbers.decay.into())
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        item_rows(&self.scored, items)
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}
