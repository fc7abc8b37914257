//! A step that keeps the graph of a few texts at a time is the same step.
use super::{ITEMS, dataset, ring_ids, text};
use ra_align::{AlignConfig, AlignLoss, AlignTrain, Job, Layerwise, Placement, Towers};
use ra_core::contract::device;
use ra_core::{Silent, ledger};

fn trained(align: &AlignConfig, chunk: usize) -> Towers<Layerwise> {
    let (device, data) = (device(), dataset());
    let (ids, text) = (ring_ids(&device), text(align, 2, &device));
    let train = AlignTrain { batch: 12, chunk, steps: 3, lr: 0.05, ..AlignTrain::default() };
    let samples = data.samples();
    let job = Job { max_history: 9, ..Job::new(&ids, &text, &data, &samples, align, &train) };
    ra_align::fit(&job, None, &Silent).unwrap().0
}

#[test]
fn it_learns_what_the_whole_batch_learns() {
    let base =
        AlignConfig { extra_negatives: 4, temperature: 0.2, n_tok: 2, loss: AlignLoss::None, ..Default::default() };
    let settings = [
        base.clone(),
        AlignConfig { loss: AlignLoss::InfoNce, ..base.clone() },
        AlignConfig { head: true, learn_temperature: true, ..base.clone() },
        // The fast path of the last layer, and rows that are tokens of the input.
        AlignConfig { first_layer: -1, ..base.clone() },
        AlignConfig { placement: Placement::Input, ..base.clone() },
    ];
    for align in settings {
        let whole = trained(&align, 0);
        let numbers = |towers: &Towers<Layerwise>| -> Vec<f32> {
            let parts = towers.user.parts().into_iter().chain(towers.item.parts());
            parts.flat_map(|part| part.0.to_data().iter::<f32>().collect::<Vec<_>>()).collect()
        };
        for chunk in [1, 5, 1000] {
            let parts = trained(&align, chunk);
            assert_eq!(ledger(&parts), ledger(&whole));
            let error = numbers(&parts).iter().zip(numbers(&whole)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Three steps of AdamW move a weight by up to .15; sums in another order turn a tiny gradient around.
            assert!(error < 1e-3, "chunks of {chunk}, {align:?}: {error}");
        }
    }
    assert!(ITEMS > 5, "a chunk is less than a side");
}
