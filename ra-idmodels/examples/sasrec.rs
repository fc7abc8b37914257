//! Trains SASRec in seconds on a CPU, on a made-up data set in which every user walks around a ring of twelve items,
//! then asks it what follows the items 3, 4 and 5.
//!
//! `cargo run -p ra-idmodels --example sasrec`
#![allow(clippy::print_stdout)]
use ra_core::{Backend, Dataset, History, ItemId, OptimConfig, Sequences, UserId, open_device, scores};
use ra_idmodels::{Job, SasRecConfig, TrainConfig, fit};

fn main() -> ra_core::Result<()> {
    let (users, items) = (200, 12);
    let walk = |user: u32| (0..10).map(|step| (5 * user + step) % items + 1).collect::<Vec<_>>();
    let data = Dataset::from_sequences("ring", items as usize, Sequences::from_numbers((0..users).map(walk)));
    let optim = OptimConfig { lr: 0.005, ..OptimConfig::default() };
    let train = TrainConfig { epochs: 30, batch: 32, optim, ..TrainConfig::default() };
    let config = SasRecConfig { dim: 16, max_length: 10, train, ..SasRecConfig::default() };
    let device = open_device(Backend::Cpu)?;
    let model = fit(&config, &Job::new(&data, &device).seed(7))?.model;

    let history = History { user: UserId(0), items: &ItemId::list([3, 4, 5]) };
    let table = model.items(&ItemId::list(0..=items)); // [items + 1, dim], row 0 is padding
    let scores: Vec<f32> = scores(&*model, &[history], &table).into_data().iter().collect();
    let mut ranking: Vec<ItemId> = data.catalog.all().collect();
    ranking.sort_by(|a, b| scores[b.index()].total_cmp(&scores[a.index()]));
    for (place, item) in (1..).zip(&ranking[..5]) {
        println!("{place}. item {:<3} {:.2}", data.catalog.id(*item), scores[item.index()]);
    }
    Ok(())
}
