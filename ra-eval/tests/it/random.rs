//! Data without any meaning.
use ra_core::{Catalog, Dataset, Sequences, SplitMix};

pub(crate) fn dataset(users: usize, items: usize, seed: u64) -> Dataset {
    let mut random = SplitMix::new(seed);
    let mut rows = |least: usize, most: usize| -> Sequences {
        Sequences::from_numbers((0..users).map(|_| {
            let n = least + random.below(most + 1 - least);
            (0..n).map(|_| 1 + random.below(items) as u32).collect::<Vec<_>>()
        }))
    };
    Dataset {
        name: "random".into(),
        users: (0..users).map(|u| format!("user {u}")).collect(),
        catalog: Catalog::new(
            (0..items).map(|i| format!("i{i}")).collect(),
            (0..items).map(|i| format!("Item <b>{i}</b>")).collect(),
        ),
        train: rows(1, 30),
        valid: rows(0, 1),
        test: rows(0, 4),
        filter: "none".into(),
        split: "leave_one_out".into(),
    }
}
