//! Golden metric cases, computed by the same code as every report.
//!
//! In a case, items are numbered from 0, `seen` is a mask, and ties are broken by id. Users without relevant items
//! count for the list metrics but not for accuracy.
use super::{Accuracy, Tally, mean};
use crate::EvalError;
use crate::protocol::Ties;
use crate::rank::ranking::{Ranked, rank_row};
use serde_json::{Map, Value, json};

/// The results of this crate for a case.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldenCase {
    /// Values under the keys of the case: `evaluated_users`, `tied_candidates`, `mean`, `per_user`, `beyond_accuracy`.
    pub values: Value,
    /// `[users, max K]`, padded with -1 where a list is shorter.
    pub topk: Vec<i64>,
}

/// Ranks a case: `scores` and `seen` are `[users, items]`, `train_count` is `[items]`.
///
/// # Errors
/// [`EvalError::Golden`] if the case lacks a key or a tensor has the wrong size.
pub fn verify_case(case: &Value, scores: &[f32], seen: &[u8], train_count: &[i64]) -> Result<GoldenCase, EvalError> {
    let users = number(case, "users")?;
    let items = number(case, "items")?;
    let ks = numbers(&case["ks"], "ks")?.into_iter().map(|k| k as usize).collect::<Vec<_>>();
    for (name, found, wanted) in [
        ("scores", scores.len(), users * items),
        ("seen", seen.len(), users * items),
        ("train_count", train_count.len(), items),
    ] {
        if found != wanted {
            return Err(wrong(name, format!("{found} values, expected {wanted}")));
        }
    }
    let relevant = case["relevant"].as_array().filter(|rows| rows.len() == users);
    let relevant = relevant.ok_or_else(|| wrong("relevant", "not a list of one row per user"))?;
    let widest = ks.iter().copied().max().unwrap_or(0);
    let mut tally = Tally::new(&ks, train_count.iter().map(|&c| c as f64));
    let (mut topk, mut evaluated, mut tied_candidates) = (Vec::new(), Vec::new(), 0);
    for (user, row) in relevant.iter().enumerate() {
        let mut row = numbers(row, "relevant")?;
        row.sort_unstable();
        row.dedup();
        if row.last().is_some_and(|&item| item as usize >= items) {
            return Err(wrong("relevant", format!("user {user} has an item that is not below {items}")));
        }
        let at = user * items..(user + 1) * items;
        let (scores, seen) = (&scores[at.clone()], &seen[at]);
        let blocked: Vec<u32> = (0..items as u32).filter(|&item| seen[item as usize] != 0).collect();
        let ranked = rank_row(scores, &row, &blocked, Ties::ById, widest);
        if !row.is_empty() {
            evaluated.push(user);
        }
        tied_candidates += surplus(scores, seen);
        topk.extend(padded(&ranked, widest));
        tally.add(&ranked);
    }
    Ok(GoldenCase { values: values(&tally, &evaluated, tied_candidates), topk })
}

fn values(tally: &Tally, evaluated: &[usize], tied_candidates: usize) -> Value {
    let (mut means, mut per_user, mut lists) = (Map::new(), Map::new(), Map::new());
    for (k, users) in tally.accuracy() {
        let columns = Accuracy::COLUMNS.map(|(name, _, column)| (name, users.iter().map(column).collect::<Vec<f64>>()));
        means.insert(k.to_string(), columns.iter().map(|(name, v)| ((*name).to_owned(), json!(mean(v)))).collect());
        per_user.insert(k.to_string(), columns.iter().map(|(name, v)| ((*name).to_owned(), json!(v))).collect());
    }
    for (k, b) in tally.lists() {
        let at = json!({ "coverage": b.coverage, "gini": b.gini, "novelty": b.novelty, "shannon_entropy": b.entropy,
                         "avg_popularity": b.popularity });
        lists.insert(k.to_string(), at);
    }
    json!({ "evaluated_users": evaluated, "tied_candidates": tied_candidates, "mean": means, "per_user": per_user,
            "beyond_accuracy": lists })
}

/// Returns the list of one user, padded with -1.
fn padded(ranked: &Ranked, widest: usize) -> impl Iterator<Item = i64> {
    ranked.top.iter().map(|&item| i64::from(item)).chain(std::iter::repeat(-1)).take(widest)
}

/// Returns the number of candidates whose score already occurred in the row.
fn surplus(scores: &[f32], seen: &[u8]) -> usize {
    let mut left: Vec<f32> = scores.iter().zip(seen).filter(|(_, seen)| **seen == 0).map(|(s, _)| *s).collect();
    left.sort_by(f32::total_cmp);
    left.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

impl GoldenCase {
    /// Returns the largest absolute error against the expected values of the case, and where it occurs; a wrong list or
    /// integer is infinite.
    ///
    /// # Errors
    /// [`EvalError::Golden`] if the case contains a value that was not computed.
    pub fn largest_error(&self, case: &Value, topk: &[i64]) -> Result<(f64, String), EvalError> {
        let mut worst = (0.0, String::from("mean"));
        for key in ["mean", "per_user", "beyond_accuracy"] {
            errors(&case[key], &self.values[key], key, &mut worst)?;
        }
        for key in ["evaluated_users", "tied_candidates"] {
            if case[key] != self.values[key] {
                worst = (f64::INFINITY, key.into());
            }
        }
        if topk != self.topk {
            worst = (f64::INFINITY, "topk".into());
        }
        Ok(worst)
    }
}

/// Compares all numbers of `want`; flags such as `coverage_gini_checked_with_recbole` are skipped.
fn errors(want: &Value, got: &Value, path: &str, worst: &mut (f64, String)) -> Result<(), EvalError> {
    match want {
        Value::Object(map) => map.iter().try_for_each(|(k, v)| errors(v, &got[k], &format!("{path}.{k}"), worst)),
        Value::Array(list) if got.as_array().is_some_and(|found| found.len() == list.len()) => {
            list.iter().enumerate().try_for_each(|(i, v)| errors(v, &got[i], &format!("{path}[{i}]"), worst))
        }
        Value::Bool(_) => Ok(()),
        Value::Number(want) => {
            let (want, got) =
                want.as_f64().zip(got.as_f64()).ok_or_else(|| wrong(path, "this value is not computed"))?;
            let error = (want - got).abs();
            if error.is_nan() || error > worst.0 {
                *worst = (if error.is_nan() { f64::INFINITY } else { error }, path.into());
            }
            Ok(())
        }
        _ => Err(wrong(path, "this value is not computed")),
    }
}

fn wrong(key: &str, problem: impl Into<String>) -> EvalError {
    EvalError::Golden { key: key.into(), problem: problem.into() }
}

fn number(case: &Value, key: &str) -> Result<usize, EvalError> {
    case[key].as_u64().map(|n| n as usize).ok_or_else(|| wrong(key, "missing or not a whole number"))
}

fn numbers(list: &Value, key: &str) -> Result<Vec<u32>, EvalError> {
    let list = list.as_array().ok_or_else(|| wrong(key, "missing or not a list"))?;
    let small = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
    list.iter().map(|v| small(v).ok_or_else(|| wrong(key, "must hold only whole numbers below 2^32"))).collect()
}
