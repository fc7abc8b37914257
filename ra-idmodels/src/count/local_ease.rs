//! The solver of [`TitleEase`](super::TitleEase): a small system for each item.
use super::titles::TitleWords;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::{MatMut, Par};
use ra_core::{Dataset, Error, ItemId, Progress, Result, ensure_host_memory};
use rayon::prelude::*;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

/// What two items with the same words count as, in users, when the items nearest to an item are chosen. It is the same for
/// all settings, so that a setting that validation chooses has the map that it would have alone.
const WORDS_AMONG_NEAREST: f64 = 6.0;

/// The newest items of a user that are read. Pairs grow with the square, and old items say less.
const NEWEST: usize = 500;

/// The number of items that are solved between two reports of progress.
const BLOCK: usize = 2048;

pub(super) const REMEDY: &str = "title-ease keeps the pairs of items that users share, and candidates of each item: \
                                 leave out rare items, lower candidates, or use title-pairs";

/// For each item, padding first, the items that it speaks for, with their weights.
pub(super) type Map = Vec<Vec<(ItemId, f32)>>;

/// The items that speak for one item, with their weights.
pub(super) type Column = Vec<(ItemId, f32)>;

/// Solves the maps of single items.
pub(super) struct Solver {
    items: usize,
    candidates: usize,
    /// `X^T X` by rows, padding first: the items that users share with each item, in ascending order, itself included,
    /// with the number of these users.
    shared: Vec<Vec<(u32, f32)>>,
    words: TitleWords,
    /// Rooms that no thread uses.
    rooms: Mutex<Vec<Room>>,
}

/// What a thread needs to solve one item after another.
struct Room {
    /// By item: its entry in the column of the current one, in users and in words; zero before and after.
    users: Vec<f64>,
    cosines: Vec<f64>,
    met: Vec<ItemId>,
    /// By item: its place among the candidates, from 1 on; zero before and after.
    place: Vec<u32>,
    /// The words of the candidates' titles, each with the place of the candidate and the weight.
    words: Vec<(u32, u32, f64)>,
    /// `X^T X` and `T T^T` among the candidates, and the system: columns of the lower triangle, one after the other.
    by_users: Vec<f64>,
    by_words: Vec<f64>,
    system: Vec<f64>,
    solution: Vec<f64>,
    stack: MemBuffer,
}

/// A candidate, with what its entry in the column of an item is made of.
struct Near {
    item: ItemId,
    users: f64,
    cosine: f64,
}

impl Solver {
    /// Counts what users share, to solve so many settings at once.
    ///
    /// # Errors
    /// [`Error::Memory`] if pairs, maps and systems do not fit.
    pub(super) fn new(dataset: &Dataset, candidates: usize, at_once: usize) -> Result<Self> {
        let items = dataset.catalog.len();
        let candidates = candidates.min(items);
        let sets: Vec<Vec<u32>> = dataset.train.rows().map(newest).collect();
        let mut users_of = vec![Vec::new(); items + 1];
        for (user, set) in (0u32..).zip(&sets) {
            set.iter().for_each(|&item| users_of[item as usize].push(user));
        }
        let none = || vec![0u32; items + 1];
        let row = |counts: &mut Vec<u32>, users: &Vec<u32>| -> Vec<u32> {
            let mut met = Vec::new();
            for &item in users.iter().flat_map(|&user| &sets[user as usize]) {
                if counts[item as usize] == 0 {
                    met.push(item);
                }
                counts[item as usize] += 1;
            }
            met
        };
        // Counted first and kept second: an upper bound of the pairs is many times what there are.
        let pairs = users_of.par_iter().map_init(none, |counts, users| {
            let met = row(counts, users);
            met.iter().for_each(|&item| counts[item as usize] = 0);
            met.len() as u64
        });
        let (pairs, n, most): (u64, _, _) = (pairs.sum(), items as u64, candidates as u64);
        let room = (20 * n).saturating_add(most.saturating_mul(most).saturating_mul(24));
        let rooms = room.saturating_mul(rayon::current_num_threads() as u64);
        // About half of the weights are above 0, and vectors that grow have room for twice their entries.
        let maps = (n + 1).saturating_mul(most).saturating_mul(8 * at_once as u64);
        ensure_host_memory("solving title-ease", rooms.saturating_add(maps).saturating_add(8 * pairs), REMEDY)?;
        let shared = users_of.par_iter().map_init(none, |counts, users| {
            let mut met = row(counts, users);
            met.sort_unstable();
            met.into_iter().map(|item| (item, std::mem::take(&mut counts[item as usize]) as f32)).collect()
        });
        let shared = shared.collect();
        Ok(Self { items, candidates, shared, words: TitleWords::new(&dataset.catalog), rooms: Mutex::default() })
    }

    /// Returns the maps of all items for each setting of l2 and titles.
    ///
    /// # Errors
    /// [`Error::Missing`] if an l2 is lost in rounding.
    pub(super) fn maps(&self, settings: &[(f32, f32)], progress: &dyn Progress) -> Result<Vec<Arc<Map>>> {
        let mut maps = vec![vec![Vec::new(); self.items + 1]; settings.len()];
        progress.start("solve", self.items as u64);
        // In blocks, so that the columns of all items are never held beside the rows that they become.
        for first in (1..=self.items).step_by(BLOCK) {
            let last = (first + BLOCK - 1).min(self.items);
            for (item, columns) in (first as u32..).map(ItemId).zip(self.columns(first..=last, settings)?) {
                for (map, column) in maps.iter_mut().zip(columns) {
                    column.into_iter().for_each(|(source, weight)| map[source.index()].push((item, weight)));
                }
            }
            progress.update(last as u64, "");
        }
        progress.finish();
        maps.iter_mut().flatten().for_each(Vec::shrink_to_fit);
        Ok(maps.into_iter().map(Arc::new).collect())
    }

    /// Returns the columns of some items, each for every setting.
    ///
    /// # Errors
    /// As [`maps`](Self::maps).
    pub(super) fn columns(&self, items: RangeInclusive<usize>, settings: &[(f32, f32)]) -> Result<Vec<Vec<Column>>> {
        let rooms = || self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let column = |item: usize| {
            // Made once for each thread: at a million items it is too large to be made for each block.
            let unused = rooms().pop();
            let mut room = unused.unwrap_or_else(|| Room::new(self.items, self.candidates));
            let columns = self.column(ItemId(item as u32), settings, &mut room);
            rooms().push(room);
            columns
        };
        items.into_par_iter().map(column).collect()
    }

    /// Returns the weights above 0 for one item, for each setting.
    fn column(&self, own: ItemId, settings: &[(f32, f32)], room: &mut Room) -> Result<Vec<Column>> {
        let mut near = self.nearest(own, room);
        self.among(own, &mut near, room);
        let n = near.len();
        let Room { by_users, by_words, system, solution, stack, .. } = room;
        let solve = |&(l2, titles): &(f32, f32)| {
            let words = f64::from(titles);
            for column in 0..n {
                for at in column * n + column..(column + 1) * n {
                    system[at] = by_users[at] + words * by_words[at];
                }
                system[column * n + column] += f64::from(l2);
            }
            solution.iter_mut().zip(&near).for_each(|(entry, near)| *entry = near.users + words * near.cosine);
            let stack = MemStack::new(stack);
            let mut system = MatMut::from_column_major_slice_mut(&mut system[..n * n], n, n);
            // Positive definite for any l2 above 0, unless l2 is lost in rounding.
            let lost = |_| Error::Missing {
                what: format!("an l2 above {l2}, or a smaller titles than {titles}"),
                remedy: "the matrix of the items has no inverse in 64 bits; an l2 of 10 to 1000 is usual".into(),
            };
            llt::factor::cholesky_in_place(system.as_mut(), Default::default(), Par::Seq, stack, Default::default())
                .map_err(lost)?;
            let right = MatMut::from_column_major_slice_mut(&mut solution[..n], n, 1);
            llt::solve::solve_in_place(system.as_ref(), right, Par::Seq, stack);
            let weights = near.iter().zip(&*solution).map(|(near, &weight)| (near.item, weight as f32));
            Ok(weights.filter(|(_, weight)| *weight > 0.0 && weight.is_finite()).collect())
        };
        settings.iter().map(solve).collect()
    }

    /// Returns the items nearest to an item, in ascending order.
    fn nearest(&self, own: ItemId, room: &mut Room) -> Vec<Near> {
        let Room { users, cosines, met, .. } = room;
        self.words.meet(own, cosines, met);
        for &(item, count) in &self.shared[own.index()] {
            users[item as usize] = f64::from(count);
            if cosines[item as usize] == 0.0 {
                met.push(ItemId(item));
            }
        }
        let near = |item: ItemId| {
            let (users, cosine) = (&mut users[item.index()], &mut cosines[item.index()]);
            Near { item, users: std::mem::take(users), cosine: std::mem::take(cosine) }
        };
        let mut found: Vec<Near> = met.drain(..).map(near).collect();
        found.retain(|near| near.item != own);
        if found.len() > self.candidates {
            let entry = |near: &Near| near.users + WORDS_AMONG_NEAREST * near.cosine;
            found.select_nth_unstable_by(self.candidates, |a, b| {
                entry(b).total_cmp(&entry(a)).then(a.item.cmp(&b.item))
            });
            found.truncate(self.candidates);
        }
        found.sort_unstable_by_key(|near| near.item);
        found
    }

    /// Writes `X^T X` and `T T^T` among the candidates, of both the lower triangle, and the cosines to the item: the search
    /// for the nearest may have left out common words.
    fn among(&self, own: ItemId, near: &mut [Near], room: &mut Room) {
        let n = near.len();
        let Room { place, words, by_users, by_words, .. } = room;
        by_users[..n * n].fill(0.0);
        by_words[..n * n].fill(0.0);
        for (at, near) in (1..).zip(&*near) {
            place[near.item.index()] = at;
        }
        words.clear();
        for (column, near) in near.iter().enumerate() {
            let shared = &self.shared[near.item.index()];
            let below = shared.partition_point(|(other, _)| *other < near.item.0);
            for &(other, count) in &shared[below..] {
                let row = place[other as usize] as usize;
                if row > 0 {
                    by_users[column * n + row - 1] = f64::from(count);
                }
            }
            let of_item = &self.words.of_item[near.item.index()];
            words.extend(of_item.iter().map(|&(word, weight)| (word, column as u32, weight)));
        }
        near.iter().for_each(|near| place[near.item.index()] = 0);
        near.iter_mut().for_each(|near| near.cosine = 0.0);
        words.sort_unstable_by_key(|&(word, column, _)| (word, column));
        let of_own = &self.words.of_item[own.index()];
        for with_word in words.chunk_by(|a, b| a.0 == b.0) {
            let own = of_own.binary_search_by_key(&with_word[0].0, |(word, _)| *word).map_or(0.0, |at| of_own[at].1);
            for (first, &(_, column, weight)) in with_word.iter().enumerate() {
                near[column as usize].cosine += own * weight;
                let column = &mut by_words[column as usize * n..][..n];
                with_word[first..].iter().for_each(|&(_, row, other)| column[row as usize] += weight * other);
            }
        }
    }
}

impl Room {
    fn new(items: usize, candidates: usize) -> Self {
        let square = vec![0.0; candidates * candidates];
        let scratch = llt::factor::cholesky_in_place_scratch::<f64>(candidates, Par::Seq, Default::default());
        Self {
            users: vec![0.0; items + 1],
            cosines: vec![0.0; items + 1],
            met: Vec::new(),
            place: vec![0; items + 1],
            words: Vec::new(),
            by_users: square.clone(),
            by_words: square.clone(),
            system: square,
            solution: vec![0.0; candidates],
            stack: MemBuffer::new(scratch),
        }
    }
}

/// Returns the distinct items of a user's newest ones, in ascending order.
fn newest(items: &[ItemId]) -> Vec<u32> {
    let items = items.iter().rev().filter(|item| **item != ItemId::PADDING);
    let mut own: Vec<u32> = items.take(NEWEST).map(|item| item.0).collect();
    own.sort_unstable();
    own.dedup();
    own
}
