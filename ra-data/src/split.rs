//! What models learn from and what is held out.
use crate::config::{DataConfig, Split};
use crate::filter::Kept;
use crate::{DataError, Result};

/// Three sequences of dense items for each user.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) train: Vec<Vec<u32>>,
    pub(crate) valid: Vec<Vec<u32>>,
    pub(crate) test: Vec<Vec<u32>>,
}

/// Of each user's sequence the last item tests and the one before validates; fewer than three items only train.
pub(crate) fn leave_one_out(kept: &[Kept]) -> Parts {
    let mut parts = Parts::default();
    for rows in by_user(kept) {
        let held_out = if rows.len() < 3 { 0 } else { 1 };
        let (rows, test) = rows.split_at(rows.len() - held_out);
        let (train, valid) = rows.split_at(rows.len() - held_out);
        push(&mut parts, [train, valid, test]);
    }
    parts
}

/// Two points in time cut everything: rows of one time are never on two sides, so that shares are met approximately.
pub(crate) fn temporal(dataset: &str, kept: &[Kept], config: &DataConfig) -> Result<Parts> {
    let mut times: Vec<f64> = kept.iter().map(|row| row.time).collect();
    times.sort_unstable_by(f64::total_cmp);
    let cut = |share: f64| {
        let held_out = (share * times.len() as f64).round() as usize;
        times.get(times.len() - held_out).copied().unwrap_or(f64::INFINITY)
    };
    let test_from = cut(config.temporal_test);
    let valid_from = cut(config.temporal_valid + config.temporal_test);
    let mut parts = Parts::default();
    for rows in by_user(kept) {
        // Rows of a user are in the order of time.
        let (rows, test) = rows.split_at(rows.partition_point(|row| row.time < test_from));
        let (train, valid) = rows.split_at(rows.partition_point(|row| row.time < valid_from));
        push(&mut parts, [train, valid, test]);
    }
    if parts.train.iter().all(Vec::is_empty) {
        let problem = "nothing is left to train on: too many interactions share one time; lower temporal_valid and \
                       temporal_test, or use split = \"leave_one_out\"";
        return Err(DataError::NothingLeft { dataset: dataset.into(), problem: problem.into() });
    }
    Ok(parts)
}

/// How a split is named in a protocol.
pub(crate) fn in_words(config: &DataConfig) -> String {
    match config.split {
        Split::LeaveOneOut => "leave_one_out".into(),
        Split::Temporal => format!("temporal(valid={}, test={})", config.temporal_valid, config.temporal_test),
    }
}

fn by_user(kept: &[Kept]) -> impl Iterator<Item = &[Kept]> {
    kept.chunk_by(|a, b| a.user == b.user)
}

fn push(parts: &mut Parts, [train, valid, test]: [&[Kept]; 3]) {
    let items = |rows: &[Kept]| rows.iter().map(|row| row.item).collect();
    parts.train.push(items(train));
    parts.valid.push(items(valid));
    parts.test.push(items(test));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(all: &[(u32, u32, f64)]) -> Vec<Kept> {
        all.iter().zip(0..).map(|(&(user, item, time), row)| Kept { user, item, time, row }).collect()
    }

    #[test]
    fn two_items_only_train() {
        let parts = leave_one_out(&rows(&[(0, 1, 0.0), (0, 2, 1.0), (1, 1, 0.0), (1, 2, 1.0), (1, 3, 2.0)]));
        assert_eq!(parts.train, [vec![1, 2], vec![1]]);
        assert_eq!(parts.valid, [vec![], vec![2]]);
        assert_eq!(parts.test, [vec![], vec![3]]);
    }

    #[test]
    fn one_time_is_on_one_side() {
        let config = DataConfig { temporal_valid: 0.2, temporal_test: 0.2, ..DataConfig::default() };
        let all = rows(&[(0, 1, 0.0), (0, 2, 1.0), (0, 3, 3.0), (1, 4, 2.0), (1, 5, 3.0)]);
        let parts = temporal("x", &all, &config).unwrap();
        assert_eq!(parts.train, [vec![1, 2], vec![4]]);
        assert_eq!(parts.valid, [vec![], vec![]]);
        assert_eq!(parts.test, [vec![3], vec![5]]);
        let error = temporal("x", &rows(&[(0, 1, 5.0), (0, 2, 5.0), (0, 3, 5.0)]), &config).unwrap_err();
        assert!(error.to_string().starts_with("x: nothing is left to train on"), "{error}");
    }
}
