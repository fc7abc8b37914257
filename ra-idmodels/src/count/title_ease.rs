//! EASE whose matrix of items also counts the words that their titles share, solved for each item among those nearest to
//! it. It trains nothing, and reads the log and the titles at once.
use super::decayed::{self, NoVectors};
use super::titles::TitleWords;
use crate::{IdMethod, Job, Trained};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::{MatMut, Par};
use ra_core::{
    Check, Dataset, Error, History, ItemId, Problem, Progress, Recommender, Result, Validate, ensure_host_memory,
    forward_recommender, host_numbers, load_grown_module, load_module,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The values that validation chooses among, in this order; the first ones are those without validation.
const L2S: [f32; 4] = [100.0, 50.0, 200.0, 500.0];
const TITLES: [f32; 4] = [6.0, 0.0, 3.0, 12.0];
const DECAYS: [f32; 5] = [0.8, 0.6, 0.7, 0.9, 1.0];

const REMEDY: &str = "title-ease needs memory for every pair of items that users share: leave out rare items, lower \
     candidates, or use title-pairs";

/// Configures [`TitleEase`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TitleEaseConfig {
    /// The weight of the squared norm of the map. By default, validation chooses; without it, 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f32>,
    /// The number of users that two items with the same words in their titles count as, beside those that they share. 0
    /// makes it EASE. By default, validation chooses; without it, 6.
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
        let solver = Solver::new(job.dataset, self.candidates)?;
        let open = |own: Option<f32>, among: &[f32]| match own {
            Some(own) => vec![own],
            None => among[..if job.validate.is_some() { among.len() } else { 1 }].to_vec(),
        };
        let (l2s, titles, decays) = (open(self.l2, &L2S), open(self.titles, &TITLES), open(self.decay, &DECAYS));
        let solve = |settings: &[(f32, f32)]| -> Result<Vec<TitleEase>> {
            let maps = solver.solve(settings, job.progress)?.into_iter().zip(settings);
            let vectors = NoVectors(job.device.clone());
            let model =
                |(map, &(l2, titles))| TitleEase { map, l2, titles, decay: decays[0], vectors: vectors.clone() };
            Ok(maps.map(model).collect())
        };
        // One number after the other. Solving several settings at once gathers the matrix of each item once.
        let mut model = best(solve(&l2s.iter().map(|&l2| (l2, titles[0])).collect::<Vec<_>>())?, job.validate);
        if titles.len() > 1 {
            let others = solve(&titles[1..].iter().map(|&titles| (model.l2, titles)).collect::<Vec<_>>())?;
            model = best(iter::once(model).chain(others).collect(), job.validate);
        }
        model = best(decays.iter().map(|&decay| TitleEase { decay, ..model.clone() }).collect(), job.validate);
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
        let model = TitleEase::of(&solved, items, job.device).map_err(|problem| Error::corrupt(path, problem))?;
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

/// Returns the model that validates best, of equals the first; without a metric, the first.
fn best(models: Vec<TitleEase>, validate: Option<Validate<'_>>) -> TitleEase {
    let mut models = models.into_iter();
    let first = models.next().expect("a model at least");
    let Some(validate) = validate.filter(|_| models.len() > 0) else { return first };
    let metric = validate(&first);
    let better = |best: (TitleEase, f64), model| {
        let metric = validate(&model);
        if metric > best.1 { (model, metric) } else { best }
    };
    models.fold((first, metric), better).0
}

/// For each item, padding first, the items that it speaks for, with their weights.
type Map = Vec<Vec<(ItemId, f32)>>;

/// Scores an item by `h B`: `h` are the decayed weights of the history, and column `j` of `B` holds the weights above 0 of
/// the items `C` nearest to item `j`,
///
/// `B_Cj = (S_CC + l2 I)^-1 S_Cj` with `S = X^T X + titles T T^T`.
///
/// `X` are the sets of training interactions, and the rows of `T` the TF-IDF vectors of titles, of length 1, as in
/// [`Lexical`](super::Lexical). `C` are the [`candidates`](TitleEaseConfig::candidates) items with the largest `S_Cj` for
/// `titles = 6`, without `j`. So a word in common speaks for an item as some users in common do, and an item without interactions has
/// a score by its title.
///
/// With all items as candidates, and weights below 0 kept, it is CEASE (Jeunen, Van Balen & Goethals, "Closed-Form Models
/// for Collaborative Filtering with Side-Information", RecSys 2020), and EASE (Steck, WWW 2019) without titles. To solve
/// each item among few candidates is the feature selection of fsSLIM (Ning & Karypis, "SLIM", ICDM 2011): its time grows
/// with the number of items, not with its cube.
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
        ensure_host_memory("loading title-ease", 24 * entries, REMEDY)?;
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
        for (at, (source, weight)) in
            sources.into_iter().zip(weights).enumerate().filter(|(_, (_, weight))| *weight > 0.0)
        {
            let own = usize::try_from(source).ok().filter(|source| (1..=items).contains(source));
            let own = own.ok_or_else(|| format!("an item {source} among {items}"))?;
            map[own].push((ItemId((at / width) as u32), weight));
        }
        let chosen = host_numbers(solved.chosen.val());
        let (l2, titles, decay) = (chosen[0], chosen[1], chosen[2]);
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

/// Solves the maps of single items.
struct Solver<'a> {
    dataset: &'a Dataset,
    candidates: usize,
    /// `X^T X` by rows, padding first: the items that users share with each item, in ascending order, itself included,
    /// with the number of these users.
    shared: Vec<Vec<(u32, f32)>>,
    words: TitleWords,
}

/// What a thread needs to solve one item after another.
struct Room {
    /// By item: its entry in the column of the current one, in users and in words; zero before and after.
    users: Vec<f64>,
    cosines: Vec<f64>,
    met: Vec<ItemId>,
    /// By item: its place among the candidates, from 1 on; zero before and after.
    place: Vec<u32>,
    /// By word: the candidates whose titles have it, with its weight; empty before and after.
    with_word: Vec<Vec<(u32, f64)>>,
    used_words: Vec<u32>,
    /// `X^T X` and `T T^T` among the candidates, and the system: columns of the lower triangle, one after the other.
    by_users: Vec<f64>,
    by_words: Vec<f64>,
    system: Vec<f64>,
    solution: Vec<f64>,
    stack: MemBuffer,
}

impl<'a> Solver<'a> {
    fn new(dataset: &'a Dataset, candidates: usize) -> Result<Self> {
        let items = dataset.catalog.len();
        let sets: Vec<Vec<u32>> = dataset.train.rows().map(set).collect();
        let pairs: u64 = sets.iter().map(|set| (set.len() * set.len()) as u64).sum();
        let (n, most) = (items as u64, candidates.min(items) as u64);
        let threads = rayon::current_num_threads() as u64;
        let tables = (n + 1).saturating_mul(most).saturating_mul(8 * L2S.len() as u64);
        let systems = threads.saturating_mul(24).saturating_mul(most.saturating_mul(most));
        let shared = 8 * pairs.min(n.saturating_mul(n));
        ensure_host_memory("solving title-ease", tables.saturating_add(systems).saturating_add(shared), REMEDY)?;
        let mut users_of = vec![Vec::new(); items + 1];
        for (user, set) in (0u32..).zip(&sets) {
            set.iter().for_each(|&item| users_of[item as usize].push(user));
        }
        let none = || vec![0u32; items + 1];
        let row = |counts: &mut Vec<u32>, users: &Vec<u32>| {
            let mut met = Vec::new();
            for &item in users.iter().flat_map(|&user| &sets[user as usize]) {
                if counts[item as usize] == 0 {
                    met.push(item);
                }
                counts[item as usize] += 1;
            }
            met.sort_unstable();
            met.into_iter().map(|item| (item, std::mem::take(&mut counts[item as usize]) as f32)).collect()
        };
        let shared = users_of.par_iter().map_init(none, row).collect();
        Ok(Self { dataset, candidates, shared, words: TitleWords::new(&dataset.catalog) })
    }

    /// Returns a map for each setting of l2 and titles.
    fn solve(&self, settings: &[(f32, f32)], progress: &dyn Progress) -> Result<Vec<Arc<Map>>> {
        let items = self.dataset.catalog.len();
        progress.start("solve", items as u64);
        let done = AtomicU64::new(0);
        let columns: Vec<Vec<Vec<(ItemId, f32)>>> = (1..=items as u32)
            .into_par_iter()
            .map_init(
                || self.room(),
                |room, item| {
                    let solved = self.column(ItemId(item), settings, room);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(64) {
                        progress.update(done, "");
                    }
                    solved
                },
            )
            .collect();
        progress.finish();
        let mut maps = vec![vec![Vec::new(); items + 1]; settings.len()];
        for (item, columns) in (1..).map(ItemId).zip(columns) {
            for (map, column) in maps.iter_mut().zip(columns) {
                column.into_iter().for_each(|(source, weight)| map[source.index()].push((item, weight)));
            }
        }
        Ok(maps.into_iter().map(Arc::new).collect())
    }

    fn room(&self) -> Room {
        let items = self.dataset.catalog.len();
        let most = self.candidates.min(items);
        Room {
            users: vec![0.0; items + 1],
            cosines: vec![0.0; items + 1],
            met: Vec::new(),
            place: vec![0; items + 1],
            with_word: vec![Vec::new(); self.words.with_word.len()],
            used_words: Vec::new(),
            by_users: vec![0.0; most * most],
            by_words: vec![0.0; most * most],
            system: vec![0.0; most * most],
            solution: vec![0.0; most],
            stack: MemBuffer::new(llt::factor::cholesky_in_place_scratch::<f64>(most, Par::Seq, Default::default())),
        }
    }

    /// Returns the weights above 0 for one item, for each setting.
    fn column(&self, own: ItemId, settings: &[(f32, f32)], room: &mut Room) -> Vec<Vec<(ItemId, f32)>> {
        let candidates = self.nearest(own, room);
        let n = candidates.len();
        self.among(&candidates, room);
        let solutions = settings.iter().map(|&(l2, titles)| {
            let (l2, titles) = (f64::from(l2), f64::from(titles));
            let Room { by_users, by_words, system, solution, stack, .. } = &mut *room;
            for column in 0..n {
                for at in column * n + column..(column + 1) * n {
                    system[at] = by_users[at] + titles * by_words[at];
                }
                system[column * n + column] += l2;
            }
            for (entry, (_, users, cosine)) in solution.iter_mut().zip(&candidates) {
                *entry = users + titles * cosine;
            }
            let stack = MemStack::new(stack);
            let mut system = MatMut::from_column_major_slice_mut(&mut system[..n * n], n, n);
            let factored = llt::factor::cholesky_in_place(
                system.as_mut(),
                Default::default(),
                Par::Seq,
                stack,
                Default::default(),
            );
            // Positive definite for any l2 above 0, unless l2 is lost in rounding: then the item has no map.
            if factored.is_err() {
                return Vec::new();
            }
            let right = MatMut::from_column_major_slice_mut(&mut solution[..n], n, 1);
            llt::solve::solve_in_place(system.as_ref(), right, Par::Seq, stack);
            let weights = candidates.iter().zip(&*solution).map(|((item, ..), &weight)| (*item, weight as f32));
            weights.filter(|(_, weight)| *weight > 0.0).collect()
        });
        solutions.collect()
    }

    /// Returns the items nearest to an item, in ascending order, with the users and the cosine in their entries of its
    /// column. All settings have the same ones, so that a chosen setting has the map that it would have alone.
    fn nearest(&self, own: ItemId, room: &mut Room) -> Vec<(ItemId, f64, f64)> {
        let Room { users, cosines, met, .. } = room;
        self.words.meet(own, cosines, met);
        for &(item, count) in &self.shared[own.index()] {
            users[item as usize] = f64::from(count);
            if cosines[item as usize] == 0.0 {
                met.push(ItemId(item));
            }
        }
        let mut found: Vec<(ItemId, f64, f64)> = met
            .drain(..)
            .map(|item| {
                let at = item.index();
                (item, std::mem::take(&mut users[at]), std::mem::take(&mut cosines[at]))
            })
            .filter(|(item, ..)| *item != own)
            .collect();
        if found.len() > self.candidates {
            let entry = |found: &(ItemId, f64, f64)| found.1 + f64::from(TITLES[0]) * found.2;
            let order =
                |a: &(ItemId, f64, f64), b: &(ItemId, f64, f64)| entry(b).total_cmp(&entry(a)).then(a.0.cmp(&b.0));
            found.select_nth_unstable_by(self.candidates, order);
            found.truncate(self.candidates);
        }
        found.sort_unstable_by_key(|(item, ..)| *item);
        found
    }

    /// Writes `X^T X` and `T T^T` among the candidates: of both, the lower triangle.
    fn among(&self, candidates: &[(ItemId, f64, f64)], room: &mut Room) {
        let n = candidates.len();
        let Room { place, with_word, used_words, by_users, by_words, .. } = room;
        by_users[..n * n].fill(0.0);
        by_words[..n * n].fill(0.0);
        for (at, (item, ..)) in (1..).zip(candidates) {
            place[item.index()] = at;
        }
        for (column, (item, ..)) in candidates.iter().enumerate() {
            let shared = &self.shared[item.index()];
            let below = shared.partition_point(|(other, _)| *other < item.0);
            for &(other, count) in &shared[below..] {
                let row = place[other as usize] as usize;
                if row > 0 {
                    by_users[column * n + row - 1] = f64::from(count);
                }
            }
            for &(word, weight) in &self.words.of_item[item.index()] {
                let with_word = &mut with_word[word as usize];
                if with_word.is_empty() {
                    used_words.push(word);
                }
                with_word.push((column as u32, weight));
            }
        }
        for word in used_words.drain(..) {
            let with_word = &mut with_word[word as usize];
            for (first, &(column, weight)) in with_word.iter().enumerate() {
                let column = &mut by_words[column as usize * n..][..n];
                with_word[first..].iter().for_each(|&(row, other)| column[row as usize] += weight * other);
            }
            with_word.clear();
        }
        candidates.iter().for_each(|(item, ..)| place[item.index()] = 0);
    }
}

/// Returns the distinct items of a history, in ascending order.
fn set(items: &[ItemId]) -> Vec<u32> {
    let mut own: Vec<u32> = items.iter().filter(|&&item| item != ItemId::PADDING).map(|item| item.0).collect();
    own.sort_unstable();
    own.dedup();
    own
}
