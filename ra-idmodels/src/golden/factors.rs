//! Methods that consist of two tables.
use super::{Array, Arrays, Case, array};
use crate::{LightGcnConfig, MfConfig};
use burn::module::Param;
use burn::tensor::Tensor;
use ra_core::{Catalog, Dataset, History, IdModel, ItemId, Recommender, Sequences, TrainBatch, UserId};

/// Returns the pairs of a case; golden items start at 0, dense ones at 1.
fn pairs(case: &Case<'_>) -> Result<TrainBatch, String> {
    let shifted = |name: &str| Ok::<_, String>(case.ints(name)?.iter().map(|i| i + 1).collect::<Vec<_>>());
    let (users, n) = (case.ints("u")?, case.ints("u")?.len());
    Ok(TrainBatch {
        lengths: vec![1; n].into(),
        users: case.line(&users),
        items: Tensor::zeros([n], &case.device),
        rows: None,
        positives: case.line(&shifted("p")?),
        negatives: case.line(&shifted("n")?).reshape([n, 1]),
        shared: None,
        catalog: case.size("items")?,
        dropout: None,
    })
}

/// Adds the scores of the fitted tables, as evaluation sees them.
fn scores(case: &Case<'_>, fitted: &dyn Recommender, out: &mut Arrays) -> Result<(), String> {
    let users = UserId::all(case.size("users")?);
    let items: Vec<ItemId> = ItemId::all(case.size("items")?).collect();
    let histories: Vec<History<'_>> = users.map(|user| History { user, items: &[] }).collect();
    let all = fitted.users(&histories).matmul(fitted.items(&items).transpose());
    let table = array(all);
    let width = items.len();
    for (name, other) in [("pos", "p"), ("neg", "n")] {
        let pair = case.ints("u")?.into_iter().zip(case.ints(other)?);
        let picked: Vec<f64> = pair.map(|(u, i)| table.1[u as usize * width + i as usize]).collect();
        out.insert(name.into(), (vec![picked.len()], picked));
    }
    out.insert("scores".into(), table);
    Ok(())
}

/// Splits `[users + items, dim]` after the users.
fn halves((shape, values): Array, users: usize) -> (Array, Array) {
    let width = shape[1];
    let (a, b) = values.split_at(users * width);
    ((vec![users, width], a.to_vec()), (vec![shape[0] - users, width], b.to_vec()))
}

pub(super) fn mf(case: &Case<'_>) -> Result<Arrays, String> {
    let config = MfConfig { dim: case.size("d")?, l2: case.number("l2")?, ..MfConfig::default() };
    let (users, items) = (case.size("users")?, case.size("items")?);
    let mut model = config.init(users, items, 0, &case.tracked);
    let padding = Tensor::zeros([1, config.dim], &case.tracked);
    model.users = Param::from_tensor(case.tensor("user_emb", &case.tracked)?);
    model.items = Param::from_tensor(Tensor::cat(vec![padding, case.tensor("item_emb", &case.tracked)?], 0));
    let loss = model.loss(&pairs(case)?);
    let mut out = Arrays::from([("loss".to_string(), array(loss.clone()))]);
    scores(case, &model.fitted(), &mut out)?;
    let grads = loss.backward();
    let missing = "no gradient reaches the tables";
    out.insert("grad.user_emb".into(), array(model.users.val().grad(&grads).ok_or(missing)?));
    let (_, items) = halves(array(model.items.val().grad(&grads).ok_or(missing)?), 1);
    out.insert("grad.item_emb".into(), items);
    Ok(out)
}

pub(super) fn lightgcn(case: &Case<'_>) -> Result<Arrays, String> {
    let config = LightGcnConfig {
        dim: case.size("d")?,
        layers: case.size("layers")?,
        l2: case.number("l2")?,
        ..LightGcnConfig::default()
    };
    let (users, items) = (case.size("users")?, case.size("items")?);
    let mut rows = vec![Vec::new(); users];
    for edge in case.grid("edges")? {
        rows[edge[0] as usize].push(ItemId(edge[1] as u32 + 1));
    }
    let none = || Sequences::from_rows(vec![Vec::new(); users]);
    let dataset = Dataset {
        name: "golden".into(),
        users: vec![String::new(); users],
        catalog: Catalog::new(vec![String::new(); items], vec![String::new(); items]),
        train: Sequences::from_rows(rows),
        valid: none(),
        test: none(),
        filter: "none".into(),
        split: "none".into(),
    };
    let mut model = config.init(&dataset, 0, &case.tracked);
    let ego = [case.tensor("user_emb", &case.tracked)?, case.tensor("item_emb", &case.tracked)?];
    model.nodes = Param::from_tensor(Tensor::cat(ego.to_vec(), 0));
    let loss = model.loss(&pairs(case)?);
    let mut out = Arrays::from([("loss".to_string(), array(loss.clone()))]);
    scores(case, &model.fitted(), &mut out)?;
    let (user_out, item_out) = halves(array(model.smoothed()), users);
    out.extend([("user_out".into(), user_out), ("item_out".into(), item_out)]);
    // Layer k is k + 1 times the mean of layers 0 to k, minus the layers before it.
    let (mut before, shape) = (vec![0.0f64; (users + items) * config.dim], vec![users + items, config.dim]);
    for layer in 0..=config.layers {
        let mean = ra_core::kernels::propagate(&model.graph, layer, model.nodes.val().inner());
        let sum: Vec<f64> = array(mean).1.iter().map(|x| x * (layer + 1) as f64).collect();
        let own = sum.iter().zip(&before).map(|(sum, before)| sum - before).collect();
        out.insert(format!("layer.{layer}"), (shape.clone(), own));
        before = sum;
    }
    let grads = loss.backward();
    let grad = model.nodes.val().grad(&grads).ok_or("no gradient reaches the nodes")?;
    let (user_grad, item_grad) = halves(array(grad), users);
    out.extend([("grad.user_emb".into(), user_grad), ("grad.item_emb".into(), item_grad)]);
    Ok(out)
}
