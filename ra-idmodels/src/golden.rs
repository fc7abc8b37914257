//! Runs a golden case (`id_models/`) through the models as they are trained and used.
use crate::sasrec::Parameter;
use crate::{SasRec, SasRecConfig, SasRecLoss};
use burn::module::Param;
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::{IdModel, NextItemBatch};
use serde_json::Value;
use std::collections::BTreeMap;

/// A tensor by value: shape and numbers.
pub type Array = (Vec<usize>, Vec<f64>);

/// Computes every tensor of a case from its description and inputs, under the names of its expected file; `None` when
/// the case is of a model that is not built in.
///
/// # Errors
/// Says which part of the case is missing or has another shape than the model's.
pub fn verify_case(case: &Value, inputs: &BTreeMap<String, Array>) -> Option<Result<BTreeMap<String, Array>, String>> {
    let model = case.get("model").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    model.starts_with("sasrec").then(|| sasrec(case, inputs))
}

fn sasrec(case: &Value, inputs: &BTreeMap<String, Array>) -> Result<BTreeMap<String, Array>, String> {
    let size =
        |key: &str| case.get(key).and_then(Value::as_u64).map(|n| n as usize).ok_or(format!("the case lacks {key}"));
    let config = SasRecConfig {
        dim: size("d")?,
        blocks: size("blocks")?,
        heads: size("heads")?,
        max_length: size("maxlen")?,
        dropout: 0.0,
        ..SasRecConfig::default()
    };
    let device = Device::flex();
    let tracked = device.clone().autodiff();
    let model = |loss| -> Result<SasRec, String> {
        let mut model = SasRecConfig { loss, ..config.clone() }.init(size("items")?, 0, &tracked);
        for (name, parameter) in model.original_names() {
            let array = inputs.get(&name).ok_or(format!("the case lacks {name}"))?;
            fill(parameter, array, &tracked).map_err(|e| format!("{name}: {e}"))?;
        }
        Ok(model)
    };
    let (mut bce, softmax) = (model(SasRecLoss::Bce)?, model(SasRecLoss::Softmax)?);
    let batch = batch(inputs, &device)?;
    let [users, length] = batch.items.dims();
    let states = bce.states(batch.items.clone(), None);
    let rows = |grid: &Tensor<2, Int>| {
        bce.table().select(0, grid.clone().reshape([users * length])).reshape([users, length, config.dim])
    };
    let logits = |grid| (states.clone() * rows(grid)).sum_dim(2).reshape([users, length]);
    let last = states.clone().slice([0..users, length - 1..length]).reshape([users, config.dim]);
    let loss = bce.loss(&batch);
    let mut out = BTreeMap::from([
        ("hidden".to_string(), array(states.clone())),
        ("pos_logits".into(), array(logits(&batch.positives))),
        ("neg_logits".into(), array(logits(&batch.negatives))),
        ("scores_last".into(), array(last.matmul(bce.table().transpose()))),
        ("loss".into(), array(loss.clone())),
        ("loss_ce".into(), array(softmax.loss(&batch))),
    ]);
    let grads = loss.backward();
    let missing = |name: &str| format!("no gradient reaches {name}");
    for (name, parameter) in bce.original_names() {
        let grad = match parameter {
            Parameter::Table(p) => array(p.val().grad(&grads).ok_or(missing(&name))?),
            Parameter::Matrix(p) => array(p.val().grad(&grads).ok_or(missing(&name))?.transpose()),
            Parameter::Vector(p) => array(p.val().grad(&grads).ok_or(missing(&name))?),
        };
        out.insert(format!("grad.{name}"), grad);
    }
    Ok(out)
}

fn batch(inputs: &BTreeMap<String, Array>, device: &Device) -> Result<NextItemBatch, String> {
    let grid = |name: &str| {
        let (shape, values) = inputs.get(name).ok_or(format!("the case lacks {name}"))?;
        let shape: [usize; 2] = shape.as_slice().try_into().map_err(|_| format!("{name} is not [users, length]"))?;
        let values: Vec<i32> = values.iter().map(|&v| v as i32).collect();
        Ok::<_, String>((shape, values))
    };
    let tensor =
        |(shape, values): ([usize; 2], Vec<i32>)| Tensor::<2, Int>::from_data(TensorData::new(values, shape), device);
    let (shape, positives) = grid("pos")?;
    let rows: Vec<i32> = positives.iter().zip(0..).filter(|(p, _)| **p != 0).map(|(_, cell)| cell).collect();
    Ok(NextItemBatch {
        users: Tensor::zeros([shape[0]], device),
        items: tensor(grid("seq")?),
        positives: tensor((shape, positives)),
        negatives: tensor(grid("neg")?),
        rows: Tensor::from_data(TensorData::new(rows.clone(), [rows.len()]), device),
        dropout: None,
    })
}

fn fill(parameter: Parameter<'_>, (shape, values): &Array, device: &Device) -> Result<(), String> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    let check =
        |expected: &[usize]| if expected == shape { Ok(()) } else { Err(format!("{shape:?}, expected {expected:?}")) };
    let data = TensorData::new(values, shape.clone());
    match parameter {
        Parameter::Table(p) => {
            check(&p.dims())?;
            *p = Param::from_tensor(Tensor::from_data(data, device));
        }
        Parameter::Matrix(p) => {
            let [input, output] = p.dims();
            check(&[output, input])?;
            *p = Param::from_tensor(Tensor::<2>::from_data(data, device).transpose());
        }
        Parameter::Vector(p) => {
            check(&p.dims())?;
            *p = Param::from_tensor(Tensor::from_data(data, device));
        }
    }
    Ok(())
}

fn array<const D: usize>(x: Tensor<D>) -> Array {
    (x.dims().to_vec(), x.into_data().iter::<f64>().collect())
}
