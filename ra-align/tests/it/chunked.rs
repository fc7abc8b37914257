//! A step that keeps the graph of only a few texts at a time equals the plain step. So does a step on several devices,
//! except for its samples.
use super::{acme, dataset, device, ring_ids, text};
use ra_align::{AlignConfig, AlignLoss, AlignTrain, FitResult, Job, Placement};
use ra_core::{NoProgress, save_module};

/// All numbers of the towers after a few steps, and the mean loss of each step.
fn trained(align: &AlignConfig, chunk: usize, replicas: &[u64]) -> (Vec<f32>, Vec<f64>) {
    let (device, data) = (device(), dataset());
    let (ids, text) = (ring_ids(&device), text(align, 2, &device));
    let train = AlignTrain { batch: 12, chunk, steps: 4, ..AlignTrain::default() }.with(|train| train.optim.warmup = 0);
    let samples = data.samples();
    let replicas: Vec<_> = replicas.iter().map(|&seed| acme(2, seed, &device)).collect();
    let job = Job { max_history: 9, replicas: &replicas, ..Job::new(&ids, &text, &data, &samples, align, &train) };
    let FitResult { model, curve, .. } = ra_align::fit(job, None, &NoProgress).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towers.safetensors");
    save_module(model.towers(), &path).unwrap();
    (super::numbers(&path), curve.points.iter().map(|point| point.loss).collect())
}

fn base() -> AlignConfig {
    AlignConfig::default().with(|align| {
        align.module.n_tok = 2;
        (align.loss.loss, align.loss.extra_negatives, align.loss.temperature) = (AlignLoss::None, 4, 0.2);
    })
}

#[test]
fn it_learns_what_the_whole_batch_learns() {
    let settings = [
        base(),
        // In a sum with other losses, a gradient of another size would change the direction.
        base().with(|align| align.loss.loss = AlignLoss::InfoNce),
        base().with(|align| (align.departures.head, align.loss.learn_temperature) = (true, true)),
        base().with(|align| align.module.first_layer = -1),
        // Rows that are tokens of the input.
        base().with(|align| align.module.placement = Placement::Input),
    ];
    for align in settings {
        let (whole, losses) = trained(&align, 0, &[]);
        for chunk in [1, 5, 1000] {
            let (parts, again) = trained(&align, chunk, &[]);
            assert_eq!(parts.len(), whole.len());
            // Four steps of AdamW move a number by up to .03; sums in another order may turn a tiny gradient around.
            let far = parts.iter().zip(&whole).filter(|(a, b)| (*a - *b).abs() > 1e-3).count();
            assert!(far * 200 < whole.len(), "chunks of {chunk}, {align:?}: {far} of {} differ", whole.len());
            for (a, b) in again.iter().zip(&losses) {
                assert!((a - b).abs() < 1e-4 * b.abs(), "chunks of {chunk}, {align:?}: {again:?} for {losses:?}");
            }
        }
    }
}

#[test]
fn every_device_is_learned_from() {
    let alone = trained(&base(), 0, &[]);
    let both = trained(&base(), 0, &[0]);
    assert_eq!(both, trained(&base(), 0, &[0]), "the same bits");
    assert_ne!(both.1, alone.1, "the loss is the mean over both");
    assert_ne!(both.0, trained(&base(), 0, &[9]).0, "another language model on the second device is another gradient");
}
