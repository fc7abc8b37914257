//! EASE whose matrix of items also counts the words that their titles share, solved for each item among those nearest to
//! it. It trains nothing, and reads the log and the titles at once.
use super::decayed::{self, NoVectors};
use super::local_ease::{Map, REMEDY, Solver};
use crate::choose::{Best, judge, open};
use crate::{IdMethod, Job, Trained};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::{
    Check, Error, History, ItemId, Problem, Recommender, Result, ensure_host_memory, forward_recommender, host_numbers,
    load_grown_module, load_module,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// The values that validation chooses among, in this order; the first ones are those without validation.
const L2S: [f32; 4] = [100.0, 50.0, 200.0, 500.0];
const TITLES: [f32; 4] = [6.0, 0.0, 3.0, 12.0];
const DECAYS: [f32; 5] = [0.8, 0.6, 0.7, 0.9, 1.0];

/// Configures [`TitleEase`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TitleEaseConfig {
    /// The weight of the squared norm of the map. By default, validation chooses; without it, 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f32>,
    /// The number of users that two items with the same words in their titles count as, beside those that they share. 0
    /// leaves titles out. By default, validation chooses; without it, 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub titles: Option<f32>,
    /// The weight of an item of the history relative to the next newer one. By default, validation chooses; without it,
    /// 0.8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f32>,
    /// The number of items nearest to an item that its map is solved among. More is closer to the whole map, and takes
    /// time with its cube.
    pub candidates: usize,
}

impl Default for TitleEaseConfig {
    fn default() -> Self {
        Self { l2: None, titles: None, decay: None, candidates: 200 }
    }
}

impl Check for TitleEaseConfig {
    fn problems(&self) -> Vec<Problem> {
        let found = [
            self.l2.and_then(|l2| Problem::unless_positive("l2", l2)),
            self.titles.and_then(|titles| Problem::if_negative("titles", titles)),
            self.decay.and_then(decayed::problem),
            Problem::if_below("candidates", self.candidates, 1),
        ];
        found.into_iter().flatten().collect()
    }
}

impl IdMethod for TitleEaseConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        let open = |own, among| open(own, among, job.validate);
        let (l2s, titles, decays) =
            (open(self.l2, &L2S[..]), open(self.titles, &TITLES[..]), open(self.decay, &DECAYS[..]));
        let solver = Solver::new(job.dataset, self.candidates, l2s.len().max(titles.len() - 1))?;
        let solve = |settings: &[(f32, f32)]| -> Result<Vec<TitleEase>> {
            let maps = solver.maps(settings, job.progress)?.into_iter().zip(settings);
            let vectors = NoVectors(job.device.clone());
            let model =
                |(map, &(l2, titles))| TitleEase { map, l2, titles, decay: decays[0], vectors: vectors.clone() };
            Ok(maps.map(model).collect())
        };
        // One number after the other. Solving several settings at once gathers the matrix of each item once.
        let settings: Vec<(f32, f32)> = l2s.iter().map(|&l2| (l2, titles[0])).collect();
        let mut models = solve(&settings)?;
        let mut best = Best::new(models.remove(0), judge(job.validate));
        models.into_iter().for_each(|model| best.offer(model));
        let settings: Vec<(f32, f32)> = titles[1..].iter().map(|&titles| (best.value.l2, titles)).collect();
        if !settings.is_empty() {
            solve(&settings)?.into_iter().for_each(|model| best.offer(model));
        }
        decays[1..].iter().for_each(|&decay| best.offer(TitleEase { decay, ..best.value.clone() }));
        let model = best.value;
        let width = self.candidates.min(job.dataset.catalog.len());
        let (solved, choices) = (model.checkpoint(width, job.device), model.choices());
        Ok(Trained::chosen(model, solved, choices))
    }

    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        let items = job.dataset.catalog.len();
        let width = self.candidates.min(job.known_items.unwrap_or(items));
        let fresh = Solved::empty(items, width, job.device)?;
        let solved = match job.known_items {
            Some(known) => load_grown_module(fresh, path, known, items)?,
            None => load_module(fresh, path)?,
        };
        let mut model = TitleEase::of(&solved, items, job.device).map_err(|problem| Error::corrupt(path, problem))?;
        if let Some(known) = job.known_items {
            // The titles of items that were added say how they are scored. What such an item says of an old one was not
            // solved: as much as the old one says of it, for the matrix is symmetric.
            let solver = Solver::new(job.dataset, self.candidates, 1)?;
            let added = solver.columns(known + 1..=items, &[(model.l2, model.titles)])?;
            let map = Arc::make_mut(&mut model.map);
            for (item, columns) in (known as u32 + 1..).map(ItemId).zip(added) {
                for (source, weight) in columns.into_iter().flatten() {
                    map[source.index()].push((item, weight));
                    if source.index() <= known {
                        map[item.index()].push((source, weight));
                    }
                }
            }
        }
        let choices = model.choices();
        Ok(Trained::chosen(model, solved, choices))
    }

    fn adds_to_scores(&self) -> bool {
        true
    }

    fn reads_titles(&self) -> bool {
        true
    }
}

/// Scores an item by `h B`: `h` are the decayed weights of the history, and column `j` of `B` holds the weights above 0 of
/// the items `C` nearest to item `j`,
///
/// `B_Cj = (S_CC + l2 I)^-1 S_Cj` with `S = X^T X + titles T T^T`.
///
/// `X` are the sets of the newest 500 training interactions of each user, and the rows of `T` the TF-IDF vectors of titles,
/// of length 1, as in [`Lexical`](super::Lexical). `C` are the [`candidates`](TitleEaseConfig::candidates) items with the
/// largest `S_Cj` for `titles = 6`, without `j`. So a word in common speaks for an item as some users in common do, and an
/// item without interactions has a score by its title.
///
/// With all items as candidates, and weights below 0 kept, it is CEASE (Jeunen, Van Balen & Goethals, "Closed-Form Models
/// for Collaborative Filtering with Side-Information", RecSys 2020), and EASE (Steck, WWW 2019) without titles. To solve
/// each item among few candidates is the feature selection of fsSLIM (Ning & Karypis, "SLIM", ICDM 2011): its time grows
/// with the number of items and of the pairs that users share, not with the cube of the items.
#[derive(Debug, Clone)]
pub struct TitleEase {
    map: Arc<Map>,
    l2: f32,
    titles: f32,
    decay: f32,
    vectors: NoVectors,
}

/// What is kept of a fit. Row 0 of both tables is padding.
#[derive(Module, Debug)]
struct Solved {
    /// The candidates of each item, `[items + 1, candidates]`; 0 where there are fewer with a weight.
    sources: Param<Tensor<2, Int>>,
    /// Their weights, `[items + 1, candidates]`.
    weights: Param<Tensor<2>>,
    /// The l2, titles and decay of [`TitleEase`], `[3]`.
    chosen: Param<Tensor<1>>,
}

impl Solved {
    fn empty(items: usize, width: usize, device: &Device) -> Result<Self> {
        let entries = (items as u64 + 1).saturating_mul(width as u64);
        ensure_host_memory("loading title-ease", entries.saturating_mul(24), REMEDY)?;
        let shape = [items + 1, width];
        Ok(Self {
            sources: Param::initialized(ParamId::new(), Tensor::zeros(shape, device)),
            weights: Param::from_tensor(Tensor::zeros(shape, device)),
            chosen: Param::from_tensor(Tensor::zeros([3], device)),
        })
    }
}

impl TitleEase {
    fn of(solved: &Solved, items: usize, device: &Device) -> std::result::Result<Self, String> {
        let sources: Vec<i64> = solved.sources.val().into_data().iter::<i64>().collect();
        let weights = host_numbers(solved.weights.val());
        let width = solved.weights.dims()[1];
        let mut map = vec![Vec::new(); items + 1];
        for (at, (source, weight)) in sources.into_iter().zip(weights).enumerate() {
            let own = usize::try_from(source).ok().filter(|own| *own <= items && weight.is_finite() && weight >= 0.0);
            let own = own.ok_or_else(|| format!("item {source} with the weight {weight}, among {items} items"))?;
            if weight > 0.0 {
                map[own].push((ItemId((at / width) as u32), weight));
            }
        }
        let chosen = host_numbers(solved.chosen.val());
        let (l2, titles, decay) = (chosen[0], chosen[1], chosen[2]);
        let own = TitleEaseConfig { l2: Some(l2), titles: Some(titles), decay: Some(decay), candidates: 1 };
        if let Some(problem) = own.problems().first() {
            return Err(problem.to_string());
        }
        Ok(Self { map: Arc::new(map), l2, titles, decay, vectors: NoVectors(device.clone()) })
    }

    fn checkpoint(&self, width: usize, device: &Device) -> Solved {
        let items = self.map.len() - 1;
        let mut filled = vec![0usize; items + 1];
        let (mut sources, mut weights) = (vec![0i32; (items + 1) * width], vec![0f32; (items + 1) * width]);
        for (source, speaks_for) in self.map.iter().enumerate() {
            for &(item, weight) in speaks_for {
                let at = item.index() * width + filled[item.index()];
                filled[item.index()] += 1;
                (sources[at], weights[at]) = (source as i32, weight);
            }
        }
        let shape = [items + 1, width];
        let chosen = vec![self.l2, self.titles, self.decay];
        Solved {
            sources: Param::initialized(ParamId::new(), Tensor::from_data(TensorData::new(sources, shape), device)),
            weights: Param::from_tensor(Tensor::from_data(TensorData::new(weights, shape), device)),
            chosen: Param::from_tensor(Tensor::from_data(TensorData::new(chosen, [3]), device)),
        }
    }

    fn choices(&self) -> Vec<String> {
        let Self { l2, titles, decay, .. } = self;
        vec![format!("l2 = {l2}, titles = {titles}, decay = {decay}")]
    }
}

impl Recommender for TitleEase {
    forward_recommender!(self => self.vectors; dim, interests, users, items);

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        let mut scores = vec![0.0; self.map.len()];
        for (item, share) in decayed::items(history, self.decay.into()) {
            self.map[item.index()].iter().for_each(|&(to, weight)| scores[to.index()] += share * f64::from(weight));
        }
        decayed::positive(&scores)
    }
}
