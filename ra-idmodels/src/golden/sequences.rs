//! Methods that read a history.
use super::{Arrays, Case, Ragged, array, gradients};
use crate::{Loss, SasRecConfig};
use burn::tensor::Tensor;
use ra_core::{IdModel, TrainBatch};

pub(super) fn sasrec(case: &Case<'_>) -> Result<Arrays, String> {
    let config = SasRecConfig {
        dim: case.size("d")?,
        blocks: case.size("blocks")?,
        heads: case.size("heads")?,
        max_length: case.size("maxlen")?,
        dropout: 0.0,
        ..SasRecConfig::default()
    };
    let model = |loss| {
        let mut model = SasRecConfig { loss, ..config.clone() }.init(case.size("items")?, 0, &case.tracked);
        case.fill(model.original_names())?;
        Ok::<_, String>(model)
    };
    let (mut bce, softmax) = (model(Loss::Bce)?, model(Loss::Softmax)?);
    let (read, positives, negatives) = (case.grid("seq")?, case.grid("pos")?, case.grid("neg")?);
    let (users, length) = (read.len(), read.first().map_or(0, Vec::len));
    let rows = Ragged::of(&read);
    let pick = |grid| case.line(&rows.pick(grid));
    let n = rows.cells.len();
    let batch = TrainBatch {
        lengths: rows.lengths.clone(),
        users: Tensor::zeros([n], &case.device),
        items: pick(&read),
        rows: None,
        positives: pick(&positives),
        negatives: pick(&negatives).reshape([n, 1]),
        dropout: None,
    };
    let states = bce.states(batch.items.clone(), &batch.lengths, None).inner();
    let table = bce.table().inner();
    let logits = |ids| {
        let rows_of = (states.clone() * table.clone().select(0, ids)).sum_dim(1);
        let (shape, values) = rows.spread(&rows_of, users, length);
        (shape[..2].to_vec(), values)
    };
    let ends = rows.lengths.iter().scan(-1, |end, &n| {
        *end += n as i32;
        Some(*end)
    });
    let [items, dim] = table.dims();
    // Item 0 is no item: nothing reads its row, and the case scores it 0.
    let known = Tensor::cat(vec![Tensor::zeros([1, dim], &case.device), table.clone().slice([1..items])], 0);
    let last = states.clone().select(0, case.line(&ends.collect::<Vec<_>>()));
    let loss = bce.loss(&batch);
    let mut out = Arrays::from([
        ("hidden".to_string(), rows.spread(&states, users, length)),
        ("pos_logits".into(), logits(batch.positives.clone())),
        ("neg_logits".into(), logits(batch.negatives.clone().flatten(0, 1))),
        ("scores_last".into(), array(last.matmul(known.transpose()))),
        ("loss".into(), array(loss.clone())),
        ("loss_ce".into(), array(softmax.loss(&batch))),
    ]);
    gradients(&mut out, bce.original_names(), &loss.backward())?;
    Ok(out)
}
