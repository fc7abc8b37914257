//! The users to evaluate, their histories and their held-out items.
use crate::EvalError;
use crate::protocol::{EvalConfig, Repeats};
use ra_core::{Dataset, ItemId, SplitMix, UserId};

/// The held-out part that contains the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// For choosing models: the history is the training sequence.
    Valid,
    /// For the final table: the history is the training sequence plus the validation items.
    Test,
}

impl Part {
    pub(crate) fn held_out(self, dataset: &Dataset, user: UserId) -> &[ItemId] {
        match self {
            Self::Valid => dataset.valid.row(user),
            Self::Test => dataset.test.row(user),
        }
    }

    /// Returns all items of `user` before this part, oldest first and not truncated: models truncate for themselves.
    pub fn history(self, dataset: &Dataset, user: UserId) -> Vec<ItemId> {
        let mut items = dataset.train.row(user).to_vec();
        if self == Self::Test {
            items.extend_from_slice(dataset.valid.row(user));
        }
        items
    }
}

/// The users to evaluate, the history of each, and the held-out items that a ranking should find.
///
/// ```
/// use ra_core::{ItemId, UserId};
/// use ra_eval::HeldOut;
/// // Two users of a catalogue of three items, whose ids start at 1: the history and the targets of each.
/// let histories = [ItemId::list([1]), ItemId::list([2, 3])];
/// let targets = [ItemId::list([3]), vec![]];
/// let held_out = HeldOut::from_lists(3, &histories, &targets)?;
/// assert_eq!(held_out.users(), [UserId(0)], "nothing is held out of the other one");
/// # Ok::<(), ra_eval::EvalError>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeldOut<'a> {
    source: Source<'a>,
    /// The users with a target, ascending.
    users: Vec<UserId>,
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Split(&'a Dataset, Part),
    Lists { items: usize, histories: &'a [Vec<ItemId>], targets: &'a [Vec<ItemId>] },
}

impl<'a> HeldOut<'a> {
    /// Takes every user of `dataset` with held-out items in `part`.
    pub fn new(dataset: &'a Dataset, part: Part) -> Self {
        Self::of(Source::Split(dataset, part))
    }

    /// Takes every user with a target from lists of item ids, which run from 1 to `items`. Row `u` of both lists
    /// belongs to user `u`.
    ///
    /// # Errors
    /// [`EvalError::Input`] if the lists differ in length or an id is not in the catalogue.
    pub fn from_lists(
        items: usize,
        histories: &'a [Vec<ItemId>],
        targets: &'a [Vec<ItemId>],
    ) -> Result<Self, EvalError> {
        if histories.len() != targets.len() {
            let problem = format!("there are histories of {} users but targets of {}", histories.len(), targets.len());
            return Err(EvalError::input("targets", problem));
        }
        for (what, rows) in [("histories", histories), ("targets", targets)] {
            let wrong = |item: &&ItemId| **item == ItemId::PADDING || item.index() > items;
            if let Some((user, item)) = (0..).zip(rows).find_map(|(u, row)| Some((u, row.iter().find(wrong)?))) {
                let problem = format!("user {user} has item {item}; ids go from 1 to {items}, the number of items");
                return Err(EvalError::input(what, problem));
            }
        }
        Ok(Self::of(Source::Lists { items, histories, targets }))
    }

    fn of(source: Source<'a>) -> Self {
        let mut all = Self { source, users: Vec::new() };
        all.users = UserId::all(all.all_users()).filter(|&user| !all.targets(user).is_empty()).collect();
        all
    }

    /// Restricts this to `users`; those without held-out items are ignored.
    #[must_use]
    pub fn of_users(self, users: &[UserId]) -> Self {
        let mut users: Vec<UserId> =
            users.iter().copied().filter(|user| self.users.binary_search(user).is_ok()).collect();
        users.sort_unstable();
        users.dedup();
        Self { users, ..self }
    }

    /// The users with held-out items, ascending.
    pub fn users(&self) -> &[UserId] {
        &self.users
    }

    /// The number of items in the catalogue.
    pub fn items(&self) -> usize {
        match self.source {
            Source::Split(dataset, _) => dataset.catalog.len(),
            Source::Lists { items, .. } => items,
        }
    }

    /// Returns all earlier items of `user`, oldest first.
    pub fn history(&self, user: UserId) -> Vec<ItemId> {
        match self.source {
            Source::Split(dataset, part) => part.history(dataset, user),
            Source::Lists { histories, .. } => histories[user.index()].clone(),
        }
    }

    /// Returns the held-out items of `user`.
    pub fn targets(&self, user: UserId) -> &'a [ItemId] {
        match self.source {
            Source::Split(dataset, part) => part.held_out(dataset, user),
            Source::Lists { targets, .. } => &targets[user.index()],
        }
    }

    /// Returns the users with a target that counts under `config`, ascending, out of at most [`EvalConfig::users`]
    /// users. Metrics over no users are meaningless: check this before training anything.
    pub fn evaluated(&self, config: &EvalConfig) -> Vec<UserId> {
        let mut users = self.sample(config.users);
        if config.repeats == Repeats::Skipped {
            users.retain(|&user| !self.relevant(user, &self.history(user), config).is_empty());
        }
        users
    }

    /// Returns at most `limit` of the users, or all if it is 0. The sample does not depend on the run's seed, so runs
    /// are comparable.
    fn sample(&self, limit: usize) -> Vec<UserId> {
        let mut users = self.users.clone();
        if limit > 0 && limit < users.len() {
            let mut random = SplitMix::new(0);
            for at in 0..limit {
                let other = at + random.below(users.len() - at);
                users.swap(at, other);
            }
            users.truncate(limit);
            users.sort_unstable();
        }
        users
    }

    /// Returns the held-out items that count as targets.
    pub(crate) fn relevant(&self, user: UserId, history: &[ItemId], config: &EvalConfig) -> Vec<ItemId> {
        let counts = |item: &ItemId| config.repeats == Repeats::Kept || !history.contains(item);
        self.targets(user).iter().copied().filter(counts).collect()
    }

    /// The number of rows of a matrix of user vectors, including users without held-out items.
    pub(crate) fn all_users(&self) -> usize {
        match self.source {
            Source::Split(dataset, _) => dataset.users.len(),
            Source::Lists { targets, .. } => targets.len(),
        }
    }

    /// Returns the items of all training sequences, or of all histories if there are no training sequences.
    pub(crate) fn trained_on(&self) -> Box<dyn Iterator<Item = ItemId> + 'a> {
        match self.source {
            Source::Split(dataset, _) => Box::new(dataset.train.rows().flatten().copied()),
            Source::Lists { histories, .. } => Box::new(histories.iter().flatten().copied()),
        }
    }

    /// Returns the number of training interactions of each item, starting with item 1.
    pub(crate) fn popularity(&self) -> Vec<u32> {
        let mut counts = vec![0; self.items()];
        self.trained_on().for_each(|item| counts[item.index() - 1] += 1);
        counts
    }

    /// Returns the titles of the catalogue, on the test part only.
    pub(crate) fn titles(&self) -> Option<&'a [String]> {
        match self.source {
            Source::Split(dataset, Part::Test) => Some(dataset.catalog.titles()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, Sequences};

    fn dataset() -> Dataset {
        Dataset {
            name: "tiny".into(),
            users: (0..40).map(|u| u.to_string()).collect(),
            catalog: Catalog::new(vec!["a".into(), "b".into()], vec![String::new(); 2]),
            train: Sequences::from_numbers(vec![vec![1]; 40]),
            valid: Sequences::from_numbers(vec![vec![2]; 40]),
            test: Sequences::from_numbers((0..40).map(|u| if u % 2 == 0 { vec![1] } else { vec![] })),
            filter: String::new(),
            split: "leave_one_out".into(),
        }
    }

    #[test]
    fn the_history_of_a_part_is_all_before_it() {
        assert_eq!(Part::Valid.history(&dataset(), UserId(0)), ItemId::list([1]));
        assert_eq!(Part::Test.history(&dataset(), UserId(0)), ItemId::list([1, 2]));
    }

    #[test]
    fn samples_are_users_with_a_target_and_always_the_same() {
        let data = dataset();
        let test = HeldOut::new(&data, Part::Test);
        assert_eq!((test.users().len(), test.users()[1]), (20, UserId(2)));
        let some = test.sample(7);
        assert!(some.len() == 7 && some.is_sorted() && some.iter().all(|user| user.0 % 2 == 0));
        assert_eq!(some, HeldOut::new(&data, Part::Test).sample(7));
        assert_eq!(HeldOut::new(&data, Part::Valid).sample(99).len(), 40);
        assert_eq!(
            test.clone().of_users(&[4, 3, 2, 4].map(UserId)).evaluated(&EvalConfig::default()),
            [2, 4].map(UserId)
        );
        assert_eq!(test.evaluated(&EvalConfig::default()).len(), 20);
        let skipped = EvalConfig { repeats: Repeats::Skipped, ..EvalConfig::default() };
        assert!(test.evaluated(&skipped).is_empty(), "all have had their target");
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let fail = |histories: &[Vec<ItemId>], targets: &[Vec<ItemId>]| {
            HeldOut::from_lists(3, histories, targets).unwrap_err().to_string()
        };
        assert!(fail(&[ItemId::list([1])], &[]).contains("histories of 1 users but targets of 0"));
        assert!(
            fail(&[ItemId::list([1]), ItemId::list([0])], &[vec![], vec![]]).contains("histories: user 1 has item 0")
        );
        assert!(
            fail(&[ItemId::list([1])], &[ItemId::list([4])]).contains("targets: user 0 has item 4; ids go from 1 to 3")
        );
    }
}
