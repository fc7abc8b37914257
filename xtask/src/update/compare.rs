//! Two bundles, compared user by user on the newest interactions.
use crate::bundle::{Bundle, Past, Request, Rotation};
use crate::context::Output;
use anyhow::Result;
use ra_eval::{Metric, detectable, holm, paired_bootstrap, permutation_test};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The length of the lists that are compared.
const TOP: usize = 100;

const METRICS: [Metric; 3] = [Metric::Hr(10), Metric::Ndcg(10), Metric::Hr(TOP)];

/// The number of users that are answered in one pass.
const TOGETHER: usize = 16;

/// The number of random draws of the tests.
const RESAMPLES: usize = 2000;

/// With fewer users, no difference is significant.
const FEWEST: usize = 6;

/// The number of products that stored user vectors are tried with.
const PRODUCTS: usize = 2_000_000_000;

/// A user with something new: what they did before, by the ids of items, and the newest item.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) history: Vec<String>,
    pub(super) newest: String,
}

/// How an older and a newer bundle recommend to the same users, each from its own catalogue: which of them has the newest
/// item in its list, given what the user did before. Neither was trained on that item of that user.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BundleComparison {
    /// The row that was compared.
    pub row: String,
    /// The number of users.
    pub users: usize,
    /// The number of them whose newest item the older bundle does not know: it cannot find it.
    pub newest_unknown_to_old: usize,
    /// The metrics, by name.
    pub metrics: BTreeMap<String, MetricComparison>,
    /// The numbers of users whose NDCG@100 is higher under the new bundle, lower, and the same.
    pub better: usize,
    /// See `better`.
    pub worse: usize,
    /// See `better`.
    pub same: usize,
    /// How near the new vectors are to the old ones.
    pub turned: Vec<Rotation>,
    /// Whether the vectors consist of other parts than before, because a part of a blend has no weight any more, or has one
    /// now: stored user vectors do not fit.
    pub has_other_parts: bool,
    /// What user vectors that were stored under the old bundle find; nothing if the row has no single vector per user.
    pub stored_vectors: Option<StoredVectors>,
}

/// A metric of both bundles.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricComparison {
    /// The mean over users under the old bundle.
    pub old: f64,
    /// The mean under the new one.
    pub new: f64,
    /// The 95 % interval of new minus old.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// The p value of a paired permutation test, corrected over the metrics (Holm).
    pub p: f64,
    /// The smallest difference that this many users reveal in four of five cases; nothing for fewer than two.
    pub detectable: Option<f64>,
}

/// HR@100 of the newest item, which both bundles know, by products of vectors alone: for as many users as are asked, or
/// fewer of them in a large catalogue.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoredVectors {
    /// The number of users.
    pub users: usize,
    /// Old user vectors with old item vectors.
    pub old_items: f64,
    /// Old user vectors with the new item vectors as exported.
    pub new_items: f64,
    /// Old user vectors with the new item vectors before they were rotated.
    pub unturned: f64,
}

/// Compares two bundles by their first row.
pub(super) fn compare(
    old: &Bundle,
    new: &Bundle,
    asked: &[Asked],
    turned: Vec<Rotation>,
    output: &dyn Output,
) -> Result<BundleComparison> {
    output.start("compare with the older bundle", asked.len() as u64);
    let mut ranks: Vec<[Option<usize>; 2]> = Vec::with_capacity(asked.len());
    for some in asked.chunks(TOGETHER * rayon::current_num_threads().max(1)) {
        let found: Vec<Vec<[Option<usize>; 2]>> = some
            .par_chunks(TOGETHER)
            .map(|some| {
                let [old, new] = [ranks_of(old, some)?, ranks_of(new, some)?];
                Ok(old.into_iter().zip(new).map(|(old, new)| [old, new]).collect())
            })
            .collect::<Result<_>>()?;
        ranks.extend(found.into_iter().flatten());
        output.update(ranks.len() as u64, "");
    }
    output.finish();
    let newest_unknown_to_old = asked.iter().filter(|asked| !old.knows(&asked.newest)).count();
    let [old_parts, new_parts] = [old, new].map(|bundle| &bundle.manifest().rows[0].vector);
    let has_other_parts = old_parts != new_parts;
    let stored_vectors = if has_other_parts { None } else { stored(old, new, asked)? };
    Ok(BundleComparison {
        newest_unknown_to_old,
        turned,
        has_other_parts,
        stored_vectors,
        ..measured(&ranks, old.manifest().rows[0].name.clone())
    })
}

/// Returns the rank of each user's newest item in the list of a bundle, from 1; nothing if it is not in it.
fn ranks_of(bundle: &Bundle, asked: &[Asked]) -> Result<Vec<Option<usize>>> {
    let requests: Vec<Request> = asked.iter().map(|asked| request(asked, TOP)).collect();
    let answers = bundle.recommend_all(&requests)?;
    let rank = |(asked, list): (&Asked, crate::bundle::Answer)| {
        list.recommended.iter().position(|found| found.item == asked.newest).map(|place| place + 1)
    };
    Ok(asked.iter().zip(answers).map(rank).collect())
}

fn request(asked: &Asked, top: usize) -> Request {
    let history = asked.history.iter().map(|id| Past::Entry(crate::bundle::PastEntry::of_id(id))).collect();
    Request { history, top: Some(top), ..Request::default() }
}

/// Returns the metrics of ranks under both bundles.
fn measured(ranks: &[[Option<usize>; 2]], row: String) -> BundleComparison {
    let of = |metric: Metric, side: usize| ranks.iter().filter_map(|ranks| metric.of_rank(ranks[side])).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let both: Vec<(Metric, Vec<f64>, Vec<f64>)> =
        METRICS.iter().map(|&metric| (metric, of(metric, 0), of(metric, 1))).collect();
    let ps = holm(&both.iter().map(|(_, old, new)| permutation_test(new, old, RESAMPLES, 1)).collect::<Vec<_>>());
    let measured = |((metric, old, new), p): (&(Metric, Vec<f64>, Vec<f64>), f64)| {
        let interval = paired_bootstrap(new, old, RESAMPLES, 1);
        let (low, high) = (interval.low, interval.high);
        let detectable = (new.len() > 1).then(|| detectable(new, old));
        (metric.to_string(), MetricComparison { old: mean(old), new: mean(new), low, high, p, detectable })
    };
    let metrics = both.iter().zip(ps).map(measured).collect();
    // Lists of 100 say more of a user than the first ten.
    let gain = |rank: Option<usize>| Metric::Ndcg(TOP).of_rank(rank).unwrap_or_default();
    let count = |order: std::cmp::Ordering| {
        ranks.iter().filter(|[old, new]| gain(*new).total_cmp(&gain(*old)) == order).count()
    };
    BundleComparison {
        row,
        users: ranks.len(),
        newest_unknown_to_old: 0,
        metrics,
        better: count(std::cmp::Ordering::Greater),
        worse: count(std::cmp::Ordering::Less),
        same: count(std::cmp::Ordering::Equal),
        turned: Vec::new(),
        has_other_parts: false,
        stored_vectors: None,
    }
}

/// Ranks the new item vectors, which have the same parts, by user vectors of the old bundle.
fn stored(old: &Bundle, new: &Bundle, asked: &[Asked]) -> Result<Option<StoredVectors>> {
    let (old_items, _) = old.vectors_outside();
    let (new_items, _) = new.vectors_outside();
    let (unturned, _) = new.vectors_inside();
    let width = old_items.first().map_or(0, Vec::len);
    if width < 2 {
        return Ok(None);
    }
    let most = PRODUCTS / (width * (old_items.len() + new_items.len())).max(1);
    let places = |bundle: &Bundle| -> HashMap<String, usize> { bundle.ids().map(str::to_owned).zip(0..).collect() };
    let (of_old, of_new) = (places(old), places(new));
    let known = |asked: &&Asked| of_old.contains_key(&asked.newest) && of_new.contains_key(&asked.newest);
    let asked: Vec<&Asked> = asked.iter().filter(known).take(most.max(1)).collect();
    let sides = [(&old_items, &of_old), (&new_items, &of_new), (&unturned, &of_new)];
    let hits: Vec<Option<[bool; 3]>> = asked
        .par_iter()
        .map(|asked| {
            // A row with several vectors per user has none to store.
            let Ok(user) = old.user_vector(&request(asked, TOP)) else { return None };
            let dot = |item: &[f32]| item.iter().zip(&user).map(|(a, b)| a * b).sum::<f32>();
            let hit = |(items, places): (&Vec<Vec<f32>>, &HashMap<String, usize>)| {
                let seen: HashSet<usize> = asked.history.iter().filter_map(|id| places.get(id).copied()).collect();
                let own = dot(&items[places[&asked.newest]]);
                let above = |(at, item): (usize, &Vec<f32>)| !seen.contains(&at) && dot(item) > own;
                items.iter().enumerate().filter(|(at, item)| above((*at, item))).count() < TOP
            };
            Some(sides.map(hit))
        })
        .collect();
    let hits: Vec<[bool; 3]> = hits.into_iter().flatten().collect();
    let share = |side: usize| hits.iter().filter(|hit| hit[side]).count() as f64 / hits.len().max(1) as f64;
    let found = StoredVectors { users: hits.len(), old_items: share(0), new_items: share(1), unturned: share(2) };
    Ok((!hits.is_empty()).then_some(found))
}

impl BundleComparison {
    /// Says why the new bundle should not take the place of the old one: the metric in which it is significantly worse, or
    /// that nobody could be asked; nothing if it may.
    pub fn worse(&self) -> Option<String> {
        if self.users < FEWEST {
            return Some(format!(
                "only {} users have a new interaction and two before it, so the bundles cannot be compared",
                self.users
            ));
        }
        let (name, found) = self.metrics.iter().find(|(_, found)| found.new < found.old && found.p < 0.05)?;
        Some(format!("{name} of the new bundle is {:.4} and was {:.4} (p = {:.3})", found.new, found.old, found.p))
    }

    /// Says what was compared.
    pub fn told(&self) -> Vec<String> {
        if self.users == 0 {
            return Vec::new();
        }
        let mut told = vec![format!(
            "row {}, {} users by their newest interaction ({} of these items are new to the older bundle): better for {}, \
             worse for {}",
            self.row, self.users, self.newest_unknown_to_old, self.better, self.worse
        )];
        for (name, MetricComparison { old, new, low, high, p, .. }) in &self.metrics {
            told.push(format!(
                "  {name:8} old {old:.4}, new {new:.4}; difference {:+.4} ({low:+.4} to {high:+.4}, p = {p:.3})",
                new - old
            ));
        }
        for Rotation { part, items, cosine_before, cosine_after, .. } in &self.turned {
            told.push(format!(
                "  vectors of {part}: mean cosine with the old ones {cosine_before:.3}, rotated {cosine_after:.3} ({items} items)"
            ));
        }
        if self.has_other_parts {
            told.push("  the vectors have other parts than before: compute stored user vectors again".into());
        }
        if let Some(StoredVectors { users, old_items, new_items, unturned }) = &self.stored_vectors {
            told.push(format!(
                "  stored user vectors ({users} users): HR@100 {old_items:.4} with the old item vectors, {new_items:.4} with \
                 the new ones ({unturned:.4} had they not been rotated)"
            ));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_significant_loss_is_told_and_a_chance_one_is_not() {
        let ranks = |pairs: &[[Option<usize>; 2]], times: usize| pairs.repeat(times);
        let better = measured(&ranks(&[[None, Some(1)], [Some(4), Some(4)]], 40), "r".into());
        assert_eq!((better.worse(), better.better, better.worse, better.same), (None, 40, 0, 40));
        assert!((better.metrics["hr@10"].new - 1.0).abs() < 1e-12 && better.metrics["hr@10"].p < 0.05);
        let worse = measured(&ranks(&[[Some(1), Some(51)], [Some(4), Some(4)]], 40), "r".into());
        assert!(worse.worse().unwrap().contains("hr@10"), "{worse:?}");
        assert!((worse.metrics["hr@100"].new - 1.0).abs() < 1e-12);
        let chance = measured(&ranks(&[[Some(1), None], [None, Some(1)], [Some(2), None]], 3), "r".into());
        assert_eq!(chance.worse(), None);
        let nobody = measured(&[], "r".into());
        assert!(nobody.worse().unwrap().contains("cannot be compared") && nobody.told().is_empty());
    }
}
