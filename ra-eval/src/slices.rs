//! Accuracy on parts of the targets and of the users.
use crate::metrics::{ItemGroup, accuracy, mean};
use crate::significance::{Interval, paired_bootstrap};
use crate::{EvalConfig, Evaluation, HeldOut, Metric};
use ra_core::{ItemId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The number of bootstrap resamples for the interval of a difference.
const RESAMPLES: usize = 1000;

/// Accuracy on part of the targets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The targets in words.
    pub name: String,
    /// The group of items that the targets are in, if the slice is one of items by popularity. Reports written before
    /// this field existed have none; [`is_of`](Self::is_of) knows their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ItemGroup>,
    /// The number of targets.
    pub targets: usize,
    /// The number of users with such a target.
    pub users: usize,
    /// Means over these users of `hr@K` and `ndcg@K`, for their targets of this slice alone.
    pub metrics: BTreeMap<Metric, f64>,
    /// Differences from the baseline, with 95 % intervals over these users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differences: BTreeMap<Metric, Interval>,
}

impl Slice {
    /// Returns whether this is the slice of the targets in `group`.
    pub fn is_of(&self, group: ItemGroup) -> bool {
        self.group.map_or_else(|| self.name == name_of(group), |own| own == group)
    }
}

/// Returns the name of the slice of the targets in a group.
fn name_of(group: ItemGroup) -> &'static str {
    match group {
        ItemGroup::Head => "head items (the most popular fifth)",
        ItemGroup::Tail => "tail items",
        ItemGroup::Cold => "cold items (never trained on)",
    }
}

/// The group of every item of the catalogue.
#[derive(Debug)]
pub(crate) struct Groups(Vec<ItemGroup>);

impl Groups {
    pub(crate) fn new(held_out: &HeldOut<'_>) -> Self {
        let counts = held_out.popularity();
        let head = highest_fifth(counts.iter().map(|&count| f64::from(count)));
        let group = |(&count, head)| match (count, head) {
            (0, _) => ItemGroup::Cold,
            (_, true) => ItemGroup::Head,
            (_, false) => ItemGroup::Tail,
        };
        Self(counts.iter().zip(head).map(group).collect())
    }

    pub(crate) fn of(&self, item: ItemId) -> ItemGroup {
        self.0[item.index() - 1]
    }
}

/// Returns the mean of a metric over the users with a target in a group, for these targets alone; nothing without such
/// users, or for a metric other than HR and NDCG.
pub(crate) fn group_mean(groups: &Groups, group: ItemGroup, evaluation: &Evaluation, metric: Metric) -> Option<f64> {
    let (values, _) = Membership::of(groups, group).per_user(evaluation, &[metric.k()]);
    values.get(&metric).map(|values| mean(values))
}

/// Returns how many of the users evaluated under `config` have a target in a group of items.
pub(crate) fn users_with(group: ItemGroup, held_out: &HeldOut<'_>, config: &EvalConfig) -> usize {
    let groups = Groups::new(held_out);
    let has = |user: &&UserId| {
        let relevant = held_out.relevant(**user, &held_out.history(**user), config);
        relevant.into_iter().any(|item| groups.of(item) == group)
    };
    held_out.evaluated(config).iter().filter(has).count()
}

/// Which targets belong to a slice, given the user's place in the evaluation and the item.
struct Membership<'a> {
    name: String,
    group: Option<ItemGroup>,
    has: Box<dyn Fn(usize, ItemId) -> bool + 'a>,
}

/// Splits `evaluation` by parts of its targets, with the differences from `baseline` on the same users:
///
/// - *head* items, the fifth of the catalogue with the most training interactions, *tail* items, and *cold* items,
///   which have none
/// - users with short and with long histories, split at the median of the evaluated users
/// - the newest fifth of the items and the others, by `first_seen`, the earliest time of each item of the catalogue
///
/// Slices without targets are left out.
///
/// # Panics
/// Panics if `baseline` has other users or `first_seen` is not as long as the catalogue.
pub fn slices(
    held_out: &HeldOut<'_>,
    evaluation: &Evaluation,
    baseline: Option<&Evaluation>,
    ks: &[usize],
    first_seen: Option<&[f64]>,
) -> Vec<Slice> {
    assert!(baseline.is_none_or(|other| other.users == evaluation.users), "differences are taken user by user");
    let groups = Groups::new(held_out);
    let lengths: Vec<usize> = evaluation.users.iter().map(|&user| held_out.history(user).len()).collect();
    let mut sorted = lengths.clone();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0);
    let lengths = &lengths;
    let mut memberships: Vec<Membership<'_>> = ItemGroup::ALL.map(|group| Membership::of(&groups, group)).into();
    memberships.extend([
        Membership::new(format!("short histories (up to {median})"), move |user, _| lengths[user] <= median),
        Membership::new(format!("long histories (over {median})"), move |user, _| lengths[user] > median),
    ]);
    if let Some(times) = first_seen {
        assert_eq!(times.len(), held_out.items(), "one time per item");
        let new = highest_fifth(times.iter().copied());
        let old = new.clone();
        memberships.push(Membership::new("items new in the data (the latest fifth)", move |_, i| new[i.index() - 1]));
        memberships.push(Membership::new("items long in the data", move |_, i| !old[i.index() - 1]));
    }
    let slices = memberships.iter().map(|members| members.slice(evaluation, baseline, ks));
    slices.filter(|slice| slice.targets > 0).collect()
}

impl<'a> Membership<'a> {
    fn new(name: impl Into<String>, has: impl Fn(usize, ItemId) -> bool + 'a) -> Self {
        Self { name: name.into(), group: None, has: Box::new(has) }
    }

    fn of(groups: &'a Groups, group: ItemGroup) -> Self {
        Self { group: Some(group), ..Self::new(name_of(group), move |_, item| groups.of(item) == group) }
    }

    fn slice(&self, evaluation: &Evaluation, baseline: Option<&Evaluation>, ks: &[usize]) -> Slice {
        let (own, targets) = self.per_user(evaluation, ks);
        let other = baseline.map(|baseline| self.per_user(baseline, ks).0).unwrap_or_default();
        let difference = |(&metric, values): (&Metric, &Vec<f64>)| {
            let values = paired_bootstrap(values, other.get(&metric)?, RESAMPLES, 0);
            Some((metric, values))
        };
        Slice {
            name: self.name.clone(),
            group: self.group,
            targets,
            users: own.values().next().map_or(0, Vec::len),
            metrics: own.iter().map(|(&metric, values)| (metric, mean(values))).collect(),
            differences: own.iter().filter_map(difference).collect(),
        }
    }

    /// Returns the metrics of each user with a target in this slice, and the number of these targets.
    fn per_user(&self, evaluation: &Evaluation, ks: &[usize]) -> (BTreeMap<Metric, Vec<f64>>, usize) {
        let mut values: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
        let mut targets = 0;
        for (user, ranks) in evaluation.ranks.iter().enumerate() {
            let here: Vec<f64> =
                ranks.iter().filter(|(item, _)| (self.has)(user, *item)).map(|(_, rank)| *rank).collect();
            targets += here.len();
            for &k in ks.iter().filter(|_| !here.is_empty()) {
                let found = accuracy(&here, k);
                values.entry(Metric::Hr(k)).or_default().push(found.hr);
                values.entry(Metric::Ndcg(k)).or_default().push(found.ndcg);
            }
        }
        (values, targets)
    }
}

/// Returns which of `values` belong to the largest fifth; later values win ties.
fn highest_fifth(values: impl Iterator<Item = f64>) -> Vec<bool> {
    let values: Vec<f64> = values.collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(b.cmp(&a)));
    let mut highest = vec![false; values.len()];
    order[..values.len().div_ceil(5)].iter().for_each(|&index| highest[index] = true);
    highest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;
    use ra_core::{Catalog, Dataset, Sequences};

    #[test]
    fn every_target_is_in_one_slice_of_each_kind() {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let dataset = Dataset {
            name: "tiny".into(),
            users: names(3),
            catalog: Catalog::new(names(5), vec![String::new(); 5]),
            train: Sequences::from_numbers([vec![1, 2], vec![1], vec![1, 3, 4, 2]]),
            valid: Sequences::from_numbers([vec![], vec![], vec![]] as [Vec<u32>; 3]),
            test: Sequences::from_numbers([vec![1], vec![5], vec![3, 5]]),
            filter: String::new(),
            split: String::new(),
        };
        let evaluation = |shift: f64| Evaluation {
            users: UserId::all(3).collect(),
            ranks: vec![
                vec![(ItemId(1), 1.0)],
                vec![(ItemId(5), 2.0 + shift)],
                vec![(ItemId(5), 1.0 + shift), (ItemId(3), 7.0)],
            ],
            ..Evaluation::default()
        };
        let times = [1.0, 2.0, 3.0, 9.0, 4.0];
        let (own, other) = (evaluation(0.0), evaluation(1.0));
        let got = slices(&HeldOut::new(&dataset, Part::Test), &own, Some(&other), &[1, 5], Some(&times));
        let told: Vec<(&str, usize, usize, f64)> = got
            .iter()
            .map(|s| (s.name.split(' ').next().unwrap(), s.targets, s.users, s.metrics[&Metric::Hr(1)]))
            .collect();
        let want = [
            ("head", 1, 1, 1.0),
            ("tail", 1, 1, 0.0),
            ("cold", 2, 2, 0.5),
            ("short", 2, 2, 0.5),
            ("long", 2, 1, 1.0),
            ("items", 4, 3, 2.0 / 3.0),
        ];
        assert_eq!(told, want);
        let groups: Vec<Option<ItemGroup>> = got.iter().map(|slice| slice.group).collect();
        assert_eq!(groups[..4], [Some(ItemGroup::Head), Some(ItemGroup::Tail), Some(ItemGroup::Cold), None]);
        let earlier = Slice { group: None, ..got[1].clone() };
        assert!(earlier.is_of(ItemGroup::Tail) && !earlier.is_of(ItemGroup::Cold), "a report of before");
        assert_eq!(got[2].differences[&Metric::Hr(1)].mean, 0.5);
        assert_eq!(got[0].differences[&Metric::Hr(1)].mean, 0.0);
        assert_eq!(got[5].name, "items long in the data", "nobody asks for item 4, the newest");
    }
}
