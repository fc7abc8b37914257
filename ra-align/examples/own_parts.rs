//! A team makes one recommender of its own ID method (`acme_mf`) and language model (`acme_lm`).
//!
//! ```text
//! cargo run -p ra-align --example own_parts
//! ```
#![allow(clippy::print_stdout)]
#[path = "../tests/it/acme_lm.rs"]
mod acme_lm;
#[path = "../tests/it/acme_mf.rs"]
mod acme_mf;
#[path = "../tests/it/letters.rs"]
mod letters;

use ra_align::{AlignTrain, Alignment};
use ra_core::{Backend, Catalog, Dataset, History, IdModel, ItemId, Recommender, Sequences, UserId};

fn main() -> Result<(), ra_core::Error> {
    let device = ra_core::open_device(Backend::Cpu)?;
    let dataset = shop();
    let ids = acme_mf::Mf::new(12, 6, 8, 1, &device).fitted(); // train it as usual
    let lm = acme_lm::AcmeLm::new(60, 16, 2, &device);

    let train = AlignTrain { steps: 60, batch: 12, ..AlignTrain::recommended() };
    let fit = Alignment::new(ids, lm, &letters::Letters, &dataset).train(train).fit()?;

    let user = fit.model.users(&[History { user: UserId(0), items: &ItemId::list([1, 2, 3]) }]);
    let scores = user.matmul(fit.model.items(&ItemId::list(1..=6)).transpose());
    let losses: Vec<f64> = fit.curve.points.iter().map(|point| point.loss).collect();
    println!("loss {:.3} -> {:.3}; scores {scores}", losses[0], losses[losses.len() - 1]);
    Ok(())
}

/// Twelve users who buy four animals in a row.
fn shop() -> Dataset {
    let titles = ["red ant", "blue bee", "old cat", "big dog", "shy emu", "sly fox"].map(String::from).to_vec();
    let none = || Sequences::from_numbers(vec![Vec::<u32>::new(); 12]);
    Dataset {
        name: "shop".into(),
        users: (0..12).map(|u| u.to_string()).collect(),
        catalog: Catalog::new((0..6).map(|i| i.to_string()).collect(), titles),
        train: Sequences::from_numbers((0..12u32).map(|u| (0..4).map(|t| (u + t) % 6 + 1).collect::<Vec<_>>())),
        valid: none(),
        test: none(),
        filter: "none".into(),
        split: "none".into(),
    }
}
