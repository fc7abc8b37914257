//! Splits coded rows into training, validation and test parts.
use crate::config::{DataConfig, Split};
use crate::interactions::{ByUser, Row};
use crate::{DataError, Result, TimePoint, time};
use ra_core::{ItemId, Sequences};

pub(crate) mod indexed;

/// Three parts, each with one row of dense item ids (from 1) per user, and the time of each interaction in the same
/// order.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) train: Sequences,
    pub(crate) valid: Sequences,
    pub(crate) test: Sequences,
    pub(crate) times: [Vec<f64>; 3],
}

impl Parts {
    /// Returns the parts without the training interactions with `cold` items.
    pub(crate) fn warm(self, cold: &[bool]) -> Self {
        let Self { train, valid, test, times: [first, second, third] } = self;
        let warm = |item: &ItemId| !cold[item.index()];
        let items = train.rows().flatten();
        let first = items.zip(first).filter(|(item, _)| warm(item)).map(|(_, time)| time).collect();
        let rows = train.rows().map(|row| row.iter().copied().filter(warm).collect::<Vec<ItemId>>());
        Self { train: Sequences::from_rows(rows), valid, test, times: [first, second, third] }
    }
}

/// Splits the log of `users` users. In a given split the first `train_rows` rows are for training; a temporal split is
/// cut at `cuts`.
pub(crate) fn split(rows: Vec<Row>, users: usize, config: &DataConfig, train_rows: usize, cuts: [f64; 2]) -> Parts {
    let users = ByUser::new(rows, users);
    match config.split {
        Split::LeaveOneOut => parts(&users, leave_last(1)),
        Split::LeaveLastN => parts(&users, leave_last(config.leave_n)),
        Split::Ratio => parts(&users, |rows| {
            let held = |share: f64| (share * rows.len() as f64).floor() as usize;
            let test = held(config.ratio_test);
            [rows.len() - test - held(config.ratio_valid).min(rows.len() - test), rows.len() - test]
        }),
        Split::Temporal => parts(&users, |rows| cuts.map(|cut| rows.partition_point(|row| row.time < cut))),
        Split::Given => {
            // Each part keeps its own order.
            let trains = |row: &Row| (row.index as usize) < train_rows;
            let apart = users.iter().map(|rows| {
                let (train, test): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| trains(row));
                (train.len(), [train, test].concat())
            });
            collect(apart.map(|(train, rows)| (rows, [train; 2])))
        }
    }
}

/// Holds out the last `n` interactions for test and the `n` before for validation; users with fewer than `2 n + 1` are
/// only trained on.
fn leave_last(n: usize) -> impl Fn(&[Row]) -> [usize; 2] {
    move |rows| match rows.len() {
        all if all <= 2 * n => [all; 2],
        all => [all - 2 * n, all - n],
    }
}

/// [`cuts`] for a log in memory.
pub(crate) fn temporal_cuts(rows: &[Row], config: &DataConfig) -> Result<[f64; 2]> {
    if config.split != Split::Temporal {
        return Ok([f64::INFINITY; 2]);
    }
    let mut times: Vec<f64> = rows.iter().map(|r| r.time).collect();
    times.sort_unstable_by(f64::total_cmp);
    let tested = counted_from(config).map_or(0, |at| times.iter().filter(|&&time| time >= at).count());
    cuts(config, times.len(), tested, |held| Ok(times[times.len() - held]))
}

fn given(date: Option<&TimePoint>) -> Option<f64> {
    date.and_then(TimePoint::seconds)
}

/// Returns the time at which the test part starts, if given.
fn test_begin(config: &DataConfig) -> Option<f64> {
    given(config.temporal_test_from.as_ref())
}

/// Returns the time from which [`cuts`] needs the number of interactions, to know what the validation share is a share
/// of.
pub(crate) fn counted_from(config: &DataConfig) -> Option<f64> {
    test_begin(config).filter(|_| config.temporal_valid_from.is_none())
}

/// Returns how many of the latest of `rows` interactions the shares hold out, and how many of these are for test. If
/// the start of the test part is given ([`test_begin`]), `tested` interactions are not before it, and the validation
/// share is a share of the others.
pub(crate) fn held(config: &DataConfig, rows: usize, tested: usize) -> [usize; 2] {
    let share = |share: f64, of: usize| (share * of as f64).floor() as usize;
    match test_begin(config) {
        Some(_) => [tested + share(config.temporal_valid, rows - tested), tested],
        None => [share(config.temporal_valid + config.temporal_test, rows), share(config.temporal_test, rows)],
    }
}

/// Returns the times at which the validation and the test part start: the given ones, or those that hold out the latest
/// shares of all `rows` interactions. `latest(n)` returns the n-th latest time; `tested` is as in [`held`].
/// Interactions with equal times stay in one part.
///
/// # Errors
/// If no interaction is as late as the given start of the test part, or none is earlier than that of the validation
/// part.
pub(crate) fn cuts(
    config: &DataConfig,
    rows: usize,
    tested: usize,
    mut latest: impl FnMut(usize) -> Result<f64>,
) -> Result<[f64; 2]> {
    let (given_valid, given_test) = (given(config.temporal_valid_from.as_ref()), test_begin(config));
    if rows > 0 && given_test.is_some() {
        let (first, last) = (latest(rows)?, latest(1)?);
        let span = format!("the log runs from {} to {}", time::written(first), time::written(last));
        let wrong = |key: &str, at: f64, told: &str| {
            Err(DataError::setting(key, format!("is {}, {told}: {span}", time::written(at))))
        };
        if let Some(test) = given_test.filter(|&test| test > last) {
            return wrong("temporal_test_from", test, "which is after every interaction, so there is none to test on");
        }
        if let Some(valid) = given_valid.or(given_test).filter(|&valid| valid <= first) {
            let key = if given_valid.is_some() { "temporal_valid_from" } else { "temporal_test_from" };
            return wrong(key, valid, "which is not after any interaction, so there is none to train on");
        }
    }
    let mut cut = |given: Option<f64>, held: usize| match given {
        Some(at) => Ok(at),
        None if held == 0 => Ok(f64::INFINITY),
        None => latest(held),
    };
    let [held, tests] = held(config, rows, tested);
    let (test, valid) = (cut(given_test, tests)?, cut(given_valid, held)?);
    Ok([valid.min(test), test])
}

/// For each user, assigns the rows before the first cut to training, those before the second to validation, and the
/// others to test.
fn parts(users: &ByUser, cut: impl Fn(&[Row]) -> [usize; 2]) -> Parts {
    collect(users.iter().map(|rows| (rows, cut(rows))))
}

fn collect<R: AsRef<[Row]>>(users: impl Iterator<Item = (R, [usize; 2])>) -> Parts {
    let mut lists: [Vec<usize>; 3] = Default::default();
    let mut items: [Vec<ItemId>; 3] = Default::default();
    let mut times: [Vec<f64>; 3] = Default::default();
    for (rows, [valid, test]) in users {
        let rows = rows.as_ref();
        for (part, own) in [&rows[..valid], &rows[valid..test], &rows[test..]].into_iter().enumerate() {
            lists[part].push(own.len());
            items[part].extend(own.iter().map(|row| ItemId(row.item + 1)));
            times[part].extend(own.iter().map(|row| row.time));
        }
    }
    let mut sequences = lists.into_iter().zip(items).map(|(lengths, items)| Sequences::new(&lengths, items));
    let mut next = || sequences.next().unwrap_or_default();
    Parts { train: next(), valid: next(), test: next(), times }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interactions::Interactions;

    fn log() -> Interactions {
        let rows =
            [("u", "a", 3.0), ("u", "b", 1.0), ("u", "c", 1.0), ("u", "a", 9.0), ("v", "b", 5.0), ("v", "a", 7.0)];
        Interactions::from_rows(&rows)
    }

    fn by(split: Split, change: impl Fn(&mut DataConfig)) -> Parts {
        let mut config = DataConfig { split, ..DataConfig::default() };
        change(&mut config);
        super::split(log().rows, 2, &config, 4, temporal_cuts(&log().rows, &config).unwrap())
    }

    #[test]
    fn leave_one_out_keeps_the_order_of_time_and_file() {
        let parts = by(Split::LeaveOneOut, |_| ());
        assert_eq!(parts.train, Sequences::from_numbers([vec![2, 3], vec![2, 1]]));
        assert_eq!(parts.valid, Sequences::from_numbers([vec![1], vec![]]));
        assert_eq!(parts.test, Sequences::from_numbers([vec![1], vec![]]));
        assert_eq!(parts.times, [vec![1.0, 1.0, 5.0, 7.0], vec![3.0], vec![9.0]]);
    }

    #[test]
    fn the_last_n_and_a_share_of_each_user_are_held_out() {
        let parts = by(Split::LeaveLastN, |c| c.leave_n = 2);
        assert_eq!((parts.train.total(), parts.test.total()), (6, 0), "five interactions are needed");
        let parts = by(Split::Ratio, |c| (c.ratio_valid, c.ratio_test) = (0.25, 0.5));
        assert_eq!(parts.train, Sequences::from_numbers([vec![2], vec![2]]));
        assert_eq!(parts.valid, Sequences::from_numbers([vec![3], vec![]]));
        assert_eq!(parts.test, Sequences::from_numbers([vec![1, 1], vec![1]]));
    }

    #[test]
    fn given_files_stay_apart() {
        let parts = by(Split::Given, |_| ());
        assert_eq!(parts.train, Sequences::from_numbers([vec![2, 3, 1, 1], vec![]]));
        assert_eq!(parts.test, Sequences::from_numbers([vec![], vec![2, 1]]));
        assert_eq!(parts.valid.total(), 0);
    }

    #[test]
    fn nothing_trained_on_is_later_than_what_is_predicted() {
        let parts = by(Split::Temporal, |c| (c.temporal_valid, c.temporal_test) = (0.2, 0.34));
        assert_eq!(parts.train, Sequences::from_numbers([vec![2, 3, 1], vec![]]));
        assert_eq!(parts.valid, Sequences::from_numbers([vec![], vec![2]]));
        assert_eq!(parts.test, Sequences::from_numbers([vec![1], vec![1]]));
        let dated = by(Split::Temporal, |c| {
            c.temporal_valid_from = Some(crate::TimePoint::Number(5.0));
            c.temporal_test_from = Some(crate::TimePoint::Text("1970-01-01T00:00:07".into()));
        });
        assert_eq!((dated.train, dated.valid, dated.test), (parts.train, parts.valid, parts.test));
        // With only the start of the test part given, the validation share is a share of what comes before it.
        let shared = by(Split::Temporal, |c| {
            (c.temporal_test_from, c.temporal_valid) = (Some(crate::TimePoint::Number(7.0)), 0.25);
        });
        assert_eq!([&shared.train, &shared.valid, &shared.test].map(Sequences::total), [3, 1, 2]);
    }
}
