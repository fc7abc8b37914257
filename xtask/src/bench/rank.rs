//! Exact ranking of a large catalogue.
use super::time::{Seconds, least};
use super::{At, dataset};
use anyhow::Result;
use burn::tensor::{Tensor, TensorData};
use ra_core::{IdTable, NoProgress, Sequences, SplitMix};
use ra_eval::{EvalConfig, HeldOut, Part, evaluate_items};

/// Returns CPU and wall seconds per user: the best 100 of `items` for each of `users`, through the same call as every
/// row of a report.
pub(super) fn users(users: usize, items: usize, dim: usize, at: &At) -> Result<Seconds> {
    let mut random = SplitMix::new(1);
    let mut table = |rows: usize| {
        let values: Vec<f32> = (0..rows * dim).map(|_| random.unit() as f32 - 0.5).collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows, dim]), &at.device)
    };
    let (vectors, columns) = (table(users), table(items + 1));
    let mut random = SplitMix::new(2);
    let mut rows = |n: usize| {
        let row = |_| (0..n).map(|_| random.below(items) as u32 + 1).collect::<Vec<_>>();
        Sequences::from_numbers((0..users).map(row).collect::<Vec<_>>())
    };
    let (train, test) = (rows(20), rows(1));
    let data = ra_core::Dataset { test, ..dataset(users, items, train) };
    let held_out = HeldOut::new(&data, Part::Test);
    let model = IdTable::new(vectors, columns.clone());
    let config = EvalConfig { ks: vec![100], ..EvalConfig::default() };
    let (cpu, wall) = least(2, || {
        evaluate_items(&model, &columns, &held_out, &config, &NoProgress);
        Ok(())
    })?;
    Ok((cpu / users as f64, wall / users as f64))
}
