//! Methods that read a history.
use super::{Arrays, Case, Ragged, array, gradients};
use crate::method::sequence::ends;
use crate::{Bert4RecConfig, Gru4RecConfig, Loss, SasRecConfig};
use burn::tensor::{Int, Tensor};
use ra_core::{IdModel, ItemId, Recommender, TrainBatch};

/// Builds a batch of what is read, with `targets` at `rows`.
fn batch(case: &Case<'_>, read: &Ragged, items: Vec<i32>, rows: Tensor<1, Int>, targets: &[i32]) -> TrainBatch {
    TrainBatch {
        lengths: read.lengths.clone(),
        users: Tensor::zeros([items.len()], &case.device),
        items: case.line(&items),
        rows: Some(rows),
        positives: case.line(targets),
        negatives: Tensor::zeros([targets.len(), 0], &case.device),
        shared: None,
        catalog: case.size("items").unwrap_or_default(),
        dropout: None,
    }
}

/// Returns the vectors of all items as evaluation sees them, `[width, items]`.
fn catalogue(case: &Case<'_>, fitted: &dyn Recommender) -> Result<Tensor<2>, String> {
    let all: Vec<ItemId> = ItemId::all(case.size("items")?).collect();
    Ok(fitted.items(&all).transpose())
}

pub(super) fn gru4rec(case: &Case<'_>) -> Result<Arrays, String> {
    let config = Gru4RecConfig {
        dim: case.size("d")?,
        hidden: case.size("hidden")?,
        layers: case.size("layers")?,
        max_length: case.size("maxlen")?,
        dropout: 0.0,
        ..Gru4RecConfig::default()
    };
    let mut model = config.init(case.size("items")?, 0, &case.tracked);
    case.fill(model.original_names())?;
    let read = case.grid("seq")?;
    let rows = Ragged::of(&read);
    if case.ints("len")?.iter().map(|&n| n as usize).ne(rows.lengths.iter().copied()) {
        return Err("len is not what seq holds".into());
    }
    let last = ends(&rows.lengths, &case.device);
    let batch = batch(case, &rows, rows.pick(&read), last.clone(), &case.ints("target")?);
    let fitted = model.fitted();
    let states = fitted.states(batch.items.clone(), &batch.lengths, None);
    let users = fitted.vectors(states.clone().select(0, last));
    let loss = model.loss(&batch);
    let mut out = Arrays::from([
        // Behind the end of a sequence both sides are zero: the reference masks its states, and nothing is computed
        // here.
        ("gru_out".to_string(), rows.pad(&states, read.len(), read.first().map_or(0, Vec::len))),
        ("user".into(), array(users.clone())),
        ("logits".into(), array(users.matmul(catalogue(case, &fitted)?))),
        ("loss".into(), array(loss.clone())),
    ]);
    gradients(&mut out, model.original_names(), &loss.backward())?;
    Ok(out)
}

pub(super) fn bert4rec(case: &Case<'_>) -> Result<Arrays, String> {
    let config = Bert4RecConfig {
        dim: case.size("d")?,
        layers: case.size("layers")?,
        heads: case.size("heads")?,
        inner: case.size("inner")?,
        max_length: case.size("maxlen")?,
        dropout: 0.0,
        ..Bert4RecConfig::default()
    };
    let mut model = config.init(case.size("items")?, 0, &case.tracked);
    case.fill(model.original_names())?;
    if ItemId(case.size("mask_token")? as u32) != model.mask() {
        return Err("mask_token is not the id behind the last item".into());
    }
    let (read, labels) = (case.grid("seq")?, case.grid("label")?);
    let rows = Ragged::of(&read);
    let labels = rows.pick(&labels);
    let hidden: Vec<i32> = (0..).zip(&labels).filter(|(_, label)| **label != 0).map(|(row, _)| row).collect();
    let targets: Vec<i32> = labels.into_iter().filter(|&label| label != 0).collect();
    let hidden = case.line(&hidden);
    let batch = batch(case, &rows, rows.pick(&read), hidden.clone(), &targets);
    let fitted = model.fitted();
    let states = fitted.states(batch.items.clone(), &batch.lengths, None);
    let users = fitted.vectors(states.clone().select(0, hidden));
    let loss = model.loss(&batch);
    let mut out = Arrays::from([
        ("encoder".to_string(), array(states.clone())),
        ("head".into(), array(fitted.head(states))),
        ("masked_logits".into(), array(users.matmul(catalogue(case, &fitted)?))),
        ("loss".into(), array(loss.clone())),
    ]);
    gradients(&mut out, model.original_names(), &loss.backward())?;
    Ok(out)
}

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
        shared: None,
        catalog: case.size("items")?,
        dropout: None,
    };
    let states = bce.states(batch.items.clone(), &batch.lengths, None).inner();
    let table = bce.table().inner();
    let logits = |ids| {
        let rows_of = (states.clone() * table.clone().select(0, ids)).sum_dim(1);
        let (shape, values) = rows.pad(&rows_of, users, length);
        (shape[..2].to_vec(), values)
    };
    let [items, dim] = table.dims();
    // Item 0 is not an item: its row is never read, and the case scores it 0.
    let known = Tensor::cat(vec![Tensor::zeros([1, dim], &case.device), table.clone().slice([1..items])], 0);
    let last = states.clone().select(0, ends(&rows.lengths, &case.device));
    let loss = bce.loss(&batch);
    let mut out = Arrays::from([
        ("hidden".to_string(), rows.pad(&states, users, length)),
        ("pos_logits".into(), logits(batch.positives.clone())),
        ("neg_logits".into(), logits(batch.negatives.clone().flatten(0, 1))),
        ("scores_last".into(), array(last.matmul(known.transpose()))),
        ("loss".into(), array(loss.clone())),
        ("loss_ce".into(), array(softmax.loss(&batch))),
    ]);
    gradients(&mut out, bce.original_names(), &loss.backward())?;
    Ok(out)
}
