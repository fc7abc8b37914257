//! The criterion that chooses models: a weighted sum of measures on the validation part.
use crate::slices::{Groups, group_mean, users_with};
use crate::{EvalConfig, Evaluation, HeldOut, Measure};

/// Returns the criterion [`EvalConfig::select`] for an evaluation of `held_out` under [`EvalConfig::choosing`]. A term of
/// head or tail items that no user can measure, see [`unmeasured`], is 0 for every model and so decides nothing; for
/// any other the criterion is NaN.
pub fn criterion(config: &EvalConfig, held_out: &HeldOut<'_>, evaluation: &Evaluation) -> f64 {
    weighted(config, groups(config, held_out).as_ref(), evaluation)
}

/// Returns the groups of items, if the criterion has a term of one.
pub(crate) fn groups(config: &EvalConfig, held_out: &HeldOut<'_>) -> Option<Groups> {
    config.terms().iter().any(|(_, measure)| measure.group.is_some()).then(|| Groups::new(held_out))
}

/// Returns the [`criterion`] of an evaluation of the held-out part that has these [`groups`].
pub(crate) fn weighted(config: &EvalConfig, groups: Option<&Groups>, evaluation: &Evaluation) -> f64 {
    let value = |measure: &Measure| match (measure.group, groups) {
        (Some(group), Some(groups)) => group_mean(groups, group, evaluation, measure.metric),
        _ => evaluation.metrics.get(&measure.metric).copied(),
    };
    let absent = |measure: &Measure| if measure.is_required() { f64::NAN } else { 0.0 };
    let terms = config.terms().into_iter();
    terms.map(|(weight, measure)| weight * value(&measure).unwrap_or_else(|| absent(&measure))).sum()
}

/// Returns the terms of [`EvalConfig::select`] that no user of `held_out` can measure: nobody has a target in their
/// group of items.
pub fn unmeasured(config: &EvalConfig, held_out: &HeldOut<'_>) -> Vec<Measure> {
    let choosing = config.choosing();
    let lacks = |measure: &Measure| measure.group.is_some_and(|group| users_with(group, held_out, &choosing) == 0);
    config.terms().into_iter().map(|(_, measure)| measure).filter(lacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ItemGroup, Metric};
    use ra_core::{ItemId, UserId};
    use std::collections::BTreeMap;

    #[test]
    fn a_criterion_measures_the_users_of_its_groups() {
        // Item 1 is in every history, items 2 to 4 in some, and item 5 in none.
        let histories = [vec![1, 2, 3], vec![1, 4], vec![1], vec![1]].map(ItemId::list);
        let targets = [vec![2], vec![1], vec![3], vec![1]].map(ItemId::list);
        let held_out = HeldOut::from_lists(5, &histories, &targets).unwrap();
        let config: EvalConfig =
            serde_json::from_str(r#"{"select": {"hr@1": 1.0, "tail:hr@1": 0.5, "cold:ndcg@5": 2.0}}"#).unwrap();
        let ranks = [(2, 1.0), (1, 3.0), (3, 2.0), (1, 1.0)];
        let evaluation = Evaluation {
            users: UserId::all(4).collect(),
            metrics: BTreeMap::from([(Metric::Hr(1), 0.5)]),
            ranks: ranks.map(|(item, rank)| vec![(ItemId(item), rank)]).to_vec(),
            ..Evaluation::default()
        };
        assert!(criterion(&config, &held_out, &evaluation).is_nan(), "nobody has a cold target");
        assert_eq!(unmeasured(&config, &held_out), ["cold:ndcg@5".parse().unwrap()]);
        let known: EvalConfig = serde_json::from_str(r#"{"select": {"hr@1": 1.0, "tail:hr@1": 0.5}}"#).unwrap();
        // Of the two users with a tail target, one is hit.
        assert_eq!(criterion(&known, &held_out, &evaluation), 0.5 + 0.5 * 0.5);
        assert!(unmeasured(&known, &held_out).is_empty());
        assert_eq!(users_with(ItemGroup::Head, &held_out, &known), 2);
        // A term of tail items that nobody has as a target decides nothing.
        let few = HeldOut::from_lists(5, &histories, &targets).unwrap().of_users(&[UserId(1)]);
        let hit = Evaluation { users: vec![UserId(1)], ranks: vec![vec![(ItemId(1), 1.0)]], ..evaluation };
        assert_eq!(criterion(&known, &few, &hit), 0.5);
        assert_eq!(unmeasured(&known, &few), ["tail:hr@1".parse().unwrap()]);
    }
}
