//! A team's own ID method (`acme_mf`) and language model (`acme_lm`) become one recommender.
//!
//! ```text
//! cargo run --example own_parts
//! ```
#![allow(clippy::print_stdout)]
#[path = "../tests/it/acme_lm.rs"]
mod acme_lm;
#[path = "../tests/it/acme_mf.rs"]
mod acme_mf;
#[path = "../tests/it/letters.rs"]
mod letters;

use ra_align::{AlignConfig, AlignTrain, Job, PromptConfig, Prompts, RaRec, TextCache, TextTower};
use ra_core::{Backend, Catalog, Dataset, History, IdModel, LanguageModel, Recommender, Sequences, Silent};
use std::sync::Arc;

fn main() -> Result<(), ra_core::Error> {
    let device = ra_core::open_device(Backend::Cpu)?;
    let titles = ["red ant", "blue bee", "old cat", "big dog", "shy emu", "sly fox"].map(String::from).to_vec();
    let dataset = Dataset {
        name: "shop".into(),
        users: (0..12).map(|u| u.to_string()).collect(),
        catalog: Catalog::new((0..6).map(|i| i.to_string()).collect(), titles),
        train: Sequences::from_rows((0..12u32).map(|u| (0..4).map(|t| (u + t) % 6 + 1).collect::<Vec<_>>())),
        valid: Sequences::from_rows(vec![Vec::<u32>::new(); 12]),
        test: Sequences::from_rows(vec![Vec::<u32>::new(); 12]),
        filter: "none".into(),
        split: "none".into(),
    };
    let ids = acme_mf::Mf::new(12, 6, 8, 1, &device).fitted(); // train it as you are used to
    let lm = acme_lm::AcmeLm::new(60, 16, 2, &device);
    let (align, train) = (AlignConfig::default(), AlignTrain { steps: 60, batch: 12, ..AlignTrain::default() });
    let prompts = Prompts::new(&letters::Letters, &dataset.catalog, &PromptConfig::default(), lm.spec().max_tokens)?;
    let cache = TextCache::new(&lm, &align);
    let text = Arc::new(TextTower { lm, prompts, cache, normalize: align.normalize });
    let samples = dataset.samples();
    let job = Job::new(&ids, &text, &dataset, &samples, &align, &train);
    let (towers, scale, curve) = ra_align::fit(&job, None, &Silent)?;
    let model = RaRec { ids, scale, text, towers };
    let user = model.users(&[History { user: 0, items: &[1, 2, 3] }]);
    let scores = user.matmul(model.items(&[1, 2, 3, 4, 5, 6]).transpose());
    println!("loss {:.3} -> {:.3}; scores {scores}", curve.points[0].loss, curve.points[curve.points.len() - 1].loss);
    Ok(())
}
